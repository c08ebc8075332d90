"""Threads in which models are loaded, warmed and closed: what takes so long keeps nobody else waiting."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_POOL = ThreadPoolExecutor(32, "penstock-load")
"""As many as are ever loaded at once; the loop's own are for what takes milliseconds."""


def aside(function: Callable[..., T], /, *given: object) -> "asyncio.Future[T]":
    """Its result, once it has run in such a thread; cancelling it does not end what runs."""
    return asyncio.get_running_loop().run_in_executor(_POOL, function, *given)
