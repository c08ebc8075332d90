"""Penstock: an inference server that holds its targets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from penstock.client import AsyncClient, Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]

_LAZY = {"AsyncClient": "penstock.client", "Client": "penstock.client"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import penstock`` itself stays cheap."""
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'penstock' has no attribute {name!r}")
