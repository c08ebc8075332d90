"""Which models are in memory: who may come, who makes room, and who waits; pure."""

from collections.abc import Iterable, Sequence
from math import inf
from typing import TypeAlias

from msgspec import Struct

from penstock.core.sizes import show

SHARE = 10.0
"""A model stays at most so many times as long as its loading took, which bounds the time spent loading."""
IDLE = 0.2
"""The part of its stay for which a model must have been idle to go before it is over."""


class Rules(Struct, frozen=True, kw_only=True):
    """``[memory]``: bytes for all models together (0: no limit), who is never unloaded, and the stay (s)."""

    limit: int = 0
    keep: tuple[str, ...] = ()
    stay: float = 10.0


class Resident(Struct, frozen=True, kw_only=True):
    """A model in memory; times are monotonic seconds."""

    model: str
    bytes: int
    loaded: float
    used: float
    """When it last answered; the present for one that is not idle."""
    idle: bool
    load_seconds: float = 0.0
    kept: bool = False
    """It never goes."""
    leaving: bool = False
    """It is being drained and will give its memory back."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A model that requests wait for, the most urgent of them until ``deadline`` (monotonic seconds)."""

    model: str
    bytes: int
    deadline: float = inf


class Load(Struct, frozen=True):
    """Load it now: there is room."""

    model: str


class Evict(Struct, frozen=True):
    """Drain and unload these, and ask again when they have gone."""

    models: tuple[str, ...]


class Wait(Struct, frozen=True):
    """Nothing can be done before ``until`` (monotonic seconds) unless something changes."""

    until: float


class Refuse(Struct, frozen=True):
    """It can never be loaded as things are set."""

    model: str
    reason: str


Decision: TypeAlias = Load | Evict | Wait | Refuse


def decide(residents: Sequence[Resident], wanted: Sequence[Wanted], rules: Rules, now: float) -> Decision:
    """What to do next for the models that are wanted, the most urgent first (at least one).

    A later one passes only where it takes no room that the first will need.
    """
    ordered = sorted(wanted, key=lambda one: (one.deadline, one.model))
    for one in ordered:
        if reason := too_large(one.model, one.bytes, residents, rules):
            return Refuse(one.model, reason)
    first, free = ordered[0], rules.limit - total(residents)
    if first.bytes <= free:
        return Load(first.model)
    coming = sum(one.bytes for one in residents if one.leaving)
    victims = _victims(residents, first.bytes - free - coming, rules, now)
    if victims:
        return Evict(victims)
    until, room = _room(residents, first.bytes, free + coming, rules, now)
    for one in ordered[1:]:
        if one.bytes <= free and one.bytes <= room - first.bytes:
            return Load(one.model)
    return Wait(until)


def total(residents: Iterable[Resident]) -> int:
    """Bytes that they take together."""
    return sum(one.bytes for one in residents)


def too_large(model: str, size: int, residents: Sequence[Resident], rules: Rules) -> str:
    """Why a model of ``size`` bytes can never be loaded; empty where it can."""
    kept = sum(one.bytes for one in residents if one.kept and one.model != model)
    if size <= rules.limit - kept:
        return ""
    beside = f", of which models that are kept take {show(kept)}" if kept else ""
    return (
        f"it takes {show(size)}, and memory.limit is {show(rules.limit)}{beside}; "
        f"a limit of {show(size + kept)} would hold it"
    )


def _victims(residents: Sequence[Resident], need: int, rules: Rules, now: float) -> tuple[str, ...]:
    """Models that may go now and together give ``need`` bytes; empty where they do not, or none must go."""
    return _choose([one for one in _able(residents) if goes(one, rules) <= now], need)


def _choose(candidates: Sequence[Resident], need: int) -> tuple[str, ...]:
    """Idle ones first and of these the least recently used; of the others the longest loaded."""
    chosen: list[Resident] = []
    order = sorted(candidates, key=lambda one: (not one.idle, one.used if one.idle else one.loaded))
    for one in order:
        if need <= 0:
            break
        chosen.append(one)
        need -= one.bytes
    if need > 0:
        return ()
    for one in chosen[::-1]:  # a large one may have made smaller ones before it needless
        if one.bytes <= -need:
            chosen.remove(one)
            need += one.bytes
    return tuple(one.model for one in chosen)


def _able(residents: Sequence[Resident]) -> list[Resident]:
    return [one for one in residents if one.bytes and not one.leaving and not one.kept]


def goes(one: Resident, rules: Rules) -> float:
    """When a model may go (monotonic seconds): its stay is over, or it has been idle for long."""
    stay = min(rules.stay, SHARE * one.load_seconds)
    return min(one.loaded + stay, one.used + IDLE * stay)


def _room(residents: Sequence[Resident], need: int, room: int, rules: Rules, now: float) -> tuple[float, int]:
    """When there will be ``need`` bytes of room as models may go, and how many bytes there are then."""
    until = now
    for one in sorted(_able(residents), key=lambda one: goes(one, rules)):
        if room >= need:
            break
        until = goes(one, rules)
        room += one.bytes
    # What is on its way out already says when it has gone.
    return (inf if until <= now else until), room


def shrink(residents: Sequence[Resident], rules: Rules, spared: str = "", extra: int = 0) -> tuple[str, ...]:
    """Models to unload, whatever their stay, so that all and ``extra`` bytes are within the limit.

    For when more was taken than expected; what goes is idle, not kept and not ``spared``; where
    that is not enough, all of it goes.
    """
    staying = [one for one in residents if not one.leaving]
    need = total(staying) + extra - rules.limit
    able = [one for one in _able(staying) if one.idle and one.model != spared]
    return _choose(able, min(need, total(able)))


def fits(size: int, residents: Sequence[Resident], rules: Rules) -> bool:
    """Whether there is room without anybody going."""
    return size <= rules.limit - total(residents)


def working_set(residents: Sequence[Resident], gone: Iterable[Wanted], since: float) -> tuple[int, list[str]]:
    """Bytes and names of the models used since a time (monotonic seconds), and of those unloaded since."""
    used = {one.model: one.bytes for one in gone}
    used |= {one.model: one.bytes for one in residents if one.used >= since and not one.leaving}
    return sum(used.values()), sorted(used)
