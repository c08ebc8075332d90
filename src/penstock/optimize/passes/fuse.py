"""Fusion of transformers: attention, layer norms, embeddings and activations as one operator each."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

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
        fused: ModelProto = optimize_by_fusion(model, "bert", *_heads(model)).model
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


def _heads(model: "ModelProto") -> tuple[int, int]:
    """(heads, their sizes together) of the first attention; 0 where not found, for the tool to guess.

    Its own guess fails where exporters write -1 for the heads, as PyTorch does for recent encoders.
    """
    from onnx import numpy_helper

    made, weights = {name: node for node in model.graph.node for name in node.output}, graph.weights(model)

    def back(name: str, kind: str) -> "NodeProto | None":
        """The nearest node of a kind from which this comes, by way of the inputs that are computed."""
        while (node := made.get(name)) is not None and node.op_type != kind:
            name = next((each for each in node.input if each in made), "")
        return node

    softmax = next(node for node in model.graph.node if node.op_type == "Softmax")
    scores = back(softmax.input[0], "MatMul")
    split = back(scores.input[0], "Reshape") if scores else None
    product = back(split.input[0], "MatMul") if split else None
    if split is None or product is None or product.input[1] not in weights:
        return 0, 0
    shape = made.get(split.input[1])
    last = shape.input[-1] if shape and shape.op_type == "Concat" else split.input[1]
    if last not in weights:
        return 0, 0
    wide, one = weights[product.input[1]].dims[-1], int(numpy_helper.to_array(weights[last]).flat[-1])
    return (wide // one, wide) if one > 0 and wide % one == 0 else (0, 0)


def _gained(after: Counter[str], before: Counter[str]) -> bool:
    """Whether there are more operators of those that stand for several."""
    return any(
        count > before[kind]
        for kind, count in after.items()
        if kind.startswith("com.microsoft:") or kind == "LayerNormalization"
    )
