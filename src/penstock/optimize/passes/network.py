"""PyTorch's programs as passes take them, with inputs and outputs in the order of a signature."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from penstock.core.errors import LoadFailed
from penstock.core.importing import find
from penstock.core.spec import Instances, ModelSpec, Signature, TensorSpec, Torch
from penstock.core.tensors import Array
from penstock.engines import ENGINES
from penstock.engines.torch_archive import KINDS, Kind, kind_of
from penstock.engines.torch_load import Program, load
from penstock.engines.torch_prepare import prepare
from penstock.engines.torch_signature import rename
from penstock.engines.torch_start import wishes
from penstock.engines.torch_tensors import DTYPES, to_tensor
from penstock.optimize.passes import Source, graph
from penstock.optimize.samples import Samples, length

EXAMPLES = 2
"""Rows that are traced: with one alone, PyTorch takes broadcasting for granted."""
TRIED = (1, 3)
"""Rows with which what is made is run, to see that it has not kept the number that was traced."""
OPSET = 17
"""As most exporters write; the same that graphs are later fused from."""


def kind(source: Source) -> Kind | None:
    """What the file holds; None where it is none of PyTorch's, or is what no module can be made of."""
    if "torch" not in source.artefact.engines:
        return None
    found = kind_of(source.file)
    return None if found == "weights" and not source.spec.torch.module else found


def require(module: str, name: str, what: str, extra: str) -> None:
    """Raises LoadFailed that says which pass needs a package, and what to install."""
    if find_spec(module) is None:
        raise LoadFailed(f"pass {name!r} needs {what}: pip install 'penstock[{extra}]'")


def plain(spec: ModelSpec) -> ModelSpec:
    """The settings with which the file is read here: on the CPU, and nothing compiled or cast."""
    return replace(spec, device="cpu", torch=Torch(module=spec.torch.module, arguments=spec.torch.arguments))


def opened(source: Source) -> Program:
    """With the engine's checks of what is safe to be read; raises LoadFailed and BadSetting."""
    import torch

    program = load(torch, plain(source.spec), source.file, kind_of(source.file), wishes("cpu"))
    if isinstance(program.call, torch.nn.Module):
        for weight in program.call.parameters():  # TorchScript has no requires_grad_ of its own
            weight.requires_grad_(False)
    return program


def examples(source: Source, samples: Samples, rows: int = EXAMPLES) -> dict[str, Array]:
    """So many rows, the first over and over where there are fewer; inputs in the signature's order."""
    group = samples.groups[0]
    at = np.arange(rows) % length(group)
    return {each.name: np.ascontiguousarray(group[each.name][at]) for each in source.signature.inputs}


def tensors(arrays: Mapping[str, Array]) -> tuple[Any, ...]:
    """Which may be written to."""
    import torch

    return tuple(to_tensor(torch, array, copy=True) for array in arrays.values())


def module(source: Source, program: Program) -> Any:
    """An ``nn.Module`` from the signature's inputs, one by one, to a tuple of the signature's outputs."""
    import torch

    what = f"{source.file.name} ({KINDS[program.kind]})"
    inner, signature = program.call, source.signature
    with torch.no_grad():
        prepared = prepare(torch, plain(source.spec), program, what)
    names = [each.name for each in prepared.signature.inputs]
    order = [[each.name for each in signature.inputs].index(name) for name in names]

    class Served(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow PyTorch
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner if isinstance(inner, torch.nn.Module) else None

        def forward(self, *given: Any) -> tuple[Any, ...]:
            results = prepared.run([given[at] for at in order])
            own = prepared.names or rename(signature.outputs, tuple(results), what)
            return tuple(
                results[own[each.name]].to(getattr(torch, DTYPES[each.datatype]))
                for each in signature.outputs
            )

    return Served().eval()


def to_onnx(source: Source, program: Program, samples: Samples, out: Path) -> Path:
    """``model.onnx`` in the folder, with the names and variable axes of the signature."""
    import torch

    signature, file = source.signature, out / graph.FILE
    given = tensors(examples(source, samples))
    with torch.no_grad():
        torch.onnx.export(
            module(source, program),
            given,
            file,
            input_names=[each.name for each in signature.inputs],
            output_names=[each.name for each in signature.outputs],
            dynamic_axes={each.name: _axes(each) for each in (*signature.inputs, *signature.outputs)},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs onnxscript, and gives no smaller graph
        )
    _declare(file, signature)
    return file


def _axes(tensor: TensorSpec) -> dict[int, str]:
    """Names of the variable ones."""
    return {at: _axis(tensor, at) for at, size in enumerate(tensor.shape) if size < 0}


def _axis(tensor: TensorSpec, at: int) -> str:
    return "batch" if at == 0 else f"{tensor.name}_{at}"


def _declare(file: Path, signature: Signature) -> None:
    """Have the outputs say all their sizes, where the exporter could not tell them."""
    import onnx

    model = onnx.load(file, load_external_data=False)
    for value, tensor in zip(model.graph.output, signature.outputs, strict=True):
        value.type.tensor_type.ClearField("shape")
        for at, size in enumerate(tensor.shape):
            axis = value.type.tensor_type.shape.dim.add()
            if size < 0:
                axis.dim_param = _axis(tensor, at)
            else:
                axis.dim_value = size
    onnx.save_model(model, file)


def check(source: Source, file: Path, engine: str, samples: Samples) -> None:
    """Raises LoadFailed where a file is not served as the original is, or answers in other shapes."""
    spec = ModelSpec(device="cpu", instances=Instances(count=1, threads=1))
    session = find(engine, ENGINES, "engine")().open(spec, file)
    try:
        if _names(session.signature) != _names(source.signature):
            raise LoadFailed(f"it has come out as {session.signature}; the original is {source.signature}")
        for rows in TRIED:
            given = examples(source, samples, rows)
            found = session.run(given)
            for each in source.signature.outputs:
                _check_shape(each, found[each.name].shape, rows)
    finally:
        session.close()


def _names(signature: Signature) -> list[tuple[str, str]]:
    """With the datatypes; sizes show in a run."""
    return [(each.name, each.datatype) for each in (*signature.inputs, *signature.outputs)]


def _check_shape(tensor: TensorSpec, shape: tuple[int, ...], rows: int) -> None:
    right = (rows, *tensor.shape[1:]) if tensor.shape[:1] == (-1,) else tensor.shape
    fits = len(shape) == len(right) and all(
        want in (-1, have) for want, have in zip(right, shape, strict=True)
    )
    if not fits:
        raise LoadFailed(
            f"output {tensor.name!r} has come out as {list(shape)} for {rows} rows; "
            f"the original's is {list(tensor.shape)}"
        )
