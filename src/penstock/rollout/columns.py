"""Rows about requests as columns, which is how the judge takes them."""

import struct
from math import nan
from typing import Self, TypeAlias

import numpy as np
from msgspec import Struct

from penstock.core.types import Timing
from penstock.metering import tariff
from penstock.rollout.evidence.requests import Floats, Requests

Row: TypeAlias = tuple[bool, float, float, bool, bool, float, float, int, bool]
"""What ``Requests`` has columns of, in its order; the unit in 53 bits."""

_KINDS = {
    "candidate": "?",
    "odds": "<f8",
    "seconds": "<f8",
    "failed": "?",
    "timed_out": "?",
    "cost": "<f8",
    "joules": "<f8",
    "unit": "<u8",
    "cold": "?",
}
_DTYPE = np.dtype(list(_KINDS.items()))
_pack = struct.Struct("<?dd??ddQ?").pack


class Rates(Struct, frozen=True):
    """What a core-second and a GPU-second cost now; 1 and nan where there is no price, or no energy."""

    cpu: float = 1.0
    gpu: float = 1.0
    cpu_joules: float = nan
    gpu_joules: float = nan

    @classmethod
    def by(cls, marginal: tariff.Rates) -> Self:
        """Of the meter; without a price a query costs core-seconds."""
        joules = (marginal.cpu_joules, marginal.gpu_joules)
        return cls(
            1.0 if marginal.cpu_money is None else marginal.cpu_money,
            1.0 if marginal.gpu_money is None else marginal.gpu_money,
            *(nan if each is None else each.mid for each in joules),
        )

    def worth(self, timing: Timing) -> tuple[float, float]:
        """Money (or core-seconds) and joules of one run."""
        if not timing.gpu:
            return timing.cpu * self.cpu, timing.cpu * self.cpu_joules
        return (
            timing.cpu * self.cpu + timing.gpu * self.gpu,
            timing.cpu * self.cpu_joules + timing.gpu * self.gpu_joules,
        )


class Plain:
    """What most rows are, an answer to nobody in particular, at three numbers each."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._candidate: list[bool] = []
        self._odds: list[float] = []
        self._seconds: list[float] = []
        self._cpu: list[float] = []
        self._gpu: dict[int, float] = {}
        """By place, as most have none."""

    def add(self, candidate: bool, odds: float, seconds: float, timing: Timing) -> int:
        """How many there are now."""
        self._candidate.append(candidate)
        self._odds.append(odds)
        self._seconds.append(seconds)
        self._cpu.append(timing.cpu)
        count = len(self._odds)
        if timing.gpu:
            self._gpu[count - 1] = timing.gpu
        return count

    def take(self, rates: Rates | None) -> Requests | None:
        """All of them, and be empty; without ``rates`` cost is not known."""
        if not self._odds:
            return None
        count = len(self._odds)
        cpu, gpu = np.array(self._cpu), np.zeros(count)
        gpu[list(self._gpu)] = list(self._gpu.values())
        none = np.zeros(count, bool)
        found = Requests(
            candidate=np.array(self._candidate),
            odds=np.array(self._odds),
            seconds=np.array(self._seconds),
            failed=none,
            timed_out=none,
            cost=_worth(cpu, gpu, rates.cpu, rates.gpu) if rates else np.full(count, nan),
            joules=_worth(cpu, gpu, rates.cpu_joules, rates.gpu_joules) if rates else np.full(count, nan),
            unit=np.zeros(count, np.uint64),
            cold=none,
        )
        self._clear()
        return found


def _worth(cpu: Floats, gpu: Floats, of_cpu: float, of_gpu: float) -> Floats:
    return cpu * of_cpu + np.where(gpu > 0, gpu * of_gpu, 0.0)


def columns(rows: list[Row]) -> Requests:
    """One array for each figure."""
    table = np.frombuffer(b"".join([_pack(*row) for row in rows]), _DTYPE)
    return Requests(*(np.ascontiguousarray(table[name]) for name in _KINDS))


def joined(parts: list[Requests]) -> Requests:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    return Requests(*(np.concatenate([getattr(part, name) for part in parts]) for name in _KINDS))
