"""Pipelines on a stage: models of plain functions, each with its scheduler, behind a gateway."""

import asyncio
import threading

import numpy as np

from penstock.core.spec import ModelSpec, Queue, Signature, Step, TensorSpec
from penstock.core.types import ModelState, Request
from penstock.metering.ledger import Ledger
from penstock.scheduling.scheduler import Scheduler
from penstock.serving.catalog import Catalog, Live
from penstock.serving.check import Check
from penstock.serving.gateway import Gateway
from penstock.serving.pipeline.bringup import bring_up
from tests.scheduling.stage import Greedy


class Function:
    """A session of ``function(**inputs)``, which gives a dict; its runs wait while ``gate`` is closed."""

    platform = "test"
    threads = 1

    def __init__(self, signature, function):
        self.signature = signature
        self.batches = []
        """Rows of each run."""
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self._function = function

    def run(self, inputs, outputs=(), /):
        self.batches.append(len(next(iter(inputs.values()))))
        self.began.release()
        assert self.gate.wait(20)
        return self._function(**inputs)

    def close(self):
        pass


class Stage:
    """``model`` adds models, ``pipeline`` pipelines, ``ask`` asks one."""

    def __init__(self):
        self.catalog, self.ledger, self.sessions = Catalog(), Ledger(), {}
        self.gateway = Gateway(self.catalog, self.ledger.refused)
        self.handler = self.gateway
        """What steps are asked through."""

    def model(
        self, name, function, inputs="x", outputs="y", *, shape=(-1, 2), threads=0, version="1", **keys
    ):
        """All tensors are FP32; ``threads`` 0 runs in the loop."""
        batched = keys.pop("batched", True)
        tensors = [tuple(TensorSpec(t, "FP32", shape) for t in names.split()) for names in (inputs, outputs)]
        session = self.sessions[name] = Function(Signature(*tensors), function)
        spec = ModelSpec(name=name, queue=Queue(**keys))
        book = self.ledger.book(name, version)
        scheduler = Scheduler(
            [session] * (threads or 1), Greedy(64), spec, version,
            batched=batched, inline=not threads, recorder=book,
        )  # fmt: skip
        state = ModelState(
            name=name, version=version, state="READY", spec=spec, signature=session.signature, batched=batched
        )
        check = Check(name, session.signature, batched=batched)
        self.catalog.put(Live(state, scheduler, check, session.close), [version])
        return session

    def pipeline(self, name, *steps, give=(), **queue):
        """Of Steps, or dicts of their fields."""
        made = tuple(step if isinstance(step, Step) else Step(**step) for step in steps)
        spec = ModelSpec(name=name, steps=made, give=give, queue=Queue(**queue))
        book = self.ledger.book(name, "1")
        live = bring_up(spec, "1", book, lambda request: self.handler(request), self.find, self.serving)
        self.catalog.put(live, ["1"])
        return live.executor

    def find(self, model, version=""):
        live = self.catalog.peek(model, version)
        return live.state if live else None

    def serving(self, model, version=""):
        live = self.catalog.peek(model, version)
        return live.state.version if live else ""

    def ask(self, name, x, **fields):
        inputs = x if isinstance(x, dict) else {"x": np.asarray(x, np.float32)}
        return self.gateway(Request(model=name, inputs=inputs, **fields))

    def drop(self, name):
        """Take a model out, as an unload does."""
        return self.catalog.take(name, "1")

    def statistics(self, name):
        (one,) = self.ledger.statistics(name)
        return one

    def failures(self, name):
        (book,) = [book for book in self.ledger.books() if book.model == name]
        return dict(book.failures)

    def expire(self, now):
        for live in list(self.catalog):
            live.executor.expire(now)

    def close(self):
        for session in self.sessions.values():
            session.gate.set()
        for live in self.catalog:
            live.executor.close()


def staged(test):
    """The test is a coroutine of a stage; it may take a few seconds, and leaves no thread behind."""

    async def run():
        stage = Stage()
        try:
            await asyncio.wait_for(test(stage), 20)
        finally:
            stage.close()

    def sync():
        asyncio.run(run())

    sync.__name__, sync.__doc__ = test.__name__, test.__doc__
    return sync


async def outcome(awaitable):
    """The answer's outputs as lists, or the error."""
    try:
        return {name: array.tolist() for name, array in (await awaitable).outputs.items()}
    except Exception as error:
        return error


def plus(number):
    return lambda x: {"y": x + np.float32(number)}


def rows(*numbers):
    """Two columns of each number."""
    return np.array([[number, number] for number in numbers], np.float32)


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)
