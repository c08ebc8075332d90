"""Model files that end-to-end tests serve."""

import ml_dtypes
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks import fixtures

KINDS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""Every V2 datatype."""

VALUES = {
    "BOOL": np.array([[True, False], [False, True]]),
    "FP16": np.array([[0.5, -2.0], [65504.0, 0.0]], np.float16),
    "BF16": np.array([[0.5, -2.0], [1e30, 0.0]], np.float32).astype(ml_dtypes.bfloat16),
    "FP32": np.array([[0.5, -2.0], [3e38, 1 / 3]], np.float32),
    "FP64": np.array([[0.5, -2.0], [1e300, 1 / 3]], np.float64),
    "BYTES": np.array([["", "a b"], ["ü€", "x" * 1000]], object),
} | {
    name: np.array([[np.iinfo(dtype).min, np.iinfo(dtype).max], [1, 2]], dtype)
    for name, dtype in ((kind, np.dtype(kind.lower())) for kind in KINDS if "INT" in kind)
}
"""Two rows of each, with the extremes."""


def _file(name, nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, name, inputs, outputs, list(weights))
    opset = [helper.make_opsetid("", fixtures.OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=fixtures.IR_VERSION).SerializeToString()


def identity(kind=TensorProto.FLOAT, shape=("n", "m")):
    """y = x, for any datatype."""
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", kind, shape)
    return _file("identity", [helper.make_node("Identity", ["x"], ["y"])], [x], [y])


def add_sub():
    """sum = a + b, difference = a - b: two inputs, two outputs."""
    names = [helper.make_tensor_value_info(name, TensorProto.INT32, ["n", 4]) for name in "ab"]
    outs = [helper.make_tensor_value_info(n, TensorProto.INT32, ["n", 4]) for n in ("sum", "difference")]
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    return _file("add_sub", nodes, names, outs)


def adding(number):
    """y = x + number, so that an answer says which version gave it."""
    weight = numpy_helper.from_array(np.array([number], np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    return _file("adding", [helper.make_node("Add", ["x", "w"], ["y"])], [x], [y], [weight])


def mean_over_rows():
    """Axis 0 is no batch axis: every answer depends on all rows."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
    ]
    return _file("mean", nodes, [x], [y])


def datatypes(folder):
    """An identity for each datatype, named by it."""
    for name, kind in KINDS.items():
        fixtures.write(folder, f"identity_{name.lower()}", "1", identity(kind))
