"""How many instances a model should have: the one decision of this package, pure."""

from math import ceil

from msgspec import Struct

from penstock.scaling import schedules, staffing
from penstock.scaling.bounds import Wishes, clamp, held, patience
from penstock.scaling.burst import dispersion
from penstock.scaling.feedback import Feedback, follow
from penstock.scaling.forecast import fit as fitting
from penstock.scaling.forecast import point
from penstock.scaling.forecast.conformal import TAUS
from penstock.scaling.forecast.fit import AHEAD, Fit
from penstock.scaling.forecast.point import Rates
from penstock.scaling.forecast.recurring import JUMP
from penstock.scaling.types import By, Decision, Method, Seen, Terms

NONE: Method = "none"


class Memory(Struct, frozen=True):
    """What is remembered of a model's decisions; a new model's, or one's after a restart, is empty."""

    fit: Fit | None = None
    fitted: float = 0.0
    """When a fit was last tried."""
    wishes: Wishes = ()
    feedback: Feedback = Feedback()


SMALLEST = 1e-4
"""Share of requests over the target under which none can be promised."""
DEAR = 2.0
"""Mean of the forecasts over the mean rate from which rises can not be foreseen: a floor is cheaper."""


class Wish(Struct, frozen=True):
    """One reason for instances."""

    instances: int
    capacity: float
    by: By


class Outlook(Struct, frozen=True):
    """What is expected."""

    rate: float
    method: Method
    wishes: tuple[Wish, ...]
    note: str = ""


def decide(seen: Seen, memory: Memory, terms: Terms, /) -> tuple[Decision, Memory]:
    """Called once a tick; a fit that is due is made here, unless ``refit`` has made it before."""
    if due(seen, memory, terms):
        memory = refit(seen, memory, terms)
    feedback = memory.feedback
    if terms.feedback:
        feedback = follow(feedback, seen.now, seen.missed, seen.asked, terms.budget)
    now, burst = point.rates(seen.series), dispersion(seen.series)
    outlook = _outlook(seen, memory.fit, terms, now, burst, feedback.level)
    best = max(outlook.wishes, key=lambda wish: wish.instances)
    chosen, wishes = _bounded(seen, memory.wishes, terms, best)
    decision = Decision(
        instances=chosen.instances,
        rate=now.s30,
        forecast=outlook.rate,
        quantile=TAUS[feedback.level],
        burst=burst,
        carries=seen.carries,
        capacity=chosen.capacity,
        by=chosen.by,
        method=outlook.method,
        note=outlook.note or (_vain(seen) if seen.now < feedback.futile else ""),
    )
    return decision, Memory(memory.fit, memory.fitted, wishes, feedback)


# -- learning -------------------------------------------------------------------------------------


def due(seen: Seen, memory: Memory, terms: Terms, /) -> bool:
    """Whether ``decide`` would first look through the history, which takes some milliseconds."""
    if not terms.ahead:
        return False
    if memory.fit is None:
        return seen.now - memory.fitted >= 60.0
    lead = fitting.horizon(seen.startup_s, terms.tick_s)
    return memory.fit.stale(seen.series.fine.open, lead)


def refit(seen: Seen, memory: Memory, terms: Terms, /) -> Memory:
    """With a fit of the history as it is now; only reads the series, so it may run in a thread."""
    lead = fitting.horizon(seen.startup_s, terms.tick_s)
    return Memory(fitting.fit(seen.series, lead), seen.now, memory.wishes, memory.feedback)


# -- wishes ---------------------------------------------------------------------------------------


def _outlook(seen: Seen, fit: Fit | None, terms: Terms, now: Rates, burst: float, level: int) -> Outlook:
    def staffed(rate: float, by: By) -> Wish:
        capacity = staffing.needed(rate, burst, seen.wait_s, min(max(terms.budget, SMALLEST), 0.5))
        return Wish(staffing.instances(capacity, seen.carries), capacity, by)

    least = min(terms.least, 1)
    event = schedules.asked(terms.schedules, seen.now, seen.startup_s + terms.tick_s)
    wishes = [Wish(terms.least, terms.least * seen.carries, "floor")]
    if event:
        wishes.append(Wish(event, event * seen.carries, "schedule"))
    if terms.ahead:
        wishes += [staffed(rate, "recurring") for rate in _recurring(fit, seen, now)]
    if not least and not seen.waiting and seen.now - seen.series.last > terms.idle_s:
        return Outlook(0.0, NONE, (Wish(0, 0.0, "idle"), *wishes[1:]))
    wishes += [staffed(now.s30, "reactive"), *_queue(seen, now)]
    if not least:
        wishes.append(Wish(1, seen.carries, "reactive"))
    if fit is None or not terms.ahead:
        rate = now.s60 * terms.headroom
        if terms.ahead:
            rate = max(rate, point.rising(seen.series, burst, seen.startup_s + terms.tick_s))
        return Outlook(rate, NONE, (staffed(rate, "reactive"), *wishes))
    if fit.cost > DEAR:
        floor = staffed(fit.busy, "floor")
        return Outlook(fit.busy, fit.method, (floor, *wishes), _unforeseen(seen, fit, floor))
    rate = point.forecast(fit, seen.series, now, level)
    return Outlook(rate, fit.method, (staffed(rate, "forecast"), *wishes))


def _unforeseen(seen: Seen, fit: Fit, floor: Wish) -> str:
    return (
        f"not reachable at a start-up of {seen.startup_s:.3g} s: foreseeing rises takes {fit.cost:.1f} times "
        f"the mean rate; holds a floor of {floor.instances}, for rates at which nine in ten requests came"
    )


def _vain(seen: Seen) -> str:
    return (
        f"budget not reachable at a start-up of {seen.startup_s:.3g} s: a more careful forecast did not help"
    )


def _recurring(fit: Fit | None, seen: Seen, now: Rates) -> list[float]:
    """The rate of a spike that is due, if warnings of such have come true."""
    if fit is None or fit.recurring is None:
        return []
    found, row = fit.recurring, min(max(0, seen.series.fine.open - fit.bucket), AHEAD - 1)
    if now.s300 <= 0:
        return [level] if found.wakes and (level := float(found.levels[row])) > 0 else []
    jump = float(found.jumps[row])
    return [now.s300 * jump] if found.trusted and jump > JUMP else []


def _queue(seen: Seen, now: Rates) -> list[Wish]:
    """Enough to work off what waits within a tick, once that waits for half of what it may."""
    if seen.waiting <= seen.ready * seen.carries * seen.wait_s / 2:
        return []
    rate = max(now.s10, now.s30) + seen.waiting / 10.0
    return [Wish(ceil(rate / max(seen.carries, 1e-9)), rate, "queue")]


# -- bounds ---------------------------------------------------------------------------------------


def _bounded(seen: Seen, wishes: Wishes, terms: Terms, best: Wish) -> tuple[Wish, Wishes]:
    wanted = clamp(best.instances, terms.least, terms.most)
    by: By = "limit" if wanted < best.instances else best.by
    if best.by == "idle":
        return Wish(wanted, 0.0, by), ()
    count, wishes = held(wishes, seen.now, wanted, patience(terms.hold_s, seen.startup_s))
    count = clamp(count, terms.least, terms.most)
    if count > wanted:
        return Wish(count, best.capacity, "hold"), wishes
    return Wish(count, best.capacity, by), wishes
