"""Full cost: what one site's machine took while idle, spread over its users by what was busy. Pure.

full = Σ over processors and GPUs of the machine's total × marginal / Σ marginal.
The sum of it over all users is what the machine took, exactly; Software Carbon Intensity asks for no less.
"""

from collections.abc import Sequence
from math import fsum
from typing import TypeAlias

from msgspec import Struct

from penstock.core.account import Account, Payer
from penstock.metering.amount import Amount, of_machine
from penstock.metering.charges import T, Took, Used, both
from penstock.metering.energy.probe import Joules

Shares: TypeAlias = list[float]
"""One for each user; they sum to 1."""


class Charge(Struct, frozen=True, kw_only=True):
    """What one user has to bear."""

    payer: Payer
    account: Account
    marginal: Amount
    full: Amount
    embodied: float | None = None
    """Grams: the part of what making the machine emitted."""


class Rest(Struct, frozen=True, kw_only=True):
    """What nobody's use bears."""

    marginal: Amount = Amount()
    """What was idle."""
    full: Amount = Amount()
    """What a machine took that nobody used at all; unknown wherever there was a user."""
    embodied: float | None = None
    """Grams, of a machine that nobody used at all."""

    def __add__(self, other: "Rest") -> "Rest":
        return Rest(
            marginal=self.marginal + other.marginal,
            full=self.full + other.full,
            embodied=both(self.embodied, other.embodied),
        )


def spread(took: Took, used: Sequence[Used]) -> tuple[list[Charge], Rest]:
    """What each user bears of the machine, and what is left.

    What a resource cost that nobody used is borne by the users of the other.
    Use while a price or the energy was not known bears a part only where nobody else can.
    """
    machine = of_machine(took)
    marginals = [_marginal(each, machine) for each in used]
    marginal_rest = machine.rest(sum(marginals, Amount()))
    time = _shares([each.account.cpu + each.account.gpu for each in used])
    if time is None:
        alone = [_alone(each, marginal) for each, marginal in zip(used, marginals, strict=True)]
        return alone, Rest(marginal=marginal_rest, full=machine, embodied=took.embodied)
    money = _full_money(took, used)
    joules = _full_joules(took, used)
    grams = _of(took.grams, _shares([_mid(each) for each in joules]) or time)
    embodied = _of(took.embodied, _shares([_mid(each) for each in joules]) or _shares(money) or time)
    charges = [
        Charge(
            payer=each.payer,
            account=each.account,
            marginal=marginals[at],
            full=Amount(money=money[at], joules=joules[at], grams=grams[at]),
            embodied=embodied[at],
        )
        for at, each in enumerate(used)
    ]
    return charges, Rest(marginal=marginal_rest)


def _alone(used: Used, marginal: Amount) -> Charge:
    return Charge(payer=used.payer, account=used.account, marginal=marginal, full=Amount())


def _marginal(used: Used, machine: Amount) -> Amount:
    joules = both(used.cpu_joules, used.gpu_joules)
    grams = None
    if joules is not None and machine.joules is not None and machine.grams is not None:
        # A machine without energy has emitted nothing by it.
        grams = machine.grams * (joules.mid / machine.joules.mid if machine.joules.mid else 0.0)
    return Amount(money=both(used.cpu_money, used.gpu_money), joules=joules, grams=grams)


def _full_money(took: Took, used: Sequence[Used]) -> list[float | None]:
    by_cpu = _shares([each.cpu_money for each in used])
    by_gpu = _shares([each.gpu_money for each in used])
    cpu, gpu = _shares_of_both(used, by_cpu, by_gpu)
    known = [both(each.cpu_money, each.gpu_money) is not None for each in used]
    return [
        both(
            _part(took.cpu_money, cpu[at], known[at]),
            _part(took.gpu_money, gpu[at], known[at]),
        )
        for at in range(len(used))
    ]


def _full_joules(took: Took, used: Sequence[Used]) -> list[Joules | None]:
    """The machine's band is shared out whole, by the middle of the users' bands."""
    by_cpu = _shares([_mid(each.cpu_joules) for each in used])
    by_gpu = _shares([_mid(each.gpu_joules) for each in used])
    cpu, gpu = _shares_of_both(used, by_cpu, by_gpu)
    known = [both(each.cpu_joules, each.gpu_joules) is not None for each in used]
    return [
        both(
            _part(took.cpu_joules, cpu[at], known[at]),
            _part(took.gpu_joules, gpu[at], known[at]),
        )
        for at in range(len(used))
    ]


def _shares_of_both(used: Sequence[Used], cpu: Shares | None, gpu: Shares | None) -> tuple[Shares, Shares]:
    """Of the processors and of the GPUs, by what is known best; somebody has used one of them."""
    cpu = cpu or _shares([each.account.cpu for each in used])
    gpu = gpu or _shares([each.account.gpu for each in used])
    found = cpu or gpu or []
    return cpu or found, gpu or found


def _shares(weights: Sequence[float | None]) -> Shares | None:
    """None where all is nothing, or not known."""
    counted = [max(0.0, weight or 0.0) for weight in weights]
    total = fsum(counted)
    return [weight / total for weight in counted] if total else None


def _part(total: T | None, share: float, known: bool) -> T | None:
    """None, not 0, of whom it is not known that he used nothing."""
    return total * share if total is not None and (share or known) else None


def _of(total: float | None, shares: Shares) -> list[float | None]:
    return [None if total is None else total * share for share in shares]


def _mid(joules: Joules | None) -> float | None:
    return None if joules is None else joules.mid
