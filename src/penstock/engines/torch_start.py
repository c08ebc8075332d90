"""PyTorch in a process of its own: imported with idle threads that sleep, and the devices there are."""

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

from penstock.core.errors import LoadFailed
from penstock.core.machine import cores
from penstock.core.spec import ModelSpec
from penstock.engines.device import Wish, choose, wanted
from penstock.engines.memory import keep
from penstock.engines.require import require

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",  # libgomp (PyTorch's wheels) and libomp: read when the library loads
    "KMP_BLOCKTIME": "0",  # libiomp5 (conda's builds)
    "AOTI_RUNTIME_CHECK_INPUTS": "1",  # AOTInductor trusts sizes otherwise, and reads past the end
}
"""Set unless they are set already; idle OpenMP threads spin otherwise, on the event loop's cores."""
KINDS = ("neuron", "cuda", "mps", "cpu")


class Place(NamedTuple):
    """Where a model runs: in PyTorch's words, and in ours."""

    kind: str
    device: str
    """For ``torch.device``."""
    label: str


def start(spec: ModelSpec) -> tuple[Any, int]:
    """PyTorch, and the threads of a run; raises LoadFailed where it is missing."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    torch = require("torch", "PyTorch", "torch")
    keep()
    threads = spec.instances.threads or len(cores())
    torch.set_num_threads(threads)
    try:
        torch.set_num_interop_threads(1)
    except RuntimeError:
        pass  # PyTorch takes it once in a process, before its first parallel work
    return torch, threads


@contextmanager
def quiet() -> Iterator[None]:
    """Without PyTorch's warnings, e.g. that torch.jit is deprecated: whoever loads cannot change the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def wishes(device: str | Sequence[str]) -> list[Wish]:
    """Raises BadSetting for a kind that PyTorch does not have here."""
    return wanted(device, auto=KINDS, known=KINDS)


def place(torch: Any, asked: Sequence[Wish], *, neuron: bool = False) -> Place:
    """The first device asked for that is there; ``neuron``: whether the model was compiled for it.

    Raises LoadFailed that says which there are.
    """
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    kind, number = choose(asked, there | ({"neuron": 1} if neuron else {}), "PyTorch")
    if kind == "cuda":
        return Place(kind, f"cuda:{number}", f"cuda:{number} ({torch.cuda.get_device_name(number)})")
    return Place(kind, "mps" if kind == "mps" else "cpu", kind)


def place_compiled(torch: Any, asked: Sequence[Wish], kind: str, file: str) -> Place:
    """The device that a file was compiled for, if it was asked for too."""
    right = [wish for wish in asked if wish.kind == kind]
    if not right:
        raise LoadFailed(f"{file} was compiled for {kind}; `device` asks for {', '.join(map(str, asked))}")
    return place(torch, right)


def has_neuron(asked: Sequence[Wish]) -> bool:
    """Whether AWS Neuron is asked for and installed."""
    return any(wish.kind == "neuron" for wish in asked) and find_spec("torch_neuronx") is not None
