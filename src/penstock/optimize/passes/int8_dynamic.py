"""Dynamic int8 by ONNX Runtime: weights quantized in the file, activations at each run by what they are."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from penstock.core import machine
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples


class Int8Dynamic:
    """For products of matrices alone, and for rows alone.

    A batch has one scale for the activations of all its rows, so that they change each other's answers.
    """

    stage = "int8"

    def variants(self, source: Source, /) -> Sequence[Options]:
        """Nothing for models with convolutions, which come out 4 to 15 times slower."""
        model = graph.glance(source, "int8-dynamic")
        if model is None or any("Conv" in kind for kind in graph.operators(model)):
            return ()
        return ({},) if graph.can_be_quantized(model, "MatMul", "Gemm") else ()

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        before = graph.read(source.file)
        with TemporaryDirectory(dir=Path.cwd()) as folder:
            done = Path(folder, "quantized.onnx")
            # Without Gemm, of which ONNX Runtime makes MatMul and Add where it quantizes them.
            quantize_dynamic(
                graph.rewritten(source.file, "ORT_ENABLE_BASIC"),
                done,
                op_types_to_quantize=["MatMul"],
                per_channel=True,
                reduce_range=machine.overflows_int8(),
                weight_type=QuantType.QInt8,
                use_external_data_format=graph.weight_bytes(before) > graph.LARGEST,
            )
            model = graph.read(done)
        graph.keep_interface(model, before)
        file = graph.write(model, out)
        return Made(file=file, engines=("onnx",), alone=True, packages=("onnx", "onnxruntime"))
