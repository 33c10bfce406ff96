"""Which equations of a network run image by image, and why the others do not."""

from __future__ import annotations

import pytest

from network.steps import step_of
from pellucid.language.parse import parse, parse_system
from pellucid.language.syntax import Reduce, walk
from pellucid.language.system import System
from pellucid.network import Equation, Graph
from pellucid.network.graph import Concatenation, Value
from pellucid.network.images import image_values, images_stay_apart
from pellucid.network.rounds import LARGEST_PARTS, by_image, group_of, parts_of
from pellucid.schedule.machine import Machine

MACHINE = Machine("test", vector_bytes=32, registers=16, fma_rate=2, load_rate=2, latency=4, l1=32 << 10, l2=512 << 10)
CONV = "z[n,i,j,k] = sum(s,t,c) x[n,i+s,j+t,c] * w[s,t,c,k]"


def chosen(text, shapes, images=8, of_images=("x", "g")):
    """(the parts, or None where it runs as a whole; whether the value belongs to images) of the last equation."""
    graph = Graph("float32", images=images)
    known = {name: graph.input(name, shape, of_images=name in of_images) for name, shape in shapes.items()}
    for line in text.split("; "):
        formula = parse(line)
        known[formula.output.tensor] = graph.formula(formula, known)
    found = image_values(graph)
    node = graph.nodes[-1]
    assert isinstance(node, Equation)
    options = by_image(node, graph, found, MACHINE)
    if isinstance(options, str):  # why it runs as a whole
        return None, node.output in found
    assert options.outer == "n"
    return options.parts, node.output in found


@pytest.mark.parametrize(
    ("images", "parts"), [(1, 1), (2, 2), (7, 1), (8, 4), (9, 3), (11, 1), (12, 4), (14, 2), (32, 4), (50, 2)]
)
def test_parts_are_the_largest_divisor_up_to_four(images, parts):
    assert parts_of(images) == parts


@pytest.mark.parametrize(
    ("text", "shapes", "found"),
    [
        # the batch is the first index of the output and of all that belongs to images
        ("y[n,i] = max(x[n,i], 0)", {"x": (8, 5)}, (1, True)),
        ("y[n,i] = x[n,i] + g[n,i] * w[i]", {"x": (8, 5), "g": (8, 5), "w": (5,)}, (1, True)),
        (CONV, {"x": (8, 9, 9, 4), "w": (3, 3, 4, 4)}, (1, True)),
        # a sum over it is cut into parts
        ("y[i] = sum(n) x[n,i]", {"x": (8, 5)}, (4, False)),
        ("y[c,k] = sum(n) x[n,c] * g[n,k]", {"x": (8, 5), "g": (8, 6)}, (4, False)),
        # only a sum is
        ("y[i] = max(n) x[n,i]", {"x": (8, 5)}, (None, False)),
        # what follows from such a sum belongs to no image
        ("m[i] = sum(n) x[n,i]; y[i] = 2 * m[i]", {"x": (8, 5)}, (None, False)),
        # images that meet
        ("y[n,m] = sum(i) x[n,i] * x[m,i]", {"x": (8, 5)}, (None, False)),
        ("y[n,i] = x[7-n,i]", {"x": (8, 5)}, (None, False)),
        ("y[n,m] = x[n,m] * x[m,n]", {"x": (8, 8)}, (None, False)),
        # images that do not stand first
        ("y[i,n] = x[n,i]", {"x": (8, 5)}, (1, True)),
        ("y[i,n] = x[n,i]; m[i] = sum(n) y[i,n]", {"x": (8, 5)}, (4, False)),
        ("y[i,n] = x[n,i]; z[n,m] = sum(i) y[i,n] * y[i,m]", {"x": (8, 5)}, (None, False)),
        # another axis of the same extent is no batch
        ("y[a,b] = sum(c) v[a,c] * w[c,b]", {"v": (8, 8), "w": (8, 8)}, (None, False)),
    ],
)
def test_by_the_equation(text, shapes, found):
    assert chosen(text, shapes) == found


def test_images_that_stay_apart_and_images_that_meet():
    graph = Graph(images=2)
    known = {"x": graph.input("x", (2, 7, 3), of_images=True), "w": graph.input("w", (3, 3, 4))}
    known["z"] = graph.formula(parse("z[n,i,k] = sum(s,c) x[n,2*i+s,c] * w[s,c,k]"), known)
    assert images_stay_apart(graph)
    graph.view(known["z"], (2, 12))
    graph.formula(parse("norm[s] = sum(c,k) w[s,c,k]"), known)  # reads no image
    assert images_stay_apart(graph)
    graph.formula(parse("m[k] = sum(n,i) z[n,i,k]"), known)
    assert not images_stay_apart(graph)
    turned = Graph(images=2)
    turned.input("x", (2, 7), of_images=True)
    turned.formula(parse("y[i,n] = x[n,i]"), {"x": "x"})
    assert not images_stay_apart(turned)  # for who reads the first rows of y
    shifted = Graph(images=4)
    shifted.input("x", (4, 2), of_images=True)
    shifted.formula(parse("z[n,k] = x[n-1,k]"), {"x": "x"}, extents={"n": 4})
    assert not images_stay_apart(shifted)


def test_which_axis_counts_the_images():
    graph = Graph(images=4)
    known = {"x": graph.input("x", (4, 3, 5), of_images=True), "w": graph.input("w", (4, 3, 5))}
    for text in ("V[a,n,c] = sum(i) w[a,i,c] * x[n,i,c]", "M[a,c,n] = V[a,n,c] + 1", "z[n,a] = sum(c) M[a,c,n]"):
        formula = parse(text)
        known[formula.output.tensor] = graph.formula(formula, known)
    graph.view(known["V"], (4, 20))  # its rows are points
    known["u"] = graph.view(known["z"], (4, 2, 2))
    expected = {"x": 0, "V": 1, "M": 2, "z": 0, known["u"]: 0}
    assert image_values(graph) == expected
    # One behind the other: along another axis than that of the images, which is the same in all.
    for sources, axis, place in (
        (("V", "V"), 0, 1),
        (("V", "V"), 1, None),
        (("V", "M"), 0, None),
        (("V", "w"), 0, None),
    ):
        node, value = Concatenation("j", sources, axis), Value("j", (8, 4, 5), "float32")
        found = image_values(graph.replace_nodes((*graph.nodes, node), {"j": value}))
        assert found == expected | ({} if place is None else {"j": place})


def test_a_loop_over_points_mixes_images():
    """The first axis of v counts points, as many as there are images; a loop takes them for its own."""
    graph = Graph(images=4)
    graph.input("x", (4,), of_images=True)
    graph.input("w", (4,))
    known = {"v": graph.formula(parse("v[a,n] = w[a] * x[n]"), {"x": "x", "w": "w"})}
    graph.system(System(parse_system("h[n,t] = v[n,t] + h[n,t-1]"), "h"), known)
    assert image_values(graph) == {"x": 0, "v": 1}


def test_groups_fill_the_loops_whichever_axis_counts_the_images():
    graph = Graph(images=64)
    graph.input("x", (64, 8, 8, 4), of_images=True)
    first = graph.formula(parse("y[n,i,j,c] = 2*x[n,i,j,c]"), {"x": "x"})
    graph.formula(parse("z[i,n,j,c] = 2*y[n,i,j,c]"), {"y": first})
    graph.formula(parse("u[i,n,j,c] = 2*z[i,n,j,c]"), {"z": "z"})
    found = image_values(graph)
    assert [group_of(node, graph, found) for node in graph.nodes if isinstance(node, Equation)] == [4, 4, 4]


def test_one_image_and_an_odd_number():
    assert chosen("y[n,i] = x[n,i]", {"x": (1, 5)}, images=1)[0] is None
    assert chosen("y[i] = sum(n) x[n,i]", {"x": (11, 5)}, images=11)[0] is None  # 11 has no divisor
    assert chosen("y[i] = sum(n) x[n,i]", {"x": (9, 5)}, images=9)[0] == 3


def test_weights_that_cost_more_than_the_arithmetic_of_an_image():
    """A fully connected layer reads every weight once an image; a convolution uses each many times."""
    assert chosen("y[n,o] = sum(q) x[n,q] * w[q,o]", {"x": (8, 512), "w": (512, 512)})[0] is None
    assert chosen("y[n,o] = sum(q) x[n,q] * w[q,o]", {"x": (8, 64), "w": (64, 64)})[0] == 1  # they stay in the cache
    assert chosen(CONV, {"x": (8, 16, 16, 64), "w": (3, 3, 64, 64)})[0] == 1
    assert chosen(CONV, {"x": (8, 3, 3, 512), "w": (3, 3, 512, 512)})[0] is None


def test_parts_that_would_be_large():
    side = 1 + int((LARGEST_PARTS / 4 / 4) ** 0.5)
    shapes = {"x": (8, 900, side), "g": (8, 900, side)}
    assert chosen("y[c,k] = sum(n,i) x[n,i,c] * g[n,i,k]", shapes)[0] is None


@pytest.mark.parametrize("name", ["lenet5", "six convolutions"])
def test_convolutions_of_a_network_run_image_by_image(name):
    graph, _, _ = step_of(name, 8, "direct")
    of_images = image_values(graph)
    maps = [
        node
        for node in graph.nodes
        if isinstance(node, Equation)
        and len(graph.values[node.output].shape) == 4
        and any(isinstance(part, Reduce) for part in walk(node.formula.body))
        and node.output in of_images
    ]
    assert len(maps) > 5  # convolutions and pools, forward and dx
    assert not [why for node in maps if isinstance(why := by_image(node, graph, of_images, MACHINE), str)]
