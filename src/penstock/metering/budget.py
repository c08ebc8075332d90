"""Budgets: what each tenant has used in the last hour, and whether it may go on."""

import logging
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Literal, TypeAlias

from msgspec import Struct

from penstock.core.errors import BudgetSpent
from penstock.core.terms import Budget
from penstock.metering.accounts import MOST_TENANTS, OTHERS
from penstock.metering.hour import MINUTE, Hour
from penstock.metering.ledger import Clock

log = logging.getLogger("penstock.budgets")

What: TypeAlias = Literal["queries", "money", "joules"]
EVERYBODY = "*"
"""The budget of each tenant that has none of its own."""


class Standing(Struct, frozen=True):
    """How much of one budget a tenant has used in the last hour."""

    tenant: str
    what: What
    used: float
    limit: float
    warn: float
    """The share at which the log warns."""

    @property
    def share(self) -> float:
        """Of the budget; may be over 1, for money and energy are known only after they were used."""
        return self.used / self.limit if self.limit else 1.0


class Allowance:
    """What a tenant may use of one thing in an hour, and what it has."""

    __slots__ = ("_warn", "_warned", "hour", "key", "limit", "unit", "what")

    def __init__(self, what: What, limit: float, warn: float, key: str, unit: str) -> None:
        self.what = what
        self.limit = limit
        self.key = key
        """The setting, for people."""
        self.unit = unit
        self.hour = Hour()
        self._warn = warn
        self._warned = False

    @property
    def spent(self) -> bool:
        return self.hour.total >= self.limit

    @property
    def mark(self) -> float:
        """The total at which there is something to do: to warn, or to let nobody in."""
        return self.limit if self._warned else min(self.limit, self._warn * self.limit)

    def warn(self, who: str, tenant: str) -> None:
        """Once when the share is passed, and again only after it fell below."""
        total = self.hour.total
        passed = total > 0 and total >= self._warn * self.limit
        if passed and not self._warned:
            share = round(total / self.limit, 3) if self.limit else 1.0
            extra = {"tenant": tenant, "budget": self.key, "share": share}
            log.warning("%s used %s (%.0f %%)", who, str(self), 100 * share, extra=extra)
            self._warned = True

    def turn(self, minutes: int) -> None:
        """So many have ended; below the share the next warning is due again."""
        self.hour.turn(minutes)
        self._warned = self._warned and self.hour.total >= self._warn * self.limit

    def standing(self, tenant: str) -> Standing:
        return Standing(tenant, self.what, self.hour.total, self.limit, self._warn)

    def __str__(self) -> str:
        return f"{self.hour.total:.9g} of {self.limit:.9g} {self.unit} in an hour, by {self.key}"


class Purse:
    """One tenant's budgets. Pure but for its own numbers: ``now`` is monotonic seconds, never falling."""

    __slots__ = ("_closed", "_hour", "_mark", "_minute", "_opens", "_tenant", "_turns", "allowances")

    def __init__(self, tenant: str, allowances: tuple[Allowance, ...], now: float) -> None:
        self.allowances = allowances
        self._tenant = tenant
        self._minute = int(now // MINUTE)
        self._turns = (self._minute + 1) * MINUTE
        self._hour = next((each.hour for each in allowances if each.what == "queries"), Hour())
        self._mark = inf
        """The number of queries at which there is something to do."""
        self._closed: Allowance | None = None
        """The spent one that takes longest."""
        self._opens = now
        self._look()

    def admit(self, now: float) -> float | None:
        """Count one query; or the seconds after which enough will be free for it, if all else stays."""
        if now >= self._turns:
            self.turn(now)
        if self._closed is not None:
            return self._opens - now
        hour = self._hour
        hour.total += 1
        if hour.total >= self._mark:
            self._look()
        return None

    def give_back(self) -> None:
        """The query that was counted last was refused elsewhere, at once."""
        self._hour.total -= 1
        if self._closed is not None:
            self._look()

    def add(self, now: float, money: float | None, joules: float | None) -> None:
        """What queries have used, as it becomes known; None is not known."""
        self.put(now, 0.0, 0, money, joules)

    def put(self, now: float, ago: float, queries: int, money: float | None, joules: float | None) -> None:
        """What was used so many seconds ago."""
        self.turn(now)
        back = max(0, self._minute - int((now - ago) // MINUTE))
        used = {"queries": queries, "money": money, "joules": joules}
        for each in self.allowances:
            each.hour.put(used[each.what] or 0.0, back)
        self._look()

    def turn(self, now: float) -> None:
        """Forget what is over an hour old."""
        ended = int(now // MINUTE) - self._minute
        if ended <= 0:
            return
        self._minute += ended
        self._turns = (self._minute + 1) * MINUTE
        for each in self.allowances:
            each.turn(ended)
        self._look()

    def _look(self) -> None:
        """Whether anything is spent, and until when; a warning where one is due."""
        self._closed, longest = None, 0
        for each in self.allowances:
            each.warn(self._who, self._tenant)
            if each.spent and (wait := each.hour.until_below(each.limit)) > longest:
                self._closed, longest = each, wait
            if each.what == "queries":
                self._mark = each.mark
        self._opens = (self._minute + longest) * MINUTE

    def refusal(self, wait: float) -> BudgetSpent:
        """What a query is told that was not admitted."""
        return BudgetSpent(f"{self._who} used {self._closed}; try again in {wait:.0f} s", wait)

    @property
    def _who(self) -> str:
        return f"tenant {self._tenant!r} has" if self._tenant else "requests without a tenant have"

    def standings(self) -> list[Standing]:
        return [each.standing(self._tenant) for each in self.allowances]


class Budgets:
    """Every tenant's purse; false where no budget is set. Lives on the event loop."""

    def __init__(
        self, budgets: Mapping[str, Budget], currency: str = "USD", clock: Clock = monotonic
    ) -> None:
        self.clock = clock
        self._settings = budgets
        self._units: dict[What, str] = {"queries": "queries", "money": currency, "joules": "joules"}
        named = [tenant for tenant in budgets if tenant != EVERYBODY]
        self.purses = {tenant: self._purse(tenant, tenant) for tenant in named}
        """Of all who have come so far; ask ``of`` for the others."""
        self._free = Purse("", (), clock())
        self._most = len(named) + MOST_TENANTS

    def __bool__(self) -> bool:
        return any(_limits(budget) for budget in self._settings.values())

    def of(self, tenant: str) -> Purse:
        """A tenant's purse; those who come late, when there are very many, share one."""
        purse = self.purses.get(tenant)
        if purse is not None:
            return purse
        if EVERYBODY not in self._settings:
            return self._free
        if len(self.purses) >= self._most:
            tenant = OTHERS
        return self.purses.setdefault(tenant, self._purse(tenant, EVERYBODY))

    def _purse(self, tenant: str, name: str) -> Purse:
        budget = self._settings[name]
        allowances = [
            Allowance(what, limit, budget.warn, f"budgets.{_quoted(name)}.{what}_per_hour", self._units[what])
            for what, limit in _limits(budget).items()
        ]
        return Purse(tenant, tuple(allowances), self.clock())

    def spent(self, tenant: str, money: float | None, joules: float | None) -> None:
        """What a tenant's queries have used at marginal cost, as the meter tells; None is not known."""
        self.of(tenant).add(self.clock(), money, joules)

    def restore(
        self, tenant: str, ago: float, queries: int, money: float | None, joules: float | None
    ) -> None:
        """What the books hold of the last hour; ``ago``: seconds since the end of the entry."""
        self.of(tenant).put(self.clock(), ago, queries, money, joules)

    def status(self) -> list[Standing]:
        """Of all who have a budget and have come so far, by tenant."""
        now = self.clock()
        for purse in self.purses.values():
            purse.turn(now)
        return [each for _, purse in sorted(self.purses.items()) for each in purse.standings()]


def needs(budgets: Mapping[str, Budget]) -> set[Literal["money", "energy"]]:
    """What has to be known for these budgets to hold."""
    needed: set[Literal["money", "energy"]] = set()
    for budget in budgets.values():
        if budget.money_per_hour is not None:
            needed.add("money")
        if budget.joules_per_hour is not None:
            needed.add("energy")
    return needed


def _limits(budget: Budget) -> dict[What, float]:
    limits: dict[What, float | None] = {
        "queries": budget.queries_per_hour,
        "money": budget.money_per_hour,
        "joules": budget.joules_per_hour,
    }
    return {what: limit for what, limit in limits.items() if limit is not None}


def _quoted(name: str) -> str:
    """As the settings have it."""
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'
