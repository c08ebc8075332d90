"""What Penstock's request path costs: against a bare floor, nginx, and ONNX Runtime alone.

Server on one core, wrk on another; rounds are interleaved and the ratios are taken round by round.
"""

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy as np
import orjson

from benchmarks import fixtures
from benchmarks.machine import report

SERVER_CORE, LOAD_CORE = 0, 1
_TICK = os.sysconf("SC_CLK_TCK")
_UNITS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True)
class Target:
    """A running server and the request that is sent to it."""

    name: str
    pid: int
    url: str
    script: Path
    connections: int


@dataclass(frozen=True)
class Run:
    """What one run of wrk gave; CPU is the server's, microseconds of user and system time a request."""

    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def wrk(target: Target, seconds: int) -> Run:
    """Raises RuntimeError if any answer was not 2xx."""
    before = cpu_seconds(target.pid)
    command = ["wrk", "-t1", f"-c{target.connections}", f"-d{seconds}s", "--latency"]
    command += ["-s", str(target.script), target.url]
    done = subprocess.run(_on(LOAD_CORE, command), capture_output=True, text=True, check=True)
    spent = cpu_seconds(target.pid) - before
    text = done.stdout
    if "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"{target.name} answered with errors:\n{text}")
    count = int(_group(r"(\d+) requests in", text))
    rate = float(_group(r"Requests/sec:\s+([\d.]+)", text))
    return Run(rate, _latency("50%", text), _latency("99%", text), spent / count * 1e6)


def _group(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"wrk printed no {pattern}:\n{text}")
    return found[1]


def _latency(share: str, text: str) -> float:
    value, unit = re.findall(rf"{share}\s+([\d.]+)(us|ms|s)", text)[0]
    return float(value) * _UNITS[unit]


def _on(core: int, command: Sequence[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: Sequence[str], url: str) -> Iterator[int]:
    """The pid of a server on its core, which answers at ``url``, until the block ends."""
    process = subprocess.Popen(
        _on(SERVER_CORE, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                httpx.get(url, timeout=2)
                break
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(10)


class Bodies:
    """wrk scripts that send one real row, as JSON and as binary."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        rng = np.random.default_rng(1)
        self._rows = {
            "tiny": rng.random((1, 32)).astype(np.float32),
            "medium": rng.random((1, 3, 64, 64)).astype(np.float32),
        }

    def script(self, model: str, form: str) -> Path:
        row = self._rows[model]
        tensor: dict[str, Any] = {"name": "x", "shape": row.shape, "datatype": "FP32"}
        if form == "json":
            body = _dump({"inputs": [tensor | {"data": row.ravel()}]})
            headers = {"Content-Type": "application/json"}
        else:
            tensor["parameters"] = {"binary_data_size": row.nbytes}
            head = _dump({"inputs": [tensor], "parameters": {"binary_data_output": True}})
            body = head + row.tobytes()
            headers = {
                "Content-Type": "application/octet-stream",
                "Inference-Header-Content-Length": str(len(head)),
            }
        data = self._folder / f"{model}.{form}"
        data.write_bytes(body)
        lines = ['wrk.method = "POST"', f'wrk.body = io.open("{data}", "rb"):read("*a")']
        lines += [f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items()]
        script = self._folder / f"{model}.{form}.lua"
        script.write_text("\n".join(lines))
        return script

    def nothing(self) -> Path:
        script = self._folder / "get.lua"
        script.write_text('wrk.method = "GET"')
        return script


def _dump(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def interleaved(targets: Sequence[Target], rounds: int, seconds: int) -> dict[str, list[Run]]:
    """A B C A B C …, each target once before that counts."""
    runs: dict[str, list[Run]] = {target.name: [] for target in targets}
    for number in range(rounds + 1):
        for target in targets:
            run = wrk(target, seconds if number else 1)
            if number:
                runs[target.name].append(run)
    return runs


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the ratios round by round."""
    return median(a / b for a, b in zip(over, under, strict=True))


def row(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "what": name,
        "requests/s": round(median(run.rate for run in runs)),
        "p50 µs": round(median(run.p50_us for run in runs), 1),
        "p99 µs": round(median(run.p99_us for run in runs), 1),
        "CPU µs/request": round(median(run.cpu_us for run in runs), 1),
    }


def aim(name: str, wanted: float, got: float, *, most: bool = False) -> dict[str, Any]:
    """``most``: the figure may be at most ``wanted``, else at least."""
    met = got <= wanted if most else got >= wanted
    return {"name": name, "aim": f"{'≤' if most else '≥'} {wanted}", "got": round(got, 3), "met": met}


_BEST = """
import sys, time, numpy as np, onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for size in (1, 2, 4, 8, 16, 32):
    x = np.random.default_rng(0).random((size, 3, 64, 64)).astype(np.float32)
    session.run(None, {"x": x})
    start, runs = time.perf_counter(), 0
    while time.perf_counter() - start < float(sys.argv[2]):
        session.run(None, {"x": x}); runs += 1
    print(size, runs * size / (time.perf_counter() - start))
"""


def best_of_onnxruntime(model: Path, seconds: float) -> tuple[int, float]:
    """Batch size and rows/s of the best that the runtime gives in a loop, one thread, the server's core."""
    command = [sys.executable, "-c", _BEST, str(model), str(seconds / 6)]
    done = subprocess.run(_on(SERVER_CORE, command), capture_output=True, text=True, check=True)
    pairs = [line.split() for line in done.stdout.splitlines()]
    size, rate = max(pairs, key=lambda pair: float(pair[1]))
    return int(size), float(rate)


def _config(folder: Path) -> Path:
    """Books of its own, which go with the folder."""
    file = folder / "penstock.toml"
    file.write_text(f'[meter]\nfile = "{folder / "books.db"}"\n')
    return file


class Bench:
    """The servers of this benchmark, up until the block ends."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self.bodies = Bodies(folder)
        repository = folder / "models"
        fixtures.write(repository, "tiny", "1", fixtures.tiny())
        self.medium = fixtures.write(repository, "medium", "1", fixtures.medium())
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.penstock = self._start(
            [
                *(sys.executable, "-m", "penstock", "serve", str(repository)),
                *("--http-port", str(port), "--grpc-port", "-1", "--log-level", "error"),
                *("--config", str(_config(folder))),
            ],
            self.url,
        )
        tiny = next((repository / "tiny").rglob("*.onnx"))
        port = _free_port()
        self.floor_url = f"http://127.0.0.1:{port}"
        self.floor = self._start(
            [sys.executable, "-m", "benchmarks.floor", str(tiny), str(port)], self.floor_url
        )
        self.nginx = self._nginx(folder) if shutil.which("nginx") else None

    def _start(self, command: Sequence[str], url: str) -> int:
        return self._stack.enter_context(serving(command, url))

    def _nginx(self, folder: Path) -> tuple[int, str]:
        port = _free_port()
        config = folder / "nginx.conf"
        config.write_text(
            f"daemon off; master_process off; pid {folder}/nginx.pid; error_log /dev/null;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000000; server {\n"
            f"listen 127.0.0.1:{port}; location / {{ return 200; }} }} }}\n"
        )
        url = f"http://127.0.0.1:{port}"
        return self._start(["nginx", "-p", str(folder), "-c", str(config)], url), url

    def ours(self, model: str, form: str, connections: int) -> Target:
        name = f"{model} {form}, {connections} connections"
        url = f"{self.url}/v2/models/{model}/infer"
        return Target(name, self.penstock, url, self.bodies.script(model, form), connections)

    def bare(self, connections: int) -> Target:
        name, script = f"floor json, {connections} connections", self.bodies.script("tiny", "json")
        return Target(name, self.floor, self.floor_url + "/v2/models/tiny/infer", script, connections)


def tiny(bench: Bench, rounds: int, seconds: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and aims of the path's own cost."""
    targets = [bench.ours("tiny", "json", 32), bench.bare(32), bench.ours("tiny", "binary", 32)]
    targets += [bench.ours("tiny", "json", 1), bench.bare(1)]
    if bench.nginx is not None:
        pid, url = bench.nginx
        targets.append(Target("nginx return 200, 32 connections", pid, url, bench.bodies.nothing(), 32))
    runs = interleaved(targets, rounds, seconds)
    ours, floor, binary, one, floor_one = (runs[target.name] for target in targets[:5])
    rate = ratio([run.rate for run in ours], [run.rate for run in floor])
    cpu = ratio([run.cpu_us for run in ours], [run.cpu_us for run in floor])
    forms = ratio([run.rate for run in binary], [run.rate for run in ours])
    p50 = ratio([run.p50_us for run in one], [run.p50_us for run in floor_one])
    aims = [
        aim("TINY JSON, 32 connections: requests/s over the floor's", 0.75, rate),
        aim("TINY JSON, 32 connections: CPU a request over the floor's", 1.35, cpu, most=True),
        aim("TINY, 32 connections: binary requests/s over JSON's", 1.0, forms),
        aim("TINY JSON, 1 connection: p50 over the floor's", 1.5, p50, most=True),
    ]
    return [row(name, some) for name, some in runs.items()], aims


def medium(bench: Bench, rounds: int, seconds: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and aims of how much of the runtime's own throughput reaches the callers."""
    targets = [bench.ours("medium", "binary", connections) for connections in (8, 32)]
    runs: dict[str, list[Run]] = {target.name: [] for target in targets}
    best: list[tuple[int, float]] = []
    for target in targets:
        wrk(target, 1)
    for _ in range(rounds):
        best.append(best_of_onnxruntime(bench.medium, seconds))
        for target in targets:
            runs[target.name].append(wrk(target, seconds))
    rates = [rate for _, rate in best]
    size = best[rates.index(max(rates))][0]
    rows = [row(name, some) for name, some in runs.items()]
    rows.append({"what": f"medium, ONNX Runtime in a loop, {size} rows", "requests/s": round(median(rates))})
    aims = [
        aim(
            f"{target.name}: requests/s over the runtime's rows/s",
            0.95,
            ratio([r.rate for r in runs[target.name]], rates),
        )
        for target in targets
    ]
    return rows, aims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="under a minute: fewer and shorter rounds")
    parser.add_argument("--json", metavar="FILE", help="write rows, aims and the machine's facts")
    parser.add_argument("--rounds", type=int, default=0, help="interleaved rounds (7, quick 2)")
    given = parser.parse_args()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is needed: apt-get install wrk util-linux")
    rounds, seconds = (given.rounds or (2 if given.quick else 7)), (1 if given.quick else 3)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        bench = Bench(Path(folder), stack)
        rows, aims = tiny(bench, rounds, seconds)
        more_rows, more_aims = medium(bench, rounds, seconds)
    where = f"server on core {SERVER_CORE}, wrk on core {LOAD_CORE}, {rounds} rounds of {seconds} s"
    report(rows + more_rows, aims + more_aims, given.json, f"request path: {where}")


if __name__ == "__main__":
    main()
