"""Offline optimization: the graph as ONNX Runtime would fuse it at every load, saved once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from onnx import ModelProto

OPTION = "graph_optimization_level"
LEVEL = "ORT_ENABLE_EXTENDED"
"""Not ORT_ENABLE_ALL, which would save a layout (NCHWc) for this processor, while a variant may be moved."""


class Offline:
    """For ONNX Runtime on the CPU alone, as the file has its own operators."""

    stage = "offline"

    def variants(self, source: Source, /) -> Sequence[Options]:
        if not source.device.startswith("cpu") or "onnx" not in source.artefact.engines:
            return ()
        return () if graph.glance(source, "offline") is None or source.did("offline") else ({},)

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed where a model holds weights in half precision."""
        model = graph.rewritten(source.file, LEVEL)
        graph.keep_interface(model, graph.read(source.file))
        file = graph.write(model, out)
        settings = {} if _has_layout(model) else {"onnx": {"session": {OPTION: "ORT_DISABLE_ALL"}}}
        return Made(file=file, engines=("onnx",), settings=settings, packages=("onnx", "onnxruntime"))


def _has_layout(model: "ModelProto") -> bool:
    """Whether operators are left whose layout ONNX Runtime is to choose at load."""
    return any("Conv" in kind or "Pool" in kind for kind in graph.operators(model))
