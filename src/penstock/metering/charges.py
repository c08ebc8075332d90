"""What the books hold: who used what in a span of time, and what the machine took and cost in it."""

from typing import TypeVar

from msgspec import Struct

from penstock.core.account import Account, Payer
from penstock.metering.energy.probe import Joules


class Used(Struct, frozen=True):
    """One payer's use in one span, priced at its marginal cost: the busy time alone.

    Money and energy are None where it is not known what the machine cost, or took, in that span.
    """

    payer: Payer
    account: Account
    cpu_money: float | None = None
    gpu_money: float | None = None
    cpu_joules: Joules | None = None
    gpu_joules: Joules | None = None

    def __add__(self, other: "Used") -> "Used":
        """Both, of one payer."""
        account = self.account.copy()
        account.add(other.account)
        return Used(
            self.payer,
            account,
            both(self.cpu_money, other.cpu_money),
            both(self.gpu_money, other.gpu_money),
            both(self.cpu_joules, other.cpu_joules),
            both(self.gpu_joules, other.gpu_joules),
        )


class Took(Struct, frozen=True, kw_only=True):
    """The machine in one span: this server's share of it, busy or idle."""

    seconds: float
    """Metered."""
    cpu_capacity: float
    """Core-seconds that there were."""
    gpu_capacity: float = 0.0
    cpu_busy: float = 0.0
    """Core-seconds that were charged to somebody."""
    gpu_busy: float = 0.0
    cpu_money: float | None = None
    gpu_money: float | None = None
    currency: str = ""
    priced: float = 0.0
    """Seconds for which the price was known."""
    cpu_joules: Joules | None = None
    """Memory and the building's share (PUE) included."""
    gpu_joules: Joules | None = None
    metered: float = 0.0
    """Seconds for which energy was known."""
    grams: float | None = None
    """CO2-equivalents of that energy."""
    embodied: float | None = None
    """Grams: the span's part of what making the machine emitted."""
    methods: frozenset[str] = frozenset()
    """How energy was told: ``rapl``, ``nvml``, ``zeus``, ``estimate``."""

    def __add__(self, other: "Took") -> "Took":
        """Both, one after the other; ``priced`` and ``metered`` then tell how much of it is known."""
        return Took(
            seconds=self.seconds + other.seconds,
            cpu_capacity=self.cpu_capacity + other.cpu_capacity,
            gpu_capacity=self.gpu_capacity + other.gpu_capacity,
            cpu_busy=self.cpu_busy + other.cpu_busy,
            gpu_busy=self.gpu_busy + other.gpu_busy,
            cpu_money=both(self.cpu_money, other.cpu_money),
            gpu_money=both(self.gpu_money, other.gpu_money),
            currency=other.currency or self.currency,
            priced=self.priced + other.priced,
            cpu_joules=both(self.cpu_joules, other.cpu_joules),
            gpu_joules=both(self.gpu_joules, other.gpu_joules),
            metered=self.metered + other.metered,
            grams=both(self.grams, other.grams),
            embodied=both(self.embodied, other.embodied),
            methods=self.methods | other.methods,
        )


NOTHING = Took(seconds=0.0, cpu_capacity=0.0)


class Span(Struct, frozen=True):
    """One entry of the books."""

    start: float
    """Seconds since the epoch."""
    took: Took
    used: tuple[Used, ...]


T = TypeVar("T", float, Joules)


def both(one: T | None, other: T | None) -> T | None:
    """The sum, where what is not known adds nothing; None where neither is known."""
    if one is None or other is None:
        return other if one is None else one
    return one + other
