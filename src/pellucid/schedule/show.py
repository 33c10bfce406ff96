"""Loop nests as text, for people and for golden files.

    nest conv
      for n in 0 .. 8 (parallel):
        for i in 0 .. 28:
          tile j < 6, k in 0 .. 15 | 16 .. 23 of 16: sum
            for s in max(0, 1 - i) .. min(3, 29 - i):
              acc[j = 1 .. 5] += x[n, i + s - 1, j + t - 1, c] * w[s, t, c, k]
            z[n, i, j, k] = max(acc + b[k], 0)

Every statement is a line, every loop and tile a block. Active points are listed where they are not all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pellucid.language.affine import Affine
from pellucid.schedule.nest import (
    Accumulated,
    Apply,
    Bound,
    Constant,
    Fetch,
    For,
    Group,
    Load,
    Lookup,
    Nest,
    Operand,
    Position,
    Program,
    Statement,
    Store,
    Tensor,
    Tile,
    Update,
    Value,
)
from pellucid.schedule.touched import touched

__all__ = ["show", "show_operand", "show_value"]

# Function -> (symbol, how strongly it binds). Operands that bind less are put in parentheses.
_INFIX = {
    "or": ("or", 1), "and": ("and", 2),
    "eq": ("==", 4), "ne": ("!=", 4), "lt": ("<", 4), "le": ("<=", 4), "gt": (">", 4), "ge": (">=", 4),
    "add": ("+", 5), "sub": ("-", 5),
    "mul": ("*", 6), "div": ("/", 6), "floordiv": ("//", 6), "mod": ("%", 6),
}  # fmt: skip
_PREFIX = {"not": ("not ", 3), "neg": ("-", 7)}
_ATOM = 9

_UPDATE = {"sum": "+=", "max": "max=", "min": "min=", "argmax": "argmax=", "argmin": "argmin="}


def show(what: Program | Nest | Sequence[Statement] | Statement) -> str:
    """The text of a program, a nest or statements, without a newline at the end."""
    match what:
        case Program():
            return "\n".join(_program(what))
        case Nest():
            return "\n".join(_nest(what))
        case For() | Tile() | Update() | Fetch():
            return "\n".join(_statement(what))
        case _:
            return "\n".join(line for statement in what for line in _statement(statement))


def show_operand(operand: Operand) -> str:
    """`x[n, i + s - 1, c]`; with guards `(x[...] if 0 <= i < 5 else 0)`."""
    cell = _cell(operand)
    if not operand.guards:
        return cell
    return f"({cell} if {_guards(operand)} else {_number(operand.outside)})"


def show_value(value: Value) -> str:
    """A value with as few parentheses as its meaning allows."""
    return _value(value)[0]


def _program(program: Program) -> Iterator[str]:
    width = max((len(tensor.name) for tensor in program.tensors), default=0)
    for tensor in program.tensors:
        past = ", past the caches" if tensor.streamed else ""
        yield f"{tensor.role:<9} {tensor.name:<{width}}  {tensor.dtype} {_shape(tensor)}{past}"
    for nest in program.nests:
        yield ""
        yield from _nest(nest)


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def _nest(nest: Nest) -> Iterator[str]:
    yield f"nest {nest.name}"
    for statement in nest.body:
        yield from _indented(_statement(statement))


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return ("  " + line for line in lines)


def _statement(statement: Statement, tile: Tile | None = None) -> Iterator[str]:
    match statement:
        case For(variable, low, high, step, body, parallel):
            stride = f" step {step}" if step != 1 else ""
            marks = " (parallel)" if parallel else ""
            yield f"for {variable} in {_bound(low, 'max')} .. {_bound(high, 'min')}{stride}{marks}:"
            for inner in body:
                yield from _indented(_statement(inner, tile))
        case Tile():
            yield _tile_head(statement)
            for inner in statement.body:
                yield from _indented(_statement(inner, statement))
            for store in statement.stores:
                yield "  " + _store(store)
        case Update():
            yield _update(statement, tile)
        case Fetch(operand, lines):
            where = f" if {_guards(operand)}" if operand.guards else ""
            yield f"fetch {lines} line{'s' if lines > 1 else ''} of {_cell(operand)}{where}"


def _tile_head(tile: Tile) -> str:
    points = [f"{name} < {count}" for name, count in tile.points]
    lanes = f"{tile.lane} in {' | '.join(_group(group) for group in tile.groups)}"
    marks = [f"{tile.chains} chains"] if tile.chains > 1 else []
    marks += ["lanes reduced"] if tile.across else []
    marks += dict.fromkeys(
        f"{operand.tensor} {operand.prefetch.distance} ahead" for operand in touched((tile,)) if operand.prefetch
    )
    return f"tile {', '.join([*points, lanes])}: {', '.join([tile.reduction or 'each', *marks])}"


def _group(group: Group) -> str:
    span = f"{group.offset} .. {group.offset + group.valid - 1}"
    return span if group.valid == group.width else f"{span} of {group.width}"


def _update(update: Update, tile: Tile | None) -> str:
    symbol = _UPDATE[tile.reduction] if tile is not None and tile.reduction is not None else "<-"
    points = _active(update.active, tile)
    chain = f"chain {update.chain}" if tile is not None and tile.chains > 1 else ""
    selected = "; ".join(part for part in (points, chain) if part)
    target = f"acc[{selected}]" if selected else "acc"
    position = f" at {update.position}" if update.position is not None else ""
    return f"{target} {symbol} {show_value(update.value)}{position}{' (fence)' if update.fence else ''}"


def _active(active: tuple[int, ...], tile: Tile | None) -> str:
    """The active points as runs of numbers, nothing where all are."""
    if tile is not None and active == tuple(range(tile.point_count)):
        return ""
    runs: list[list[int]] = []
    for number in active:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1].append(number)
        else:
            runs.append([number])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]} .. {run[-1]}" for run in runs]
    name = tile.points[0][0] if tile is not None and len(tile.points) == 1 else "points"
    return f"{name} = {', '.join(texts)}" if texts else "no points"


def _store(store: Store) -> str:
    text = f"{_cell(store.operand)} = {show_value(store.value)}"
    if store.add is not None:
        text += f" + (old if {store.add} > 0)" if store.add.terms else (" + old" if store.add.const > 0 else "")
    return f"{text} if {_guards(store.operand)}" if store.operand.guards else text


def _cell(operand: Operand) -> str:
    indices = [str(form) for form in operand.index]
    for lookup in operand.lookups:
        indices[lookup.dimension] = _looked_up(operand.index[lookup.dimension], indices[lookup.dimension], lookup)
    return f"{operand.tensor}[{', '.join(indices)}]"


def _looked_up(form: Affine, before: str, lookup: Lookup) -> str:
    inner = show_operand(lookup.operand)
    size = inner if abs(lookup.stride) == 1 else f"{abs(lookup.stride)}*{inner}"
    sign = "-" if lookup.stride < 0 else "+"
    if before == str(form) and form == Affine():
        return size if sign == "+" else f"-{size}"
    return f"{before} {sign} {size}"


def _guards(operand: Operand) -> str:
    return " and ".join(f"{guard.low} <= {guard.index} < {guard.high}" for guard in operand.guards)


def _bound(bound: Bound, choice: str) -> str:
    terms = [str(form) if divisor == 1 else f"ceil(({form})/{divisor})" for form, divisor in bound.terms]
    return terms[0] if len(terms) == 1 else f"{choice}({', '.join(terms)})"


def _number(number: int | float) -> str:
    """A number as short as it reads: whole floats without a fraction."""
    if isinstance(number, float) and number.is_integer() and abs(number) < 2**53:
        return str(int(number)) if number or str(number) == "0.0" else "-0.0"
    return repr(number)


def _value(value: Value) -> tuple[str, int]:
    """The text of a value and how strongly its outermost operation binds."""
    match value:
        case Constant(number):
            return _number(number), _ATOM if number >= 0 else 7
        case Position(index):
            return str(index), _strength(index)
        case Load(operand):
            return show_operand(operand), _ATOM
        case Accumulated(which):
            return ("acc" if which == "value" else "acc.position"), _ATOM
        case Apply(function, arguments) if function in _INFIX and len(arguments) == 2:
            return _infix(function, arguments)
        case Apply(function, (argument,)) if function in _PREFIX:
            symbol, strength = _PREFIX[function]
            return symbol + _parenthesised(argument, strength), strength
        case Apply(function, arguments):
            return f"{function}({', '.join(show_value(argument) for argument in arguments)})", _ATOM


def _strength(index: Affine) -> int:
    """How strongly the outermost operation of an affine form binds, as it is printed."""
    if index.terms and (len(index.terms) > 1 or index.const):
        return 5
    number = index.terms[0][1] if index.terms else index.const
    if index.terms and abs(number) != 1:
        return 6
    return _ATOM if number >= 0 else 7


def _infix(function: str, arguments: tuple[Value, ...]) -> tuple[str, int]:
    symbol, strength = _INFIX[function]
    left, right = arguments
    # The right side of a chain is put in parentheses: a - (b - c), and a + (b + c) because rounding depends on it.
    # Comparisons are no chains at all.
    left_strength = strength + 1 if symbol in ("==", "!=", "<", "<=", ">", ">=") else strength
    return f"{_parenthesised(left, left_strength)} {symbol} {_parenthesised(right, strength + 1)}", strength


def _parenthesised(value: Value, at_least: int) -> str:
    text, strength = _value(value)
    return text if strength >= at_least else f"({text})"
