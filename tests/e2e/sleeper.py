"""An engine whose run takes as long as its input says, so that its warm-up takes no time."""

import json
from pathlib import Path
from time import sleep

import numpy as np

from penstock.core.spec import Signature, TensorSpec

MARK = -777.0
"""A first column that asks for sleep; the second has the seconds. A warm-up's values do not."""

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),))


class SleeperEngine:
    def open(self, spec, files, /):
        return Sleeper(Path(spec.parameters["log"]))


class Sleeper:
    """y = x after the longest sleep that a row asks for; every batch is told to a log as it begins."""

    signature = SIGNATURE
    platform = "sleeper"
    threads = 1

    def __init__(self, log):
        self._log = log

    def run(self, inputs, outputs=(), /):
        x = inputs["x"]
        marked = x[:, 0] == MARK
        if marked.any():
            with self._log.open("a") as log:
                log.write(json.dumps(x[:, 2].astype(int).tolist()) + "\n")
        sleep(float(np.max(np.where(marked, x[:, 1], 0.0))))
        return {"y": x.copy()}

    def close(self):
        pass


def row(seconds, number=0):
    """A row that takes so long; ``number`` is how the log knows it."""
    return [MARK, float(seconds), float(number), 0.0]


def write(folder, name="slow", settings="", rows=4):
    """One instance in a thread, batches of at most ``rows``; ``settings`` are further lines of model.toml."""
    (folder / name / "1").mkdir(parents=True)
    (folder / name / "1" / "model.txt").write_text("sleeper")
    instances = 'isolation = "thread"\n[instances]\ncount = 1\nthreads = 1'
    batching = f"[batching]\nmax_rows = {rows}"
    parameters = f'[parameters]\nlog = "{_log(folder, name)}"'
    text = f'engine = "tests.e2e.sleeper:SleeperEngine"\n{instances}\n{batching}\n{settings}\n{parameters}\n'
    (folder / name / "model.toml").write_text(text)
    _log(folder, name).touch()


def batches(folder, name="slow"):
    """The numbers of the rows of every batch that was begun."""
    return [json.loads(line) for line in _log(folder, name).read_text().splitlines()]


def _log(folder, name):
    return folder.parent / f"{name}.log"
