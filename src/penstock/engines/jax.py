"""JAX: programs that ``jax.export`` has written as StableHLO, compiled for the batch sizes in use."""

import gc
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from penstock.core.errors import InvalidRequest, LoadFailed, one_line
from penstock.core.machine import cores
from penstock.core.samples import made_up, powers
from penstock.core.spec import Isolation, ModelSpec
from penstock.core.tensors import Array, dtype_of
from penstock.core.types import Tensors
from penstock.engines.arguments import check_inputs, chosen, native
from penstock.engines.files import find
from penstock.engines.jax_devices import choose_device, devices, name_of
from penstock.engines.jax_padding import agree, cuts, fill
from penstock.engines.jax_program import Program, read
from penstock.engines.memory import trim
from penstock.engines.require import require

USUAL_FILE = "model.stablehlo"
MAX_ROWS = 64
"""Rows up to which sizes are compiled where the settings name no number."""
MOST_KEPT = 256
"""Compiled shapes that a session keeps; a model whose other axes vary may meet any number of them."""
Shapes: TypeAlias = tuple[tuple[int, ...], ...]


class JaxEngine:
    """Opens ``model.stablehlo``, as ``jax.export.export(jax.jit(f))(...).serialize()`` gives it."""

    isolation: Isolation = "thread"

    def open(self, spec: ModelSpec, files: Path, /) -> "JaxSession":
        """Compiles all sizes that batches are padded to; raises LoadFailed or BadSetting."""
        # JAX otherwise takes three quarters of a GPU's memory at its first use.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        export = require("jax.export", "JAX", "jax")
        path = find(spec, files, USUAL_FILE)
        program = read(export, spec, path)
        device = choose_device(devices(), spec.device, program.exported.platforms, path.name)
        session = JaxSession(program, device, spec.instances.threads or len(cores()))
        if spec.jax.pad and program.batch:
            try:
                session.pad(powers(spec.batching.max_rows or MAX_ROWS))
            except Exception as error:
                raise LoadFailed(f"JAX cannot compile {path.name}: {one_line(error)}") from error
        return session


class JaxSession:
    """One program on one device; ``run`` may be called by several threads at once."""

    platform = "jax_stablehlo"

    def __init__(self, program: Program, device: Any, threads: int) -> None:
        self.signature = program.signature
        self.device = name_of(device)
        self.threads = threads
        self.concurrency = 0 if device.platform == "cpu" else 2
        self._names = [spec.name for spec in program.signature.outputs]
        self._compile: Callable[..., Any] | None = _compiler(program, device)
        self._context = _context(program)
        self._compiled: dict[Shapes, Any] = {}
        self._compiling = Lock()
        self._sizes: Sequence[int] = ()
        self._doubt = True

    def pad(self, rows: Sequence[int]) -> None:
        """Fills batches up to the next of these sizes, and compiles them where only the rows vary.

        Sizes that the program's own constraints rule out are left out; raises if none is left.
        """
        fixed = [spec.shape[1:] for spec in self.signature.inputs]
        self._sizes = rows
        if any(-1 in rest for rest in fixed):
            return
        usable, trouble = [], None
        for size in rows:
            try:
                self._executable(tuple((size, *rest) for rest in fixed))
                usable.append(size)
            except InvalidRequest as error:  # e.g. exported for "b >= 4"
                trouble = error
        if trouble and not usable:
            raise trouble
        self._sizes = usable
        self._try_padding()

    def _try_padding(self) -> None:
        """Before the first request, which is not to wait for the exact size being compiled."""
        rows = 3 if 3 not in self._sizes else self._sizes[-1] + 1
        rng = np.random.default_rng(0)
        arrays = [made_up(spec, rows, rng) for spec in self.signature.inputs]
        try:
            self._padded(arrays)
        except InvalidRequest:  # so many rows the program never takes
            return
        self._compiled.pop(tuple(array.shape for array in arrays), None)

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        """Outputs by name; raises InvalidRequest where names, datatypes or shapes are not the signature's."""
        if self._compile is None:
            raise RuntimeError("the session is closed")
        check_inputs(self.signature, inputs)
        names = chosen(self.signature, outputs)
        arrays = [native(inputs[spec.name]) for spec in self.signature.inputs]
        results = self._padded(arrays) if self._sizes else self._exactly(arrays)
        return {name: results[self._names.index(name)] for name in names}

    def close(self) -> None:
        """Drops what was compiled, and the weights in it.

        JAX's own caches hold the program too, and are cleared for all: what is compiled stays compiled.
        """
        import jax

        self._compile = None
        self._compiled.clear()
        jax.clear_caches()
        gc.collect()
        trim()

    def _padded(self, arrays: list[Array]) -> list[Array]:
        """In parts of the sizes compiled; checked once against an exact run, as rows may be mixed."""
        rows = len(arrays[0])
        if rows in self._sizes:
            return self._exactly(arrays)
        padded = self._in_parts(arrays, rows)
        if not self._doubt or not rows:
            return padded
        exact = self._exactly(arrays)
        if agree(exact, padded):
            self._doubt = False
        else:
            self._sizes = ()
        return exact

    def _in_parts(self, arrays: list[Array], rows: int) -> list[Array]:
        parts = [
            [out[: stop - start] for out in self._exactly([fill(a[start:stop], size) for a in arrays])]
            for start, stop, size in cuts(rows, self._sizes)
        ]
        return parts[0] if len(parts) == 1 else [np.concatenate(out) for out in zip(*parts, strict=True)]

    def _exactly(self, arrays: Sequence[Array]) -> list[Array]:
        shapes = tuple(array.shape for array in arrays)
        compiled = self._compiled.get(shapes) or self._executable(shapes)
        with self._context():
            return [np.asarray(out) for out in compiled(*arrays)]

    def _executable(self, shapes: Shapes) -> Any:
        with self._compiling:
            found = self._compiled.get(shapes)
            if found is None:
                if self._compile is None:
                    raise RuntimeError("the session is closed")
                with self._context():
                    found = self._compile(shapes)
                while len(self._compiled) >= MOST_KEPT:
                    self._compiled.pop(next(iter(self._compiled)))
                self._compiled[shapes] = found
        return found


def _compiler(program: Program, device: Any) -> Callable[[Shapes], Any]:
    """What compiles the program for shapes, to be called with arrays in the signature's order."""
    import jax
    from jax.sharding import SingleDeviceSharding

    exported, place = program.exported, SingleDeviceSharding(device)
    dtypes = [dtype_of(spec.datatype) for spec in program.signature.inputs]

    def call(*leaves: Any) -> list[Any]:
        args, kwargs = jax.tree_util.tree_unflatten(exported.in_tree, leaves)
        return list(jax.tree_util.tree_leaves(exported.call(*args, **kwargs)))

    def compile_for(shapes: Shapes) -> Any:
        structs = [
            jax.ShapeDtypeStruct(shape, dtype, sharding=place)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        ]
        try:
            return jax.jit(call).lower(*structs).compile()
        except ValueError as error:
            why = one_line(error).partition(" Define JAX_DUMP_IR_TO")[0]
            raise InvalidRequest(
                f"the program takes no inputs of shapes {_text(shapes)}: {why} (it may have been exported "
                "with constraints on its sizes)"
            ) from error

    return compile_for


def _text(shapes: Shapes) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)


def _context(program: Program) -> Callable[[], AbstractContextManager[Any]]:
    """JAX makes 32 bits of 64 unless it is told, which is told by thread."""
    import jax

    tensors = (*program.signature.inputs, *program.signature.outputs)
    if any(spec.datatype.endswith("64") for spec in tensors):
        return lambda: jax.enable_x64(True)
    return nullcontext
