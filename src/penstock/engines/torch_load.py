"""Programs from files: TorchScript, exported programs, AOTInductor packages, and modules given weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.core.errors import BadSetting, LoadFailed, one_line
from penstock.core.importing import find
from penstock.core.spec import ModelSpec, TensorSpec
from penstock.engines.device import Wish
from penstock.engines.require import require
from penstock.engines.torch_archive import KINDS, Kind, check_export, forbidden, may_write
from penstock.engines.torch_signature import export_inputs, export_outputs
from penstock.engines.torch_start import Place, has_neuron, place, place_compiled


@dataclass(slots=True)
class Program:
    """What a file holds, ready to be called with tensors on its device."""

    kind: Kind
    place: Place
    call: Callable[..., Any]
    names: tuple[str, ...] = ()
    """Of the arguments, where the program knows them; they may be passed by name."""
    inputs: tuple[TensorSpec, ...] = ()
    """In the order of the arguments; empty where the file does not tell."""
    outputs: tuple[TensorSpec, ...] = ()
    labels: tuple[str, ...] = ()
    """Of a flat result, where the file tells; else by the result's own structure."""
    writes: bool = False
    """Whether it may change its inputs, where the file tells."""


def load(torch: Any, spec: ModelSpec, path: Path, kind: Kind, asked: Sequence[Wish]) -> Program:
    """Raises LoadFailed with PyTorch's reason in one line, and BadSetting."""
    try:
        return _LOADERS[kind](torch, spec, path, asked)
    except (LoadFailed, BadSetting):
        raise
    except Exception as error:
        raise LoadFailed(f"PyTorch refuses {path.name}, {KINDS[kind]}: {said(error, path)}") from error


def said(error: BaseException, path: Path) -> str:
    """PyTorch's message in one line, without C++ frames and without the file's folder."""
    text = str(error).partition("\nException raised from ")[0]
    return one_line(type(error)(text)).replace(str(path), path.name) if text else type(error).__name__


def _torchscript(torch: Any, spec: ModelSpec, path: Path, asked: Sequence[Wish]) -> Program:
    """TorchScript's own unpickler knows no Python classes: the archive is a program, and nothing more."""
    neuron = has_neuron(asked)
    if neuron:
        require("torch_neuronx", "torch-neuronx", "torch")  # brings the operators that such files call
    module = torch.jit.load(str(path), map_location="cpu").eval()
    nodes = module.inlined_graph.nodes() if neuron else ()
    where = place(torch, asked, neuron=any(node.kind().startswith("neuron::") for node in nodes))
    if where.device != "cpu":
        module = module.to(where.device)
    arguments = [argument.name for argument in module.forward.schema.arguments]
    return Program("torchscript", where, module, tuple(arguments[1:]))


def _export(torch: Any, spec: ModelSpec, path: Path, asked: Sequence[Wish]) -> Program:
    from torch.export.passes import move_to_device_pass
    from torch.export.pt2_archive._package import load_pt2  # torch.export.load logs what it also raises

    where = place(torch, asked)
    check_export(torch, path)
    with path.open("rb") as file:
        program = next(iter(load_pt2(file).exported_programs.values()))
    if {tensor.device.type for tensor in program.state_dict.values()} != {where.device.partition(":")[0]}:
        program = move_to_device_pass(program, where.device)
    if not all(isinstance(each, str) for each in program.graph_signature.user_inputs):
        raise LoadFailed(f"{path.name} has inputs that are no tensors; export it with tensors alone")
    outputs = export_outputs(torch, program)
    return Program(
        "export",
        where,
        _flat(torch, program),
        inputs=export_inputs(torch, program),
        outputs=tuple(each for each in outputs.values() if each),
        labels=tuple(outputs),
        writes=may_write(torch, program.graph_module),
    )


def _flat(torch: Any, program: Any) -> Callable[..., Any]:
    """The program as a function of its input tensors one by one, which gives its outputs one by one.

    A run of a small network takes 28 µs so, and 94 µs with the arguments' structure and its checks.
    """
    module = program.module(check_guards=False)
    module.graph.set_codegen(torch.fx.graph.CodeGen())
    module.recompile()
    call: Callable[..., Any] = module.forward
    return call


def _aoti(torch: Any, spec: ModelSpec, path: Path, asked: Sequence[Wish]) -> Program:
    from torch._inductor.package import load_package  # as aoti_load_package, with runners for each instance

    metadata = torch._C._aoti.AOTIModelPackageLoader.load_metadata_from_package(str(path), "model")
    where = place_compiled(torch, asked, metadata["AOTI_DEVICE_KEY"], path.name)
    number = int(where.device.partition(":")[2] or -1)
    runners = max(1, spec.instances.count)
    model = load_package(str(path), num_runners=runners, device_index=number)
    return Program("aoti", where, model)


def _weights(torch: Any, spec: ModelSpec, path: Path, asked: Sequence[Wish]) -> Program:
    import inspect

    where = place(torch, asked)
    module = _made(torch, spec, path)
    if path.suffix == ".safetensors":
        require("safetensors.torch", "safetensors", "torch").load_model(module, path)
    else:
        module.load_state_dict(_state(torch, path))
    module = module.eval().requires_grad_(False).to(where.device)
    return Program("weights", where, module, tuple(inspect.signature(module.forward).parameters))


def _made(torch: Any, spec: ModelSpec, path: Path) -> Any:
    name = spec.torch.module
    if ":" not in name:
        what = f"torch.module is {name!r}" if name else f"{path.name} holds weights alone"
        raise BadSetting(f"{what}; [torch] module = 'package.module:callable' makes the nn.Module")
    maker = find(name, {}, "torch.module")
    try:
        module = maker(**spec.torch.arguments)
    except Exception as error:
        raise LoadFailed(
            f"torch.module {name!r} failed: {type(error).__name__}: {one_line(error)}"
        ) from error
    if not isinstance(module, torch.nn.Module):
        raise BadSetting(f"torch.module {name!r} made {type(module).__name__}; it must make an nn.Module")
    return module


def _state(torch: Any, path: Path) -> dict[str, Any]:
    """Tensors by name; nothing is unpickled but those."""
    from pickle import UnpicklingError

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise LoadFailed(f"{path.name} is {forbidden(error)}; save module.state_dict()") from error
    if isinstance(state, dict) and all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        return state
    has = f"a dict of {', '.join(map(str, state))}"[:200] if isinstance(state, dict) else type(state).__name__
    raise LoadFailed(f"{path.name} has {has}; save module.state_dict() alone")


_LOADERS: dict[Kind, Callable[[Any, ModelSpec, Path, Sequence[Wish]], Program]] = {
    "torchscript": _torchscript,
    "export": _export,
    "aoti": _aoti,
    "weights": _weights,
}
