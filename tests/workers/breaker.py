"""An engine that dies, hangs or raises when its input says so; otherwise y = x + 1."""

import asyncio
import ctypes
import os
import resource
import time

import numpy as np

from penstock.core.errors import InvalidRequest, LoadFailed
from penstock.core.spec import Signature, TensorSpec

SEGFAULT, EXIT, LOOP, RAISE, REFUSE, LARGE, SLEEP, PRINT, FORK, USE_UP, ODD, NAMELESS, COMPLEX, KEEP = range(
    1001, 1015
)
"""First columns that ask for it."""


class OwnKind(InvalidRequest):
    """Of the model's own making."""


class Wordless(Exception):
    def __str__(self):
        raise ValueError("no words")


ODDITIES = [
    OwnKind("not a picture"),
    RuntimeError("no file caf\udce9"),
    InvalidRequest("no file caf\udce9"),
    InvalidRequest("x" * 20_000_000),
    Wordless(),
    SystemExit("bye"),
    asyncio.CancelledError(),
    GeneratorExit(),
]
"""What may be raised that is not easily told; the second column says which."""


class BreakerEngine:
    """``parameters.open`` may be ``refuse``, ``exit`` or ``hang``."""

    def open(self, spec, files, /):
        match spec.parameters.get("open"):
            case "refuse":
                raise LoadFailed("it is not for you")
            case "raise":
                raise ValueError("odd weights")
            case "exit":
                os._exit(3)
            case "hang":
                time.sleep(60)
        return Breaker(spec)


class Breaker:
    signature = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
    platform = "breaker"
    device = "cpu"
    concurrency = 0

    def __init__(self, spec):
        self.threads = spec.instances.threads
        self.kept = []

    def run(self, inputs, outputs=(), /):  # noqa: C901 - one line a wish
        x = inputs["x"]
        wishes = set(x[:, 0].tolist())
        if FORK in wishes and os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        if SEGFAULT in wishes:
            ctypes.string_at(0)
        if EXIT in wishes:
            os._exit(3)
        if LOOP in wishes:
            while True:
                pass
        if RAISE in wishes:
            raise ValueError("an odd row")
        if REFUSE in wishes:
            raise InvalidRequest("not this row")
        if ODD in wishes:
            raise ODDITIES[int(x[0, 1])]
        if KEEP in wishes:
            self.kept.append(x)
            if x[0, 1] < 0:
                raise ValueError("kept nevertheless")
            return {"y": np.concatenate(self.kept)}
        if NAMELESS in wishes:
            return {0: x}
        if COMPLEX in wishes:
            return {"y": x + 1j}
        if SLEEP in wishes:
            time.sleep(0.2)
        if PRINT in wishes:
            print("hello from the model")
        if USE_UP in wishes:
            use_up_descriptors()
        if LARGE in wishes:
            return {"y": np.ones((len(x), 300_000), np.float32) * x[:, 1:]}
        return {"y": x + 1}

    def close(self):
        pass


def use_up_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            os.open(os.devnull, os.O_RDONLY)
    except OSError:
        pass
