"""A batch policy of your own: it waits for company, but not when a deadline is near.

``policy = "own_policy:Company"`` under ``[batching]`` in model.toml chooses it; the module must be on
PYTHONPATH. Run it on models by ``penstock init models``: ``python examples/own_policy.py models``
"""

import asyncio
import sys
from collections import Counter

import numpy as np

from penstock import AsyncClient
from penstock.core.ports import Line, Take, Wait, Waiting
from penstock.core.spec import Batching
from penstock.scheduling.policy import fit
from penstock.testing import running


class Company:
    """Runs ``max_rows`` rows at once, and fewer when the oldest has waited ``max_delay_ms``."""

    def __init__(self, batching: Batching, target: float) -> None:
        """``target`` is the latency to hold, in seconds; ``inf`` for none."""
        self.cap = batching.max_rows or 8
        self._delay = batching.max_delay_ms / 1e3
        self._longest = 0.0

    def decide(self, line: Line, /) -> Take | Wait:
        oldest = line.waiting[0]
        # A late answer is worth nothing: leave the time that the longest run has taken so far.
        until = min(oldest.arrived + self._delay, oldest.deadline - self._longest)
        if line.rows >= self.cap or line.now >= until:
            return Take(fit(line.waiting, self.cap))
        return Wait(until)

    def learn(self, rows: int, seconds: float, /) -> None:
        self._longest = max(self._longest, seconds)

    def admits(self, line_rows: int, newcomer: Waiting, now: float, /) -> bool:
        return True


async def batches(url: str, requests: int) -> Counter[int]:
    """How many answers came in batches of how many rows."""
    image = np.zeros((1, 64), np.float32)
    async with AsyncClient(url) as client:
        asked = [
            client.infer("digits-mlp", {"image": image}, parameters={"timing": True}) for _ in range(requests)
        ]
        return Counter(answer.timing.batch for answer in await asyncio.gather(*asked) if answer.timing)


def main(models: str) -> None:
    """Serve the models with this policy, and ask 64 times at once."""
    policy = {"policy": "own_policy:Company", "max_rows": 8, "max_delay_ms": 5.0}
    with running(models, **{f"model__batching__{name}": value for name, value in policy.items()}) as client:
        for rows, count in sorted(asyncio.run(batches(client.url, 64)).items()):
            print(f"{count} answers came in batches of {rows}")


if __name__ == "__main__":
    main(sys.argv[1])
