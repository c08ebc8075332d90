"""What the meter knows of the machine: its counters, its price, and how much of it is ours."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from penstock.metering.carbon import Grid, Steady
from penstock.metering.energy.probe import Joules, Part, Probe


class Reading(Struct, frozen=True):
    """What this server's share of the machine took since the last reading; None is not known."""

    cpu: Joules | None
    gpu: Joules | None
    grams: float | None
    """CO2-equivalents of a kWh, now."""
    methods: frozenset[str] = frozenset()
    """How it was told."""
    busy: float | None = None
    """Core-seconds in which our share of the processors was busy, whoever with."""


def _untold() -> float | None:
    return None


class Equipment:
    """Reading blocks for some milliseconds, or longer where the grid is asked; it belongs to one thread."""

    def __init__(
        self,
        *,
        cores: float = 1.0,
        gpus: float = 0.0,
        share: float = 1.0,
        share_gpus: float = 1.0,
        pue: float = 1.0,
        probes: Sequence[Probe] = (),
        cpu_per_hour: float | None = None,
        gpu_per_hour: float | None = None,
        currency: str = "",
        embodied: float | None = None,
        grid: Grid | None = None,
        price_from: str = "",
        pue_from: str = "",
        load: Callable[[], float | None] = _untold,
    ) -> None:
        """All are of the whole machine; ``share`` of it is ours, and ``share_gpus`` of its GPUs.

        ``embodied``: grams a second; ``load``: core-seconds in which it was busy, so far.
        """
        self.cores = cores * share
        self.gpus = gpus * share_gpus
        self.cpu_per_s = None if cpu_per_hour is None else cpu_per_hour * share / 3600.0
        self.gpu_per_s = None if not gpus or gpu_per_hour is None else gpu_per_hour * share_gpus / 3600.0
        self.currency = currency
        self.price_from = price_from
        """Where the price comes from, in words; empty where none is known."""
        self.pue, self.pue_from = pue, pue_from
        self.embodied = None if embodied is None else embodied * share
        self._probes = probes
        self._factor: dict[Part, float] = {"cpu": share * pue, "gpu": share_gpus * pue}
        self._last: list[Joules | None] = [None] * len(probes)
        self._share = share
        self._load = load
        self._worked = load()
        self.grid = grid or Steady(None, "")

    @property
    def methods(self) -> list[str]:
        """How its energy is told; empty where nothing tells that of a part of it, ``untold``."""
        return [] if self.untold else sorted({probe.method for probe in self._probes})

    @property
    def untold(self) -> set[Part]:
        """Parts of it without a probe, because of which its energy is not known."""
        ours: set[Part] = {"cpu", "gpu"} if self.gpus else {"cpu"}
        return ours - {probe.part for probe in self._probes}

    def idle_watts(self, part: Part) -> float | None:
        """What that part takes with nothing to do, where all its counters know."""
        known = [probe.idle_watts for probe in self._probes if probe.part == part]
        told = [watts for watts in known if watts is not None]
        return sum(told) * self._factor[part] if told and len(told) == len(known) else None

    def read(self) -> Reading:
        """Since the last reading; the first one tells nothing."""
        spent = {"cpu": Joules(), "gpu": Joules()}
        silent = {"cpu", "gpu"} - {probe.part for probe in self._probes}
        for at, probe in enumerate(self._probes):
            now, before = probe.joules(), self._last[at]
            self._last[at] = now
            if now is None or before is None:
                silent.add(probe.part)  # a part of them would pass for all
            else:
                spent[probe.part] += (now - before) * self._factor[probe.part]
        cpu, gpu = (None if part in silent else spent[part] for part in ("cpu", "gpu"))
        methods = frozenset(probe.method for probe in self._probes if probe.part not in silent)
        return Reading(cpu, gpu, self.grid.grams(), methods, self._busy())

    def _busy(self) -> float | None:
        before, self._worked = self._worked, self._load()
        if before is None or self._worked is None:
            return None
        return max(0.0, self._worked - before) * self._share
