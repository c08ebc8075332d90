"""torch.compile, warmed so that no request ever waits for a compilation."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any

from penstock.core.errors import LoadFailed, one_line
from penstock.core.spec import ModelSpec, TensorSpec
from penstock.engines.cache import alone, folder
from penstock.engines.torch_signature import make_up
from penstock.engines.torch_tensors import to_tensor

MODES = {"default": "default", "max-autotune": "max-autotune-no-cudagraphs"}
"""Inductor's own CUDA graphs would be recorded while requests wait: see torch_graphs.py."""
_compiling = Lock()


def compiled(
    torch: Any,
    spec: ModelSpec,
    call: Callable[..., Any],
    inputs: Sequence[TensorSpec],
    size: int,
    device: str,
    context: Callable[[], AbstractContextManager[Any]],
) -> Callable[..., Any]:
    """``call`` compiled for one row, and once more for any number of rows.

    PyTorch makes sizes 0 and 1 constants, so that one row takes a compilation of its own.
    Variable axes after the first are variable there too, warmed at ``size``.
    What comes later and fits neither runs as it is: a compilation takes seconds.
    Raises LoadFailed where the model cannot be compiled for a variable number of rows.
    """
    place = folder(spec, "torch", torch.__version__)
    with _compiling, alone(place):
        _keep(torch, place)
        run = torch.compile(call, mode=MODES[spec.torch.compile_mode])
        torch.compiler.set_stance("default")
        try:
            for rows in (1, 2) if any(each.shape[:1] == (-1,) for each in inputs) else (1,):
                with torch.inference_mode(), context():
                    run(*_marked(torch, inputs, rows, size, device))
        except Exception as error:
            raise LoadFailed(f"torch.compile fails: {one_line(error)}") from error
        finally:
            torch.compiler.set_stance("eager_on_recompile")
            torch._inductor.async_compile.shutdown_compile_workers()
    result: Callable[..., Any] = run
    return result


def _keep(torch: Any, place: Path | None) -> None:
    """Inductor finds entries by the graph, its settings and its own version."""
    torch._inductor.config.force_disable_caches = place is None
    if place is not None:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(place)


def _marked(torch: Any, inputs: Sequence[TensorSpec], rows: int, size: int, device: str) -> list[Any]:
    tensors = [to_tensor(torch, array).to(device) for array in make_up(inputs, rows, size)]
    for each, tensor in zip(inputs, tensors, strict=True):
        for axis, length in enumerate(each.shape):
            if length < 0 and tensor.shape[axis] > 1:
                torch._dynamo.mark_dynamic(tensor, axis)
    return tensors
