"""Requests for one model divided between two of its versions while one of them is on trial.

A request that fails on the candidate is asked of the stable version, within its deadline, and counts
against the candidate; nobody but the witness notices.
"""

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from math import inf, isfinite
from random import Random
from time import monotonic
from typing import Protocol, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from penstock.core.errors import DeadlineExceeded, EngineFailed, PenstockError
from penstock.core.ports import Executor
from penstock.core.tensors import Array
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Tensors
from penstock.serving.check import Check
from penstock.serving.coin import Coin

KeyOf: TypeAlias = Callable[[Request], str]


class Arm(Protocol):
    """A version that serves (``catalog.Live``)."""

    @property
    def executor(self) -> Executor: ...
    @property
    def check(self) -> Check: ...


class Witness(Protocol):
    """Hears of every request that was divided; must not block nor raise."""

    def asked(self, ticket: Ticket, odds: float, unit: int, /) -> None:
        """The stable version was asked, though the candidate would have been with such ``odds``.

        To be told of by ``ticket.watch``, or at once where it is over.
        """
        ...

    def tried(self, relay: "Relay", /) -> None:
        """The candidate was asked, or the baseline."""
        ...

    def told(self, relay: "Relay", reply: Reply | None, error: PenstockError | None, /) -> None:
        """What that gave, once for each; neither where the caller has gone."""
        ...

    def refused(self, odds: float, unit: int, error: PenstockError, /) -> None:
        """The stable version would not take a request."""
        ...

    def spoilt(self, relay: "Relay", /) -> None:
        """The candidate's answer held numbers that are none, where the stable version's did not."""
        ...

    def saved(self, relay: "Relay", /) -> None:
        """The stable version answered what had failed on the candidate."""
        ...


class Division(Struct, frozen=True, eq=False):
    """Who answers requests that name no version; swapped whole."""

    stable: str
    candidate: str
    weight: float
    """Part of the requests that the candidate gets, 0 to 1."""
    witness: Witness
    key: KeyOf | None = None
    """Of a returning caller, who stays on his version; callers without one are divided by a coin."""
    salt: bytes = b""
    """Of the key's hash, at most 16 bytes."""
    baseline: Arm | None = None
    """The stable version once more, which gets as many requests as the candidate."""
    double: Arm | None = None
    """What stands in for the candidate: the stable version once more, to try the guards themselves."""


class Relay(Ticket):
    """A request that the candidate, or the baseline, is asked first; its caller sees one ticket."""

    odds: float = 0.0
    """The probability with which the candidate was to be."""
    unit: int = 0
    """Of a returning caller; 0: none is known."""
    witness: Witness | None = None
    inner: Ticket | None = None
    """What is asked at present."""
    settled: bool = False
    """The witness was told."""
    beside: bool = False
    """The baseline was asked first, and not the candidate."""
    second: bool = False
    """It is the stable version that is asked now."""
    ended: float = 0.0
    """When the first one answered, on the monotonic clock."""

    def settle(self, reply: Reply | None, error: PenstockError | None) -> None:
        """Tell the witness, the first time."""
        if not self.settled and self.witness is not None:
            self.settled = True
            self.witness.told(self, reply, error)

    def cancel(self) -> None:
        """The caller has gone: neither version need go on."""
        Ticket.cancel(self)
        if self.inner is not None:
            self.inner.cancel()
        self.settle(None, None)


class Split:
    """A ``Handler`` for the requests that name no version, and that the stable version would take."""

    def __init__(self, stable: Arm, candidate: Arm, division: Division) -> None:
        self.division = division
        self._stable, self._candidate = stable, candidate
        self._witness = division.witness
        self._key = division.key
        self._coin = Coin(division.weight)
        self._odd = False
        """The stable version, too, answers with NaN or infinity at times."""
        weight = division.weight
        self._beside = min(weight, 1.0 - weight) if division.baseline is not None else 0.0
        self._lot = Random().random

    @property
    def beside(self) -> tuple[Arm, ...]:
        """Who answers beside the stable version."""
        baseline = self.division.baseline
        return (self._candidate,) if baseline is None else (self._candidate, baseline)

    def __call__(self, request: Request, /) -> Ticket:
        odds, chosen, unit = self._coin.toss() if self._key is None else self._draw(request)
        if chosen:
            return self._try(self._candidate, request, odds, unit)
        baseline = self.division.baseline
        if baseline is not None and self._goes_beside(odds, unit):
            return self._try(baseline, request, odds, unit, beside=True)
        try:
            ticket = self._stable.executor(request)
        except PenstockError as error:
            self._witness.refused(odds, unit, error)
            raise
        self._witness.asked(ticket, odds, unit)
        return ticket

    def _goes_beside(self, odds: float, unit: int) -> bool:
        """Whether the baseline answers what the candidate was not drawn for."""
        if unit:
            return unit < (self.division.weight + self._beside) * 2.0**64
        return self._lot() * (1.0 - odds) < self._beside

    def _try(self, arm: Arm, request: Request, odds: float, unit: int, *, beside: bool = False) -> Ticket:
        """Ask the candidate, or the baseline, which others stand in for."""
        relay = Relay(request, 0, monotonic())
        relay.odds, relay.unit, relay.witness, relay.beside = odds, unit, self._witness, beside
        self._witness.tried(relay)
        try:
            arm.check(request)
            inner = arm.executor(request)
        except PenstockError as error:
            relay.settle(None, error)
            self._instead(relay, error)
            return relay
        relay.rows, relay.deadline = inner.rows, inner.deadline
        follow(relay, inner, partial(self._heard, relay))
        return relay

    def _draw(self, request: Request) -> tuple[float, bool, int]:
        """Odds, whether the candidate is asked, and the returning caller's number."""
        key = self._key(request) if self._key is not None else ""
        if not key:
            return self._coin.toss()
        unit = number(key, self.division.salt)
        weight = self.division.weight
        return weight, unit < weight * 2.0**64, unit or 1

    def _heard(self, relay: Relay, inner: Ticket) -> None:
        """The first one has answered."""
        unfollow(relay, inner)
        reply, error = inner.reply, inner.error
        relay.ended = monotonic()
        if relay.over or relay.settled:  # the caller has gone, or another was asked meanwhile
            relay.settle(None, None)
        elif reply is not None and not self._odd and not finite(reply.outputs):
            self._instead(
                relay, EngineFailed(f"version {reply.version!r} answers with NaN or infinity"), reply
            )
        elif reply is not None:
            relay.answer(reply)
            relay.settle(reply, None)
        elif error is not None:
            relay.settle(None, error)
            self._instead(relay, error)

    # -- what the candidate could not answer -------------------------------------------------------

    def give_up(self, relay: Relay) -> None:
        """The candidate takes too long: it counts as out of time, and the stable version is asked."""
        if not relay.over and not relay.second and relay.inner is not None:
            error = DeadlineExceeded("the version on trial took over half of the time that the request has")
            relay.inner.cancel()
            relay.settle(None, error)
            self._instead(relay, error)

    def _instead(self, relay: Relay, error: PenstockError, doubtful: Reply | None = None) -> None:
        """Ask the stable version; where that cannot help either, ``error`` is the answer.

        ``doubtful`` is an answer of the candidate that is right only if the stable version's is like it.
        """
        relay.second = True
        if monotonic() >= relay.deadline:
            self._lose(relay, error, doubtful)
            return
        request = relay.request
        if relay.deadline < inf:
            request = replace(request, deadline=relay.deadline)
        try:
            inner = self._stable.executor(request)
        except PenstockError as refused:
            self._lose(relay, refused, doubtful)
            return
        follow(relay, inner, partial(self._stood_in, relay, error, doubtful))

    def _stood_in(self, relay: Relay, error: PenstockError, doubtful: Reply | None, inner: Ticket) -> None:
        unfollow(relay, inner)
        reply = inner.reply
        if reply is None:
            self._lose(relay, inner.error or error, doubtful)
            return
        if doubtful is not None and not finite(reply.outputs):
            self._odd = True
            relay.settle(doubtful, None)  # such is the model
        else:
            relay.settle(None, error)
            self._witness.saved(relay)
            if doubtful is not None:
                self._witness.spoilt(relay)
        timing = reply.timing
        lost = max(0.0, inner.arrived - relay.arrived)
        relay.answer(replace(reply, timing=replace(timing, queued=timing.queued + lost)))

    def _lose(self, relay: Relay, error: PenstockError, doubtful: Reply | None) -> None:
        """The stable version could not help; what there is of an answer is better than none."""
        if doubtful is not None:
            relay.answer(doubtful)
            relay.settle(doubtful, None)
        else:
            relay.settle(None, error)
            relay.fail(error)


def follow(relay: Relay, inner: Ticket, then: Callable[[Ticket], None]) -> None:
    """Hear of the answer, which may be there already."""
    relay.inner = inner
    if inner.over:
        then(inner)
    else:
        inner.then = then


def unfollow(relay: Relay, inner: Ticket) -> None:
    """Let go of each other, so that both are freed at once and not by the collector of cycles."""
    inner.then = None
    relay.inner = None


def number(key: str, salt: bytes) -> int:
    """A caller's place among 2⁶⁴, by hash; the same for the whole rollout, so that he stays where he is."""
    digest = blake2b(key.encode(errors="surrogatepass"), digest_size=8, key=salt).digest()
    return int.from_bytes(digest, "little")


def finite(outputs: Tensors) -> bool:
    """Whether all floats are numbers; about 0.5 µs for a small output."""
    return all(map(_finite, outputs.values()))


def _finite(array: Array) -> bool:
    # The sum of squares is quicker, but may overflow where no number does.
    return array.dtype.kind != "f" or isfinite(np.vdot(array, array)) or bool(np.isfinite(array).all())
