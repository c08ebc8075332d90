"""What a model's own class is written with: types for its annotations, and the context of its ``setup``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray


class Datatype(Struct, frozen=True):
    """A V2 datatype in the metadata of a type that does not tell it."""

    name: str


BOOL: TypeAlias = NDArray[np.bool_]
UINT8: TypeAlias = NDArray[np.uint8]
UINT16: TypeAlias = NDArray[np.uint16]
UINT32: TypeAlias = NDArray[np.uint32]
UINT64: TypeAlias = NDArray[np.uint64]
INT8: TypeAlias = NDArray[np.int8]
INT16: TypeAlias = NDArray[np.int16]
INT32: TypeAlias = NDArray[np.int32]
INT64: TypeAlias = NDArray[np.int64]
FP16: TypeAlias = NDArray[np.float16]
FP32: TypeAlias = NDArray[np.float32]
FP64: TypeAlias = NDArray[np.float64]
BF16: TypeAlias = Annotated[NDArray[Any], Datatype("BF16")]
"""Arrays of ``ml_dtypes.bfloat16``."""
BYTES: TypeAlias = NDArray[np.object_]
"""Arrays of ``bytes`` objects."""


class Context(Struct, frozen=True):
    """What ``setup`` may want to know."""

    folder: Path
    """The version's folder, with whatever lies beside ``model.py``."""
    device: str
    """As ``device`` in model.toml names it (of a list the first): ``cpu`` unless it names another."""
    threads: int
    """Compute threads that the model should keep to."""
    parameters: Mapping[str, str] = {}
    """``[parameters]`` in model.toml."""
    model: str = ""
    """The model's name."""
