"""Each framework's own bare loop, without Penstock: a child process that times batches when asked."""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np

from benchmarks.engine_models import KINDS, Array, Kind, rows

Run = Callable[[Array], Any]
"""From a batch on the host to its answer on the host, as numpy takes it; one thread."""
SIZES = (1, 2, 4, 8, 16, 32)
LEAST = 3
"""Runs of a size, however long they take."""


class Pace(NamedTuple):
    """Of a loop at one batch size: rows a second, and CPU seconds a row."""

    rate: float
    cpu: float


class Loop:
    """A child with one model loaded by its framework, as the parent sees it; start, then ``ready``."""

    def __init__(self, kind: Kind, file: Path, device: str, *, loads_on: int) -> None:
        """``loads_on``: the core to load on; loads side by side until ``pin``."""
        self._name = f"{kind.name} on {device}"
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the child
        command = ["taskset", "-c", str(loads_on), sys.executable, "-m", "benchmarks.engine_loops"]
        self._process = subprocess.Popen(
            [*command, kind.name, str(file), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )

    def ready(self) -> None:
        """Returns when the model is loaded and has run at every size."""
        self._answer()

    def pin(self, core: int) -> None:
        self._ask("pin", core)

    def check(self, file: Path) -> Array:
        """The answer to eight rows, which it leaves in ``file``."""
        self._ask("check", file)
        answer: Array = np.load(file)
        return answer

    def paces(self, seconds: float) -> dict[int, Pace]:
        """By batch size, from so many seconds altogether."""
        found = {}
        for size in SIZES:
            wall, cpu = map(float, self._ask("time", size, seconds / len(SIZES)).split())
            found[size] = Pace(size / wall, cpu / size)
        return found

    def _ask(self, *words: object) -> str:
        assert self._process.stdin is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            raise RuntimeError(f"the bare loop of {self._name} ended:\n{self._said.read()[-2000:]}")
        return line.strip()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for file in (self._process.stdin, self._process.stdout, self._said):
            if file is not None:
                file.close()


# -- in the child -----------------------------------------------------------------------------------


def _onnx(path: Path, device: str) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    provider = "CPUExecutionProvider" if device == "cpu" else "CUDAExecutionProvider"
    session = ort.InferenceSession(path, options, providers=[provider])
    return lambda x: session.run(None, {"x": x})[0]


def _openvino(path: Path, device: str) -> Run:
    """In the file's own precision, as Penstock asks for and the other frameworks do."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "EXECUTION_MODE_HINT": "ACCURACY"}
    request = ov.Core().compile_model(path, device.upper(), settings).create_infer_request()
    return lambda x: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]


def _torch(path: Path, device: str) -> Run:
    import torch

    torch.set_num_threads(1)
    if path.suffix == ".pt2":
        call = torch.export.load(path).module().to(device)
    else:
        call = torch.jit.load(path, map_location=device)

    def run(x: Array) -> Any:
        with torch.inference_mode():
            return call(torch.from_numpy(x).to(device))["y"].cpu()

    return run


def _jax(path: Path, device: str) -> Run:
    import jax
    from jax import export

    place = jax.devices(device)[0]
    call = jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    return lambda x: np.asarray(call(jax.device_put(x, place))["y"])


def _sklearn(path: Path, device: str) -> Run:
    import skops.io

    model = skops.io.load(path)
    return lambda x: model.predict_proba(x)[:, 1]


def _xgboost(path: Path, device: str) -> Run:
    import xgboost

    run: Run = xgboost.Booster({"nthread": 1}, model_file=path).inplace_predict
    return run


def _lightgbm(path: Path, device: str) -> Run:
    import lightgbm

    booster = lightgbm.Booster(model_file=path)
    return lambda x: booster.predict(x, num_threads=1)


LOOPS: dict[str, Callable[[Path, str], Run]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "torchscript": _torch,
    "torch-export": _torch,
    "jax": _jax,
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def seconds_of(run: Callable[[], Any], budget: float) -> tuple[float, float]:
    """Seconds of one run and of the CPU's, from as many as the budget allows."""
    begun, busy, runs = perf_counter(), process_time(), 0
    while (spent := perf_counter() - begun) < budget or runs < LEAST:
        run()
        runs += 1
    return spent / runs, (process_time() - busy) / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=LOOPS)
    parser.add_argument("file", type=Path)
    parser.add_argument("device")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    kind = next(each for each in KINDS if each.name == given.kind)
    run = LOOPS[kind.name](given.file, given.device)
    batches = {size: rows(kind, size) for size in SIZES}
    for batch in (*batches.values(), *batches.values()):
        run(batch)
    print("ready", flush=True)
    for line in sys.stdin:
        match line.split():
            case ["pin", core]:
                for thread in Path("/proc/self/task").iterdir():
                    os.sched_setaffinity(int(thread.name), {int(core)})
                print("pinned", flush=True)
            case ["check", file]:
                np.save(file, np.asarray(run(rows(kind, 8))))
                print("saved", flush=True)
            case ["time", size, budget]:
                print(*seconds_of(partial(run, batches[int(size)]), float(budget)), flush=True)


if __name__ == "__main__":
    main()
