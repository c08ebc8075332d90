"""How careful the forecast is, from the share of requests that missed the target; with anti-windup."""

from msgspec import Struct
from msgspec.structs import replace

from penstock.scaling.forecast.conformal import FIRST, TAUS

HALF_LIFE = 6 * 3600.0
"""Seconds after which a request counts half."""
RISE, FALL = 1800.0, 3600.0
"""Seconds at one level before it may be raised, or lowered."""
NEAR, FAR = 0.8, 0.5
"""Of the budget: over the first the level is raised, under the second lowered."""
HELPED = 0.8
"""Share that missed over what missed before, under which a raise was worth it."""
TRIED = 2
"""Raises in vain after which no level helps."""
REST = 6 * 3600.0
"""Seconds after which it is tried again."""
ENOUGH = 500.0
"""Requests without which a share says nothing."""


class Feedback(Struct, frozen=True):
    """A level of ``TAUS`` and what came of it."""

    level: int = FIRST
    missed: float = 0.0
    asked: float = 0.0
    """Of late: half of what was six hours ago."""
    here_missed: float = 0.0
    here_asked: float = 0.0
    """Since the level was changed."""
    moved: float = 0.0
    at: float = 0.0
    before: float = 1.0
    """The share that missed at the level below."""
    vain: int = 0
    """Raises in a row that did not lower it."""
    futile: float = 0.0
    """Until when no raise is tried; 0: none was in vain."""

    @property
    def share(self) -> float:
        """Of requests that missed of late."""
        return self.missed / self.asked if self.asked else 0.0


def follow(state: Feedback, now: float, missed: float, asked: float, budget: float) -> Feedback:
    """One decision later."""
    if not state.at:
        state = replace(state, at=now, moved=now)
    keep = 0.5 ** (max(0.0, now - state.at) / HALF_LIFE)
    state = replace(
        state,
        at=now,
        missed=state.missed * keep + missed,
        asked=state.asked * keep + asked,
        here_missed=state.here_missed + missed,
        here_asked=state.here_asked + asked,
    )
    if state.here_asked < ENOUGH:
        return state
    here, stayed = state.here_missed / state.here_asked, now - state.moved
    if stayed >= RISE and state.share > NEAR * budget and here > NEAR * budget:
        return _raised(state, now, here)
    if stayed >= FALL and state.share < FAR * budget and here < FAR * budget and state.level > FIRST:
        return _moved(state, now, state.level - 1, before=1.0, vain=0, futile=0.0)
    return state


def _raised(state: Feedback, now: float, here: float) -> Feedback:
    if now < state.futile:
        return state
    vain = state.vain + 1 if here >= HELPED * state.before else 0
    if vain >= TRIED or state.level == len(TAUS) - 1:
        # Anti-windup: a level that does not help only costs.
        return _moved(state, now, FIRST, before=1.0, vain=0, futile=now + REST)
    return _moved(state, now, state.level + 1, before=here, vain=vain, futile=0.0)


def _moved(state: Feedback, now: float, level: int, before: float, vain: int, futile: float) -> Feedback:
    return replace(
        state,
        level=level,
        moved=now,
        here_missed=0.0,
        here_asked=0.0,
        before=before,
        vain=vain,
        futile=futile,
    )
