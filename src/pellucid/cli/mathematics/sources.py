"""What the sources print wrongly, or leave open, and what is done here (MATHS.md, section 10).

S0 to S4 are the five documents that the mathematics of this package was taken from.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SOURCES", "Correction"]


@dataclass(frozen=True)
class Correction:
    """A place in a source, what is printed there, and what is done here; Markdown without line breaks."""

    source: str
    printed: str
    here: str


SOURCES = (
    Correction(
        "S0, max pooling",
        "`a = max(0, x)`",
        "the maximum over the window; `max(0, x)` is ReLU",
    ),
    Correction(
        "S0, max pooling backward",
        "the gradient goes to every unit equal to the maximum",
        "to the first winner alone, in row-major order (as S1, S3)",
    ),
    Correction("S0, ReLU at 0", "derivative 1 (S3 allows either)", "0, as ONNX and PyTorch"),
    Correction(
        "S0, several channels",
        "`W^(k)` and `x` without a channel index; the bias inside the sum over channels",
        "`w[s,t,c,k]`, `x[..., c]`; the bias once",
    ),
    Correction("S0, sums to `M-m`", "inclusive, counted from 0", "`M-m+1` outputs"),
    Correction(
        "S1, equation for `x^l`",
        'the text says "flipped", the formula is cross-correlation',
        "both, by name: `flip=True` turns the kernel",
    ),
    Correction(
        "S2",
        "indices from 1, `(j-1)s+m`; `V` as channel, row, column; the closing remark mislabels an axis",
        "indices from 0, channels last; `base=1` prints them from 1",
    ),
    Correction(
        "S3",
        "`X` and `I` for one array; equation 9.4 turns the kernel, 9.5 does not",
        "`x` everywhere; cross-correlation, and true convolution by `flip=True`",
    ),
    Correction("S3, size of the output", "the padding `p` is the total of both sides", "padding is given per side"),
    Correction(
        "S3, recurrent network",
        'no biases; `x^t` is called "output"',
        "`x[t]` is the input, biases are added (not in the package yet)",
    ),
    Correction("S4, flattening", '"vector of length p*q", without the channels', "`rows * columns * channels`"),
    Correction("S4, losses and sizes", "formulas missing from the text", "as in the sections above"),
)
