"""All guards of one rollout: evidence in, verdicts out, to be asked at any time."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from penstock.rollout.evidence.latency import latency
from penstock.rollout.evidence.mean import mean
from penstock.rollout.evidence.outputs import outputs
from penstock.rollout.evidence.pack import pack, unpack
from penstock.rollout.evidence.parts import parts
from penstock.rollout.evidence.rate import rate
from penstock.rollout.evidence.requests import Bools, Coins, Floats, Requests, Units
from penstock.rollout.evidence.says import guard
from penstock.rollout.evidence.sketch import sketch
from penstock.rollout.evidence.stand import Stand
from penstock.rollout.evidence.state import VERSION, Bound, Control, State, bound
from penstock.rollout.evidence.windows import Window, paired
from penstock.rollout.words import GUARDS, Guard

WEIGHTS = {
    "errors": 0.27,
    "timeouts": 0.03,
    "p50": 0.1,
    "p95": 0.06,
    "p99": 0.24,
    "cost": 0.05,
    "energy": 0.03,
    "answers": 0.15,
    "outputs": 0.03,
    "accuracy": 0.04,
}
"""How the risk is split over guards; of those that are not watched it goes to the others."""
MEANS = {"cost": "cost", "energy": "joules"}
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
CENSORED = 3.0
"""Windows tell latencies apart up to so many times the threshold."""


class Judge:
    """Folds in what happened and says, guard by guard, pass, fail or not yet.

    Whoever looks at whatever time, all alarms together take back a good version with a chance of ``risk``
    at most over the whole rollout, and a guard lets a version through that is over its target with 5 % a
    stage at most.
    Pure: no clock, no disk, no randomness.
    """

    def __init__(
        self,
        guards: Mapping[str, Bound],
        risk: float = 0.01,
        *,
        sticky: bool = False,
        control: Control = "stable",
        slack: float = 0.0,
    ) -> None:
        """The first stage begins.

        ``sticky``: callers return to their arm, so each counts once a stage and guard, and stages by
        themselves; rates are then of callers who meet an event.
        ``control``: whose requests the others are; a fresh ``baseline`` of the candidate's share is compared
        in paired windows, which ``tick`` closes, on latency and cost.
        ``slack``: seconds that the candidate may take more, whatever the ratio.
        Raises ValueError for a guard that there is not.
        """
        if unknown := [name for name in guards if name not in WEIGHTS]:
            raise ValueError(f"no guard {unknown[0]!r}; have {', '.join(WEIGHTS)}")
        whole = sum(WEIGHTS[name] for name in guards) or 1.0
        self._state = State(
            VERSION,
            sticky,
            control,
            slack,
            {name: bound(each.alarm, each.target) for name, each in guards.items()},
            sketch(tuple(SHARES.values())),
        )
        for name in GUARDS:
            if name in guards:
                self._watch(name, self._state.bounds[name], risk * WEIGHTS[name] / whole)
        for _, each in self._all:
            each.against.reserve *= not sticky  # stages stand by themselves then (``restart``)

    def _watch(self, name: str, margins: Bound, risk: float) -> None:
        state, (alarm, target) = self._state, (margins.alarm, margins.target)
        if name in ("errors", "timeouts"):
            state.rates[name] = rate(alarm, target, risk)
        elif name == "accuracy":
            state.rates[name] = rate(alarm, target, risk, slight=0.0)
        elif name == "answers":
            state.parts = parts(alarm, target, risk)
        elif name == "outputs":
            state.outputs = outputs(alarm, risk)
        elif state.control == "baseline":
            state.pairs[name] = paired(alarm, target, risk)
            state.windows[_values(name)] = Window()
        elif name in SHARES:
            state.latencies[name] = latency(name, alarm, target, risk, state.slack)
        else:
            state.means[name] = mean(alarm, target, risk)

    @property
    def _all(self) -> Iterator[tuple[str, Any]]:
        state = self._state
        for group in (state.rates, state.latencies, state.means, state.pairs):
            yield from cast("dict[str, Any]", group).items()
        if state.parts is not None:
            yield "answers", state.parts
        if state.outputs is not None:
            yield "outputs", state.outputs

    @property
    def watched(self) -> frozenset[str]:
        """The guards that there are."""
        return frozenset(self._state.bounds)

    def begin(self, targets: Mapping[str, float | None]) -> None:
        """The next stage begins: proofs of a pass from nothing, with these targets; alarms go on.

        A part of each alarm's capital begins afresh, so that a fault which shows now is found as fast as
        one that was there from the start.
        """
        state = self._state
        state.stage += 1
        state.callers.clear()
        for name, each in self._all:
            each.begin(targets.get(name), state.stage, state.sticky)
        state.bounds = {name: bound(each.alarm, targets.get(name)) for name, each in state.bounds.items()}

    def fold(self, seen: Requests) -> None:
        """Takes requests in; microseconds for hundreds at a time, and no more often than looks are wanted."""
        drawn = (seen.odds > 0) & (seen.odds < 1)
        if not drawn.all():
            self._state.sketch.add(_stable(_some(seen, ~drawn)))
            seen = _some(seen, drawn)
        if not len(seen):
            return
        state = self._state
        coins = Coins(seen.candidate, seen.odds)
        units = seen.unit if state.sticky and seen.unit.any() else None
        single = None if units is None else state.callers.first(units)
        for name, events in (("errors", seen.failed), ("timeouts", seen.timed_out)):
            if name in state.rates:
                state.rates[name].fold(events, coins, units, single)
        self._note(seen, coins)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self._fold_latencies(seen, coins, units, single)
            self._fold_means(seen, single)

    def _note(self, seen: Requests, coins: Coins) -> None:
        self._state.requests += int(coins.totals[1::2].sum())
        self._state.odds = float(seen.odds[-1])

    def _fold_latencies(
        self, seen: Requests, coins: Coins, units: Units | None, single: Bools | None
    ) -> None:
        state = self._state
        state.sketch.refresh()
        kept = ~(seen.cold | np.isnan(seen.seconds))
        if not kept.all():
            seen = _some(seen, kept)
            coins = Coins(seen.candidate, seen.odds)
            units = None if units is None else units[kept]
            single = None if single is None else single[kept]
        for slow, name in zip(state.sketch.thresholds, SHARES, strict=True):
            if name in state.latencies:
                state.latencies[name].fold(seen.seconds, seen.candidate, coins, slow, units, single)
        if "seconds" in state.windows:
            lighter = np.where(seen.candidate, np.maximum(seen.seconds - state.slack, 0.0), seen.seconds)
            state.windows["seconds"].add(lighter, seen.candidate)
        state.sketch.add(_stable(seen))

    def _fold_means(self, seen: Requests, single: Bools | None) -> None:
        state = self._state
        for name, column in MEANS.items():
            if name not in state.bounds:
                continue
            values: Floats = getattr(seen, column)
            known = ~(seen.cold | np.isnan(values))
            if single is not None:
                known &= single
            if not known.any():
                continue
            candidate, odds = seen.candidate, seen.odds
            if not known.all():
                values, candidate, odds = values[known], candidate[known], odds[known]
            if name in state.means:
                state.means[name].fold(values, candidate, odds)
            else:
                state.windows[column].add(values, candidate)

    def tick(self) -> None:
        """Closes a window of a comparison with a baseline; to be called each ten seconds, no more often."""
        state = self._state
        state.ticks += 1
        for name, pair in state.pairs.items():
            window = state.windows[_values(name)]
            found = window.quantile(SHARES[name]) if name in SHARES else window.mean()
            if found is not None:
                pair.fold(found)
        for window in state.windows.values():
            window.clear()

    def compared(
        self, candidate_differs: Sequence[bool] | Bools, control_differs: Sequence[bool] | Bools
    ) -> None:
        """Answers on the same input, of the candidate and of stable once more, each against stable's."""
        if self._state.parts is None or not len(candidate_differs):
            return
        mine, control = np.asarray(candidate_differs, bool), np.asarray(control_differs, bool)
        alone = (float(np.count_nonzero(mine & ~control)), float(np.count_nonzero(control & ~mine)))
        self._state.parts.fold(np.array((*alone, len(mine) - sum(alone))))

    def answered(
        self,
        bins: NDArray[np.integer[Any]],
        candidate: Bools,
        odds: Floats,
        unit: Units | None = None,
    ) -> None:
        """Bins of answers: the class, or which tenth of the stable version's scores."""
        if self._state.outputs is not None and len(bins):
            units = unit if self._state.sticky else None
            self._state.outputs.fold(np.asarray(bins, np.int64), candidate, odds, units)

    def labelled(self, wrong: Bools, candidate: Bools, odds: Floats, unit: Units | None = None) -> None:
        """Answers whose true outcome has come, with the odds of their time."""
        if "accuracy" in self._state.rates and len(wrong):
            units = unit if self._state.sticky else None
            self._state.rates["accuracy"].fold(wrong, Coins(candidate, odds), units, None)

    def verdicts(self, rate: float) -> tuple[Guard, ...]:
        """Each guard as it stands, at so many requests of the candidate a second."""
        state = self._state
        stands = self._stands()
        return tuple(
            guard(
                name,
                state.bounds[name].alarm,
                state.bounds[name].target,
                stands[name],
                rate,
                self._pace(stands[name]),
            )
            for name in GUARDS
            if name in stands
        )

    def _pace(self, stand: Stand) -> float:
        """What a guard counts for each request of the candidate."""
        return stand.seen / self._state.requests if stand.seen and self._state.requests else 1.0

    def _stands(self) -> dict[str, Stand]:
        state = self._state
        slow = dict(zip(SHARES, state.sketch.thresholds, strict=True))
        found = {name: each.stand(state.odds) for name, each in state.rates.items()}
        for name, timed in state.latencies.items():
            found[name] = timed.stand(state.odds, state.sketch, slow[name])
        found |= {name: each.stand() for name, each in state.means.items()}
        each_window = state.requests / state.ticks if state.ticks else 0.0
        found |= {name: each.stand(state.requests, each_window) for name, each in state.pairs.items()}
        if state.parts is not None:
            found["answers"] = state.parts.stand()
        if state.outputs is not None:
            found["outputs"] = state.outputs.stand()
        return found

    def alarmed(self) -> tuple[str, ...]:
        """Guards that fail: for good, and known without the cost of ``verdicts``."""
        return tuple(name for name, each in self._all if each.against.settled)

    def threshold(self) -> float:
        """Seconds of age after which a running request is slow for every guard, however long it goes on.

        inf while that is not known.
        """
        state = self._state
        limits = [
            slow * max(each.alarm, each.target or 1.0, CENSORED if state.pairs else 1.0) + state.slack
            for slow, name in zip(state.sketch.thresholds, SHARES, strict=True)
            if (each := state.bounds.get(name)) is not None
        ]
        return max(limits, default=inf)

    def dump(self) -> bytes:
        return pack(self._state)

    @classmethod
    def load(cls, data: bytes) -> "Judge":
        """As it was when dumped; raises ValueError for what another version has written."""
        judge = cls.__new__(cls)
        judge._state = unpack(data, State)
        return judge


def _values(name: str) -> str:
    return MEANS.get(name, "seconds")


def _some(seen: Requests, kept: Bools) -> Requests:
    return Requests(**{name: getattr(seen, name)[kept] for name in seen.__struct_fields__})


def _stable(seen: Requests) -> Floats:
    """Latencies that make the thresholds: failures are slow, but say nothing of how long an answer takes."""
    return seen.seconds[~(seen.candidate | seen.failed | seen.cold | np.isnan(seen.seconds))]
