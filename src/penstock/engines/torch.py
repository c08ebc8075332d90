"""PyTorch: TorchScript, exported programs, AOTInductor packages, and modules given weights."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from penstock.core.errors import BadSetting
from penstock.core.spec import Isolation, ModelSpec
from penstock.core.tensors import Array
from penstock.core.types import Tensors
from penstock.engines.arguments import check_inputs, chosen
from penstock.engines.files import find
from penstock.engines.memory import trim
from penstock.engines.torch_archive import KINDS, Kind, kind_of
from penstock.engines.torch_graphs import Run
from penstock.engines.torch_load import load
from penstock.engines.torch_prepare import Prepared, prepare
from penstock.engines.torch_signature import rename
from penstock.engines.torch_start import quiet, start, wishes
from penstock.engines.torch_tensors import DTYPES, to_array, to_tensor

USUAL_FILES = ("model.pt", "model.pt2", "model.safetensors")
PLATFORMS: dict[Kind, str] = {
    "torchscript": "pytorch_libtorch",
    "export": "pytorch_export",
    "aoti": "pytorch_aoti",
    "weights": "pytorch_module",
}
"""The first is Triton's word; it has none for the others."""


class TorchEngine:
    """Opens ``model.pt``, ``.pt2`` or ``.safetensors`` by what is in it, in a process of its own.

    PyTorch holds the GIL between operators, and its threads are the process's.
    """

    isolation: Isolation = "process"

    def open(self, spec: ModelSpec, files: Path, /) -> "TorchSession":
        """Raises LoadFailed with PyTorch's reason, and BadSetting for what does not fit the file."""
        path = find(spec, files, *USUAL_FILES)
        asked = wishes(spec.device)
        torch, threads = start(spec)
        kind = kind_of(path)
        _check_settings(spec, path, kind)
        with quiet(), torch.inference_mode():
            program = load(torch, spec, path, kind, asked)
            prepared = prepare(torch, spec, program, f"{path.name} ({KINDS[kind]})")
        trim()  # what loading has freed
        return TorchSession(torch, prepared, PLATFORMS[kind], threads)


class TorchSession:
    """One loaded model; several threads may run it at once."""

    def __init__(self, torch: Any, prepared: Prepared, platform: str, threads: int) -> None:
        self.signature = prepared.signature
        self.platform = platform
        self.device = prepared.label
        self.threads = threads
        self.concurrency = 0 if prepared.label == "cpu" else 1
        self._torch = torch
        self._run: Run | None = prepared.run
        self._names = prepared.names
        self._dtypes = {each.name: getattr(torch, DTYPES[each.datatype]) for each in self.signature.outputs}
        self._copy = prepared.writes

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name.

        The whole program runs whatever is asked for.
        Raises InvalidRequest unless the inputs are the signature's, and what PyTorch raises.
        """
        if self._run is None:
            raise RuntimeError("the session is closed")
        check_inputs(self.signature, inputs)
        wanted = chosen(self.signature, outputs)
        torch = self._torch
        with torch.inference_mode():
            tensors = [to_tensor(torch, inputs[each.name], copy=self._copy) for each in self.signature.inputs]
            results = self._run(tensors)
            if not self._names:
                self._names = rename(self.signature.outputs, tuple(results), "the model")
            taken = {tensor.data_ptr() for tensor in tensors if tensor.numel()}
            return {name: self._array(name, results, taken) for name in wanted}

    def _array(self, name: str, results: dict[str, Any], taken: set[int]) -> Array:
        """Of the datatype in the signature, which autocast would change, and in memory of its own."""
        tensor = results[self._names[name]].to(self._dtypes[name])
        if tensor.device.type == "cpu" and tensor.untyped_storage().data_ptr() in taken:
            tensor = tensor.clone()
        return to_array(self._torch, tensor)

    def close(self) -> None:
        """Gives weights, graphs and the device's memory back, as far as PyTorch lets go of them."""
        self._run = None
        gc.collect()
        if self.device.startswith("cuda"):
            self._torch.cuda.empty_cache()
        trim()


def _check_settings(spec: ModelSpec, path: Path, kind: Kind) -> None:
    what = f"{path.name} is {KINDS[kind]}"
    if spec.torch.module and kind != "weights":
        raise BadSetting(f"torch.module is for files of weights alone; {what}")
    if spec.torch.compile and kind in ("torchscript", "aoti"):
        raise BadSetting(f"torch.compile does not take it: {what}; use torch.export, or leave it out")
    if spec.torch.autocast and kind == "aoti":
        raise BadSetting(f"torch.autocast comes too late: {what}, with its datatypes compiled in")
