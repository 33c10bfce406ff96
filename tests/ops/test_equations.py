"""The equations as texts: what MATHS.md says, in every rank, layout and form."""

from __future__ import annotations

import inspect

import pytest

from pellucid.language import render
from pellucid.nn import equations
from pellucid.nn.equations.notation import text_of

IMAGE = (2, 6, 7, 4)


def texts(system):
    return [text_of(equation) for equation in system.equations]


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (
            equations.conv2d(IMAGE, (3, 3, 4, 8), (8,)),
            "z[n,i,j,k] = sum(s,t,c) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c] * w[s,t,c,k] + b[k]",
        ),
        (
            equations.conv2d(IMAGE, (3, 3, 4, 8), flip=True),
            "z[n,i,j,k] = sum(s,t,c) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c] * w[FH-1-s,FW-1-t,c,k]",
        ),
        (
            equations.conv2d(IMAGE, (3, 3, 2, 8), groups=2),
            "z[n,i,j,u*K+k] = sum(s,t,c) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,u*C+c] * w[s,t,c,u*K+k]",
        ),
        (
            equations.conv2d((2, 4, 6, 7), (8, 4, 3, 3), layout="NCHW"),
            "z[n,k,i,j] = sum(s,t,c) x[n,c,i*SH+s*DH-PH,j*SW+t*DW-PW] * w[k,c,s,t]",
        ),
        (equations.conv1d((2, 6, 4), (3, 4, 8)), "z[n,i,k] = sum(s,c) x[n,i*S+s*D-P,c] * w[s,c,k]"),
        (
            equations.conv_transpose2d(IMAGE, (3, 3, 8, 4)),
            "z[n,p,q,c] = sum(i,j,s,t,k : i*SH+s*DH-PH == p, j*SW+t*DW-PW == q) x[n,i,j,k] * w[s,t,c,k]",
        ),
        (equations.linear((2, 5), (5, 3), (3,)), "z[n,o] = sum(q) x[n,q]*w[q,o] + b[o]"),
        (equations.max_pool(IMAGE, kernel_size=2), "z[n,i,j,c] = max(s,t) x[n,i*SH+s*DH-PH,j*SW+t*DW-PW,c]"),
        (equations.avg_pool(IMAGE, kernel_size=2), "z[n,i,j,c] = (sum(s,t) x[n,i*SH+s-PH,j*SW+t-PW,c]) / M"),
        (equations.flatten(IMAGE), "z[n,(i*Nj + j)*Nc + c] = x[n,i,j,c]"),
        (equations.relu(IMAGE), "z[n,i,j,c] = max(x[n,i,j,c], 0)"),
        (equations.mse_loss((4, 3), (4, 3)), "z = (sum(n,c) ((y[n,c] - t[n,c])**2)) / N"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_texts(system, expected):
    assert texts(system) == [expected]


def test_steps_of_batch_norm():
    assert texts(equations.batch_norm(IMAGE, (4,), (4,))) == [
        "mean[c] = (sum(n,i,j) x[n,i,j,c]) / N",
        "variance[c] = (sum(n,i,j) (x[n,i,j,c] - stop(mean[c]))**2) / N",
        "scale[c] = w[c] / sqrt(variance[c] + E)",
        "z[n,i,j,c] = (x[n,i,j,c] - mean[c])*scale[c] + b[c]",
    ]


def test_steps_of_cross_entropy():
    assert texts(equations.cross_entropy((4, 3), (4,))) == [
        "largest[n] = max(c) y[n,c]",
        "power[n,c] = exp(y[n,c] - stop(largest[n]))",
        "total[n] = sum(c) power[n,c]",
        "loss[n] = sum(c) where(t[n] == c, (log(total[n]) - (y[n,c] - stop(largest[n]))), 0)",
        "z = (sum(n) loss[n]) / N",
    ]


def test_a_reversed_lstm_of_sequences_with_lengths():
    network = equations.Recurrent("lstm", 5, bias=False, lengths=True, reverse=True)
    system = equations.recurrent(network, (2, 7, 3), network.shapes(3), (2,), state=(2, 5))
    assert texts(system) == [
        "h0r[n,T,k] = state[n,k]",
        "u0r[n,t,q,k] = sum(c) x[n,t,c]*v0r[c,q,k]",
        "a0r[n,t,q,k] = u0r[n,t,q,k] + sum(j) h0r[n,t+1,j]*w0r[j,q,k]",
        "i0r[n,t,k] = sigmoid(a0r[n,t,0,k])",
        "f0r[n,t,k] = sigmoid(a0r[n,t,1,k])",
        "g0r[n,t,k] = tanh(a0r[n,t,2,k])",
        "o0r[n,t,k] = sigmoid(a0r[n,t,3,k])",
        "c0r[n,t,k] = where(t < length[n], f0r[n,t,k]*c0r[n,t+1,k] + i0r[n,t,k]*g0r[n,t,k], c0r[n,t+1,k])",
        "m0r[n,t,k] = tanh(c0r[n,t,k])",
        "e0r[n,t,k] = o0r[n,t,k]*m0r[n,t,k]",
        "h0r[n,t,k] = where(t < length[n], e0r[n,t,k], h0r[n,t+1,k])",
        "y0r[n,t,k] = where(t < length[n], h0r[n,t,k], 0)",
    ]
    assert (system.constants, system.extents) == ({"T": 7}, {})


def test_two_directions_with_padding_and_truncated_gradients():
    network = equations.Recurrent("tanh", 5, num_layers=2, bidirectional=True, output="last", padding=0.0, truncate=3)
    system = equations.recurrent(network, (2, 7, 3), network.shapes(3))
    found = texts(system)
    assert found[:7] == [
        "far[n,t] = max(c) abs(x[n,t,c] - V)",
        "length[n] = max(t) where(far[n,t] > 0, t + 1, 0)",
        "u0[n,t,k] = sum(c) x[n,t,c]*v0[c,k] + b0[k]",
        "p0[n,t,k] = where(t % R == 0 and t > 0, stop(h0[n,t-1,k]), h0[n,t-1,k])",
        "a0[n,t,k] = u0[n,t,k] + sum(j) p0[n,t,j]*w0[j,k]",
        "e0[n,t,k] = tanh(a0[n,t,k])",
        "h0[n,t,k] = where(t < length[n], e0[n,t,k], h0[n,t-1,k])",
    ]
    assert "p0r[n,t,k] = where((L - t) % R == 0 and (L - t) > 0, stop(h0r[n,t+1,k]), h0r[n,t+1,k])" in found
    assert "y0[n,t,m] = sum(j : j == m) h0[n,t,j] + sum(e : e+K == m) h0r[n,t,e]" in found
    assert "u1r[n,t,k] = sum(c) y0[n,t,c]*v1r[c,k] + b1r[k]" in found
    assert found[-3:] == [
        "y1[n,k] = h1[n,L,k]",
        "y1r[n,k] = h1r[n,0,k]",
        "y[n,m] = sum(j : j == m) y1[n,j] + sum(e : e+K == m) y1r[n,e]",
    ]
    assert system.constants == {"L": 6, "K": 5, "R": 3, "V": 0.0}
    assert system.extents == {"m": 10}


def test_constants_and_extents_of_a_convolution():
    system = equations.conv2d(IMAGE, (3, 2, 4, 8), stride=(2, 1), padding=((1, 0), (2, 3)), dilation=(1, 2))
    assert system.constants == {"SH": 2, "DH": 1, "PH": 1, "SW": 1, "DW": 2, "PW": 2}
    assert system.extents == {"i": 3, "j": 10}


def test_the_same_equation_is_the_same_object():
    """One formula serves every stride and extent: constants are bound beside it."""
    first = equations.conv2d(IMAGE, (3, 3, 4, 8), stride=1)
    second = equations.conv2d((9, 30, 30, 4), (5, 5, 4, 2), stride=2, padding="same")
    assert first.equations[0] is second.equations[0]
    assert first.constants != second.constants


def test_every_equation_reads_back_as_it_is_rendered():
    for system in (
        equations.conv_transpose2d(IMAGE, (3, 3, 4, 4), stride=2, groups=1, flip=True),
        equations.adaptive_avg_pool(IMAGE, output_size=4),
        equations.cross_entropy((4, 3), (4,), (3,), ignore_index=-100, label_smoothing=0.1),
        equations.depth_to_space(IMAGE, block=2),
    ):
        for equation in system.equations:
            assert equations.notation.formula(render.to_text(equation)) == equation


def test_every_equation_is_documented():
    for name in equations.__all__:
        assert inspect.getdoc(getattr(equations, name)), name
