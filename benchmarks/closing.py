"""Whether the books close: bursts of traffic by several tenants, then every bill against the machine."""

import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import httpx
import numpy as np
import orjson

from benchmarks import fixtures
from benchmarks.served import Served, serving
from penstock.core.terms import EnergyTerms
from penstock.metering.energy import opening
from penstock.metering.price import instance

PER_HOUR = 3.6
"""Dollars for the machine: a tenth of a cent a second."""
TENANTS = ("shop", "search", "")
KEYS = ("model", "version", "tenant", "site")
Row = dict[str, Any]


class Start(NamedTuple):
    """The books when the first models were loaded, and what the machine is held against from then on."""

    at: float
    """On the monotonic clock."""
    seconds: float
    """Metered by then."""
    joules: float
    energy: Callable[[], float]
    """Joules that the machine took since some time before, by probes of our own."""
    read: float
    """What they said."""


MODELS: dict[str, tuple[Callable[[], bytes], tuple[int, ...]]] = {
    "tiny": (fixtures.tiny, (1, 32)),
    "sized": (lambda: fixtures.sized(8), (1, 256)),
    "medium": (fixtures.medium, (1, 3, 64, 64)),
}
"""Of very different cost: some microseconds, a millisecond, several."""


def bodies() -> dict[str, bytes]:
    """A request for each model."""
    draw = np.random.default_rng(5)

    def body(shape: tuple[int, ...]) -> bytes:
        data = draw.random(int(np.prod(shape))).round(3).tolist()
        return orjson.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]})

    return {name: body(shape) for name, (_, shape) in MODELS.items()}


def burst(url: str, seconds: float, seed: int) -> None:
    """One caller: a random model for a random tenant, with pauses, so that much of the time is idle."""
    draw, asked, end = random.Random(seed), bodies(), time.monotonic() + seconds
    with httpx.Client(base_url=url) as client:
        while time.monotonic() < end:
            model = draw.choice(list(asked))
            headers = {"x-tenant": draw.choice(TENANTS)}
            for _ in range(draw.randrange(1, 40)):
                client.post(
                    f"/v2/models/{model}/infer", content=asked[model], headers=headers
                ).raise_for_status()
            time.sleep(draw.random() * 0.3)


def close(seconds: float) -> list[Row]:
    """Money and energy of all bills, by each key, beside the price of the time that the server was up, and
    what probes of our own say that the machine took in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        for name, (model, _) in MODELS.items():
            fixtures.write(repository, name, "1", model())
        settings = {
            "PENSTOCK_PRICE_PER_HOUR": str(PER_HOUR),
            "PENSTOCK_METER_SHARE": "1",
            "PENSTOCK_METER_TENANT_HEADER": "x-tenant",
            "PENSTOCK_METER_FILE": str(Path(folder) / "books.db"),
        }
        with serving(repository, settings=settings) as server:
            server.wait()
            begun = start(server)
            callers = [Thread(target=burst, args=(server.url, seconds, seed)) for seed in range(4)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join()
            time.sleep(11.0)  # two entries, so that the last requests are in the books
            return [_row(server, by, begun) for by in ([], *([key] for key in KEYS), list(KEYS))]


def asked(server: Served, by: Sequence[str]) -> Row:
    found = httpx.get(f"{server.url}/penstock/bill", params={"by": ",".join(by), "since": "1h"})
    document: Row = found.raise_for_status().json()
    return document


def start(server: Served) -> Start:
    """The same probes as the server has, read by ourselves."""
    terms = EnergyTerms()
    probes, (pue, _) = opening.probes(terms), opening.pue(terms, instance.vendor())

    def energy() -> float:
        return pue * sum(read.mid for probe in probes if (read := probe.joules()) is not None)

    machine, at = asked(server, [])["machine"], time.monotonic()
    return Start(at, machine["seconds"], machine["energy_j"], energy, energy())


def _row(server: Served, by: Sequence[str], begun: Start) -> Row:
    """The sum of the bills beside what the time costs by the clock and the price list."""
    found = asked(server, by)
    up = begun.seconds + time.monotonic() - begun.at
    took = begun.joules + begun.energy() - begun.read
    lines = found["lines"]
    money, machine = sum(line["cost"] for line in lines), up / 3600 * PER_HOUR
    joules = sum(line["energy_j"] for line in lines)
    return {
        "what": f"bills by {', '.join(by) or 'nothing'}",
        "lines": len(lines),
        "queries": sum(line["queries"] for line in lines),
        "s": up,
        "marginal $": sum(line["cost_marginal"] for line in lines),
        "full $": money,
        "machine $": machine,
        "off, %": 100 * abs(money / machine - 1),
        "energy off, %": 100 * abs(joules / took - 1),
    }
