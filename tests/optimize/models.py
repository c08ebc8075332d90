"""Tiny seeded ONNX models, as exporters write them, and rows for them."""

import sys
from atexit import register
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from penstock.core.importing import find
from penstock.core.spec import ModelSpec, Signature
from penstock.engines import ENGINES
from penstock.optimize.messages import Crafted, Make
from penstock.optimize.passes import PASSES, Source
from penstock.optimize.passes.graph import operators, read
from penstock.optimize.rig import Child
from penstock.optimize.samples import Samples
from penstock.optimize.types import Artefact
from penstock.repository.spec import overlay

HIDDEN, HEADS, VOCABULARY, LONGEST = 32, 4, 50, 24
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """A graph that grows node by node; names of what it gives are made up unless told."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, *shape: int, scale: float = 0.0) -> str:
        values = self.random.normal(size=shape) * (scale or 1 / np.sqrt(shape[0]))
        return self.constant(values.astype(np.float32))

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, give: str = "", **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        out = give or f"{name}_out"
        self.nodes.append(helper.make_node(kind, inputs, [out], name, **attributes))
        return out

    def linear(self, x: str, wide: int, to: int, give: str = "") -> str:
        product = self.op("MatMul", x, self.weight(wide, to))
        return self.op("Add", self.weight(to, scale=0.1), product, give=give)

    def save(self, file: Path, inputs: Sequence[Any], outputs: Sequence[Any], opset: int = 17) -> Path:
        graph = helper.make_graph(self.nodes, "model", list(inputs), list(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save_model(model, file)
        return file


def tensor(name: str, datatype: int, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, datatype, shape)


def mlp(file: Path, wide: int = 32, seed: int = 0) -> Path:
    """``x`` FP32 [batch, 16] → ``logits`` FP32 [batch, 10]."""
    graph = Graph(seed)
    hidden = graph.op("Gemm", "x", graph.weight(16, wide), graph.weight(wide, scale=0.1))
    hidden = graph.op("Relu", hidden)
    hidden = graph.op("Gemm", hidden, graph.weight(wide, wide), graph.weight(wide, scale=0.1))
    hidden = graph.op("Relu", hidden)
    graph.op("Gemm", hidden, graph.weight(wide, 10), graph.weight(10, scale=0.1), give="logits")
    return graph.save(file, [tensor("x", FLOAT, "batch", 16)], [tensor("logits", FLOAT, "batch", 10)])


def cnn(file: Path, seed: int = 0) -> Path:
    """``image`` FP32 [batch, 1, 8, 8] → ``logits`` FP32 [batch, 10]; with batch norms, as when training."""
    graph = Graph(seed)
    x = _convolution(graph, "image", 1, 8)
    x = graph.op("MaxPool", _convolution(graph, x, 8, 16), kernel_shape=[2, 2], strides=[2, 2])
    x = graph.op("Flatten", x)
    graph.op("Gemm", x, graph.weight(256, 10), graph.weight(10, scale=0.1), give="logits")
    return graph.save(
        file, [tensor("image", FLOAT, "batch", 1, 8, 8)], [tensor("logits", FLOAT, "batch", 10)]
    )


def _convolution(graph: Graph, x: str, wide: int, to: int) -> str:
    kernel = graph.weight(to, wide, 3, 3, scale=(2 / (9 * wide)) ** 0.5)
    x = graph.op("Conv", x, kernel, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    shift, mean = graph.weight(to, scale=0.1), graph.weight(to, scale=0.1)
    scale, variance = graph.constant(np.full(to, 1.2, np.float32)), graph.constant(np.ones(to, np.float32))
    x = graph.op("BatchNormalization", x, scale, shift, mean, variance)
    return graph.op("Relu", x)


def encoder(file: Path, layers: int = 2, tokens_out: bool = False, seed: int = 0, opset: int = 17) -> Path:
    """``ids`` and ``mask`` INT64 [batch, tokens] → ``pooled`` FP32 [batch, 32], the mean of what mask leaves.

    BERT as PyTorch exports it, one operator a step. With ``tokens_out`` also ``tokens`` FP32
    [batch, tokens, 32], of the last layer.
    """
    graph = Graph(seed)
    bias = _mask_bias(graph)
    x = _normal(graph, _embed(graph), opset)
    for layer in range(layers):
        x = _normal(graph, graph.op("Add", _attention(graph, x, bias), x), opset)
        inner = _gelu(graph, graph.linear(x, HIDDEN, 2 * HIDDEN))
        x = graph.op("Add", graph.linear(inner, 2 * HIDDEN, HIDDEN), x)
        x = _normal(graph, x, opset, give="tokens" if tokens_out and layer == layers - 1 else "")
    _pool(graph, x)
    inputs = [tensor(name, INT64, "batch", "tokens") for name in ("ids", "mask")]
    outputs = [tensor("pooled", FLOAT, "batch", HIDDEN)]
    if tokens_out:
        outputs.append(tensor("tokens", FLOAT, "batch", "tokens", HIDDEN))
    return graph.save(file, inputs, outputs, opset)


def _mask_bias(graph: Graph) -> str:
    """[batch, 1, 1, tokens]: 0 where there is a token, -10000 where there is none."""
    mask = graph.op("Unsqueeze", "mask", graph.constant([1], np.int64))
    mask = graph.op("Unsqueeze", mask, graph.constant([2], np.int64))
    mask = graph.op("Cast", mask, to=FLOAT)
    mask = graph.op("Sub", graph.constant(1, np.float32), mask)
    return graph.op("Mul", mask, graph.constant(-10000, np.float32))


def _embed(graph: Graph) -> str:
    words = graph.op("Gather", graph.weight(VOCABULARY, HIDDEN, scale=1.0), "ids")
    length = graph.op("Gather", graph.op("Shape", "ids"), graph.constant(1, np.int64), axis=0)
    end = graph.op("Unsqueeze", length, graph.constant([0], np.int64))
    numbers = graph.constant(np.arange(LONGEST)[None], np.int64)
    numbers = graph.op("Slice", numbers, graph.constant([0], np.int64), end, graph.constant([1], np.int64))
    places = graph.op("Gather", graph.weight(LONGEST, HIDDEN, scale=0.3), numbers)
    return graph.op("Add", words, places)


def _attention(graph: Graph, x: str, bias: str) -> str:
    query, key, value = (_heads(graph, x, order) for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    scores = graph.op("MatMul", query, key)
    scores = graph.op("Div", scores, graph.constant((HIDDEN // HEADS) ** 0.5, np.float32))
    scores = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
    mixed = graph.op("Transpose", graph.op("MatMul", scores, value), perm=[0, 2, 1, 3])
    mixed = graph.op("Reshape", mixed, graph.constant([0, 0, HIDDEN], np.int64))
    return graph.linear(mixed, HIDDEN, HIDDEN)


def _heads(graph: Graph, x: str, order: list[int]) -> str:
    sizes = graph.op("Slice", graph.op("Shape", x), *(graph.constant([each], np.int64) for each in (0, 2)))
    rest = [graph.constant([each], np.int64) for each in (-1, HIDDEN // HEADS)]
    split = graph.op("Concat", sizes, *rest, axis=0)
    return graph.op("Transpose", graph.op("Reshape", graph.linear(x, HIDDEN, HIDDEN), split), perm=order)


def _normal(graph: Graph, x: str, opset: int, give: str = "") -> str:
    scale, shift = graph.constant(np.full(HIDDEN, 1.1, np.float32)), graph.weight(HIDDEN, scale=0.1)
    if opset >= 17:
        return graph.op("LayerNormalization", x, scale, shift, give=give, axis=-1, epsilon=1e-5)
    centred = graph.op("Sub", x, graph.op("ReduceMean", x, axes=[-1]))
    square = graph.op("Pow", centred, graph.constant(2, np.float32))
    deviation = graph.op("ReduceMean", square, axes=[-1])
    deviation = graph.op("Sqrt", graph.op("Add", deviation, graph.constant(1e-5, np.float32)))
    scaled = graph.op("Mul", graph.op("Div", centred, deviation), scale)
    return graph.op("Add", scaled, shift, give=give)


def _gelu(graph: Graph, x: str) -> str:
    root = graph.op("Sqrt", graph.constant(2, np.float32))  # left to be folded
    part = graph.op("Erf", graph.op("Div", x, root))
    part = graph.op("Mul", x, graph.op("Add", part, graph.constant(1, np.float32)))
    return graph.op("Mul", part, graph.constant(0.5, np.float32))


def _pool(graph: Graph, x: str) -> str:
    mask = graph.op("Cast", graph.op("Unsqueeze", "mask", graph.constant([-1], np.int64)), to=FLOAT)
    total = graph.op("ReduceSum", graph.op("Mul", x, mask), graph.constant([1], np.int64), keepdims=0)
    count = graph.op("ReduceSum", mask, graph.constant([1], np.int64), keepdims=0)
    count = graph.op("Max", count, graph.constant(1e-9, np.float32))
    return graph.op("Div", total, count, give="pooled")


def rows(inputs: str, count: int = 48, seed: int = 1) -> Samples:
    """Of ``mlp`` (``"x"``), ``cnn`` (``"image"``) or ``encoder`` (``"ids"``, 3 to 12 tokens of 24)."""
    random = np.random.default_rng(seed)
    if inputs == "x":
        return Samples(({"x": random.normal(size=(count, 16)).astype(np.float32)},))
    if inputs == "image":
        return Samples(({"image": random.random(size=(count, 1, 8, 8), dtype=np.float32)},))
    lengths = random.integers(3, 13, size=count)
    mask = (np.arange(LONGEST) < lengths[:, None]).astype(np.int64)
    return Samples(({"ids": random.integers(1, VOCABULARY, size=mask.shape) * mask, "mask": mask},))


def loaded(file: Path | str, engine: str = "onnx", settings: Mapping[str, Any] | None = None) -> Any:
    """A session of the file."""
    spec = overlay(ModelSpec(name="model"), settings or {})
    return find(engine, ENGINES, "engine")().open(spec, Path(file))


def signature(file: Path) -> Signature:
    found: Signature = loaded(file).signature
    return found


def source(file: Path, **told: Any) -> Source:
    """As the optimizer hands a model to a pass."""
    artefact = Artefact(name="source", file=str(file), engines=("onnx", "openvino"))
    return Source(artefact=artefact, spec=ModelSpec(name="model"), signature=signature(file), **told)


@cache
def child() -> Child:
    """In which passes are applied: their libraries warn, and change the process."""
    folder = Path(mkdtemp())
    process = Child(folder, 1, 0)
    register(rmtree, folder)
    register(process.close)
    return process


def applied(name: str, file: Path, samples: Samples, **options: Any) -> Artefact:
    """What a pass makes of a file, in a new folder beside it, applied as the optimizer does.

    Asserts that nothing else beside the source changes, and that the interface stays as it was.
    """
    told, out, data = source(file), file.parent / f"made-{name}", file.parent / "samples"
    out.mkdir()
    samples.save(data)
    before = state(file.parent)
    ask = Make(name, PASSES[name], told, options, name, str(out), str(data), tuple(sys.path))
    made = child().ask(ask, Crafted, 120).artefact
    assert state(file.parent) == before
    for engine in made.engines:
        assert told.signature == loaded(Path(made.file), engine, made.settings).signature
    return made


def state(folder: Path) -> dict[str, int]:
    """Files by the time when they were changed."""
    return {each.name: each.stat().st_mtime_ns for each in folder.iterdir() if each.is_file()}


def offers(name: str, file: Path | str, **told: Any) -> list[dict[str, Any]]:
    """The options that a pass offers for a file."""
    return [dict(each) for each in find(PASSES[name], {}, "pass")().variants(source(Path(file), **told))]


def kinds(file: Path | str) -> Counter[str]:
    """How many nodes of each kind."""
    return operators(read(Path(file)))
