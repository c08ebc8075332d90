"""What the passes by NNCF share: OpenVINO's graph of a file, samples as it takes them, what to tell it."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.core.errors import LoadFailed
from penstock.engines.require import without
from penstock.optimize.passes import Made, Source
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from openvino import Model

FILE = "model.xml"
PACKAGES = ("nncf", "openvino")
PRODUCTS = ("MatMul", "Convolution", "GroupConvolution", "ConvolutionBackpropData")
"""Kinds of OpenVINO's nodes that are worth quantizing."""
ROWS = 300
"""That calibrate, NNCF's own default."""


def require_openvino(name: str) -> Any:
    """The package; raises LoadFailed that says which pass needs it and what to install.

    With the package for telemetry there it would send word of its use to Google.
    """
    try:
        with without("openvino_telemetry"):
            import openvino
    except ModuleNotFoundError as error:
        raise LoadFailed(f"pass {name!r} needs OpenVINO: pip install 'penstock[optimize]'") from error
    return openvino


def require_nncf(name: str) -> Any:
    """NNCF, silent but for errors; raises LoadFailed as ``require_openvino`` does."""
    require_openvino(name)
    kind = logging.getLoggerClass()
    try:
        with without("openvino_telemetry"):
            import nncf
            from rich import get_console
    except ModuleNotFoundError as error:
        raise LoadFailed(f"pass {name!r} needs NNCF: pip install 'penstock[optimize]'") from error
    finally:
        logging.setLoggerClass(kind)  # it would make all loggers of its own kind
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its own way would silence handlers that are not its
    get_console().quiet = True  # which its progress bars are drawn on
    return nncf


def glance(source: Source, name: str) -> "Model | None":
    """OpenVINO's graph for pass ``name``; None where it reads no such file, or not for the CPU in f32."""
    readable = source.file.suffix in (".onnx", ".xml") and "openvino" in source.artefact.engines
    if not readable or source.device != "cpu" or source.spec.openvino.precision:
        return None
    core = require_openvino(name).Core()
    try:
        model: Model = core.read_model(source.file)
    except RuntimeError:
        return None  # of operators that it lacks, as trees have
    return model


def kinds(model: "Model") -> list[str]:
    """Of all its nodes."""
    return [op.get_type_name() for op in model.get_ops()]


def can_be_quantized(model: "Model") -> bool:
    """Whether there are products, and none is quantized yet."""
    there = kinds(model)
    return any(kind in PRODUCTS for kind in there) and "FakeQuantize" not in there and not _integers(model)


def _integers(model: "Model") -> bool:
    """Whether weights are kept as integers of 8 bits or less."""
    return any(kind in ("i8", "u8", "i4", "u4", "nf4") for kind, _ in _weights(model))


def _weights(model: "Model") -> list[tuple[str, int]]:
    """(datatype, bytes) of constants that have two axes or more: matrices, kernels, embeddings."""
    constants = (op for op in model.get_ops() if op.get_type_name() == "Constant")
    return [
        (op.get_element_type().get_type_name(), op.get_byte_size())
        for op in constants
        if len(op.get_output_shape(0)) > 1
    ]


def is_transformer(model: "Model") -> bool:
    """Whether there is attention, for which NNCF has rules of its own (what stays float, SmoothQuant)."""
    if "ScaledDotProductAttention" in kinds(model):
        return True
    shares = (op.output(0) for op in model.get_ops() if op.get_type_name() == "Softmax")
    return any(
        reader.get_node().get_type_name() == "MatMul"
        for share in shares
        for reader in share.get_target_inputs()
    )


def unit(source: Source) -> int:
    """Rows of the least batch: 1, or what axis 0 is fixed to."""
    return max([1, *(spec.shape[0] for spec in source.signature.inputs if spec.shape)])


def batches(source: Source, samples: Samples, most: int = ROWS) -> list[dict[str, Any]]:
    """The least batches with their own shapes, by input name."""
    rows = unit(source)
    found = (dict(batch) for batch in samples.batches(rows))
    return [batch for batch in found if len(next(iter(batch.values()))) == rows][:most]


def told(nncf: Any, model: "Model", ranges: str = "mean") -> dict[str, Any]:
    """Arguments of quantization; ``ranges`` of activations are the ``mean`` of the rows', or hold ``all``.

    The mean lets go of outliers, which serves most networks; where they matter it clips what counts.

    Performance: weights and activations symmetric, which is what kernels are fastest with.
    The mixed preset with full bias correction fell to a cosine of 0.85 on a sentence encoder without any
    error; so neither is used.
    """
    return {
        "preset": nncf.QuantizationPreset.PERFORMANCE,
        "fast_bias_correction": True,
        "model_type": nncf.ModelType.TRANSFORMER if is_transformer(model) else None,
        "advanced_parameters": _advanced(nncf) if ranges == "all" else None,
    }


def _advanced(nncf: Any) -> Any:
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
    )


def save(model: "Model", out: Path, name: str) -> Made:
    """As OpenVINO IR, its floats as they are."""
    require_openvino(name).save_model(model, out / FILE, compress_to_fp16=False)
    return Made(file=out / FILE, engines=("openvino",), packages=PACKAGES)


def weight_bytes(model: "Model") -> int:
    """Of those that are floats."""
    return sum(size for kind, size in _weights(model) if kind in ("f32", "f16"))
