"""What a pipeline of two steps costs over asking its two models one after the other, in process."""

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import fixtures
from benchmarks.machine import facts
from penstock.core.ports import Handler
from penstock.core.types import Request, Tensors
from penstock.metering.ledger import Ledger
from penstock.repository.local import LocalStore
from penstock.serving.catalog import Catalog
from penstock.serving.gateway import Gateway
from penstock.serving.lifecycle import Lifecycle

Row = dict[str, Any]
BOTH = """
[[step]]
model = "first"
[[step]]
model = "second"
outputs = { y = "again" }
"""
CASCADE = """
[[step]]
model = "first"
[[step]]
model = "second"
when = "max(y) < 0.5"
"""
ROWS = 8


def write(folder: Path) -> None:
    """Two of TINY, which runs in the loop, and two pipelines of them."""
    for seed, name in enumerate(("first", "second")):
        fixtures.write(folder, name, "1", fixtures.tiny(seed))
    for name, text in (("both", BOTH), ("cascade", CASCADE)):
        (folder / name).mkdir()
        (folder / name / "pipeline.toml").write_text(text)


class Ways:
    """The same questions asked of a pipeline, and by hand."""

    def __init__(self, handler: Handler, x: Any) -> None:
        self._handler = handler
        self._x = x

    async def _ask(self, model: str, x: Any) -> Tensors:
        return (await self._handler(Request(model=model, inputs={"x": x}))).outputs

    async def both(self) -> None:
        await self._ask("both", self._x)

    async def both_by_hand(self) -> None:
        await self._ask("first", self._x)
        await self._ask("second", self._x)

    async def cascade(self) -> None:
        await self._ask("cascade", self._x)

    async def cascade_by_hand(self) -> None:
        y = (await self._ask("first", self._x))["y"]
        unsure = np.flatnonzero(y.max(axis=1) < 0.5)
        if len(unsure):
            y = y.copy()
            y[unsure] = (await self._ask("second", self._x[unsure]))["y"]


async def clock(way: Callable[[], Awaitable[None]], at_once: int, calls: int) -> float:
    """Microseconds a request, ``at_once`` of them at a time."""
    start = perf_counter()
    for _ in range(max(1, calls // at_once)):
        await asyncio.gather(*(way() for _ in range(at_once)))
    return (perf_counter() - start) / (max(1, calls // at_once) * at_once) * 1e6


async def measure(folder: Path, quick: bool) -> list[Row]:
    catalog, ledger = Catalog(), Ledger()
    models = Lifecycle(LocalStore(folder), catalog, ledger)
    await models.start(watching=False)
    gateway = Gateway(catalog, ledger.refused)
    x = np.random.default_rng(0).standard_normal((ROWS, 32), dtype=np.float32)
    ways = Ways(gateway, x)
    rows: list[Row] = []
    pairs = {"both models": (ways.both, ways.both_by_hand), "cascade": (ways.cascade, ways.cascade_by_hand)}
    for at_once in (1, 64):
        for what, (pipeline, by_hand) in pairs.items():
            # In turn, so that a slower clock slows both.
            rounds = range(5 if quick else 15)
            found = [[await clock(way, at_once, 1000) for way in (by_hand, pipeline)] for _ in rounds]
            hand, whole = (median(each) for each in zip(*found, strict=True))
            rows.append({"what": what, "at_once": at_once, "by_hand_us": hand, "pipeline_us": whole})
    await models.close()
    return rows


def main() -> None:
    import gc

    import uvloop

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds; rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and the machine's facts")
    options = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as the server does
    with TemporaryDirectory() as folder:
        write(Path(folder))
        rows = uvloop.run(measure(Path(folder), options.quick))
    print(f"{f'µs a request of {ROWS} rows':26}{'at once':>8}{'by hand':>10}{'pipeline':>10}{'more':>8}")
    for row in rows:
        more = row["pipeline_us"] - row["by_hand_us"]
        print(
            f"{row['what']:26}{row['at_once']:8}{row['by_hand_us']:10.1f}{row['pipeline_us']:10.1f}{more:8.1f}"
        )
    if options.json:
        options.json.write_text(json.dumps({"machine": facts(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
