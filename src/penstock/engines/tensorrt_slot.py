"""One run at a time of a TensorRT engine: an execution context, its stream and its device memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from penstock.core.spec import TensorSpec
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors
from penstock.engines.arguments import native


class Slot:
    """``cuda`` is ``cuda.bindings.runtime``; a slot serves one thread at a time, not always the same."""

    def __init__(self, cuda: Any, engine: Any, device: int, logger: Any) -> None:
        self._cuda = cuda
        self._engine = engine
        self._device = device
        self._logger = logger
        self._profile = 0
        self._room: dict[str, tuple[int, int]] = {}
        self._context = engine.create_execution_context()
        if self._context is None:
            raise RuntimeError(f"no execution context: {logger.last}")
        self._stream = int(checked(cuda, cuda.cudaStreamCreate()))

    def run(self, inputs: Tensors, outputs: Sequence[TensorSpec], profile: int) -> Tensors:
        """All outputs; raises RuntimeError with what TensorRT or CUDA said."""
        checked(self._cuda, self._cuda.cudaSetDevice(self._device))
        if profile != self._profile:
            self._sure(self._context.set_optimization_profile_async(profile, self._stream))
            self._profile = profile
        feeds = {name: np.ascontiguousarray(native(array)) for name, array in inputs.items()}
        for name, array in feeds.items():
            self._sure(self._context.set_input_shape(name, array.shape))
            self._copy(self._bind(name, array), array.ctypes.data, array, "cudaMemcpyHostToDevice")
        given = {spec.name: self._empty(spec) for spec in outputs}
        places = {name: self._bind(name, array) for name, array in given.items()}
        self._sure(self._context.execute_async_v3(self._stream))
        for name, array in given.items():
            self._copy(array.ctypes.data, places[name], array, "cudaMemcpyDeviceToHost")
        checked(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))
        return given

    def close(self) -> None:
        """Frees what is on the device; the engine goes with its last slot."""
        checked(self._cuda, self._cuda.cudaSetDevice(self._device))
        for place, _ in self._room.values():
            self._cuda.cudaFree(place)
        self._room.clear()
        self._context = self._engine = None
        self._cuda.cudaStreamDestroy(self._stream)

    def _empty(self, spec: TensorSpec) -> Array:
        shape = tuple(self._context.get_tensor_shape(spec.name))
        if -1 in shape:
            raise RuntimeError(f"the shape of output {spec.name!r} hangs on the data, which is not served")
        return np.empty(shape, dtype_of(spec.datatype))

    def _bind(self, name: str, array: Array) -> int:
        """Device memory for the tensor, kept for the next run and replaced where it is too small."""
        place, size = self._room.get(name, (0, 0))
        if size < max(1, array.nbytes):
            if place:
                checked(self._cuda, self._cuda.cudaFree(place))
                del self._room[name]
            size = max(1, array.nbytes)
            place = int(checked(self._cuda, self._cuda.cudaMalloc(size)))
            self._room[name] = (place, size)
        self._sure(self._context.set_tensor_address(name, place))
        return place

    def _copy(self, to: int, source: int, array: Array, kind: str) -> None:
        way = getattr(self._cuda.cudaMemcpyKind, kind)
        checked(self._cuda, self._cuda.cudaMemcpyAsync(to, source, array.nbytes, way, self._stream))

    def _sure(self, done: bool) -> None:
        if not done:
            raise RuntimeError(f"TensorRT: {self._logger.last or 'it gives no reason'}")


def checked(cuda: Any, result: Any) -> Any:
    """The value of a call of CUDA's runtime, which gives a tuple led by its error; raises RuntimeError."""
    error, *values = result
    if error != cuda.cudaError_t.cudaSuccess:
        _, text = cuda.cudaGetErrorString(error)
        raise RuntimeError(f"CUDA: {text.decode() if isinstance(text, bytes) else text}")
    return values[0] if values else None
