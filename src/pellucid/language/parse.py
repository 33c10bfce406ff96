"""Equation text to syntax tree.

    equation    = output "=" value
    output      = name | name "[" value {"," value} "]"
    value       = everything below that is no condition

    precedence, loosest first                                   as in Python, with the reduction fitted in
      or, and, not
      == != < <= > >=      chains: 0 <= i < N
      + -
      reduction            sum(s,t : s < t) takes the product that follows: in `sum(s) a * b + d`, d is outside
      * / // %
      unary -
      **                   from right to left
      atom                 number, name, name[indices], function(arguments), (anything), [condition]

`max(...)` and `min(...)` are reductions where their arguments are names (with or without conditions) and an operand
follows, else elementwise functions. `#` begins a comment. One parser reads values and conditions alike and checks
afterwards which of the two stands where, so that `(` needs no looking ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from difflib import get_close_matches
from math import isinf

from pellucid.errors import EquationError, Span
from pellucid.language.check import MAX_DEPTH, check_expression, check_formula
from pellucid.language.functions import FUNCTIONS
from pellucid.language.syntax import (
    REDUCTIONS,
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
    walk,
)
from pellucid.language.tokens import Token, tokenise

__all__ = ["RESERVED", "parse", "parse_equation", "parse_expression", "parse_system"]

RESERVED = frozenset({"and", "or", "not", *REDUCTIONS, *FUNCTIONS})

# Binding strengths of what the grammar above lists.
ANY, AND, NOT, SUM, PRODUCT, UNARY, POWER = 0, 2, 3, 5, 7, 8, 9
STRENGTH = {
    "or": 1,
    "and": AND,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), 4),
    **dict.fromkeys(("+", "-"), SUM),
    **dict.fromkeys(("*", "/", "//", "%"), PRODUCT),
    "**": POWER,
}
COMPARISON = 4
LONGEST_INTEGER = 18  # digits; every such number fits 64 bits


def parse(source: str) -> Formula:
    """The formula that one equation's text says; EquationError with a caret where it says none."""
    return _parse_formula(source, 0, len(source))


def parse_system(source: str) -> tuple[Formula, ...]:
    """A formula for each line that is not blank or a comment; EquationError where a line, or the text, has none."""
    formulas: list[Formula] = []
    start = 0
    for line in source.splitlines(keepends=True):
        if line.split("#", 1)[0].strip():
            formulas.append(_parse_formula(source, start, start + len(line)))
        start += len(line)
    if not formulas:
        raise EquationError("the text holds no equation")
    return tuple(formulas)


def parse_equation(source: str) -> tuple[Formula, ...]:
    """The one formula that a text says, over as many lines as it likes, or the formulas of its lines where it has
    several; EquationError as `parse`."""
    several = sum(token.text == "=" for token in tokenise(source)) > 1
    return parse_system(source) if several else (parse(source),)


def parse_expression(source: str) -> Expr:
    """The value that the text says, with no output and no `=`; EquationError with a caret where it says none."""
    parser = _Parser(tokenise(source), bound={})
    expression = parser.value(ANY)
    parser.expect_end()
    check_expression(expression)
    return expression


def _parse_formula(source: str, start: int, end: int) -> Formula:
    parser = _Parser(tokenise(source, start, end), bound={})
    formula = parser.formula()
    check_formula(formula)
    return formula


class _Parser:
    """Precedence climbing over the tokens of one equation; `bound` says what binds each axis seen so far."""

    def __init__(self, tokens: tuple[Token, ...], bound: dict[str, str]) -> None:
        self._tokens = tokens
        self._position = 0
        self._depth = 0
        self._bound = bound

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._position]

    def _peek(self, distance: int) -> Token:
        return self._tokens[min(self._position + distance, len(self._tokens) - 1)]

    def _take(self) -> Token:
        token = self._token
        self._position += token.kind != "end"
        return token

    def _at(self, text: str) -> bool:
        return self._token.text == text

    def _accept(self, text: str) -> bool:
        found = self._at(text)
        self._position += found
        return found

    def _expect(self, text: str, where: str) -> None:
        if not self._accept(text):
            raise EquationError(f"expected `{text}` {where}{self._instead()}", self._token.span)

    def _instead(self) -> str:
        return "" if self._token.kind == "end" else f", not `{self._token.text}`"

    def _span_since(self, first: Token) -> Span:
        last = self._tokens[self._position - 1] if self._position else first
        return Span(first.span.source, first.span.start, max(first.span.end, last.span.end))

    @contextmanager
    def _deeper(self) -> Generator[None]:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise EquationError(f"the equation is nested more than {MAX_DEPTH} levels deep", self._token.span)
        yield
        self._depth -= 1

    def expect_end(self) -> None:
        """Refuse anything that is left."""
        token = self._token
        if token.kind == "end":
            return
        if token.text in (")", "]"):
            raise EquationError(f"`{token.text}` closes nothing", token.span)
        if token.text == "=":
            raise EquationError("expected the end of the equation; equality in a condition is written `==`", token.span)
        if token.kind in ("name", "number") or token.text in ("(", "["):
            raise EquationError(f"expected an operator before `{token.text}`", token.span)
        raise EquationError(f"expected the end of the equation, not `{token.text}`", token.span)

    # The equation

    def formula(self) -> Formula:
        """`output = value`, to the end of the tokens."""
        first = self._token
        output = self._output()
        for index in output.indices:
            for node in walk(index):
                if isinstance(node, Name):
                    self._bound[node.name] = "an index of the output"
        self._expect("=", "after the output")
        body = self.value(ANY)
        self.expect_end()
        return Formula(output, body, self._span_since(first))

    def _output(self) -> Access:
        first = self._take()
        if first.kind != "name":
            raise EquationError("an equation begins with its output, as in `z[i,j] = ...`", first.span)
        self._refuse_reserved(first)
        if self._at("["):
            return self._access(first)
        return Access(first.text, (), first.span)

    # Values and conditions

    def value(self, strength: int) -> Expr:
        """What follows, of operators at least as strong as `strength`, which must be a value."""
        node = self._operators(strength)
        if isinstance(node, Compare | Logic):
            hint = "; write `[condition]` for 1 where it holds and 0 elsewhere"
            raise EquationError(f"a value is expected here, not a condition{hint}", node.span)
        return node

    def condition(self, strength: int) -> Condition:
        """What follows, of operators at least as strong as `strength`, which must be a condition."""
        node = self._operators(strength)
        if isinstance(node, Compare | Logic):
            return node
        if self._at("="):
            raise EquationError("equality in a condition is written `==`", self._token.span)
        raise EquationError("a condition is expected here, such as `i < 3`", node.span)

    def _operators(self, strength: int) -> Node:
        """An operand, and the binary operators after it that bind at least as strongly as `strength`."""
        first = self._token
        node = self._operand()
        while (found := STRENGTH.get(self._token.text, -1)) >= strength:
            if found == COMPARISON:
                node = self._comparison(first, self._as_value(node))
            elif found < COMPARISON:
                node = self._logic(first, self._as_condition(node))
            else:
                node = self._arithmetic(first, self._as_value(node))
        return node

    def _arithmetic(self, first: Token, left: Expr) -> Expr:
        operator = self._take().text
        with self._deeper():
            right = self.value(POWER if operator == "**" else STRENGTH[operator] + 1)
        return Binary(operator, left, right, self._span_since(first))

    def _comparison(self, first: Token, left: Expr) -> Condition:
        """`a < b` is a Compare, `a < b < c` the `and` of two that share b."""
        links: list[Condition] = []
        while STRENGTH.get(self._token.text) == COMPARISON:
            operator = self._take().text
            right = self.value(SUM)
            links.append(Compare(operator, left, right, self._span_since(first)))
            left = right
        return links[0] if len(links) == 1 else Logic("and", tuple(links), self._span_since(first))

    def _logic(self, first: Token, left: Condition) -> Condition:
        operator = self._token.text
        operands = [left]
        while self._accept(operator):
            operands.append(self.condition(STRENGTH[operator] + 1))
        return Logic(operator, tuple(operands), self._span_since(first))

    def _as_value(self, node: Node) -> Expr:
        if isinstance(node, Compare | Logic):
            raise EquationError(f"`{self._token.text}` takes values, not a condition", node.span)
        return node

    def _as_condition(self, node: Node) -> Condition:
        if isinstance(node, Compare | Logic):
            return node
        raise EquationError(f"`{self._token.text}` joins conditions such as `i < 3`, not values", node.span)

    # Operands

    def _operand(self) -> Node:
        """A prefix operator with what it takes, or an atom."""
        first = self._token
        if first.text == "-":
            self._take()
            with self._deeper():
                operand = self.value(UNARY)
            return Negative(operand, self._span_since(first))
        if first.text == "not":
            self._take()
            with self._deeper():
                condition = self.condition(NOT)
            return Logic("not", (condition,), self._span_since(first))
        if first.kind == "number":
            return _number(self._take())
        if first.kind == "name":
            return self._named(self._take())
        if first.text == "(":
            self._take()
            with self._deeper():
                node = self._operators(ANY)
            self._expect(")", "to close the parenthesis")
            return node
        if first.text == "[":
            self._take()
            with self._deeper():
                condition = self.condition(ANY)
            self._expect("]", "to close the bracket of a condition")
            return Bracket(condition, self._span_since(first))
        raise EquationError(f"expected a value{self._instead()}", first.span)

    def _named(self, name: Token) -> Expr:
        """What a name begins: a reduction, a call, an access, or the name itself."""
        if self._at("(") and (name.text in REDUCTIONS and (name.text not in FUNCTIONS or self._reduction_follows())):
            return self._reduction(name)
        if self._at("("):
            return self._call(name)
        self._refuse_reserved(name)
        if self._at("["):
            return self._access(name)
        return Name(name.text, name.span)

    def _refuse_reserved(self, name: Token) -> None:
        if name.text in FUNCTIONS:
            signature = FUNCTIONS[name.text].signature
            raise EquationError(f"`{name.text}` is the function {signature} and names nothing else", name.span)
        if name.text in RESERVED:
            raise EquationError(f"`{name.text}` is a word of the language and names nothing else", name.span)

    def _access(self, name: Token) -> Access:
        self._take()
        if self._accept("]"):
            message = f"`{name.text}[]` has no index; a single number is written `{name.text}`"
            raise EquationError(message, self._span_since(name))
        indices = self._separated(lambda: self.value(ANY))
        self._expect("]", f"after the indices of {name.text}")
        return Access(name.text, indices, self._span_since(name))

    def _call(self, name: Token) -> Call:
        function = FUNCTIONS.get(name.text)
        if function is None:
            close = get_close_matches(name.text, sorted(RESERVED), n=1)
            hint = f"; did you mean `{close[0]}`?" if close else f"; the functions are {', '.join(sorted(FUNCTIONS))}"
            raise EquationError(f"unknown function `{name.text}`{hint}", name.span)
        self._take()
        arguments: tuple[Expr | Condition, ...] = ()
        if not self._at(")"):
            # One reader for each argument: a parameter called `condition` takes a condition.
            parameters = iter(function.parameters)
            arguments = self._separated(
                lambda: self.condition(ANY) if next(parameters, "") == "condition" else self.value(ANY)
            )
        self._expect(")", f"after the arguments of {name.text}")
        span = self._span_since(name)
        wanted = len(function.parameters)
        if len(arguments) < wanted or (len(arguments) > wanted and not function.variadic):
            plural = "argument" if wanted == 1 else "arguments"
            least = "at least " if function.variadic else ""
            raise EquationError(f"{function.signature} takes {least}{wanted} {plural}, not {len(arguments)}", span)
        return Call(name.text, arguments, span)

    def _separated(self, item: Callable[[], Node]) -> tuple[Expr, ...]:
        """Items between commas."""
        with self._deeper():
            items = [item()]
            while self._accept(","):
                items.append(item())
        return tuple(items)  # type: ignore[return-value]

    # Reductions

    def _reduction_follows(self) -> bool:
        """Whether `max(`, `min(` here opens a reduction: names alone, then conditions, or `)` and an operand."""
        distance = 1
        while self._peek(distance).kind == "name" and self._peek(distance + 1).text == ",":
            distance += 2
        if self._peek(distance).kind != "name":
            return False
        if self._peek(distance + 1).text == ":":
            return True
        after = self._peek(distance + 2)
        starts_operand = after.kind in ("name", "number") and after.text not in ("and", "or")
        return self._peek(distance + 1).text == ")" and (starts_operand or after.text in ("(", "["))

    def _reduction(self, name: Token) -> Reduce:
        self._take()
        outer = dict(self._bound)
        axes: list[str] = []
        while True:
            axes.append(self._reduced_axis(name.text, axes))
            if not self._accept(","):
                break
        self._bound.update(dict.fromkeys(axes, f"an axis of the {name.text} around it"))
        conditions: tuple[Condition, ...] = ()
        if self._accept(":"):
            conditions = self._separated(lambda: self.condition(ANY))  # type: ignore[assignment]
        self._expect(")", f"after the {'conditions' if conditions else 'axes'} of {name.text}")
        with self._deeper():
            body = self.value(PRODUCT)
        self._bound = outer
        return Reduce(name.text, tuple(axes), conditions, body, self._span_since(name))

    def _reduced_axis(self, reduction: str, before: list[str]) -> str:
        axis = self._take()
        if axis.kind != "name":
            message = f"{reduction} takes the names of axes, as in `{reduction}(i,j) ...`"
            raise EquationError(message, axis.span)
        self._refuse_reserved(axis)
        if axis.text in before:
            raise EquationError(f"axis `{axis.text}` stands twice in this {reduction}", axis.span)
        if axis.text in self._bound:
            reason = self._bound[axis.text]
            raise EquationError(f"axis `{axis.text}` of this {reduction} is already {reason}", axis.span)
        return axis.text


def _number(token: Token) -> Number:
    """The literal's value: an int unless it has a point or an exponent."""
    if token.text.isdigit():
        if len(token.text) > LONGEST_INTEGER:
            raise EquationError(
                f"an integer has at most {LONGEST_INTEGER} digits, this one {len(token.text)}", token.span
            )
        return Number(int(token.text), token.span)
    value = float(token.text)
    if isinf(value):
        raise EquationError(f"the number {token.text} is beyond a 64-bit float", token.span)
    return Number(value, token.span)
