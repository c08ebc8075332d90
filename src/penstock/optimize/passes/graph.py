"""ONNX files as passes read, compare and write them, external data included."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from penstock.core.errors import LoadFailed
from penstock.engines.onnx_options import FATAL, said
from penstock.engines.require import onnxruntime
from penstock.optimize.passes import Source

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

FILE = "model.onnx"
LARGEST = 1 << 30
"""Bytes of weights up to which they are kept inside the file; protobuf's own limit is twice that."""
STANDARD = ("", "ai.onnx")
OWN = "com.microsoft"
"""Of the operators that ONNX Runtime has beyond the standard."""
SIGNS_OF_INT8 = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "ConvInteger",
)

FLOAT = 1
"""onnx.TensorProto.FLOAT, for those who have not imported it."""

Shape: TypeAlias = tuple[int | str, ...]
"""Sizes; those that vary by name, or empty where they have none."""


def is_onnx(source: Source) -> bool:
    return source.file.suffix == ".onnx"


def require_onnx(name: str) -> Any:
    """The package; raises LoadFailed that says which pass needs it and what to install."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise LoadFailed(f"pass {name!r} needs ONNX: pip install 'penstock[optimize]'") from error
    return onnx


def glance(source: Source, name: str) -> "ModelProto | None":
    """The graph for pass ``name``, without weights that lie beside it; None where it is no ONNX file."""
    if not is_onnx(source):
        return None
    model: ModelProto = require_onnx(name).load(source.file, load_external_data=False)
    return model


def read(file: Path) -> "ModelProto":
    """All of it, with the weights that lie beside it."""
    import onnx

    return onnx.load(file)


def write(model: "ModelProto", out: Path) -> Path:
    """``model.onnx`` in the folder; weights go beside it where they are large."""
    import onnx

    file = out / FILE
    tidy_opsets(model)
    large = weight_bytes(model) > LARGEST
    onnx.save_model(model, file, save_as_external_data=large, location=f"{FILE}.data" if large else None)
    return file


def tidy_opsets(model: "ModelProto") -> None:
    """Declare the operator sets that are used, and no other.

    ONNX Runtime writes down all that it knows, and its tools forget to declare its own.
    """
    used = {node.domain for node in nodes(model.graph)} | {each.domain for each in model.functions}
    used |= {node.domain for function in model.functions for node in function.node}
    kept = [each for each in model.opset_import if each.domain in STANDARD or each.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    if OWN in used - {each.domain for each in kept}:
        model.opset_import.add(domain=OWN, version=1)


def nodes(graph: "GraphProto") -> "Iterator[NodeProto]":
    """All, those of branches and loops included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *((attribute.g,) if attribute.HasField("g") else ())):
                yield from nodes(inner)


def operators(model: "ModelProto") -> Counter[str]:
    """How many nodes of each kind, e.g. ``{"MatMul": 12}``; kinds beyond the standard as ``domain:Kind``.

    Constants are left out: as nodes or as initializers they are the same.
    """
    kinds = ((node.domain, node.op_type) for node in nodes(model.graph) if node.op_type != "Constant")
    return Counter(kind if domain in STANDARD else f"{domain}:{kind}" for domain, kind in kinds)


def has(model: "ModelProto", *kinds: str) -> bool:
    """Whether there is a node of one of these kinds, of whatever domain."""
    return any(node.op_type in kinds for node in nodes(model.graph))


def is_quantized(model: "ModelProto") -> bool:
    """Whether integers stand for weights or activations already."""
    return any(
        node.op_type in SIGNS_OF_INT8 or node.op_type.startswith("QLinear") or node.op_type == "MatMulNBits"
        for node in nodes(model.graph)
    )


def has_weights(model: "ModelProto", *datatypes: str) -> bool:
    """Whether there are some of these ONNX datatypes, e.g. ``FLOAT16``."""
    import onnx

    wanted = {onnx.TensorProto.DataType.Value(each) for each in datatypes}
    return any(each.data_type in wanted for each in weights(model).values())


def opset(model: "ModelProto") -> int:
    """Version of the standard operators."""
    return max((each.version for each in model.opset_import if each.domain in STANDARD), default=1)


def inputs(model: "ModelProto") -> "list[ValueInfoProto]":
    """What a caller gives: old files list the weights among the inputs, too."""
    inside = {each.name for each in model.graph.initializer}
    return [each for each in model.graph.input if each.name not in inside]


def shape(value: "ValueInfoProto") -> Shape:
    """Of an input or output."""
    return tuple(
        size.dim_value if size.HasField("dim_value") else size.dim_param
        for size in value.type.tensor_type.shape.dim
    )


def weights(model: "ModelProto") -> "dict[str, TensorProto]":
    """Initializers and constant nodes of the main graph, by name."""
    found = {each.name: each for each in model.graph.initializer}
    constants = (node for node in model.graph.node if node.op_type == "Constant")
    return found | {
        node.output[0]: node.attribute[0].t for node in constants if node.attribute[0].name == "value"
    }


def size(tensor: "TensorProto") -> int:
    """Bytes, also of those whose data lies in another file."""
    import onnx
    from numpy import prod

    each: int = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(prod(tensor.dims)) * each


def weight_bytes(model: "ModelProto") -> int:
    return sum(size(each) for each in weights(model).values())


def rewritten(file: Path, level: str) -> "ModelProto":
    """The model as ONNX Runtime has it after optimizing its graph up to ``level``.

    For the CPU, which lacks kernels for halves: casts would be written down where there are any.
    Raises LoadFailed for such a model, and with ONNX Runtime's reason where it has one.
    """
    import onnx

    ort = onnxruntime()
    if has_weights(onnx.load(file, load_external_data=False), "FLOAT16", "BFLOAT16"):
        raise LoadFailed(f"{file.name} has weights in half precision, which would be cast; start from FP32")
    with TemporaryDirectory(dir=Path.cwd()) as folder:
        made = Path(folder, FILE)
        options = ort.SessionOptions()
        options.log_severity_level = FATAL
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(made)
        # Without, what lies beside the source would be looked for beside what is made.
        options.add_session_config_entry(
            "session.optimized_model_external_initializers_file_name", f"{FILE}.data"
        )
        try:
            ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise LoadFailed(f"ONNX Runtime cannot rewrite {file.name}: {said(error)}") from error
        model = read(made)
    tidy_opsets(model)
    return model


def keep_interface(model: "ModelProto", original: "ModelProto") -> None:
    """Have inputs and outputs declared as the original has them, as rewriting may tell more or less of them.

    Raises LoadFailed where one is gone, or has another type.
    """
    model.ir_version = max(model.ir_version, 4)  # before, weights had to be inputs, too
    for now, before in ((model.graph.input, inputs(original)), (model.graph.output, original.graph.output)):
        have = {each.name: each.type.tensor_type.elem_type for each in now}
        for each in before:
            if have.get(each.name) != each.type.tensor_type.elem_type:
                raise LoadFailed(f"{each.name!r} would be lost, or have another datatype")
        del now[:]
        now.extend(before)


def can_be_quantized(model: "ModelProto", *kinds: str) -> bool:
    """Whether nodes of these kinds have weights of single precision, and nothing is quantized yet."""
    floats = {name for name, each in weights(model).items() if each.data_type == FLOAT}
    found = (node for node in nodes(model.graph) if node.op_type in kinds)
    return not is_quantized(model) and any(name in floats for node in found for name in node.input[1:2])
