"""Static int8 by ONNX Runtime: weights and activations quantized by what samples show, as QDQ nodes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from penstock.core import machine
from penstock.core.errors import LoadFailed
from penstock.core.types import Tensors
from penstock.optimize.passes import Made, Options, Source, graph
from penstock.optimize.samples import Samples

if TYPE_CHECKING:
    from onnx import ModelProto

CALIBRATORS = {"minmax": "MinMax", "percentile": "Percentile", "entropy": "Entropy"}
"""ONNX Runtime's names; extremes as they are, without the outermost of 100,000, or with least loss."""
ROWS = {"minmax": 300, "percentile": 128, "entropy": 128}
BATCH = 16
"""Rows whose activations are held at once, all layers' of them."""
PRODUCTS = ("MatMul", "Gemm")
CONVOLUTIONS = ("Conv", "ConvTranspose")
BETWEEN = ("Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Relu", "Resize")
"""What stays in int8 from one convolution to the next; norms, softmax and activations stay float."""
OPTIONS = {
    # Sums leave as floats for what comes next, which saves rounding them twice.
    "OpTypesToExcludeOutputQuantization": list(PRODUCTS),
    "CalibTensorRangeSymmetric": False,
    # Batch after batch, so that memory is bounded; not for minmax alone, whatever its name.
    "CalibStridedMinMax": 1,
}


class Int8Onnx:
    """Per channel; unsigned activations and signed weights, as x86's VNNI multiplies them."""

    stage = "int8"

    def variants(self, source: Source, /) -> Sequence[Options]:
        model = graph.glance(source, "int8-onnx")
        if model is None or not graph.can_be_quantized(model, *PRODUCTS, *CONVOLUTIONS):
            return ()
        return [{"calibrate": each} for each in CALIBRATORS]

    def apply(self, source: Source, options: Options, out: Path, samples: Samples, /) -> Made:
        calibrate = str(options["calibrate"])
        before = graph.read(source.file)
        with TemporaryDirectory(dir=Path.cwd()) as folder:
            prepared, done = Path(folder, "prepared.onnx"), Path(folder, "quantized.onnx")
            plain = graph.rewritten(source.file, "ORT_ENABLE_BASIC")
            _flatten_biases(plain)
            _prepare(plain, prepared)
            _quantize(prepared, done, calibrate, samples)
            model = graph.read(done)
        if not graph.is_quantized(model):
            raise LoadFailed(f"ONNX Runtime found nothing to quantize in {source.file.name}")
        if not graph.has(before, *CONVOLUTIONS):
            _spare_others(model)
        graph.keep_interface(model, before)
        return Made(file=graph.write(model, out), packages=("onnx", "onnxruntime"))


def _flatten_biases(model: "ModelProto") -> None:
    """[1, n] to [n], which means the same; scikit-learn's converter writes the former.

    ONNX Runtime 1.32 breaks as it fits scales to such a bias, and OpenVINO refuses it once it is quantized.
    """
    gemms = [node for node in model.graph.node if node.op_type == "Gemm" and len(node.input) > 2]
    readers = Counter(name for node in graph.nodes(model.graph) for name in node.input)
    found = {each.name: each for each in model.graph.initializer}
    for node in gemms:
        bias = found.get(node.input[2])
        if bias is not None and len(bias.dims) == 2 and bias.dims[0] == 1 and readers[bias.name] == 1:
            del bias.dims[0]


def _prepare(model: "ModelProto", file: Path) -> None:
    """With all shapes that can be found, as what has none stays float; and with names for all nodes."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    for at, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}.{at}"
    large = graph.weight_bytes(model) > graph.LARGEST
    told: dict[str, Any] = {"skip_optimization": True, "save_as_external_data": large}
    try:
        quant_pre_process(model, file, auto_merge=True, **told)
    except Exception:  # noqa: BLE001 - of operators that it does not know; ONNX's own inference remains
        quant_pre_process(model, file, skip_symbolic_shape=True, **told)


def _quantize(file: Path, out: Path, calibrate: str, samples: Samples) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    model = graph.read(file)
    kinds = (*PRODUCTS, *CONVOLUTIONS, *BETWEEN) if graph.has(model, *CONVOLUTIONS) else PRODUCTS
    quantize_static(
        file,
        out,
        _reader(list(islice(samples.batches(BATCH), max(1, ROWS[calibrate] // BATCH)))),
        op_types_to_quantize=list(kinds),
        nodes_to_exclude=_free(model),
        per_channel=True,
        reduce_range=machine.overflows_int8(),
        activation_type=QuantType.QInt8 if machine.is_arm() else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=getattr(CalibrationMethod, CALIBRATORS[calibrate]),
        use_external_data_format=graph.weight_bytes(model) > graph.LARGEST,
        extra_options=dict(OPTIONS),
    )


def _free(model: "ModelProto") -> list[str]:
    """Products of two activations by node: attention's own, which are few, and suffer most."""
    weights = graph.weights(model)
    products = (node for node in model.graph.node if node.op_type in PRODUCTS)
    return [node.name for node in products if node.input[1] not in weights]


def _spare_others(model: "ModelProto") -> None:
    """Have what stays float read the float itself, where ONNX Runtime hands the rounded tensor to all.

    Sums past a layer (residuals) are what it matters to: their errors would add up.
    """
    made = {name: node for node in model.graph.node for name in node.output}
    rounded: dict[str, str] = {}
    for node in model.graph.node:
        behind = made.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if behind is not None:
            rounded[node.output[0]] = behind.input[0]
    for node in model.graph.node:
        weight = made.get(node.input[1]) if node.op_type in PRODUCTS else None
        if weight is None or weight.op_type != "DequantizeLinear" or weight.output[0] in rounded:
            node.input[:] = [rounded.get(name, name) for name in node.input]


def _reader(batches: Sequence[Tensors]) -> Any:
    """What ONNX Runtime calibrates from, range by range."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        rest: Iterator[Tensors] = iter(())

        def __len__(self) -> int:
            return len(batches)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.rest = iter(batches[start_index:end_index])

        def get_next(self) -> Tensors | None:
            return next(self.rest, None)

    return Reader()
