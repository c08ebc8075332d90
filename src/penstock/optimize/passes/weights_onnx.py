"""Weights alone in 8 or 4 bits by ONNX Runtime: for matrices that are large enough to be slow to read."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.core.errors import LoadFailed
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from onnx import ModelProto

LEAST = 16 << 20
"""Bytes of matrices below which they stay in a processor's caches, and nothing is to be gained."""
BLOCK = 32
"""Weights that share a scale: the finest that all of ONNX Runtime's kernels have."""
ACCURACY = 4
"""Activations are multiplied as int8, with scales by row and block, so that rows stay independent."""


class WeightsOnnx:
    """Rounded to nearest, without samples."""

    stage = "weights"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = graph.glance(source, "weights-onnx")
        if model is None or graph.is_quantized(model) or _matrices(model) < LEAST:
            return ()
        if find_spec("onnx_ir") is None:
            raise LoadFailed("pass 'weights-onnx' needs onnx-ir: pip install onnx-ir")
        return [{"bits": 8}, {"bits": 4}]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        from onnxruntime.quantization.onnx_model import ONNXModel

        before = graph.read(source.file)
        products = ONNXModel(graph.read(source.file))
        products.replace_gemm_with_matmul()
        quantizer = MatMulNBitsQuantizer(
            products.model, int(options["bits"]), BLOCK, is_symmetric=True, accuracy_level=ACCURACY
        )
        quantizer.process()
        model: ModelProto = quantizer.model.model
        graph.keep_interface(model, before)
        packages = ("onnx", "onnxruntime", "onnx-ir")
        return Made(file=graph.write(model, out), engines=("onnx",), packages=packages)


def _matrices(model: "ModelProto") -> int:
    """Bytes of weights that are multiplied, each counted once."""
    found = graph.weights(model)
    products = [node for node in graph.nodes(model.graph) if node.op_type in ("MatMul", "Gemm")]
    names = {name for node in products for name in node.input[1:2] if name in found}
    return sum(graph.size(found[name]) for name in names if found[name].data_type == graph.FLOAT)
