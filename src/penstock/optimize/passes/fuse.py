"""Fusion of transformers: attention, layer norms, embeddings and activations as one operator each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from onnx import ModelProto

FUSED = ("com.microsoft:Attention", "com.microsoft:MultiHeadAttention")


class Fuse:
    """By ONNX Runtime's tool, which finds more than its sessions do; OpenVINO reads the same operators."""

    stage = "fuse"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = graph.glance(source, "fuse")
        if model is None or source.did("fuse") or not _has_attention(model) or graph.is_quantized(model):
            return ()
        return ({},)

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        """Raises LoadFailed where the graph has none of the patterns that are known."""
        from onnxruntime.transformers.optimizer import optimize_by_fusion

        before = graph.read(source.file)
        # Constants must be folded for patterns to be found; the tool's own call for that imports torch.
        model = graph.rewritten(source.file, "ORT_ENABLE_BASIC")
        # 0 heads of size 0: both are read from the graph.
        fused: ModelProto = optimize_by_fusion(model, "bert", 0, 0).model
        if not _gained(graph.operators(fused), graph.operators(before)):
            raise LoadFailed(f"no transformer patterns found in {source.file.name} that can be fused")
        graph.keep_interface(fused, before)
        return Made(file=graph.write(fused, out), packages=("onnx", "onnxruntime"))


def _has_attention(model: "ModelProto") -> bool:
    """A softmax, and products of two tensors neither of which is a weight; not as one operator already."""
    kinds, weights = graph.operators(model), graph.weights(model)
    products = [node for node in graph.nodes(model.graph) if node.op_type == "MatMul"]
    free = [node for node in products if not any(name in weights for name in node.input)]
    return "Softmax" in kinds and len(free) > 1 and not any(name in kinds for name in FUSED)


def _gained(after: Counter[str], before: Counter[str]) -> bool:
    """Whether there are more operators of those that stand for several."""
    return any(
        count > before[kind]
        for kind, count in after.items()
        if kind.startswith("com.microsoft:") or kind == "LayerNormalization"
    )
