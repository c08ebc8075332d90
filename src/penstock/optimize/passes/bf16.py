"""bf16 on OpenVINO: the same file, computed in half the bits where the processor has instructions for it."""

from collections.abc import Sequence
from pathlib import Path

from penstock.optimize.passes import Made, Options, Source
from penstock.optimize.passes.quantizing import require_openvino
from penstock.optimize.samples import Samples


class Bf16:
    """A setting, so it costs nothing to make; also of quantized files, whose other layers it speeds up."""

    stage = "half"

    def variants(self, source: Source, /) -> Sequence[Options]:
        if "openvino" not in source.artefact.engines or source.file.suffix not in (".onnx", ".xml"):
            return ()
        if source.device != "cpu" or source.spec.openvino.precision:
            return ()
        capable = require_openvino("bf16").Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return [{}] if "BF16" in capable else ()

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        settings = {"openvino": {"precision": "bf16"}}
        return Made(file=source.file, engines=("openvino",), settings=settings, packages=("openvino",))
