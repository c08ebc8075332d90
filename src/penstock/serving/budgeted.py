"""A handler round the handler that holds tenants to their budgets; there only where budgets are set."""

from collections.abc import Awaitable, Callable
from math import ceil

from penstock.core.errors import PenstockError, reason
from penstock.core.ports import Handler
from penstock.core.types import Reply, Request
from penstock.metering.budget import Budgets

Refused = Callable[[str, str, str], None]


def wrap(handler: Handler, budgets: Budgets, refused: Refused) -> Handler:
    """The handler itself where nobody has a budget.

    ``refused(model, version, reason)`` hears of what was over one.
    What the handler refuses at once does not count.
    """
    if not budgets:
        return handler
    purses, clock = budgets.purses, budgets.clock

    def budgeted(request: Request, /) -> Awaitable[Reply]:
        tenant = request.tags.get("tenant", "")
        purse = purses.get(tenant) or budgets.of(tenant)
        wait = purse.admit(clock())
        if wait is not None:
            error = purse.refusal(ceil(wait))
            refused(request.model, request.version, reason(error))
            raise error
        try:
            return handler(request)
        except PenstockError:
            purse.give_back()
            raise

    return budgeted
