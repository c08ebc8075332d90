"""JAX's devices, and the one of them that a program can run on."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from penstock.core.errors import LoadFailed
from penstock.engines.device import wanted

AUTO = ("tpu", "cuda", "rocm", "cpu")


def choose_device(
    there: dict[str, list[Any]], device: str | Sequence[str], platforms: Sequence[str], file: str
) -> Any:
    """The first device wished for that is ``there`` (by platform) and that the file was exported for.

    Raises LoadFailed that names both.
    """
    wishes = wanted(device, auto=AUTO, known=(*AUTO, "gpu"))
    for wish in wishes:
        for kind in ("cuda", "rocm") if wish.kind == "gpu" else (wish.kind,):
            found = there.get(kind, [])
            if kind in platforms and (wish.number or 0) < len(found):
                return found[wish.number or 0]
    have = ", ".join(f"{kind} ({len(found)})" for kind, found in there.items())
    asked = "" if device == "auto" else f", device asks for {' or '.join(map(str, wishes))}"
    again = f"; export it with platforms={list(there)}" if not set(platforms) & set(there) else ""
    raise LoadFailed(f"{file} was exported for {', '.join(platforms)}{asked}, and JAX has {have} here{again}")


def devices() -> dict[str, list[Any]]:
    """Those of this machine by platform, the best platform first."""
    import jax

    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)  # it tells of each platform not there
    there: dict[str, list[Any]] = {}
    for kind in AUTO:
        try:
            there[kind] = jax.local_devices(backend=kind)
        except RuntimeError:  # no such platform
            continue
    return there


def name_of(device: Any) -> str:
    """``cpu``, ``cuda:1`` …; JAX calls every maker's platform ``gpu``, ``device_kind`` tells them apart."""
    kind = device.platform
    if kind == "gpu":
        kind = "rocm" if re.search("AMD|gfx", device.device_kind) else "cuda"
    return "cpu" if (kind, device.id) == ("cpu", 0) else f"{kind}:{device.id}"
