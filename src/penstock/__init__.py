"""Penstock: an inference server that holds its targets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client import AsyncClient, Client
    from penstock.engines.python_types import (
        BF16,
        BOOL,
        BYTES,
        FP16,
        FP32,
        FP64,
        INT8,
        INT16,
        INT32,
        INT64,
        UINT8,
        UINT16,
        UINT32,
        UINT64,
        Context,
    )

__version__ = "0.1.0"
__all__ = [  # noqa: RUF022 - in plain order, which a test can tell
    "AsyncClient",
    "BF16",
    "BOOL",
    "BYTES",
    "Client",
    "Context",
    "FP16",
    "FP32",
    "FP64",
    "INT16",
    "INT32",
    "INT64",
    "INT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "UINT8",
    "__version__",
]

_LAZY = dict.fromkeys(__all__, "penstock.engines.python_types")
_LAZY |= {"AsyncClient": "penstock.client", "Client": "penstock.client"}
del _LAZY["__version__"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import penstock`` itself stays cheap."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")
