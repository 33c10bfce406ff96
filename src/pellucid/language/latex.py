r"""Syntax tree to LaTeX, as a paper would print it (for math mode; needs amsmath for `\substack` and `cases`).

dx[y,c] = sum(i,s : i*S+s-P == y) g[i] * w[s,c]
\mathrm{d}x_{y,c} = \sum_{\substack{i,s \\ iS + s - P = y}} g_{i} \, w_{s,c}
"""

from __future__ import annotations

from pellucid.language.functions import FUNCTIONS
from pellucid.language.render import chain
from pellucid.language.syntax import (
    Access,
    Binary,
    Bracket,
    Call,
    Compare,
    Condition,
    Expr,
    Formula,
    Logic,
    Name,
    Negative,
    Node,
    Number,
    Reduce,
)

__all__ = ["to_latex"]

# Binding strengths on paper; a fraction, a floor and a function delimit themselves.
ANY, OR, AND, COMPARISON, SUM, PRODUCT, UNARY, POWER, ATOM = range(9)

COMPARISONS = {"==": "=", "!=": r"\neq", "<": "<", "<=": r"\le", ">": ">", ">=": r"\ge"}

OPERATORS = {
    "sum": r"\sum",
    "max": r"\max",
    "min": r"\min",
    "argmax": r"\operatorname*{arg\,max}",
    "argmin": r"\operatorname*{arg\,min}",
}

GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi psi "
    "omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega"
)
GREEK = dict(zip("αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΦΨΩ", GREEK_NAMES.split(), strict=True))


def to_latex(node: Formula | Node) -> str:
    """The equation, value or condition in LaTeX, without the dollar signs around it."""
    if isinstance(node, Formula):
        return f"{_text(node.output, ANY)} = {_text(node.body, ANY)}"
    return _text(node, ANY)


def _text(node: Node, least: int, followed: bool = False) -> str:
    """The node, in parentheses where it binds less than `least` or would take the factor that follows it."""
    if _strength(node) < least or (followed and isinstance(node, Reduce)):
        return f"\\left({_open(node, False)}\\right)"
    return _open(node, followed)


def _strength(node: Node) -> int:
    if isinstance(node, Binary):
        strengths = {"+": SUM, "-": SUM, "*": PRODUCT, "%": SUM, "/": UNARY, "//": ATOM, "**": POWER}
        return strengths[node.op]
    if isinstance(node, Number):
        return SUM if node.value < 0 else PRODUCT if "e" in repr(node.value) else ATOM
    if isinstance(node, Negative):
        return SUM
    if isinstance(node, Reduce):
        return UNARY
    if isinstance(node, Call):
        return ATOM if FUNCTIONS[node.function].latex.startswith((r"\sqrt", r"\left")) else POWER
    if isinstance(node, Compare):
        return COMPARISON
    if isinstance(node, Logic):
        return COMPARISON if chain(node) or node.op == "not" else {"or": OR, "and": AND}[node.op]
    return ATOM


def _open(node: Node, followed: bool) -> str:
    """The node without parentheses around it."""
    if isinstance(node, Number):
        return _number(node)
    if isinstance(node, Name):
        return _name(node.name)
    if isinstance(node, Access):
        return _access(node)
    if isinstance(node, Negative):
        return "-" + _text(node.operand, PRODUCT, followed)
    if isinstance(node, Binary):
        return _binary(node, followed)
    if isinstance(node, Call):
        return _call(node)
    if isinstance(node, Bracket):
        return f"\\left[{_text(node.condition, ANY)}\\right]"
    if isinstance(node, Reduce):
        return _reduce(node, followed)
    return _condition(node)


def _number(node: Number) -> str:
    mantissa, _, exponent = repr(node.value).partition("e")
    if not exponent:
        return mantissa
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else f"{mantissa} \\cdot {power}"


def _name(name: str) -> str:
    r"""`x` -> x, `alpha` and `α` -> \alpha, `dx` -> \mathrm{d}x, `x2` -> x_{2}, `lr` -> \mathrm{lr}."""
    stem = name.rstrip("0123456789")
    if stem and stem != name and not stem.endswith("_"):
        return f"{_name(stem)}_{{{name[len(stem) :]}}}"
    if len(name) == 1:
        return f"\\{GREEK[name]}" if name in GREEK else name
    if name in GREEK.values():
        return f"\\{name}"
    if len(name) == 2 and name[0] == "d":
        return f"\\mathrm{{d}}{_name(name[1])}"
    escaped = name.replace("_", r"\_")
    return f"\\mathrm{{{escaped}}}"


def _access(node: Access) -> str:
    if not node.indices:
        return _name(node.tensor)
    simple = all(isinstance(index, Name | Number) for index in node.indices)
    indices = ("," if simple else r",\, ").join(_text(index, ANY) for index in node.indices)
    name = _name(node.tensor)
    # A second subscript needs the first one in a group.
    return f"{{{name}}}_{{{indices}}}" if "_{" in name else f"{name}_{{{indices}}}"


def _binary(node: Binary, followed: bool) -> str:
    left, right = node.left, node.right
    if node.op == "/":
        return f"\\frac{{{_text(left, ANY)}}}{{{_text(right, ANY)}}}"
    if node.op == "//":
        return f"\\left\\lfloor {_text(left, PRODUCT, True)} / {_text(right, ATOM, True)} \\right\\rfloor"
    if node.op == "**":
        base = _text(left, ATOM, True)
        base = f"{{{base}}}" if isinstance(left, Name) and "_{" in base else base
        return f"{base}^{{{_text(right, ANY)}}}"
    if node.op == "%":
        return f"{_text(left, UNARY, True)} \\bmod {_text(right, UNARY, followed)}"
    if node.op == "*":
        return _text(left, PRODUCT, True) + _times(left, right) + _text(right, UNARY, followed)
    return f"{_text(left, SUM)} {node.op} {_text(right, PRODUCT, followed)}"


def _times(left: Expr, right: Expr) -> str:
    """What stands between two factors: nothing (`2i`, `iS`), a thin space, or a dot before a number."""
    first = right
    while isinstance(first, Binary) and first.op in ("*", "**", "%"):
        first = first.left
    if isinstance(first, Number):
        return r" \cdot "
    plain = isinstance(left, Number) or (isinstance(left, Name) and len(left.name) == 1)
    return "" if plain and isinstance(right, Name) and len(right.name) == 1 else r" \, "


def _call(node: Call) -> str:
    arguments = [_text(argument, ANY) for argument in node.arguments]
    function = FUNCTIONS[node.function]
    return function.latex.format(", ".join(arguments)) if function.variadic else function.latex.format(*arguments)


def _condition(node: Condition) -> str:
    if isinstance(node, Compare):
        return f"{_text(node.left, SUM)} {COMPARISONS[node.op]} {_text(node.right, SUM)}"
    if node.op == "not":
        return f"\\neg {_text(node.operands[0], ATOM)}"
    if links := chain(node):
        steps = (f" {COMPARISONS[link.op]} {_text(link.right, SUM)}" for link in links)
        return _text(links[0].left, SUM) + "".join(steps)
    least = (AND if node.op == "and" else OR) + 1
    return f" \\text{{ {node.op} }} ".join(_text(operand, least) for operand in node.operands)


def _reduce(node: Reduce, followed: bool) -> str:
    names = ",".join(_name(axis) for axis in node.axes)
    below = names
    if node.conditions:
        lines = " \\\\ ".join((names, *(_text(condition, ANY) for condition in node.conditions)))
        below = f"\\substack{{{lines}}}"
    return f"{OPERATORS[node.op]}_{{{below}}} {_text(node.body, PRODUCT, followed)}"
