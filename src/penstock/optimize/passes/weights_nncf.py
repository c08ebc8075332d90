"""Weights alone in 8 or 4 bits by NNCF, for OpenVINO: where reading them is what takes the time."""

from collections.abc import Sequence
from pathlib import Path

from penstock.optimize.passes import Made, Options, Source, quantizing
from penstock.optimize.samples import Samples

LEAST = 16 << 20
"""Bytes of weights below which they stay in a processor's caches, and nothing is to be gained."""
MODES = {8: "INT8_ASYM", 4: "INT4_SYM"}


class WeightsNncf:
    """Rounded without samples; activations stay as they are."""

    stage = "weights"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = quantizing.glance(source, "weights-nncf")
        if model is None or not quantizing.can_be_quantized(model) or quantizing.weight_bytes(model) < LEAST:
            return ()
        quantizing.require_nncf("weights-nncf")
        return [{"bits": bits} for bits in MODES]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        nncf = quantizing.require_nncf("weights-nncf")
        plain = quantizing.require_openvino("weights-nncf").Core().read_model(source.file)
        mode = getattr(nncf.CompressWeightsMode, MODES[int(options["bits"])])
        # Groups of 128 that share a scale, smaller ones where a layer's width is no multiple of that.
        fit = nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST)
        small = {"all_layers": True, "advanced_parameters": fit} if mode.name.startswith("INT4") else {}
        return quantizing.save(nncf.compress_weights(plain, mode=mode, **small), out, "weights-nncf")
