"""The one table of elementwise functions: parameters, derivatives, LaTeX.

A derivative is an expression of the language itself, in the function's own parameters; "" says that it is zero
everywhere (steps, conditions, `stop`). The forms are chosen so that they do not overflow where the function does
not. Powers are written `**` and are no function.

At the points where a derivative does not exist: `abs` and `sign` take 0 at 0; `max(a, b)` and `min(a, b)` give a tie
to `b`, so that ReLU, `max(z, 0)`, has the derivative 0 at 0 (MATHS.md, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["FUNCTIONS", "Function"]


@dataclass(frozen=True)
class Function:
    """An elementwise function.

    `derivatives` has one expression text for each parameter. `latex` is a `str.format` template whose fields are
    the parameters' numbers. A parameter called `condition` takes a condition. `variadic` functions take any number
    of arguments from one on, all described by the one parameter.
    """

    name: str
    parameters: tuple[str, ...]
    derivatives: tuple[str, ...]
    latex: str
    variadic: bool = False

    @property
    def signature(self) -> str:
        """`where(condition, a, b)`."""
        return f"{self.name}({', '.join(self.parameters)}{', ...' if self.variadic else ''})"


def _named(name: str) -> str:
    return f"\\operatorname{{{{{name}}}}}\\left({{0}}\\right)"


_TABLE = (
    Function("exp", ("a",), ("exp(a)",), r"\exp\left({0}\right)"),
    Function("expm1", ("a",), ("exp(a)",), _named("expm1")),
    Function("log", ("a",), ("1 / a",), r"\log\left({0}\right)"),
    Function("log1p", ("a",), ("1 / (1 + a)",), _named("log1p")),
    Function("sqrt", ("a",), ("0.5 / sqrt(a)",), r"\sqrt{{{0}}}"),
    Function("sin", ("a",), ("cos(a)",), r"\sin\left({0}\right)"),
    Function("cos", ("a",), ("-sin(a)",), r"\cos\left({0}\right)"),
    Function("tanh", ("a",), ("1 - tanh(a) ** 2",), r"\tanh\left({0}\right)"),
    Function("sigmoid", ("a",), ("sigmoid(a) * (1 - sigmoid(a))",), r"\sigma\left({0}\right)"),
    Function("softplus", ("a",), ("sigmoid(a)",), _named("softplus")),
    # 2 / sqrt(pi), to the last bit of a double.
    Function("erf", ("a",), ("1.1283791670955126 * exp(-(a * a))",), _named("erf")),
    Function("abs", ("a",), ("sign(a)",), r"\left|{0}\right|"),
    Function("sign", ("a",), ("",), _named("sign")),
    Function("floor", ("a",), ("",), r"\left\lfloor {0} \right\rfloor"),
    Function("max", ("a", "b"), ("[a > b]", "[b >= a]"), r"\max\left({0}, {1}\right)"),
    Function("min", ("a", "b"), ("[a < b]", "[b <= a]"), r"\min\left({0}, {1}\right)"),
    Function(
        "where",
        ("condition", "a", "b"),
        ("", "[condition]", "[not condition]"),
        r"\begin{{cases}} {1} & \text{{if }} {0} \\ {2} & \text{{otherwise}} \end{{cases}}",
    ),
    # The value of its argument; the gradient stops here.
    Function("stop", ("a",), ("",), _named("stop")),
    # The row-major number of the named axes' values over their extents, as argmax and argmin give it.
    Function("position", ("axis",), ("",), _named("position"), variadic=True),
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({function.name: function for function in _TABLE})
