"""What an instance asks of a node of a cluster: amounts by the name of a resource."""

from collections.abc import Mapping

from penstock.core.errors import BadSetting

CPU, GPU, MEMORY = "CPU", "GPU", "memory"
KNOWN = (CPU, GPU, MEMORY)
LEAST = 1e-4
"""The finest part of a resource that Ray shares out."""


def check(asked: Mapping[str, float], where: str) -> None:
    """Raises BadSetting, which names ``where``, for what no node could ever have."""
    for name, amount in asked.items():
        meant = next((known for known in KNOWN if known.lower() == name.lower()), name)
        if meant != name:
            raise BadSetting(f"{where}: no resource {name!r}; did you mean {meant!r}?")
        if not name.strip() or name == "object_store_memory":
            raise BadSetting(f"{where}: no resource {name!r}; have {', '.join(KNOWN)}, or your cluster's own")
        if 0 < amount < LEAST:
            raise BadSetting(f"{where}.{name} is {amount:g}; it must be 0, or at least {LEAST:g}")
        if name == GPU and amount > 1 and amount != int(amount):
            raise BadSetting(f"{where}.{name} is {amount:g}; above 1 it must be a whole number")


def wanted(asked: Mapping[str, float], threads: int, device: str) -> dict[str, float]:
    """``asked``, and what is not named: a core for each thread, and a GPU for what is to run on one."""
    out = {CPU: float(threads or 1), **asked}
    if GPU not in out and device.lower().startswith(("cuda", "gpu")):
        out[GPU] = 1.0
    return {name: float(amount) for name, amount in out.items() if amount}


def threads(asked: Mapping[str, float], named: int) -> int:
    """Compute threads of an instance: those that are named, else the whole cores that it asks for."""
    return named or max(1, int(asked.get(CPU, 1.0)))


def words(amounts: Mapping[str, float]) -> str:
    """``{CPU: 2, GPU: 1}``; memory in GiB, and nothing of what Ray keeps for itself."""
    shown = [
        f"{name}: {amount / 2**30:.3g} GiB" if name == MEMORY else f"{name}: {amount:g}"
        for name, amount in sorted(amounts.items())
        if not name.startswith(("node:", "object_store_memory", "accelerator_type:"))
    ]
    return f"{{{', '.join(shown)}}}"
