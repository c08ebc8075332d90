"""CUDA graphs of a model, one for each power of two of rows, replayed on batches padded to it."""

from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from threading import Lock
from time import perf_counter
from typing import Any, NamedTuple

from penstock.core.errors import BadSetting, LoadFailed, one_line
from penstock.core.samples import powers
from penstock.core.spec import ModelSpec, Signature, TensorSpec
from penstock.engines.torch_signature import make_up
from penstock.engines.torch_tensors import to_tensor

MAX_ROWS = 64
"""Largest batch that is captured where the settings name none."""
WORTH = 0.95
"""A replay must take at most this part of the time that the plain run takes."""
_WARM_RUNS = 3  # before a capture, as PyTorch's notes on CUDA graphs ask for
_RUNS = 20

Run = Callable[[Sequence[Any]], dict[str, Any]]
"""From CPU tensors in the order of the arguments to tensors by name."""


class Captured(NamedTuple):
    """A graph with the memory that it reads and writes."""

    graph: Any
    inputs: list[Any]
    outputs: dict[str, Any]


class Graphs:
    """Runs a batch through the smallest graph that holds it, and without one as before.

    ``worth``: the sizes whose graphs are used.
    """

    def __init__(self, run: Run, captured: dict[int, Captured], worth: Container[int]) -> None:
        self._run = run
        self._captured = {size: each for size, each in captured.items() if size in worth}
        self._sizes = sorted(captured)
        self._lock = Lock()

    def __call__(self, tensors: Sequence[Any]) -> dict[str, Any]:
        """CPU tensors in; out come CPU tensors, since the next replay writes over the graph's own."""
        rows = len(tensors[0])
        captured = self._captured.get(bucket(rows, self._sizes))
        if captured is None:
            return self._run(tensors)
        with self._lock:
            for into, tensor in zip(captured.inputs, tensors, strict=True):
                into[:rows].copy_(tensor)
            captured.graph.replay()
            return {name: tensor[:rows].cpu() for name, tensor in captured.outputs.items()}


def bucket(rows: int, sizes: Sequence[int]) -> int:
    """The smallest of the ascending sizes that holds so many rows; 0 where none does, or there are none."""
    at = bisect_left(sizes, rows)
    return sizes[at] if rows and at < len(sizes) else 0


def unfit(signature: Signature) -> str:
    """Why a signature rules graphs out, or nothing."""
    for each in (*signature.inputs, *signature.outputs):
        if not each.shape or each.shape[0] >= 0:
            return f"axis 0 of {each.name!r} is not variable"
    for each in signature.inputs:
        if -1 in each.shape[1:]:
            return f"{each.name!r} has a variable axis after the first"
    return ""


def with_graphs(torch: Any, spec: ModelSpec, run: Run, inputs: Sequence[TensorSpec], device: str) -> Run:
    """``run`` itself, or Graphs over it where they answer the same and, for ``auto``, are faster.

    ``run`` leaves tensors that are on the device where they are.
    Raises LoadFailed where graphs were asked for and cannot be had.
    """
    must = spec.torch.cuda_graphs == "on"
    try:
        captured = _capture_all(torch, spec, run, inputs, device)
        graphs = Graphs(run, captured, captured)
        if not _same(torch, run, graphs, inputs, min(3, max(captured))):
            raise LoadFailed("rows of padding change the other rows' answers")
    except Exception as error:
        if must:
            raise LoadFailed(f"torch.cuda_graphs = 'on': {one_line(error)}") from error
        return run
    if must:
        return graphs
    worth = [size for size in captured if _faster(torch, run, graphs, inputs, size)]
    return Graphs(run, captured, worth) if worth else run


def refuse(spec: ModelSpec, why: str) -> None:
    """Raises BadSetting where graphs were asked for."""
    if spec.torch.cuda_graphs == "on":
        raise BadSetting(f"torch.cuda_graphs is 'on', but {why}; use 'auto' or 'off'")


def _capture_all(
    torch: Any, spec: ModelSpec, run: Run, inputs: Sequence[TensorSpec], device: str
) -> dict[int, Captured]:
    """The largest first, so that the smaller ones fit into its memory."""
    pool = torch.cuda.graph_pool_handle()
    sizes = powers(spec.batching.max_rows or MAX_ROWS)
    with torch.cuda.device(device):
        return {
            size: _capture(torch, run, _tensors(torch, inputs, size, device), pool) for size in sizes[::-1]
        }


def _capture(torch: Any, run: Run, tensors: list[Any], pool: Any) -> Captured:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_RUNS):
            run(tensors)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        outputs = run(tensors)
    return Captured(graph, tensors, outputs)


def _tensors(torch: Any, inputs: Sequence[TensorSpec], rows: int, device: str) -> list[Any]:
    return [to_tensor(torch, array).to(device) for array in make_up(inputs, rows, 1)]


def _same(torch: Any, run: Run, graphs: Run, inputs: Sequence[TensorSpec], rows: int) -> bool:
    """Within 1/1000 of the output's scale, or 1/50 for 16 bits, as the server compares batches."""
    tensors = _tensors(torch, inputs, rows, "cpu")
    plain, padded = run(tensors), graphs(tensors)
    return all(_close(torch, left.cpu(), padded[name]) for name, left in plain.items())


def _close(torch: Any, left: Any, right: Any) -> bool:
    if not left.is_floating_point():
        return bool(torch.equal(left, right))
    part = 1e-3 if left.element_size() > 2 else 2e-2
    scale = float(left.abs().nan_to_num().max()) if left.numel() else 0.0
    return bool(torch.allclose(left.double(), right.double(), rtol=0, atol=part * scale, equal_nan=True))


def _faster(torch: Any, run: Run, graphs: Run, inputs: Sequence[TensorSpec], rows: int) -> bool:
    tensors = _tensors(torch, inputs, rows, "cpu")
    return _seconds(torch, graphs, tensors) <= WORTH * _seconds(torch, run, tensors)


def _seconds(torch: Any, run: Run, tensors: list[Any]) -> float:
    """Of a run with its way to the device and back, the shortest of some."""
    best = float("inf")
    for _ in range(_RUNS):
        start = perf_counter()
        for tensor in run(tensors).values():
            tensor.cpu()
        best = min(best, perf_counter() - start)
    return best
