"""Model files for tests and benchmarks: TINY, MEDIUM and models of a wanted size."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9  # opset 17's own, so that older runtimes read the files too


class _Graph:
    """A chain of nodes from ``x`` to ``y`` with seeded weights."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._last = "x"

    def weight(self, *shape: int) -> str:
        """Normal values, scaled so that the signal keeps its size (He et al. 2015)."""
        fan_in = max(1, int(np.prod(shape[1:])) if len(shape) == 4 else shape[0])
        values = self._rng.standard_normal(shape, dtype=np.float32) * np.float32((2 / fan_in) ** 0.5)
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, *inputs: str, out: str = "", **attributes: Any) -> None:
        out = out or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, [self._last, *inputs], [out], **attributes))
        self._last = out

    def model(self, name: str, x: tuple[int, ...], y: tuple[int, ...]) -> bytes:
        """The file; ``x`` and ``y`` are shapes without the batch axis."""
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *x])]
        outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *y])]
        graph = helper.make_graph(self._nodes, name, inputs, outputs, self._weights)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        data: bytes = model.SerializeToString()
        return data


def _dense(graph: _Graph, wide: int, out: int) -> None:
    graph.add("MatMul", graph.weight(wide, out))
    graph.add("Add", graph.weight(out))


def tiny(seed: int = 0) -> bytes:
    """TINY: an MLP 32 → 64 → 10 with relu and softmax; about 5 to 10 µs a run."""
    graph = _Graph(seed)
    _dense(graph, 32, 64)
    graph.add("Relu")
    _dense(graph, 64, 10)
    graph.add("Softmax", out="y", axis=-1)
    return graph.model("tiny", (32,), (10,))


def medium(seed: int = 0) -> bytes:
    """MEDIUM: an eight-layer convnet over 3×64×64 images (0.54 GMAC); about 3 ms a row on one thread."""
    return _convnet("medium", seed, size=64, widths=(96, 192, 288, 384))


def _convnet(name: str, seed: int, size: int, widths: tuple[int, ...]) -> bytes:
    """Two 3×3 convolutions a stage, each stage at half the size of the last; then a classifier."""
    graph = _Graph(seed)
    channels = 3
    for width in widths:
        for stride in (2, 1):
            graph.add(
                "Conv", graph.weight(width, channels, 3, 3), strides=[stride, stride], pads=[1, 1, 1, 1]
            )
            graph.add("Relu")
            channels = width
    graph.add("GlobalAveragePool")
    graph.add("Flatten", axis=1)
    _dense(graph, channels, 10)
    graph.add("Softmax", out="y", axis=-1)
    return graph.model(name, (3, size, size), (10,))


def sized(megabytes: float, seed: int = 0) -> bytes:
    """A chain of square layers whose weights take about so many MB."""
    wide = 256
    graph = _Graph(seed)
    for _ in range(max(1, round(megabytes * 1e6 / (4 * wide * wide)))):
        graph.add("MatMul", graph.weight(wide, wide))
    graph.add("Softmax", out="y", axis=-1)
    return graph.model("sized", (wide,), (wide,))


def write(repo_dir: Path, name: str, version: str, data: bytes) -> Path:
    """``<repo_dir>/<name>/<version>/model.onnx``; returns the file's path."""
    path = Path(repo_dir) / name / version / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
