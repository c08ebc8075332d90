"""Memory that is freed: given back to the system after a model, and kept between its runs."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
KEPT = 1 << 29
"""Bytes that are free between runs and stay with the process."""


def trim() -> None:
    """Asks glibc for the freed pages that it keeps; nothing on other C libraries."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass


def keep() -> None:
    """Has glibc keep what a run frees for the next one, up to ``KEPT``; nothing on other C libraries.

    Otherwise the next run's tensors come from the system page by page: for a convnet in PyTorch at 16 rows
    a quarter of its time (8,500 page faults a run).
    """
    try:
        library = ctypes.CDLL(None)
        # Older versions of glibc refuse more than half of a heap.
        library.mallopt(_MMAP_THRESHOLD, KEPT) or library.mallopt(_MMAP_THRESHOLD, 1 << 25)
        library.mallopt(_TRIM_THRESHOLD, KEPT)
    except (AttributeError, OSError):
        pass
