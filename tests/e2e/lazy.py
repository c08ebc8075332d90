"""An engine whose loading takes a while, weighs something, or fails, as its settings and files say."""

from pathlib import Path
from time import sleep

import numpy as np

from penstock.core.spec import Signature, TensorSpec

SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 4)),))

WEIGHT = 1.2
"""Memory that a model takes for each byte of its file."""


class LazyEngine:
    isolation = "thread"

    def open(self, spec, files, /):
        """The file holds the number to add, or why loading fails."""
        log = Path(spec.parameters["log"])
        with log.open("a") as told:
            told.write("open\n")
        sleep(float(spec.parameters.get("seconds", 0)))
        with files.open() as file:
            text = file.read(16).split()[0]
        if text == "fail":
            raise ValueError("the file says that it fails")
        return Lazy(float(text), files.stat().st_size, float(spec.parameters.get("run", 0)))


class Lazy:
    """y = x + number, and ``run`` seconds later for inputs above 1000."""

    signature = SIGNATURE
    platform = "lazy"
    device = "cpu"
    threads = 1
    concurrency = 0

    def __init__(self, number, size, run):
        self._number = np.float32(number)
        self._weight = np.ones(int(WEIGHT * size / 8))
        self._run = run

    def run(self, inputs, outputs=(), /):
        if self._run and inputs["x"].max() > 1000:
            sleep(self._run)
        return {"y": inputs["x"] + self._number}

    def close(self):
        del self._weight


def write(folder, name, number=1, settings="", disk=0, version="1", **parameters):
    """Adds ``number`` (a word: it fails to load); its file has ``disk`` MB, and it takes 1.2 times that."""
    (folder / name / version).mkdir(parents=True, exist_ok=True)
    (folder / name / version / "model.txt").write_text(f"{number} ".ljust(int(disk * 1e6)))
    lines = "\n".join(f'{key} = "{value}"' for key, value in parameters.items())
    (folder / name / "model.toml").write_text(
        f'engine = "tests.e2e.lazy:LazyEngine"\nisolation = "thread"\n{settings}\n'
        f'[instances]\ncount = 1\nthreads = 1\n[parameters]\nlog = "{log(folder, name)}"\n{lines}\n'
    )
    log(folder, name).touch()


def log(folder, name):
    return folder.parent / f"{name}.opens"


def opened(folder, name):
    """How often its loading was begun."""
    return len(log(folder, name).read_text().splitlines())
