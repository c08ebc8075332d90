"""How soon and how small: start to first answer, resident memory, the import and the help."""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, sleep
from typing import Any

from benchmarks import fixtures
from benchmarks.machine import Row, report

AIMS = {"first answer": 1.5, "resident": 120.0, "import": 0.050, "help": 0.200}
"""Seconds, and MiB."""

REQUEST = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 32], "datatype": "FP32", "data": [0.5] * 32}]}
).encode()


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def server(repository: Path, grpc: bool) -> Iterator[tuple[int, int]]:
    """Its process id and its HTTP port; it has only just been started."""
    port = free_port()
    words = [
        "serve",
        str(repository),
        "--http-port",
        str(port),
        "--grpc-port",
        str(free_port() if grpc else -1),
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PENSTOCK_METER_FILE": str(repository.parent / "books.db")},
    )
    try:
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(30)


def ask(port: int, patience: float = 30.0) -> None:
    """Until an answer has come; a connection that is refused is tried again every 2 ms."""
    end = perf_counter() + patience
    head = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: here\r\ncontent-length: %d\r\n\r\n"
    while perf_counter() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
                connection.sendall(head % len(REQUEST) + REQUEST)
                if b" 200 " not in connection.recv(65536).partition(b"\r\n")[0]:
                    raise RuntimeError("the first answer was no answer")
                return
        except ConnectionRefusedError:
            sleep(0.002)
    raise TimeoutError(f"no answer in {patience:g} s")


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def start(repository: Path, grpc: bool, requests: int) -> tuple[float, float]:
    """Seconds from the process's start to its first answer, and MiB after so many."""
    begun = perf_counter()
    with server(repository, grpc) as (pid, port):
        ask(port)
        seconds = perf_counter() - begun
        for _ in range(requests):
            ask(port)
        return seconds, resident(pid)


def run(*words: str) -> float:
    """Seconds of a whole process."""
    begun = perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begun


def bare(statement: str) -> float:
    """Seconds of a statement in a fresh interpreter, without the interpreter's own start."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def summary(what: str, unit: str, values: list[float], aim: float | None = None) -> Row:
    """One line of the table."""
    spread = {"median": median(values), "least": min(values), "most": max(values), "runs": len(values)}
    return {"what": what, "unit": unit, **spread, "aim": aim}


def times(count: int, task: Callable[[], float]) -> list[float]:
    """So many measurements, after one that fills the caches."""
    task()
    return [task() for _ in range(count)]


def measure(rounds: int) -> list[Row]:
    """All rows; the server is started with the repository's one model, TINY."""
    with tempfile.TemporaryDirectory() as folder:
        fixtures.write(Path(folder), "tiny", "1", fixtures.tiny())
        start(Path(folder), True, 0)
        both = [start(Path(folder), True, 1000) for _ in range(rounds)]
        alone = [start(Path(folder), False, 1000) for _ in range(rounds)]
    return [
        summary("start to first answer", "s", [seconds for seconds, _ in both], AIMS["first answer"]),
        summary("start to first answer, no gRPC", "s", [seconds for seconds, _ in alone]),
        summary("resident after 1,000 requests", "MiB", [size for _, size in both], AIMS["resident"]),
        summary("resident after 1,000 requests, no gRPC", "MiB", [size for _, size in alone]),
        summary("import penstock", "s", times(rounds, lambda: bare("import penstock")), AIMS["import"]),
        summary("penstock --help", "s", times(rounds, lambda: run("-m", "penstock", "--help")), AIMS["help"]),
        summary("python -c pass", "s", times(rounds, lambda: run("-c", "pass"))),
    ]


def main(arguments: list[str] | None = None) -> int:
    """0 if every aim is met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three runs of each instead of eleven")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    given = parser.parse_args(arguments)
    rows = measure(3 if given.quick else 11)
    aims: list[dict[str, Any]] = [
        {
            "name": row["what"],
            "aim": f"under {row['aim']:g} {row['unit']}",
            "got": row["median"],
            "met": row["median"] < row["aim"],
        }
        for row in rows
        if row["aim"] is not None
    ]
    return 0 if report(rows, aims, given.json, "startup: medians") else 1


if __name__ == "__main__":
    sys.exit(main())
