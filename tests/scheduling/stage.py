"""A scheduler on a stage: a session whose runs can be held, a plain policy, and a recorder."""

import asyncio
import threading

import numpy as np

from penstock.core.ports import Take
from penstock.core.spec import ModelSpec, Queue, Signature, TensorSpec
from penstock.core.types import Request
from penstock.metering.accounts import Accounts
from penstock.scheduling.scheduler import Scheduler

FIXED = Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
VARIED = Signature((TensorSpec("x", "FP32", (-1, -1)),), (TensorSpec("y", "FP32", (-1, -1)),))


class Doubling:
    """y = 2 x; remembers the first column of every batch; a row of 13 fails its batch.

    With ``closed``, a run waits for ``open``: so a batch can be kept running.
    """

    platform = "test"
    threads = 1

    def __init__(self, signature=FIXED):
        self.signature = signature
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)

    def run(self, inputs, outputs=(), /):
        x = inputs["x"]
        self.batches.append([int(row[0]) for row in x])
        self.began.release()
        assert self.gate.wait(20)
        if 13 in x[:, 0]:
            raise ValueError("unlucky")
        return {"y": x * 2}

    def close(self):
        pass


class Greedy:
    """All that waits, up to ``cap``."""

    def __init__(self, cap=4):
        self.cap = cap
        self.lines = []
        self.learned = []

    def decide(self, line, /):
        self.lines.append((len(line.waiting), line.rows))
        taken = room = 0
        for one in line.waiting:
            room += one.rows
            if taken and room > self.cap:
                break
            taken += 1
        return Take(taken)

    def learn(self, rows, seconds, /):
        self.learned.append(rows)

    def admits(self, line_rows, newcomer, now, /):
        return True


class Counting:
    """A recorder."""

    def __init__(self):
        self.batches = []
        self.failures = []
        self.mishaps = []
        self.charged = []
        self.accounts = Accounts()

    def account(self, tenant, /):
        return self.accounts.of("m", "1", tenant)

    def charge(self, entries, started, cpu, gpu, /):
        self.charged.append(([entry.rows for entry in entries], cpu, gpu))

    def served(self, rows, ran, queued, totals, /):
        self.batches.append((rows, len(queued)))

    def stepped(self):
        pass

    def failed(self, reason, seconds, /):
        self.failures.append(reason)

    def happened(self, what, detail, /):
        self.mishaps.append((what, detail))


class Stage:
    """A scheduler with all that it touches; ``instances`` 0 runs in the loop."""

    def __init__(self, *, policy=None, signature=FIXED, instances=1, batched=True, **queue):
        self.session = Doubling(signature)
        self.policy = policy or Greedy()
        self.recorder = Counting()
        spec = ModelSpec(name="m", queue=Queue(**queue))
        self.scheduler = Scheduler(
            [self.session] * (instances or 1), self.policy, spec, "1",
            batched=batched, inline=not instances, recorder=self.recorder,
        )  # fmt: skip

    def ask(self, *numbers, width=2, **fields):
        """One request with a row for each number."""
        x = np.array([[number] * width for number in numbers], np.float32)
        return self.scheduler(Request(model="m", inputs={"x": x}, **fields))

    async def busy(self, number=99):
        """A request that runs until the gate is opened."""
        self.session.gate.clear()
        ticket = self.ask(number)
        await asyncio.to_thread(self.session.began.acquire)
        return ticket

    def release(self):
        self.session.gate.set()


def staged(**settings):
    """The test is a coroutine of a stage; it may take a few seconds, and leaves no thread behind."""

    def wrap(test):
        async def run():
            stage = Stage(**settings)
            try:
                await asyncio.wait_for(test(stage), 20)
            finally:
                stage.release()
                stage.scheduler.close()

        def sync():
            asyncio.run(run())

        sync.__name__, sync.__doc__ = test.__name__, test.__doc__
        return sync

    return wrap


async def first(ticket):
    """The first number of an answer."""
    return float((await ticket).outputs["y"][0, 0])


async def outcome(ticket):
    """The first number, or the error."""
    try:
        return await first(ticket)
    except Exception as error:
        return error
