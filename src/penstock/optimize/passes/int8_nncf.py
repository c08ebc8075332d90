"""Static int8 by NNCF: for OpenVINO, and as an ONNX file that ONNX Runtime reads as well."""

from collections.abc import Sequence
from pathlib import Path

from penstock.optimize.passes import Made, Options, Source, graph, quantizing
from penstock.optimize.samples import Samples


class Int8Nncf:
    """Post-training quantization of weights (per channel) and activations.

    The same int8 file gives other answers on another engine, so each engine is judged by itself.
    """

    stage = "int8"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = quantizing.glance(source, "int8-nncf")
        if model is None or not quantizing.can_be_quantized(model):
            return ()
        quantizing.require_nncf("int8-nncf")
        either: list[Options] = [{"to": "onnx", "ranges": "all"}] if graph.is_onnx(source) else []
        return [{"to": "openvino", "ranges": "mean"}, {"to": "openvino", "ranges": "all"}, *either]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        nncf = quantizing.require_nncf("int8-nncf")
        plain = quantizing.require_openvino("int8-nncf").Core().read_model(source.file)
        rows = quantizing.batches(source, samples)
        told = quantizing.told(nncf, plain, str(options["ranges"])) | {"subset_size": len(rows)}
        if options["to"] == "openvino":
            return quantizing.save(nncf.quantize(plain, nncf.Dataset(rows), **told), out, "int8-nncf")
        before = graph.read(source.file)
        model = nncf.quantize(graph.read(source.file), nncf.Dataset(rows), **told)
        graph.keep_interface(model, before)
        return Made(file=graph.write(model, out), packages=("nncf", "onnx"))
