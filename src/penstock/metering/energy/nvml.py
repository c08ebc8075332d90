"""Energy of NVIDIA's GPUs by their driver's counters: NVML, through the package nvidia-ml-py."""

from collections.abc import Callable, Sequence
from importlib import import_module
from time import monotonic
from typing import Any, Protocol

from penstock.metering.energy.probe import Joules, Part

COUNTER = 0.05
"""Part by which a counter may be wrong, either way: what NVIDIA says of power (nvmlDeviceGetPowerUsage, of
Fermi and Kepler; of later ones it says nothing).
A100 and H100 look at a quarter of the time only (Yang et al., SC24, arXiv:2312.02741): spans of less than
some seconds may be off by more.
"""
SAMPLES = 0.10
"""Likewise where power is asked now and then: as much again, for what happens in between."""


class Library(Protocol):
    """What is used of the module ``pynvml``, by its names; each call may raise its ``NVMLError``."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...  # noqa: N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any: ...  # noqa: N802
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any, /) -> int:  # noqa: N802
        """Millijoules since the driver was loaded; Volta and later."""
        ...

    def nvmlDeviceGetPowerUsage(self, handle: Any, /) -> int:  # noqa: N802
        """Milliwatts, board and memory included: now, or the mean of the last second."""
        ...


class Meter(Protocol):
    """One device that counts; raises when it cannot any more."""

    def joules(self) -> Joules: ...


class Metered:
    """All devices of one vendor together; a ``Probe``."""

    idle_watts: float | None = None

    def __init__(self, part: Part, method: str, meters: Sequence[Meter]) -> None:
        self.part = part
        self.method = method
        self._meters = meters
        self._failed = False

    def joules(self) -> Joules | None:
        """Since the start; None from the first failure on, because what it missed is not known."""
        if self._failed:
            return None
        try:
            return sum((meter.joules() for meter in self._meters), Joules())
        except Exception:  # noqa: BLE001 - the vendor's library, whatever it raises
            self._failed = True
            return None


class Counted:
    """A counter of millijoules that only grows.

    A driver that is loaded again starts at 0: then what was used is not known (ValueError).
    """

    def __init__(self, read: Callable[[], float], error: float) -> None:
        self._read = read
        self._band = Joules(1 - error, 1.0, 1 + error)
        self._start = self._last = read()

    def joules(self) -> Joules:
        now = self._read()
        if now < self._last:
            raise ValueError("the counter has started again")
        self._last = now
        return self._band * ((now - self._start) / 1e3)


class Sampled:
    """Power (milliwatts) added up between readings, as if it went straight from one to the next.

    ``low`` and ``high`` are what the lower and the higher of the two would have made.
    """

    def __init__(self, read: Callable[[], float], error: float, clock: Callable[[], float]) -> None:
        self._read = read
        self._error = error
        self._clock = clock
        self._at = clock()
        self._watts = read() / 1e3
        self._sum = Joules()

    def joules(self) -> Joules:
        at, watts = self._clock(), self._read() / 1e3
        less, more = sorted((watts, self._watts))
        band = Joules(less * (1 - self._error), (less + more) / 2, more * (1 + self._error))
        self._sum += band * (at - self._at)
        self._at, self._watts = at, watts
        return self._sum


def open_probe(library: Library | None = None, clock: Callable[[], float] = monotonic) -> Metered | None:
    """All GPUs that this process may see; None without NVML, without GPUs, or where one cannot tell."""
    library = library or load()
    if library is None:
        return None
    try:
        meters = [_meter(library, handle, clock) for handle in _handles(library)]
    except Exception:  # noqa: BLE001 - a part of them would pass for all
        return None
    return Metered("gpu", "nvml", meters) if meters else None


def count(library: Library | None = None) -> int:
    """GPUs that NVML shows; 0 without it."""
    library = library or load()
    if library is None:
        return 0
    try:
        library.nvmlInit()
        return library.nvmlDeviceGetCount()
    except Exception:  # noqa: BLE001 - no driver, no library, another one of that name
        return 0


def load() -> Library | None:
    """The module, where it is installed."""
    try:
        library: Library = import_module("pynvml")
    except ImportError:
        return None
    return library


def _handles(library: Library) -> list[Any]:
    library.nvmlInit()
    return [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]


def _meter(library: Library, handle: Any, clock: Callable[[], float]) -> Meter:
    try:
        return Counted(lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle), COUNTER)
    except library.NVMLError:
        return Sampled(lambda: library.nvmlDeviceGetPowerUsage(handle), SAMPLES, clock)
