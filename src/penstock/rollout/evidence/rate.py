"""Guards over rates: errors, time-outs, and wrong answers by feedback."""

from math import exp, inf, log

import numpy as np
from msgspec import Struct, field

from penstock.rollout.evidence import label
from penstock.rollout.evidence.bets import PASS, Bets, alarm, proof, restart, until
from penstock.rollout.evidence.once import Once
from penstock.rollout.evidence.requests import Bools, Coins, Floats, Units
from penstock.rollout.evidence.sketch import due
from penstock.rollout.evidence.stand import Stand
from penstock.rollout.evidence.tally import Tally, rates, ratio, tally

SLIGHT = 0.002
"""Difference of rates that no pass has to exclude: where errors are rare, twice as many are rare too."""
WIDEST = 5.0
"""Ratio of error rates that is too much however rare they are."""
REPEATED = 0.2
"""Part of the events that may come from callers who had one before, for first events to be told apart."""
RARER = np.array((0.001, 0.2, 0.5))
"""Parts of ``SLIGHT`` that the test of a clean record bets on."""


class Rate(Struct):
    """Alarm by label bets; pass by label bets, or by a record so clean that no comparison is needed.

    Without the latter a version without errors beside a stable one without errors would never pass.
    The two bets share one capital, so passing is wrong with 5 % only where the candidate's rate is both
    over its ratio to the stable's and over ``slight``.
    """

    margin: float
    target: float | None
    slight: float
    """0: no difference is slight, the ratio alone counts."""
    against: Bets
    passing: Bets
    clean: Bets
    ratio: float
    """That a pass excludes, fixed before a chunk is judged: the target, or wider where events are rare."""
    counted: Tally = field(default_factory=tally)
    once: Once = field(default_factory=Once)
    events: int = 0
    firsts: int = 0
    """Events of this stage that were a returning caller's first."""
    repeats: int = 0
    held: int = 0
    fresh: int = 0
    """Requests since the ratio was last taken; ``held``: those before."""
    passed: bool = False

    def begin(self, target: float | None, stage: int, alone: bool) -> None:
        restart(self.against, stage, alone)
        self.target, self.passed = target, False
        self.passing, self.clean = proof(len(label.DOWN)), proof(len(RARER))
        self.once.clear()
        self.firsts = self.repeats = 0
        self.counted, self.fresh = tally(), 0
        self.ratio = self._ratio()

    def fold(self, events: Bools, coins: Coins, units: Units | None, single: Bools | None) -> None:
        """``units``, ``single``: for returning callers; who they are, and each one's first request."""
        if due(self.fresh, self.held):
            self.ratio, self.held, self.fresh = self._ratio(), self.held + self.fresh, 0
        if events.any():
            self._bet(events, coins, units, single)
        seen = coins.totals if single is None else coins.count(single)
        counts = coins.count(events if single is None else events & single)
        self.counted.add(coins, np.concatenate((counts.reshape(-1, 2), seen.reshape(-1, 2)), axis=1))
        self.fresh += len(events)
        if self.target is not None:
            self._prove(counts[1::2].sum(), seen[1::2].sum())

    def _bet(self, events: Bools, coins: Coins, units: Units | None, single: Bools | None) -> None:
        self.events += int(np.count_nonzero(events))
        if units is None:
            self._fold(coins, coins.count(events), coins.count(events), self.ratio)
            return
        first, at = events.copy(), np.flatnonzero(events)
        first[at] = self.once.first(units[at])
        proving, ratio = self._proving(first, events if single is None else events & single)
        self._fold(coins, coins.count(first), coins.count(proving), ratio)
        self.firsts += int(np.count_nonzero(first))
        self.repeats += int(np.count_nonzero(events & ~first))

    def _fold(self, coins: Coins, alarming: Floats, proving: Floats, ratio: float) -> None:
        self.against.add(label.gains("up", self.margin, coins, alarming))
        if self.target is not None:
            self.passing.add(label.gains("down", ratio, coins, proving))

    def _proving(self, first: Bools, single: Bools) -> tuple[Bools, float]:
        """Events of returning callers that a pass bets on, and the ratio that it is to exclude.

        Those who meet events often have met one in either arm, before long, so that first events come from
        both alike however much worse the candidate is (at 5 % errors and twenty requests a caller, twice as
        many errors passed in 89 of 100 runs).
        With a hazard of x so far, a ratio ρ has faded to ρ exp(-(ρ-1)x); x is seen by the events that
        repeat.
        Where many do, only what happens to a caller's first request counts, which is exact, and slow.
        """
        share = (self.repeats + 1) / (self.firsts + self.repeats + 10)
        if share > REPEATED:
            return single, self.ratio
        hazard = 2 * share / (1 - share)
        return first, self.ratio * exp(-(self.ratio - 1) * hazard)

    def _prove(self, events: float, seen: float) -> None:
        """Takes the candidate's clean record into account."""
        if self.slight:
            self.clean.add(events * np.log(RARER) + (seen - events) * _clean(self.slight))
        top = max(float(self.passing.logs.max()), float(self.clean.logs.max()))
        near = top + log(len(label.DOWN)) >= PASS  # most of what both can be worth together
        self.passed = self.passed or (near and self._wealth() >= PASS)

    def _wealth(self) -> float:
        """Of both bets on a pass, each with half of the capital."""
        if not self.slight:
            return self.passing.wealth()
        return float(np.logaddexp(self.passing.wealth(), self.clean.wealth())) - log(2)

    def _ratio(self) -> float:
        if self.target is None or not self.slight:
            return self.target or 1.0
        events, _, requests, _ = self.counted.totals.tolist()
        wide = 1 + self.slight * requests / (events + 1)  # one more, so that few requests widen nothing
        return float(max(self.target, min(wide, WIDEST)))

    def needs(self, odds: float) -> float:
        """More requests of the candidate until it passes."""
        if self.target is None or self.passed:
            return inf
        stable, mine, theirs, ours = self.counted.totals
        base = stable / theirs if theirs else 0.0
        worth = 10 / base if base else 0.0  # a prior of ten events at the stable's rate
        rate = (mine + 10) / (ours + worth) if base else (mine / ours if ours else 0.0)
        bets = label.growth("down", self.ratio, odds, rate, base)
        if not self.slight:
            return until(self.passing, bets)
        clean = rate * np.log(RARER) + (1 - rate) * _clean(self.slight)
        return min(until(self.passing, bets, log(2)), until(self.clean, clean, log(2)))

    def stand(self, odds: float) -> Stand:
        low, high = rates(self.counted)
        stable, mine, theirs, ours = self.counted.totals
        progress = 1.0 if self.passed else min(1.0, max(0.0, self._wealth() / PASS))
        return Stand(
            failed=self.against.settled,
            passed=self.passed,
            effect=ratio(self.counted),
            low=low,
            high=high,
            seen=int(ours),
            events=self.events,
            against=self.against.progress(),
            for_=progress,
            needs=self.needs(odds),
            silent="" if self.slight or theirs + ours else "no feedback has come",
            beside=f"{_part(mine, ours)} of the new version's, {_part(stable, theirs)} of the old one's",
        )


def _clean(slight: float) -> Floats:
    """Log factors of a request without an event, of bets that they are rarer than ``slight``."""
    return np.asarray(np.log((1 - RARER * slight) / (1 - slight)))


def _part(events: float, requests: float) -> str:
    return f"{events / requests * 100:.3g} %" if requests else "none"


def rate(margin: float, target: float | None, risk: float, slight: float = SLIGHT) -> Rate:
    bets = len(label.UP)
    found = Rate(
        margin, target, slight, alarm(bets, risk), proof(bets), proof(len(RARER)), ratio=target or 1.0
    )
    found.ratio = found._ratio()
    return found
