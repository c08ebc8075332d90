"""Memory that a closed model leaves behind, given back to the system."""

import ctypes


def trim() -> None:
    """Asks glibc for the freed pages that it keeps; nothing on other C libraries."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        pass
