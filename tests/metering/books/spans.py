"""Spans and accounts for the tests of the books."""

from penstock.core.account import Account, Payer
from penstock.metering.charges import Span, Took, Used
from penstock.metering.energy.probe import Joules

DIGITS = Payer("digits", "1", "shop")
WORDS = Payer("words", "3", "")


def used(payer: Payer = DIGITS, cpu: float = 2.0, **more) -> Used:
    account = Account(queries=4, rows=8, queued=0.5, cpu=cpu, received=100, sent=50)
    told = {"cpu_money": cpu / 64, "cpu_joules": Joules(cpu, 2 * cpu, 4 * cpu)}
    return Used(payer, account, **(told | more))


def took(busy: float, **more) -> Took:
    told = {
        "seconds": 5.0,
        "cpu_capacity": 10.0,
        "cpu_busy": busy,
        "cpu_money": 10 / 64,
        "currency": "USD",
        "priced": 5.0,
        "cpu_joules": Joules(10.0, 20.0, 40.0),
        "metered": 5.0,
        "grams": 0.125,
        "embodied": 0.25,
        "methods": frozenset({"estimate"}),
    }
    return Took(**(told | more))


def span(start: float, *users: Used, **more) -> Span:
    """Five seconds of two cores."""
    return Span(start, took(sum(each.account.cpu for each in users), **more), users)
