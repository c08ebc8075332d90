"""A loaded server: what dividing costs, how fast a bad version is gone, what clients see of it."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np

from benchmarks import fixtures
from benchmarks.overhead import SERVER_CORE, Bodies, Target, wrk
from benchmarks.rollout_false import Row
from benchmarks.served import Served, serving

ADDED = 3.0
"""Microseconds a request that routing and guards may add."""
GONE = 1.0
"""Seconds from the verdict to the last answer of the version that was taken back."""
CALLERS = 4
PLAIN = "no rollout"
TRIALS: dict[str, dict[str, Any]] = {
    "1 % to a candidate": {"steps": [1], "mirror": 0},
    "50 % to a candidate": {"steps": [50], "mirror": 0},
    "5 %, and copies of 5 %": {"steps": [5], "mirror": 0.05},
}


class Caller(Thread):
    """Asks on one connection without a pause; ``seen`` is when which version answered."""

    def __init__(self, port: int, stop: Event) -> None:
        super().__init__(daemon=True)
        self.seen: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._stop_it = stop
        row = np.random.default_rng(1).random(32).astype(np.float32).tolist()
        tensor = {"name": "x", "shape": [1, 32], "datatype": "FP32", "data": row}
        self._body = json.dumps({"inputs": [tensor]})

    def run(self) -> None:
        while not self._stop_it.is_set():
            try:
                self._connection.request("POST", "/v2/models/tiny/infer", self._body)
                response = self._connection.getresponse()
                body = response.read()
                if response.status == 200:
                    self.seen.append((time.time(), json.loads(body)["model_version"]))
                else:
                    self.failures.append(f"{response.status} {body[:200]!r}")
            except OSError as error:
                self.failures.append(repr(error))
                return


class Rolling:
    """The server, and its model's rollouts."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self._client = httpx.Client(base_url=server.url, timeout=30)

    def start(self, **terms: Any) -> None:
        """A rollout of version 2 that holds until it is told; returns once the candidate serves."""
        body = {"version": "2", "plan": "ab", "force": True, **terms}
        self._client.post("/penstock/rollouts/tiny", json=body).raise_for_status()
        while self.status()["phase"] != "running":
            time.sleep(0.02)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get("/penstock/rollouts/tiny").json()
        return found

    def rollback(self) -> float:
        """When it was decided (seconds since the epoch)."""
        answer = self._client.post("/penstock/rollouts/tiny/rollback", json={"why": "measured"})
        answer.raise_for_status()
        return float(answer.json()["ended"])


@contextmanager
def rolling(folder: Path, core: int | None) -> Iterator[Rolling]:
    """A server of TINY, whose version 1 answers and whose version 2 is the same."""
    models = folder / "models"
    for version in ("1", "2"):
        fixtures.write(models, "tiny", version, fixtures.tiny())
    (models / "tiny" / "model.toml").write_text('versions = ["1"]\n')
    with serving(models, core) as server:
        server.wait()
        yield Rolling(server)


def served(quick: bool) -> tuple[list[Row], list[Row]]:
    """Microseconds a request that dividing adds; seconds and failures of many rollbacks."""
    with TemporaryDirectory() as name:
        rows, aims = added(Path(name), *((3, 2) if quick else (7, 3)))
    with TemporaryDirectory() as name:
        more, wanted = rollbacks(Path(name), 10 if quick else 100)
    return rows + more, aims + wanted


def added(folder: Path, rounds: int, seconds: int) -> tuple[list[Row], list[Row]]:
    """CPU of a request while versions share the traffic, over that of a request while none do."""
    spent: dict[str, list[float]] = {name: [] for name in (PLAIN, *TRIALS)}
    script = Bodies(folder).script("tiny", "json")
    with rolling(folder, SERVER_CORE) as house:
        url = f"{house.server.url}/v2/models/tiny/infer"
        for _ in range(rounds):
            for name in spent:
                if name != PLAIN:
                    house.start(**TRIALS[name])
                run = wrk(Target(name, house.server.pid, url, script, 32), seconds)
                spent[name].append(run.cpu_us)
                if name != PLAIN:
                    house.rollback()
    rows: list[Row] = []
    aims: list[Row] = []
    for name, found in spent.items():
        more = median(each - plain for each, plain in zip(found, spent[PLAIN], strict=True))
        rows.append(
            {"what": "a request", "method": name, "CPU µs": round(median(found), 2), "more": round(more, 2)}
        )
        if name in list(TRIALS)[:2]:  # at 50 % each turn of the loop also runs two batches where it ran one
            aims.append(
                {
                    "name": f"{name}: µs that routing and guards add to a request",
                    "aim": f"≤ {ADDED}",
                    "got": round(more, 2),
                    "met": more <= ADDED,
                }
            )
    return rows, aims


def rollbacks(folder: Path, count: int) -> tuple[list[Row], list[Row]]:
    """So many one after the other, under callers that never pause."""
    stop, lasted = Event(), []
    with rolling(folder, None) as house:
        port = int(house.server.url.rsplit(":", 1)[1])
        callers = [Caller(port, stop) for _ in range(CALLERS)]
        for caller in callers:
            caller.start()
        for _ in range(count):
            house.start(steps=[50], mirror=0)
            begun = time.time()
            while not any(
                version == "2" and at > begun for caller in callers for at, version in caller.seen[-50:]
            ):
                time.sleep(0.01)
            decided = house.rollback()
            time.sleep(0.3)
            late = [at for caller in callers for at, version in caller.seen[-2000:] if version == "2"]
            lasted.append(max(0.0, max(late) - decided))
        stop.set()
        for caller in callers:
            caller.join(30)
    failures = [failure for caller in callers for failure in caller.failures]
    asked = sum(len(caller.seen) for caller in callers)
    rows = [
        {
            "what": f"{count} rollbacks",
            "method": f"{CALLERS} callers, {asked:,} requests",
            "ms to the last answer": round(median(lasted) * 1e3, 1),
            "longest": round(max(lasted) * 1e3, 1),
            "failed": len(failures),
        }
    ]
    return rows, [
        {
            "name": "seconds from the verdict to the last answer of the bad version, the longest",
            "aim": f"≤ {GONE}",
            "got": round(max(lasted), 4),
            "met": max(lasted) <= GONE,
        },
        {
            "name": f"requests that failed in {count} rollbacks",
            "aim": "0",
            "got": len(failures),
            "met": not failures,
        },
    ]
