"""Real ONNX Runtime sessions for the batching contest: their run times, and an open loop in-process."""

from itertools import pairwise
from math import inf, log
from statistics import median, stdev
from time import perf_counter, sleep
from typing import Any

import numpy as np

from benchmarks import fixtures
from benchmarks.contest import MAKERS
from benchmarks.simulate import Job, Model, poisson, sweep
from penstock.core.ports import BatchPolicy, Line, Wait
from penstock.core.spec import Batching
from penstock.scheduling.policy import POLICIES, make
from penstock.scheduling.profile import grid

SHAPES = {"tiny": (32,), "medium": (3, 64, 64)}


class Session:
    """A fixture on one thread, with inputs of every size at hand."""

    def __init__(self, name: str) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        model = getattr(fixtures, name)()
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._rows = np.random.default_rng(0).standard_normal((64, *SHAPES[name]), dtype=np.float32)

    def run(self, rows: int) -> float:
        """Seconds that a batch took."""
        start = perf_counter()
        self._session.run(None, {"x": self._rows[:rows]})
        return perf_counter() - start


def profile(name: str, runs: int = 15) -> Model:
    """Median run times on the coarse grid, lines between; noise from their spread."""
    session = Session(name)
    sizes = grid(64)
    times = {size: [session.run(size) for _ in range(runs + 2)][2:] for size in sizes}
    medians = [median(times[size]) for size in sizes]
    cost = [0.0, medians[0]]
    for (left, right), (low, high) in zip(pairwise(sizes), pairwise(medians), strict=True):
        cost += [low + (high - low) * (b - left) / (right - left) for b in range(left + 1, right + 1)]
    spread = stdev(log(run / median(found)) for found in times.values() for run in sorted(found)[1:-1])
    return Model(f"{name} (measured)", tuple(cost), sigma=max(0.01, spread))


def profiles() -> dict[str, Model]:
    return {name: profile(name) for name in SHAPES}


def serve(session: Session, policy: BatchPolicy, arrivals: list[float], target: float) -> dict[str, float]:
    """Arrivals in real time, whatever the server does; batches run one after the other."""
    start = perf_counter()
    queue: list[Job] = []
    latencies: list[float] = []
    index, total = 0, len(arrivals)
    while index < total or queue:
        now = perf_counter() - start
        while index < total and arrivals[index] <= now:
            job = Job(arrivals[index], arrivals[index] + target)
            if len(queue) < 4096 and policy.admits(len(queue), job, now):
                queue.append(job)
            index += 1
        if not queue:
            if arrivals[index] - now > 2e-3:
                sleep(1e-3)
            continue
        choice = policy.decide(Line(now, queue[:256], len(queue)))
        if isinstance(choice, Wait):
            continue
        batch = queue[choice.skip : choice.skip + choice.count]
        del queue[: choice.skip + choice.count]
        if batch:
            seconds = session.run(len(batch))
            done = perf_counter() - start
            latencies += [done - job.arrived for job in batch]
            policy.learn(len(batch), seconds)
    in_time = sum(latency <= target for latency in latencies)
    return {
        "p50, ms": round(float(np.percentile(latencies, 50)) * 1e3, 3),
        "p99, ms": round(float(np.percentile(latencies, 99)) * 1e3, 3),
        "share in target": round(in_time / total, 3),
    }


def capacity(session: Session, model: Model, seconds: float) -> float:
    """Requests per second of this very loop when all wait from the start, in batches of the best size."""
    best = max(grid(64), key=lambda size: size / model.cost[size])
    count = max(100, min(4000, int(model.capacity * seconds / 2)))
    policy = make(Batching(policy="fixed", max_rows=best), inf)
    start = perf_counter()
    serve(session, policy, [0.0] * count, 1e6)
    return count / (perf_counter() - start)


def open_loop(models: dict[str, Model], seconds: float) -> list[dict[str, Any]]:
    """Each policy on each real session at three loads, target 20 × l(1) and at least 1 ms."""
    rows: list[dict[str, Any]] = []
    for name, model in models.items():
        session, target = Session(name), max(1e-3, 20 * model.one)
        most = capacity(session, model, seconds)
        for load in (0.1, 0.9, 1.5):
            rate = load * most
            times = (poisson(max(20, min(20_000, int(rate * seconds))), 103) / rate).tolist()
            found: dict[str, dict[str, float]] = {}
            for policy_name in POLICIES:
                policy = MAKERS[policy_name](target, model)
                sweep(policy, model, 103)
                found[policy_name] = serve(session, policy, times, target)
            rows += [
                {
                    "cell": f"{name} for real, T={target * 1e3:.3g} ms, {load:.0%}",
                    "measure": measure,
                    **{policy_name: values[measure] for policy_name, values in found.items()},
                }
                for measure in found["slo"]
            ]
    return rows
