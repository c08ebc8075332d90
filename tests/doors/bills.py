"""Made-up books of a day: two models, two tenants, some of the time idle."""

from penstock.core.account import Account, Payer
from penstock.metering.bill import Bill, bill
from penstock.metering.charges import Took, Used
from penstock.metering.energy.probe import Joules
from penstock.metering.entry import Entry

DAY = 86_400.0
SINCE = 1_763_856_000.0
"""2025-11-23 00:00 UTC."""
UNTIL = SINCE + DAY
PRICE = 0.34
"""USD an hour for four cores."""
WATTS = 8.0, 10.0, 14.0
USERS = (
    ("digits-linear", "3", "shop", 1_204_331, 41_000.0),
    ("digits-linear", "3", "", 18_210, 640.5),
    ("resnet50", "12", "shop", 88_020, 61_000.25),
    ("resnet50", "11", "=lab", 3, 2.25),
)


def used(model: str, version: str, tenant: str, queries: int, cpu: float) -> Used:
    account = Account(queries, queries * 2, cpu / 4, cpu, 0.0, queries * 734, queries * 90)
    price, watts = PRICE / 4 / 3600, 2.0
    joules = Joules(cpu * watts * 0.8, cpu * watts, cpu * watts * 1.4)
    return Used(Payer(model, version, tenant), account, cpu * price, cpu_joules=joules)


def took(**changes: object) -> Took:
    known = {
        "seconds": DAY,
        "cpu_capacity": 4 * DAY,
        "cpu_busy": sum(user[-1] for user in USERS),
        "cpu_money": PRICE * 24,
        "currency": "USD",
        "priced": DAY,
        "cpu_joules": Joules(*(watts * DAY for watts in WATTS)),
        "metered": DAY,
        "grams": 10.0 * DAY / 3.6e6 * 350,
        "methods": frozenset({"estimate"}),
    }
    return Took(**{**known, **changes})


def entry(**changes: object) -> Entry:
    """The whole day at one site."""
    return Entry(SINCE, UNTIL, "local", took(**changes), tuple(used(*user) for user in USERS))


def unpriced() -> Entry:
    """The same, where it is not known what anything costs or takes."""
    bare = took(
        cpu_money=None, currency="", priced=0.0, cpu_joules=None, metered=0.0, grams=None, methods=frozenset()
    )
    accounts = tuple(Used(each.payer, each.account) for each in entry().used)
    return Entry(SINCE, UNTIL, "local", bare, accounts)


def idle() -> Entry:
    """The same day without anybody."""
    return Entry(SINCE, UNTIL, "local", took(cpu_busy=0.0))


async def daily(by, since, until, only) -> Bill:
    """As the server answers ``doors.billing``."""
    return bill([entry()], by, since, until, only)
