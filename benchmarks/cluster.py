"""What a batch costs on a Ray actor over a process of this machine, and what a node that goes takes along."""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import uvloop

from benchmarks import fixtures
from benchmarks.isolation import KIB, MIB, REQUESTS, SPEC, Lane
from benchmarks.kills import ASKERS, Asker
from benchmarks.machine import Aim, Row, report
from benchmarks.served import serving
from penstock.cluster.ray.link import load
from penstock.cluster.ray.place import Cluster
from penstock.core.ports import Session
from penstock.core.spec import Instances, ModelSpec
from penstock.workers.worker import Worker

HEAD = "node:__internal_head__"
SIZES = ((64 * KIB, 100), (MIB, 60), (16 * MIB, 10))
SETTINGS = """
isolation = "process"
[instances]
count = 2
threads = 1
resources = { CPU = 4 }
"""
"""One instance fills a node, but for the server's own, which has no room for any."""


class Nodes:
    """A Ray cluster of three nodes on this machine, of which the first is the server's."""

    def __init__(self, folder: Path) -> None:
        os.environ["RAY_TMPDIR"] = str(folder)  # or the cluster's address is written into /tmp/ray
        (folder / "ray").mkdir()
        load()
        from ray.cluster_utils import Cluster as Nodes

        head = {"num_cpus": 2, "include_dashboard": False, "temp_dir": str(folder)}
        self._nodes = Nodes(initialize_head=True, head_node_args=head)
        caches = ({"XDG_CACHE_HOME": str(folder / name)} for name in ("east", "west"))
        self._others = [
            self._nodes.add_node(wait=False, num_cpus=4, include_dashboard=False, env_vars=cache)
            for cache in caches
        ]
        self._nodes.wait_for_nodes()

    @property
    def address(self) -> str:
        return str(self._nodes.address)

    def lose(self) -> None:
        """One of those that are not the server's, as if it lost its power."""
        self._nodes.remove_node(self._others.pop(), allow_graceful=False)

    def close(self) -> None:
        self._nodes.shutdown()


@contextmanager
def nodes() -> Iterator[Nodes]:
    """Sockets have names of 108 bytes at most, so the folder is one with a short name."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    made = Nodes(folder)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)


# -- a batch ----------------------------------------------------------------------------------------


def batches(address: str, rounds: int) -> list[Row]:
    """Four requests in a batch, echoed by a process and by an actor on the server's own node."""
    cluster = Cluster(address, 60.0)
    cluster.join()
    nowhere = Path(__file__)
    near = Instances(count=1, threads=1, resources={HEAD: 0.001})
    spec = cluster.sized(ModelSpec(name="bench", instances=near))
    try:
        there = cluster.open("echo", spec, nowhere, "1", "bench-1-0", lambda _: None)
        here = Worker("echo", SPEC, nowhere, "bench")
        try:
            return [
                row
                for size, count in SIZES
                for row in uvloop.run(_compared(size, count, here, there, rounds))
            ]
        finally:
            here.close()
            there.close()
    finally:
        cluster.leave()


async def _compared(size: int, count: int, here: Session, there: Session, rounds: int) -> list[Row]:
    x = np.random.default_rng(0).standard_normal((4 * REQUESTS, size // 16 // REQUESTS), dtype=np.float32)
    lanes = {"process": Lane("process", here, x), "Ray actor": Lane("actor", there, x)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in lanes}
    try:
        for number in range(rounds + 1):
            for name, lane in lanes.items():
                before = time.process_time()
                seconds = await lane.block(count)
                if number:  # a first round does not count
                    found[name].append((seconds, (time.process_time() - before) / count))
    finally:
        for lane in lanes.values():
            lane.close()
    return [_row(size, name, measured) for name, measured in found.items()]


def _row(size: int, name: str, measured: list[tuple[float, float]]) -> Row:
    seconds = median(each for each, _ in measured)
    return {
        "in and out": f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB",
        "instance": name,
        "ms a batch": round(seconds * 1e3, 3),
        "ms a MiB": round(seconds * 1e3 / (2 * size / MIB), 3),
        "server's CPU ms a batch": round(median(cpu for _, cpu in measured) * 1e3, 3),
        "rounds": len(measured),
    }


# -- a node that goes -------------------------------------------------------------------------------


def loss(found: Nodes, seconds: float) -> tuple[Row, list[Aim]]:
    """Requests of eight askers to two instances, while the node of one of them goes."""
    with tempfile.TemporaryDirectory() as folder:
        file = fixtures.write(Path(folder), "victim", "1", fixtures.medium())
        (file.parents[1] / "model.toml").write_text(SETTINGS)
        x, y = _pool(file)
        with serving(Path(folder), settings={"PENSTOCK_CLUSTER_ADDRESS": found.address}) as server:
            server.wait()
            stop = threading.Event()
            askers = [Asker(server.url, number, stop, x, y) for number in range(ASKERS)]
            for asker in askers:
                asker.start()
            time.sleep(seconds / 3)
            found.lose()
            time.sleep(seconds * 2 / 3)
            stop.set()
            for asker in askers:
                asker.join(130)
            noticed = len(server.log("a process ended"))
    lost = [why for asker in askers for why in asker.lost]
    wrong = sum(asker.wrong for asker in askers)
    row = {
        "nodes gone": 1,
        "instances ended": noticed,
        "requests": sum(asker.right for asker in askers) + len(lost) + wrong,
        "lost": len(lost),
        "wrong": wrong,
        "longest request ms": round(max(asker.longest for asker in askers) * 1e3, 1),
    }
    for why in sorted(set(lost)):
        print(f"lost: {why}")
    return row, [
        {"name": "a node goes under load: requests lost or wrong", "aim": 0, "got": len(lost) + wrong,
         "met": not lost and not wrong},
        {"name": "… and an instance was on it", "aim": 1, "got": noticed, "met": noticed >= 1},
    ]  # fmt: skip


def _pool(file: Path) -> tuple[Any, Any]:
    """Rows, and what ONNX Runtime answers to them."""
    import onnxruntime as ort

    x = np.random.default_rng(2).standard_normal((64, 3, 64, 64), dtype=np.float32)
    return x, ort.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def main(arguments: list[str] | None = None) -> int:
    """0 if every aim is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the rounds and of the requests")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    with nodes() as found:
        rows = batches(found.address, 3 if given.quick else 15)
        lost, aims = loss(found, 6.0 if given.quick else 30.0)
    report([lost], title="a node goes under load")
    return 0 if report(rows, aims, given.json, "a batch of four requests, echoed") else 1


if __name__ == "__main__":
    sys.exit(main())
