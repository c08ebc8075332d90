"""Looks in, the number of replicas out: one model's series, and a decision once a tick."""

import logging
from math import floor

from penstock.cluster.scaler.flow import Flow, Look, settled
from penstock.cluster.scaler.spread import Dealer
from penstock.cluster.scaler.standing import Arrivals, Standing, standing
from penstock.cluster.scaler.trigger import Trigger
from penstock.core.errors import Unavailable, UnknownModel
from penstock.scaling.decide import Memory, decide
from penstock.scaling.series import Series
from penstock.scaling.types import Decision, Seen

log = logging.getLogger("penstock.scaler")

LEAST_WAIT = 0.02
"""Part of the target that a request may wait, however long it runs."""

ENOUGH = 1e9
"""Requests/s that nobody has."""


class Reckoning:
    """Knows no clock but the looks', and opens nothing."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        """May be replaced by one on other terms."""
        self.series = Series()
        self.decision: Decision | None = None
        self.wanted = 0
        """Replicas, as they are asked for."""
        self.at = 0.0
        """When that was decided."""
        self._flow = Flow()
        self._begun = 0.0
        self._until = 0
        """The series' own present: where counts come late, so does the decision on them."""
        self._dealer = Dealer()
        self._arrivals = Arrivals()
        self._memory = Memory()
        self._ready: frozenset[str] = frozenset()
        self._lost: dict[str, float] = {}
        self._target_s = self._carries = 0.0

    def note(self, look: Look) -> bool:
        """Whether something was decided. Raises Unavailable or UnknownModel where nothing can be."""
        self._begun = self._begun or look.now
        self._flow.begin = self._flow.begin or self.series.seconds.open
        self._flow.take(look)
        self._count(look)
        self._follow(look)
        if look.now - self.at < self.trigger.terms.tick_s - look.every_s / 2:
            return False
        now = standing(look)
        seen = self._seen(look, now)
        self.decision, self._memory = decide(seen, self._memory, self.trigger.terms)
        self._publish(look.now, now.ready + now.starting, self.decision)
        return True

    def _count(self, look: Look) -> None:
        """Into the series, once nothing can come to it any more."""
        until = settled(look)
        if look.every_s <= 1.5:
            for second, count in self._flow.finished(until):
                self.series.add(second, count)
        else:
            width = max(2, round(look.every_s)) if look.demand is None else 2
            until = until // width * width
            window: list[tuple[int, float]] = []
            for second, count in self._flow.finished(until):
                if window and second // width != window[0][0] // width:
                    self._deal(window)
                    window = []
                window.append((second, count))
            self._deal(window)
        self._until = floor(until)
        if look.now > self._begun or self.series.exact:  # the first look only says from where to count
            self.series.advance(self._until)

    def _deal(self, window: list[tuple[int, float]]) -> None:
        for second, count in self._dealer.deal(window) if window else ():
            self.series.add(second, count)

    def _follow(self, look: Look) -> None:
        """Which replicas came, and which were ready and say nothing now."""
        ready = frozenset(name for name, points in look.points.items() if points and points[-1].ready)
        self._lost = {
            name: since
            for name, since in self._lost.items()
            if name in look.silent and look.now - since < self.trigger.stale_s
        }
        for name in self._ready & look.silent:
            self._lost.setdefault(name, look.now)
        self._ready = ready
        self._arrivals.note(look)
        for name in self._lost:
            self._arrivals.forget_lost(name)

    def _seen(self, look: Look, now: Standing) -> Seen:
        trigger = self.trigger
        if look.points and not now.known:
            raise UnknownModel(
                f"no replica has a model {trigger.model!r}; metadata: model must name one of theirs"
            )
        target, carries = self._terms(now)
        if not target:
            raise Unavailable(
                f"model {trigger.model!r} has no target to hold; give target (milliseconds) in the metadata, "
                "or p99_ms under [target] in its model.toml"
            )
        if not carries:
            raise Unavailable(
                f"no replica says how many requests/s of {trigger.model!r} it carries "
                "(penstock_replica_carries); give carries in the metadata"
            )
        missed, asked = self._flow.outcomes()
        return Seen(
            now=self._until,
            series=self.series,
            waiting=now.waiting,
            ready=now.ready,
            starting=now.starting,
            carries=carries,
            wait_s=max(target - now.run_s, LEAST_WAIT * target),
            startup_s=self.startup_s(now) + look.now - self._until,
            missed=min(missed, asked),
            asked=asked,
        )

    def _terms(self, now: Standing) -> tuple[float, float]:
        """Target (seconds) and what one replica carries; 0 where replicas answer and do not say.

        While none answers, what was said last holds; before any has, one is enough, and it will say.
        """
        self._target_s = (
            self.trigger.target_ms / 1e3 or now.target_s or (0.0 if now.ready else self._target_s)
        )
        self._carries = self.trigger.carries or now.carries or (0.0 if now.ready else self._carries)
        if now.ready:
            return self._target_s, self._carries
        return self._target_s or 1.0, self._carries or ENOUGH

    def startup_s(self, now: Standing) -> float:
        """From the scaler's word to a replica's first answer, the autoscaler's own delay included."""
        come = self._arrivals.p95() or self.trigger.startup_s
        return max(now.startup_s, come) + self.trigger.sync_s

    def _publish(self, now: float, there: int, decision: Decision) -> None:
        """Never fewer while one that carried traffic cannot be counted: its requests are missing.

        Nor fewer than there are, until it has watched for as long as the policy holds: somebody had a
        reason for them, which a scaler that has just been started cannot know.
        """
        wanted = decision.instances
        if self._lost:
            wanted = max(wanted, self.wanted)
        if now - self._begun < self.trigger.terms.hold_s:
            wanted = max(wanted, min(there, self.trigger.terms.most))
        asked = nudged(wanted, there, self.trigger.tolerance, self.trigger.terms.most)
        if asked != self.wanted or not self.at:
            log.info("%s: %d replicas; %s", self.trigger.model, asked, decision.line())
        self.wanted, self.at = asked, now


def nudged(wanted: int, there: int, tolerance: float, most: int) -> int:
    """What to ask for so that the autoscaler acts: it ignores a relative change within its tolerance.

    Upwards the next number that it acts on; downwards nothing is lost by leaving one too many.
    """
    if not there or wanted <= there or wanted / there - 1 > tolerance:
        return wanted
    return min(most, max(wanted, floor(there * (1 + tolerance)) + 1))
