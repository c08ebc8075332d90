"""Every engine through ``penstock serve`` against its framework's own bare loop, on the same core in turn."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson

from benchmarks.engine_loops import Loop, Pace
from benchmarks.engine_models import KINDS, Array, Kind, lay, rows
from benchmarks.machine import Aim, Row
from benchmarks.overhead import LOAD_CORE, SERVER_CORE, Run, Target, aim, ratio, wrk
from benchmarks.served import Served, serving
from penstock.client import Client
from penstock.core.tensors import dtype_of

SHARE = 0.95
CONNECTIONS = 32
CLOSE = 1e-4
"""Between one framework's probabilities and another's."""


@dataclass
class Entrant:
    """A kind on a device, with its bare loop, and what was found of both."""

    kind: Kind
    device: str
    folder: Path
    trouble: str = ""
    """Why it takes no part."""
    state: dict[str, Any] = field(default_factory=dict)
    bare: list[dict[int, Pace]] = field(default_factory=list)
    served: list[Run] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds of the server and its children for each request, round by round."""

    @property
    def name(self) -> str:
        return self.kind.name if self.device == "cpu" else f"{self.kind.name}-{self.device}"

    @property
    def best(self) -> int:
        """The batch size with the most rows a second; over all rounds, or noise would choose it."""
        return max(self.bare[0], key=lambda size: median(paces[size].rate for paces in self.bare))

    @property
    def share(self) -> float:
        """Of the bare loop's rows that the server's callers get."""
        return ratio([run.rate for run in self.served], [paces[self.best].rate for paces in self.bare])

    def pace(self, size: int) -> Pace:
        """Of the loop, at its median round."""
        rate, cpu = (median(values) for values in zip(*(paces[size] for paces in self.bare), strict=True))
        return Pace(rate, cpu)


def entrants(folder: Path, kinds: Sequence[Kind]) -> list[Entrant]:
    """Those whose packages are there, and on the GPU too where there is one; their models are written."""
    found = []
    for kind in kinds:
        for device in ("cpu", kind.cuda) if kind.cuda and _has_cuda() else ("cpu",):
            each = Entrant(kind, device, folder, kind.missing)
            if not each.trouble:
                lay(kind, folder / each.name, device)
            found.append(each)
    return found


def _has_cuda() -> bool:
    """As PyTorch tells; not asked, in seconds, where there is no driver."""
    if not Path("/dev/nvidiactl").exists():
        return False
    code = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return (
        subprocess.run([sys.executable, "-c", code], check=False, stderr=subprocess.DEVNULL).returncode == 0
    )


@contextmanager
def _running(folder: Path, some: Sequence[Entrant]) -> Iterator[tuple[Served, dict[str, Loop]]]:
    """One server of all models, and all loops, each loaded on a core of its own, then on the same."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(folder, SERVER_CORE))
        loops: dict[str, Loop] = {}
        for each in some:
            file = folder / each.name / "1" / each.kind.file
            loops[each.name] = Loop(each.kind, file, each.device, loads_on=LOAD_CORE)
            stack.callback(loops[each.name].close)
        for loop in loops.values():
            loop.ready()
        server.wait()
        for loop in loops.values():
            loop.pin(SERVER_CORE)
        yield server, loops


# -- answers ----------------------------------------------------------------------------------------


def _check(some: Sequence[Entrant], client: Client, loops: dict[str, Loop], reference: Path) -> None:
    """Raises RuntimeError unless loop and server answer as ONNX Runtime does; tables, as their loops do."""
    states = {state["name"]: state for state in client.status()}
    right = _reference(reference)
    for each in some:
        each.state = states.get(each.name, {"state": "MISSING"})
        if each.state["state"] != "READY":
            each.trouble = f"{each.state['state']}: {each.state.get('reason', '')}"
            continue
        alone = loops[each.name].check(reference.with_name("answer.npy"))
        served = _ask(client, each)
        wanted = alone if each.kind.table else right
        for who, got in (("its loop", alone), ("the server", served)):
            if got.shape != wanted.shape or not np.allclose(got, wanted, atol=CLOSE):
                raise RuntimeError(f"{each.name}: {who} answers\n{got}\nwhere it should be\n{wanted}")


def _reference(file: Path) -> Array:
    """What ONNX Runtime answers to MEDIUM's eight rows."""
    import onnxruntime as ort

    lay(KINDS[0], file, "cpu")
    session = ort.InferenceSession(file / "1" / KINDS[0].file, providers=["CPUExecutionProvider"])
    answer: Array = session.run(None, {"x": rows(KINDS[0], 8)})[0]
    return answer


def _datatype(client: Client, each: Entrant) -> str:
    return str(client.metadata(each.name)["inputs"][0]["datatype"])


def _ask(client: Client, each: Entrant) -> Array:
    x = rows(each.kind, 8).astype(dtype_of(_datatype(client, each)))
    result = client.infer(each.name, {"x": x})
    answer: Array = result["predict_proba"][:, 1] if each.kind.table else result["y"]
    return answer


# -- load -------------------------------------------------------------------------------------------


def script(folder: Path, name: str, row: Array, datatype: str) -> Path:
    """For wrk: one row, binary both ways."""
    size = {"binary_data_size": row.nbytes}
    tensor = {"name": "x", "shape": row.shape, "datatype": datatype, "parameters": size}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    body = folder / f"{name}.body"
    body.write_bytes(head + row.tobytes())
    lines = [
        'wrk.method = "POST"',
        f'wrk.body = io.open("{body}", "rb"):read("*a")',
        'wrk.headers["Content-Type"] = "application/octet-stream"',
        f'wrk.headers["Inference-Header-Content-Length"] = "{len(head)}"',
    ]
    path = folder / f"{name}.lua"
    path.write_text("\n".join(lines))
    return path


def _target(folder: Path, server: Served, client: Client, each: Entrant) -> Target:
    datatype = _datatype(client, each)
    row = rows(each.kind, 1).astype(dtype_of(datatype))
    url = f"{server.url}/v2/models/{each.name}/infer"
    return Target(each.name, server.pid, url, script(folder, each.name, row, datatype), CONNECTIONS)


def contest(folder: Path, kinds: Sequence[Kind], rounds: int, seconds: int) -> list[Entrant]:
    """All entrants, round by round its loop and then its server; a first second of load does not count."""
    models, bodies = folder / "models", folder / "bodies"
    bodies.mkdir()
    every = entrants(models, kinds)
    some = [each for each in every if not each.trouble]
    with _running(models, some) as (server, loops), Client(server.url, timeout=60) as client:
        _check(some, client, loops, folder / "reference")
        ready = [each for each in some if not each.trouble]
        targets = {each.name: _target(bodies, server, client, each) for each in ready}
        for number in range(rounds + 1):
            for each in ready:
                if not number:
                    wrk(targets[each.name], 1)
                    continue
                each.bare.append(loops[each.name].paces(seconds))
                before = server.cpu()
                run = wrk(targets[each.name], seconds)
                each.served.append(run)
                each.cpu.append((server.cpu() - before) / (run.rate * seconds))
    return every


# -- what is told of it -----------------------------------------------------------------------------


def table(every: Sequence[Entrant]) -> list[Row]:
    return [_row(each) if each.served else {"engine": each.name, "remark": each.trouble} for each in every]


def _row(each: Entrant) -> Row:
    runs = each.served
    return {
        "engine": each.name,
        "version": _version(each.kind),
        "device": each.state.get("device", ""),
        "isolation": each.state.get("isolation", ""),
        "bare, 1 row": round(each.pace(1).rate, 1),
        "bare, best": round(each.pace(each.best).rate, 1),
        "of rows": each.best,
        "served/s": round(median(run.rate for run in runs), 1),
        "ratio": round(each.share, 3),
        "p50 ms": round(median(run.p50_us for run in runs) / 1e3, 2),
        "p99 ms": round(median(run.p99_us for run in runs) / 1e3, 2),
        "CPU µs": round(median(each.cpu) * 1e6),
        "bare": round(each.pace(each.best).cpu * 1e6),
    }


def _version(kind: Kind) -> str:
    names = packages_distributions().get(kind.packages[0], [])
    return version(names[0]) if names else ""


def aims(every: Sequence[Entrant]) -> list[Aim]:
    """Of MEDIUM on the CPU; an engine that is there and does not serve has missed it."""
    return [
        aim(f"{each.name}: requests/s over its bare loop's rows/s", SHARE, each.share if each.served else 0.0)
        for each in every
        if not each.kind.table and each.device == "cpu" and not each.kind.missing
    ]


def measure(kinds: Sequence[Kind], rounds: int, seconds: int) -> tuple[list[Row], list[Aim]]:
    """Rows and aims of one contest; the batch in hand when wrk stops is not counted for the server."""
    os.environ.pop("OMP_NUM_THREADS", None)  # Penstock's own choice is what is measured
    with tempfile.TemporaryDirectory() as folder:
        every = contest(Path(folder), kinds, rounds, seconds)
    return table(every), aims(every)
