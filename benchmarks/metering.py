"""What counting costs: the ledger's price per request, the longest pause it makes, and a scrape."""

import argparse
import json
import os
import platform
import random
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from time import perf_counter
from typing import Any

from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState
from penstock.metering import logs
from penstock.metering.book import FULL, Book
from penstock.metering.ledger import Ledger
from penstock.metering.prometheus import encode, snapshot

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
    us = {row["what"]: row["us"] for row in rows}
    aims = [
        ("served, batch of 1, us", 2.0, us["served, batch of 1"]),
        ("served, batch of 32, us", 32 * 0.35 + 2.0, us["served, batch of 32"]),
    ]
    return [{"name": name, "aim": aim, "got": round(got, 3), "met": got <= aim} for name, aim, got in aims]


def machine() -> Row:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer calls; rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    options = parser.parse_args()
    rows = measure(options.quick)
    aims = judge(rows)
    print(f"{'':22}{'µs a call':>12}{'of':>6}{'µs each':>10}")
    for row in rows:
        print(f"{row['what']:22}{row['us']:12.2f}{row['per']:6}{row['us'] / row['per']:10.3f}")
    for aim in aims:
        print(
            f"{'met' if aim['met'] else 'MISSED':7} {aim['name']}: {aim['got']} (aim: at most {aim['aim']})"
        )
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows, "aims": aims}, indent=2))


if __name__ == "__main__":
    main()
