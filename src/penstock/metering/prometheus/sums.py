"""Payers' use added up, by version or by tenant."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar

from penstock.core.account import Payer
from penstock.metering.charges import Took, Used, both
from penstock.metering.energy.probe import Joules, Part

PARTS: tuple[Part, ...] = ("cpu", "gpu")

Key = TypeVar("Key")


class Sum:
    """What one of them used; money and energy by part, absent where they are not known."""

    __slots__ = ("cpu", "gpu", "joules", "money", "queries", "received", "sent")

    def __init__(self) -> None:
        self.queries = self.received = self.sent = 0
        self.cpu = self.gpu = 0.0
        self.money: dict[Part, float | None] = {}
        self.joules: dict[Part, Joules | None] = {}

    def add(self, used: Used) -> None:
        account, money, joules = used.account, self.money, self.joules
        self.queries += account.queries
        self.received += account.received
        self.sent += account.sent
        self.cpu += account.cpu
        self.gpu += account.gpu
        money["cpu"] = both(money.get("cpu"), used.cpu_money)
        joules["cpu"] = both(joules.get("cpu"), used.cpu_joules)
        if used.gpu_money is not None or used.gpu_joules is not None:
            money["gpu"] = both(money.get("gpu"), used.gpu_money)
            joules["gpu"] = both(joules.get("gpu"), used.gpu_joules)


NOTHING = Sum()


def summed(used: Iterable[Used], key: Callable[[Payer], Key]) -> dict[Key, Sum]:
    """About 1.5 µs for each payer."""
    sums: dict[Key, Sum] = {}
    for each in used:
        name = key(each.payer)
        one = sums.get(name)
        if one is None:
            one = sums[name] = Sum()
        one.add(each)
    return sums


def known(took: Took, what: Literal["money", "joules"]) -> list[tuple[Part, Any]]:
    """The parts of the machine of which it is known what they cost, or took."""
    found = ((part, getattr(took, f"{part}_{what}")) for part in PARTS)
    return [(part, value) for part, value in found if value is not None]


def method(took: Took) -> str:
    """How energy was told; several are joined by ``+``, as replies have it."""
    return "+".join(sorted(took.methods))
