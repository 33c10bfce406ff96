"""What is said of each rule that a file breaks, word for word."""

from __future__ import annotations

import onnx
import pytest

from exchange.onnx.reading.hostile import cases
from pellucid.errors import PellucidError
from pellucid.exchange.onnx.reading import Limits, read

CASES = {case.name: case for case in cases("read")}
MEMORY = 1 << 33  # stands in messages; the default is the machine's

# After the name of the file; VERSION and NEWEST are those of the installed onnx.
MESSAGES = {
    "convolutional cut after 1": "is damaged or cut short at byte 1",
    "convolutional cut after 144": (
        "is damaged or cut short: the field at byte 9 ends at byte 2,313, what it stands in at byte 144"
    ),
    "empty file": "is empty",
    "text": "is not an ONNX file: no field of protobuf at byte 0",
    "zeros": "is not an ONNX file: Error parsing message with type 'onnx.ModelProto': Wire format was corrupt",
    "endless number": "is not an ONNX file: no number of protobuf at byte 1",
    "graphs inside graphs": "has more than 100 messages inside each other",
    "four million empty nodes": "has more than 1,000,000 fields",
    "names that are not UTF-8": "the name of node number 0 is not UTF-8",
    "a pipe": "is not a file",
    "a link to nothing": "cannot be read: No such file or directory",
    "a file of 64 GiB": "has 68,719,476,736 bytes, at most 2,147,483,647 are read",
    "tensor of a negative extent": "initialiser 'w': has shape (4, -3, 3, 3), extents must not be negative",
    "tensor of a gigantic extent": (
        "initialiser 'w': FLOAT of shape (9223372036854775807,) takes more than the 8,589,934,592 bytes that "
        "all arrays may take"
    ),
    "tensor of gigantic extents beside a 0": (
        "initialiser 'w': FLOAT of shape (0, 9223372036854775807, 9223372036854775807) takes more than the "
        "8,589,934,592 bytes that all arrays may take"
    ),
    "tensor of an extent of 2^31": (
        "initialiser 'w': has 432 bytes of data, FLOAT of shape (2147483648,) has 8,589,934,592"
    ),
    "tensor of a hundred axes": "initialiser 'w': has 100 axes, at most 32 are read",
    "tensor of type 999": "initialiser 'w': has element type 999, which ONNX does not have",
    "a gigantic constant": (
        "node 'the_node' (Constant), attribute 'value': FLOAT of shape (1099511627776,) takes more than the "
        "8,589,934,592 bytes that all arrays may take"
    ),
    "raw data cut short": "initialiser 'w': has 431 bytes of data, FLOAT of shape (4, 3, 3, 3) has 432",
    "no data": "initialiser 'w': has 0 entries of float_data, FLOAT of shape (4, 3, 3, 3) has 108",
    "a float too many": "initialiser 'w': has 109 entries of float_data, FLOAT of shape (4, 3, 3, 3) has 108",
    "raw data and floats": "initialiser 'w': must hold its data in one field, holds float_data and raw_data",
    "floats in a field of doubles": "initialiser 'w': holds double_data, elements of type FLOAT stand in float_data",
    "a segment": "initialiser 'w': is a segment of a tensor, which must be whole",
    "INT4 of [5] with raw_data b'\\x00\\x00'": "initialiser 'w': has 2 bytes of data, INT4 of shape (5,) has 3",
    "INT8 of [1] with int32_data [128]": "initialiser 'w': INT8 in int32_data has 128, must be -128 to 127",
    "BOOL of [2] with raw_data b'\\x01\\x02'": "initialiser 'w': booleans must be 0 or 1, has 2",
    "COMPLEX64 of [2] with float_data [0.0, 0.0, 0.0]": (
        "initialiser 'w': has 3 entries of float_data, COMPLEX64 of shape (2,) has 4"
    ),
    "STRING of [1] with string_data [b'\\xff']": "initialiser 'w': a string is not UTF-8",
    "sparse tensor with an index outside": "initialiser 's': index 8 lies outside shape (8,)",
    "sparse tensor with an index twice": "initialiser 's': indices must ascend, each once; index number 1 does not",
    "sparse tensor with indices of three axes": (
        "initialiser 's': values (2,) and indices (2, 3) must be (n,) and (n,) or (n, 2)"
    ),
    "sparse tensor with indices that are floats": "initialiser 's': indices must be INT64, are FLOAT",
    "external data at '../weights.bin'": (
        "initialiser 'w': the location of its external data must be a path inside the model's folder, is "
        "'../weights.bin'"
    ),
    "external data at '/etc/passwd'": (
        "initialiser 'w': the location of its external data must be a path inside the model's folder, is '/etc/passwd'"
    ),
    "external data at 'missing.bin'": (
        "initialiser 'w': external data 'missing.bin' cannot be read: No such file or directory"
    ),
    "external data at 'inner'": "initialiser 'w': external data 'inner' is not a file",
    "external data with a negative offset": (
        "initialiser 'w': offset of its external data must be a whole number of bytes, is '-1'"
    ),
    "external data with a length too short": (
        "initialiser 'w': its external data has length 323, the tensor has 324 bytes"
    ),
    "external data with an offset that leaves too little": (
        "initialiser 'w': external data 'weights.bin' has 324 bytes, 324 bytes from 1 on reach beyond them"
    ),
    "external data with two locations": "initialiser 'w': its external data has 'location' twice",
    "external data and raw data": "initialiser 'w': must hold its data, or name a file with external data, not both",
    "external data of strings": "initialiser 'w': strings must not be external data",
    "external data in a symbolic link to a file inside": (
        "initialiser 'w': external data 'weights.bin' leads through a symbolic link"
    ),
    "external data in a folder that is a symbolic link": (
        "initialiser 'w': external data 'inner/weights.bin' leads through a symbolic link"
    ),
    "external data in a hard link": (
        "initialiser 'w': external data 'weights.bin' is a hard link: the file has 2 names, must have one"
    ),
    "external data in a pipe": "initialiser 'w': external data 'weights.bin' is not a file",
    "opset 9999": "imports opset 9999; opsets 7 to NEWEST can be read with onnx VERSION",
    "opset 6": "imports opset 6; opsets 7 to NEWEST can be read with onnx VERSION",
    "opset 0": "imports version 0 of ONNX's own domain, versions begin at 1",
    "ir_version 9999": "has ir_version 9999; versions 3 to NEWEST can be read with onnx VERSION",
    "no ir_version": "has ir_version 0, versions begin at 1",
    "no opset": "imports no operator set",
    "two opsets by two names": "imports ONNX's own domain twice, as version 17 and as version 13",
    "a negative version of a domain": "imports version -5 of domain 'other', versions begin at 1",
    "a domain that is not imported": "node 'conv' (Conv): domain 'other' is not imported",
    "no graph": "has no graph",
    "no outputs": "the graph has no outputs",
    "no nodes": "nothing makes the output 'y'",
    "a node that reads itself": "nodes must not wait for each other: node 'y-y' (Relu) -> node 'y-y' (Relu)",
    "two nodes in a cycle": (
        "nodes must not wait for each other: node 'y-a' (Relu) -> node 'a-y' (Relu) -> node 'y-a' (Relu)"
    ),
    "a value that nothing makes": "node 'z-y' (Relu) reads 'z', which nothing makes",
    "a value made twice": "node 'x-y_1' (Relu) makes 'y', which node 'x-y' (Relu) makes",
    "a node that makes an input": "node 'x-x' (Relu) makes 'x', which is an input or initialiser",
    "an initialiser twice": "the initialiser 'w' is there twice",
    "an initialiser without a name": "an initialiser has no name",
    "an input twice": "the input 'x' is there twice",
    "a node without an operator": "node number 0 has no operator",
    "an operator that a terminal would obey": (
        "node 'conv' ('\\x1b]0;title\\x07'): the name of the operator has signs that cannot be printed"
    ),
    "a node whose name a terminal would obey": "node '\\x1b]0;title\\x07' (Conv): domain 'no' is not imported",
    "a gigantic name of a node": "the name of node number 0 has 5,000,000 characters, at most 2,048 are read",
    "110,000 nodes": "has 110,000 nodes, at most 100,000 are read",
    "300,000 names without a letter": "node number 6 has no operator",
    "input of no type": "input 'x': has no type",
    "input of type 77": "input 'x': has element type 77, which ONNX does not have",
    "output of a negative extent": "output 'y': has shape (1, -3), extents must not be negative",
    "input of a sequence": "input 'x': is a sequence; only tensors are supported",
    "output of an optional": "output 'y': is optional; only tensors are supported",
    "an input without a name": "an input of the graph has no name",
    "attribute declared as integers that is a number": (
        "node 'the_node' (Relu), attribute 'a': is declared as INTS, which stands in field `ints`, and has `i`"
    ),
    "attribute declared as a tensor without one": (
        "node 'the_node' (Relu), attribute 'a': is declared as TENSOR and has no value"
    ),
    "attribute without a type": "node 'the_node' (Relu), attribute 'a': has no type",
    "attribute without a name": "node 'the_node' (Relu): has an attribute without a name",
    "attribute twice": "node 'the_node' (Relu): has the attribute 'a' twice",
    "attribute that is not UTF-8": "node 'the_node' (Relu), attribute 'a' is not UTF-8",
    "attribute that refers to a function, outside": (
        "node 'the_node' (Relu), attribute 'a': refers to the attribute 'b' of a function, and is in none"
    ),
    "attribute 3,000 times": "node 'the_node' (Relu): has more than 256 attributes",
    "a chain of 100 functions": "has 101 calls inside each other when functions are written out; at most 64 are read",
    "a chain of 60 functions that double": (
        "has 3,458,764,513,820,540,927 nodes and calls when functions are written out; at most 100,000 are read"
    ),
    "a chain of 5,000 functions that double": (
        "has more than 2^63 nodes and calls when functions are written out; at most 100,000 are read"
    ),
    "5,000 calls of a function of 2,000 inputs": (
        "has 10,015,002 inputs, outputs and attributes of nodes when functions are written out; at most "
        "1,000,000 are read"
    ),
    "a function that calls itself": "functions must not call themselves: function 'local.f0' -> function 'local.f0'",
    "two functions that call each other": (
        "functions must not call themselves: function 'local.f0' -> function 'local.f1' -> function 'local.f0'"
    ),
    "a call with too many inputs": "node number 0 (f0): has 2 inputs, function 'local.f0' has 1",
    "a call with an attribute that is not there": (
        "node number 0 (f0): gives the attribute 'size', which function 'local.f0' does not have"
    ),
    "a function twice": "function 'local.f0' is there twice",
    "a function without a name": "a function has no name",
    "a function that reads what is outside": (
        "function 'local.f0': node number 0 (Relu) reads 'outside', which nothing makes"
    ),
    "a function whose output nothing makes": "function 'local.f0': nothing makes its output 'missing'",
    "a function that makes a value twice": (
        "function 'local.f0': node number 1 (Relu) makes 'v1', which is there already"
    ),
    "a function with an input twice": "function 'local.f0': has the input 'a' twice, or without a name",
    "a function without an opset": "function 'local.f0': imports no operator set",
    "a function that declares an attribute twice": "function 'local.f0': declares an attribute twice",
    "a function that gives an input that is left out": (
        "node number 0 (f0): takes the output 'a', an input that it leaves out"
    ),
    "a call whose attribute has another type": (
        "function 'local.block': node 'conv' (Conv), attribute 'kernel_shape': must be INTS, and the call gives FLOAT"
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str, tmp_path):
    path = CASES[name].write(tmp_path)
    with pytest.raises(PellucidError) as caught:
        read(path, limits=Limits(memory=MEMORY))
    newest = onnx.IR_VERSION if "ir_version" in name else onnx.defs.onnx_opset_version()
    expected = MESSAGES[name].replace("VERSION", onnx.__version__).replace("NEWEST", str(newest))
    assert str(caught.value) == f"{path}: {expected}"
