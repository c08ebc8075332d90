"""From a loaded program to a run: its signature, then autocast, torch.compile and CUDA graphs."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec, Signature
from penstock.core.tensors import Array
from penstock.engines.torch_compile import compiled
from penstock.engines.torch_graphs import Graphs, Run, refuse, unfit, with_graphs
from penstock.engines.torch_load import Program
from penstock.engines.torch_signature import (
    Found,
    agree,
    declared_inputs,
    find_outputs,
    ordered,
    rename,
    served,
)
from penstock.engines.torch_tensors import named, to_tensor

Context = Callable[[], AbstractContextManager[Any]]


class Prepared(NamedTuple):
    """All that a session is made of."""

    run: Run
    signature: Signature
    names: dict[str, str]
    """The program's own output names by the signature's; empty where no run has shown them yet."""
    writes: bool
    """Whether the program changes its inputs, or may."""
    label: str


def prepare(torch: Any, spec: ModelSpec, program: Program, what: str) -> Prepared:
    """Runs the program on made-up input where something is to be found out, compiled or captured.

    Raises LoadFailed and BadSetting; ``what`` names the file in them.
    """
    told = bool(program.inputs)
    if told:
        agree(spec.inputs, program.inputs, what)
    else:
        _bind(program, spec, what)
    found = _found(torch, spec, program, told=told)
    names = rename(spec.outputs, [each.name for each in found.outputs], what) if found.outputs else {}
    outputs = served(spec.outputs, found.outputs, names, told=told) if names else spec.outputs
    signature = Signature(program.inputs, outputs)
    run = _finished(torch, spec, program, signature, found.size)
    label = program.place.label
    if isinstance(run, Graphs):
        label = f"{label.removesuffix(')')}, CUDA graphs)"
    return Prepared(run, signature, names, found.writes and program.place.device == "cpu", label)


def _bind(program: Program, spec: ModelSpec, what: str) -> None:
    """The declared inputs as arguments, by place where they are the first ones and by name elsewhere."""
    program.inputs, by_name = ordered(declared_inputs(spec, what), program.names)
    names = tuple(each.name for each in program.inputs)
    if by_name and names != program.names[: len(names)]:
        inner = program.call
        program.call = lambda *tensors: inner(**dict(zip(names, tensors, strict=True)))


def _found(torch: Any, spec: ModelSpec, program: Program, *, told: bool) -> Found:
    """What the file tells, and what runs show where it does not.

    A program that cannot be run on made-up input is taken as declared, and may change its inputs.
    """
    if told and not spec.torch.compile and not program.writes:
        return Found(program.outputs, 1, False)
    run = _runner(program, nullcontext)

    def try_out(arrays: list[Array]) -> dict[str, Any]:
        return run([to_tensor(torch, array) for array in arrays])

    try:
        found = find_outputs(try_out, program.inputs)
    except LoadFailed:
        if spec.torch.compile or not (told or spec.outputs):
            raise
        return Found(program.outputs, 1, True)
    return found._replace(outputs=program.outputs) if told else found


def _runner(program: Program, context: Context) -> Run:
    """From CPU tensors to the program's device and through it."""
    call, device, labels = program.call, program.place.device, program.labels

    def run_here(tensors: Sequence[Any]) -> dict[str, Any]:
        with context():
            result = call(*tensors)
        return dict(zip(labels, result, strict=True)) if labels else named(result)

    def run_there(tensors: Sequence[Any]) -> dict[str, Any]:
        return run_here([tensor.to(device) for tensor in tensors])

    return run_here if device == "cpu" else run_there


def _autocast(torch: Any, spec: ModelSpec, program: Program) -> Context:
    """A context for each run: autocast is the thread's. Without its cache, as a run casts a weight once."""
    if not spec.torch.autocast:
        return nullcontext
    kind, dtype = program.place.device.partition(":")[0], getattr(torch, spec.torch.autocast)
    return lambda: torch.autocast(kind, dtype, cache_enabled=False)


def _finished(torch: Any, spec: ModelSpec, program: Program, signature: Signature, size: int) -> Run:
    context, device = _autocast(torch, spec, program), program.place.device
    if spec.torch.compile:
        program.call = compiled(torch, spec, program.call, program.inputs, size, device, context)
    run = _runner(program, context)
    if spec.torch.cuda_graphs == "off":
        return run
    why = _no_graphs(program, signature)
    if why:
        refuse(spec, why)
        return run
    return with_graphs(torch, spec, run, program.inputs, device)


def _no_graphs(program: Program, signature: Signature) -> str:
    if program.place.kind != "cuda":
        return f"the model runs on {program.place.kind}"
    if program.kind == "aoti":
        return "AOTInductor packages run on streams of their own"
    return unfit(signature)
