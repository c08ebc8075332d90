"""The accounts of all payers: opened when a request comes, emptied when the meter makes an entry."""

from collections.abc import Iterable

from penstock.core.account import Account, Payer

MOST_TENANTS = 1000
"""Names that get accounts of their own; a header may carry anything."""
OTHERS = "(others)"
"""Whom later names are charged to."""


class Accounts:
    """Lives on the event loop; an account is kept by whoever charges it, and is never replaced."""

    def __init__(self) -> None:
        self._open: dict[Payer, Account] = {}
        self._closing: set[tuple[str, str]] = set()
        self._tenants: set[str] = set()
        self._expected: frozenset[str] = frozenset()

    def expect(self, tenants: Iterable[str]) -> None:
        """These have accounts of their own however many names came before: the settings speak of them."""
        self._expected = frozenset(tenants)

    def of(self, model: str, version: str, tenant: str) -> Account:
        """A payer's account, opened where there is none."""
        self._closing.discard((model, version))
        if tenant not in self._tenants and tenant not in self._expected:
            if len(self._tenants) >= MOST_TENANTS:
                tenant = OTHERS
            self._tenants.add(tenant)
        payer = Payer(model, version, tenant)
        account = self._open.get(payer)
        if account is None:
            account = self._open[payer] = Account()
        return account

    def close(self, model: str, version: str) -> None:
        """Nobody charges the version any more; what its accounts hold is still taken once."""
        self._closing.add((model, version))

    def take(self) -> list[tuple[Payer, Account]]:
        """What was used since the last time, of all who used anything; every account is empty then."""
        taken = [(payer, account.take()) for payer, account in self._open.items() if not account.empty]
        if self._closing:
            for payer in [payer for payer in self._open if payer[:2] in self._closing]:
                del self._open[payer]
            self._closing.clear()
        return taken
