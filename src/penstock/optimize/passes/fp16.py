"""Half precision in the file: weights and sums as FP16, for ONNX Runtime on GPUs."""

from collections.abc import Sequence
from pathlib import Path

from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples


class Fp16:
    """Inputs and outputs stay as they are; operators that are known to overflow stay in single precision."""

    stage = "half"

    def variants(self, source: Source, /) -> Sequence[Options]:
        """Nothing for CPUs, which have no kernels for it: each operator would be cast forth and back."""
        if source.device.startswith("cpu"):
            return ()
        model = graph.glance(source, "fp16")
        if model is None or graph.is_quantized(model) or not graph.has_weights(model, "FLOAT"):
            return ()
        if source.did("fp16") or graph.has_weights(model, "FLOAT16", "BFLOAT16"):
            return ()
        return ({},)

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        before = graph.read(source.file)
        large = graph.weight_bytes(before) > graph.LARGEST
        model = convert_float_to_float16(
            graph.read(source.file),
            keep_io_types=True,
            disable_shape_infer=large,  # which would serialize the model
        )
        graph.keep_interface(model, before)
        file = graph.write(model, out)
        # OpenVINO halves by itself where that is faster, and calls inputs by the names behind the casts.
        return Made(file=file, engines=("onnx",), packages=("onnx", "onnxruntime"))
