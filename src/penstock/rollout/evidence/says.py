"""What a guard says: its verdict, and one sentence that tells what it found or what it lacks."""

from math import ceil, isfinite

from penstock.rollout.evidence.stand import Stand
from penstock.rollout.words import Guard, Verdict

DAY = 86_400.0
RATES = {"errors": "requests that fail", "timeouts": "requests that time out", "accuracy": "wrong answers"}
COUNTED = {"answers": "compared answers", "accuracy": "labels"}


def guard(name: str, alarm: float, target: float | None, stand: Stand, rate: float, pace: float) -> Guard:
    """``rate``: requests of the candidate a second now; ``pace``: what the guard counts for each of them."""
    needs = ceil(stand.needs) if isfinite(stand.needs) and not stand.passed else None
    speed = rate * pace
    verdict = _verdict(stand)
    return Guard(
        name=name,
        verdict=verdict,
        why=_why(name, verdict, alarm, target, stand, needs, speed),
        effect=_finite(stand.effect),
        low=_finite(stand.low),
        high=_finite(stand.high),
        alarm=alarm,
        target=target,
        seen=stand.seen,
        events=stand.events,
        against=stand.against,
        for_=stand.for_,
        needs=needs,
        needs_s=needs / speed if needs is not None and speed > 0 else None,
    )


def _verdict(stand: Stand) -> Verdict:
    if stand.failed:
        return "fail"
    if stand.silent:
        return "off"
    return "pass" if stand.passed else "not yet"


def _why(
    name: str,
    verdict: Verdict,
    alarm: float,
    target: float | None,
    stand: Stand,
    needs: int | None,
    speed: float,
) -> str:
    if verdict == "off":
        return stand.silent
    if verdict == "fail":
        return f"{_found(name, stand)}, and {_limit(name, alarm)} is the most"
    if target is None:
        return "it watches for an alarm alone"
    if verdict == "pass":
        return f"{_aim(name, target)} is proven"
    if speed <= 0:
        return f"no {COUNTED.get(name, 'requests')} of the new version come: no traffic is no evidence"
    if needs is None:
        return _stuck(name, target, stand)
    counted = COUNTED.get(name, "requests")
    more = "more " if stand.seen else ""
    said = f"{_aim(name, target)} needs some {_round(needs):,} {more}{counted} of the new version"
    return f"{said}: {duration(needs / speed)} at today's {speed:.2g} a second"


def _stuck(name: str, target: float, stand: Stand) -> str:
    if not stand.seen:
        return "nothing of the new version is seen yet"
    return f"{_found(name, stand)}; as it goes on, {_aim(name, target)} is not proven"


def _found(name: str, stand: Stand) -> str:
    """What was seen, in a few words."""
    between = ""
    if stand.low is not None and stand.high is not None:
        between = f" ({_number(name, stand.low)} to {_number(name, stand.high)})"
    elif stand.low is not None:
        between = f" (at least {_number(name, stand.low)})"
    if name == "answers":
        return f"{percent(stand.effect or 0)} more of the answers differ than by chance{between}"
    if name == "outputs":
        return f"{percent(stand.effect or 0)} of the answers went to other classes"
    if name in RATES:
        return f"{RATES[name]}: {stand.beside}"
    if stand.effect is None and stand.low is not None:
        return f"{name} is at least {_number(name, stand.low)} times the old version's"
    if stand.effect is None:
        return f"{name} is seen too rarely for a figure"
    return f"{name} is {_number(name, stand.effect)} times the old version's{between}"


def _number(name: str, value: float) -> str:
    return percent(value) if name == "answers" else f"{value:.3g}"


def _limit(name: str, value: float) -> str:
    return percent(value) if name == "answers" else f"{value:g} times"


def _aim(name: str, target: float) -> str:
    if name == "answers":
        return f"that at most {percent(target)} of the answers differ"
    if name in RATES:
        return f"{name} below {target:g} times"
    return f"{name} within {percent(target - 1)}" if target < 2 else f"{name} below {target:g} times"


def _round(value: float) -> int:
    """To two digits."""
    step = 10 ** max(0, len(str(int(value))) - 2)
    return int(ceil(value / step) * step)


def percent(part: float) -> str:
    return f"{part * 100:.3g} %"


def duration(seconds: float) -> str:
    for unit, size in (("day", DAY), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= size:
            count = round(seconds / size)
            return f"{count:,} {unit}{'s' if count != 1 else ''}"
    return f"{ceil(seconds)} s"


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None
