"""What counting and charging cost, and whether the books close.

The ledger's price per request, what charging adds to it, the longest pause, an entry in the books, a
scrape; and bursts of traffic by several tenants, whose bills are held against what the machine cost.
"""

import argparse
import random
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks import closing
from benchmarks.machine import report
from penstock.core.account import Account, Payer
from penstock.core.spec import ModelSpec
from penstock.core.ticket import Ticket
from penstock.core.types import ModelState, Reply, Request, Timing
from penstock.metering import logs
from penstock.metering.book import FULL, Book
from penstock.metering.charging import Memories, Resource, Seen
from penstock.metering.charging import charge as decide
from penstock.metering.energy.probe import Joules
from penstock.metering.ledger import Ledger
from penstock.metering.prometheus import encode, snapshot
from penstock.metering.totals import Totals

Row = dict[str, Any]


def best(task: Callable[[], object], calls: int, rounds: int = 5) -> float:
    """Microseconds a call: of several rounds the fastest, which others on the machine disturbed least."""
    times = []
    for _ in range(rounds):
        start = perf_counter()
        for _ in range(calls):
            task()
        times.append(perf_counter() - start)
    return min(times) / calls * 1e6


def serve(book: Book, requests: int) -> Callable[[], None]:
    """Batches of single-row requests; log-normal times, for bucketing equal ones again would be too easy."""
    draw = random.Random(requests)
    batches = []
    for _ in range(max(1, 4096 // requests)):
        queued = [draw.lognormvariate(-7, 1) for _ in range(requests)]
        batches.append((queued, [seconds + 0.001 for seconds in queued]))
    turn = cycle(batches)

    def task() -> None:
        queued, totals = next(turn)
        book.served(requests, 0.001, queued, totals)

    return task


def tickets(requests: int, tenants: int) -> list[Ticket]:
    """Answered single-row requests, as a batch has them when it is charged."""
    made = []
    for at in range(requests):
        tags = {"tenant": f"team-{at % tenants}"} if tenants else {}
        ticket = Ticket(Request(model="model", inputs={}, tags=tags), 1, 0.0)
        ticket.answer(Reply("model", "1", {}, Timing(0.0, 0.001, requests)))
        made.append(ticket)
    return made


def charge(book: Book, requests: int, tenants: int) -> Callable[[], None]:
    entries = tickets(requests, tenants)
    return lambda: book.charge(entries, 0.001, 0.0001, 0.0)


def carry(ledger: Ledger) -> Callable[[], None]:
    reply, tags = Reply("model", "1", {}, Timing(0.0, 0.001, 1)), {"tenant": "team-1"}
    return lambda: ledger.carried(reply, tags, 734, 180)


def enter(payers: int) -> Callable[[], object]:
    """One entry in the books without its way to the disk: decided, and put into the totals."""
    used = [(Payer(f"m{at % 100}", "1", f"t{at // 100}"), Account(1, 1, 0.0, 0.001)) for at in range(payers)]
    cpu = Resource(capacity=10.0, money=0.001, joules=Joules(1, 2, 3) * 5)
    seen, totals = Seen(start=0.0, seconds=5.0, used=used, cpu=cpu), Totals()
    return lambda: totals.add(decide(seen, Memories())[0])


def pause(book: Book) -> float:
    """Microseconds of the one call that folds: the longest that the event loop is held."""
    task = serve(book, 1)
    for _ in range(FULL // 2 - 1):
        task()
    start = perf_counter()
    task()
    return (perf_counter() - start) * 1e6


def ledger_of(versions: int) -> tuple[Ledger, list[ModelState]]:
    ledger = Ledger()
    states = []
    for version in range(versions):
        serve(ledger.book("model", str(version)), 32)()
        states.append(ModelState(name="model", version=str(version), state="READY", spec=ModelSpec()))
    return ledger, states


def measure(quick: bool) -> list[Row]:
    calls = 5_000 if quick else 50_000
    book = Ledger().book("model", "1")
    rows = [
        {
            "what": f"served, batch of {size}",
            "us": best(serve(book, size), max(1, calls // size)),
            "per": size,
        }
        for size in (1, 8, 32, 128)
    ]
    rows += [
        {
            "what": f"charge, batch of {size}{words}",
            "us": best(charge(book, size, tenants), calls // size),
            "per": size,
        }
        for size in (1, 32)
        for tenants, words in ((0, ""), (8, ", 8 tenants"))
    ]
    ledger = Ledger()
    ledger.book("model", "1")
    rows.append({"what": "carried", "us": best(carry(ledger), calls), "per": 1})
    rows.append({"what": "entry, 2,000 payers", "us": best(enter(2000), max(1, calls // 2500)), "per": 2000})
    book.fold()
    rows.append({"what": "the call that folds", "us": min(pause(book) for _ in range(20)), "per": 1})
    rows.append({"what": "failed", "us": best(lambda: book.failed("overloaded", 0.1), calls), "per": 1})
    logs.ACCESS.setLevel("ERROR")
    off = best(lambda: logs.access("model", "1", "id", 200, 0.001), calls)
    rows.append({"what": "access log, off", "us": off, "per": 1})
    ledger, states = ledger_of(10)
    taken = snapshot(ledger, states)
    times = max(1, calls // 2500)
    rows.append({"what": "scrape, snapshot", "us": best(lambda: snapshot(ledger, states), times), "per": 10})
    rows.append({"what": "scrape, encode", "us": best(lambda: encode(taken), times), "per": 10})
    return rows


def judge(rows: list[Row]) -> list[Row]:
    us = {row["what"]: row["us"] for row in rows if "us" in row}
    charging = max(us[f"charge, batch of {size}, 8 tenants"] / size for size in (1, 32)) + us["carried"]
    bills = [row for row in rows if "off, %" in row]
    aims = [
        ("charging a request, µs", 2.0, charging),
        ("served, batch of 1, µs", 2.0, us["served, batch of 1"]),
        ("served, batch of 32, µs", 32 * 0.35 + 2.0, us["served, batch of 32"]),
        (
            "all bills against the machine's cost by the clock, % off",
            1.0,
            max(row["off, %"] for row in bills),
        ),
        ("… against its energy by probes of our own, % off", 1.0, max(row["energy off, %"] for row in bills)),
    ]
    return [
        {"name": name, "aim": f"at most {aim:g}", "got": round(got, 4), "met": got <= aim}
        for name, aim, got in aims
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls, shorter traffic; rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    options = parser.parse_args()
    rows = [{**row, "us each": row["us"] / row["per"]} for row in measure(options.quick)]
    rows += closing.close(8.0 if options.quick else 60.0)
    report(rows, judge(rows), options.json, "what metering costs, and whether the books close")


if __name__ == "__main__":
    main()
