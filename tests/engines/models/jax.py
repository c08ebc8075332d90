"""A small classifier as a JAX program."""

from pathlib import Path
from typing import Any

import numpy as np


def export(
    folder: Path, function: Any, *args: Any, platforms: tuple[str, ...] = ("cpu",), **kwargs: Any
) -> Path:
    """Writes ``function`` as it was exported for these arguments; returns ``folder/1/model.stablehlo``."""
    import jax
    from jax import export as jax_export

    path = folder / "1" / "model.stablehlo"
    path.parent.mkdir(parents=True, exist_ok=True)
    exported = jax_export.export(jax.jit(function), platforms=platforms)(*args, **kwargs)
    path.write_bytes(exported.serialize())
    return path


def tensor(shape: str, datatype: Any = np.float32) -> Any:
    """An argument, e.g. of ``"b, 4"``; only for one argument of a program, as each has its own scope."""
    import jax
    from jax import export as jax_export

    return jax.ShapeDtypeStruct(jax_export.symbolic_shape(shape), datatype)


def write(folder: Path) -> Path:
    """``x`` FP32 [-1, 8] → ``y`` FP32 [-1, 3] (probabilities) and ``label`` INT32 [-1]."""
    import jax
    import jax.numpy as jnp

    weights = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)

    def classify(x: Any) -> dict[str, Any]:
        y = jax.nn.softmax(jnp.tanh(x) @ weights)
        return {"y": y, "label": jnp.argmax(y, 1).astype(jnp.int32)}

    return export(folder, classify, tensor("b, 8"))
