"""Instances for known events: what the schedules ask for at a moment."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from cronsim import CronSim

from penstock.core import cron
from penstock.scaling.types import Schedule


def check(schedule: Schedule) -> None:
    """Raises ValueError, with what is wrong, for one that can not be."""
    if fault := cron.fault(schedule.cron):
        raise ValueError(f"schedule {fault}")
    if schedule.least < 0 or schedule.for_s <= 0:
        raise ValueError(f'schedule "{schedule.cron}": least must be 0 or more, for_s over 0')


def asked(schedules: Sequence[Schedule], now: float, lead_s: float, zone: tzinfo | None = None) -> int:
    """The most instances that an event asks for which goes on, or begins within ``lead_s``."""
    return max((each.least for each in schedules if _on(each, now, lead_s, zone or local())), default=0)


def _on(schedule: Schedule, now: float, lead_s: float, zone: tzinfo) -> bool:
    # One second more: the search back names times before the one it is given.
    late = datetime.fromtimestamp(int(now + lead_s) + 1, zone)
    begun = next(CronSim(schedule.cron, late, reverse=True), None)
    return begun is not None and begun.timestamp() + schedule.for_s > now


@cache
def local() -> tzinfo:
    """The server's time zone: ``TZ``, else the system's, else UTC."""
    if name := os.environ.get("TZ", "").lstrip(":"):
        try:
            return ZoneInfo(name)
        except (ValueError, OSError, KeyError):
            return UTC
    try:
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file, "local")
    except (ValueError, OSError):
        return UTC
