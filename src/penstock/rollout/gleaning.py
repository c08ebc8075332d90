"""What answers tell by what they say: how they are distributed, and, by feedback, whether they are right."""

from collections.abc import Sequence
from time import time

import numpy as np

from penstock.core.types import Reply, Request
from penstock.rollout.answers import Bins, answer_of
from penstock.rollout.evidence.judge import Judge
from penstock.rollout.feedback import Kept, Memory

SAMPLED = 512
"""Answers whose bins are told the judge at once."""


class Gleaning:
    """Of one rollout; lives on the event loop."""

    def __init__(self, model: str, rollout: str, memory: Memory, judge: Judge) -> None:
        watched = judge.watched
        self._model, self._rollout = model, rollout
        self._memory, self._judge = memory, judge
        self._labels = "accuracy" in watched
        self._bins = Bins() if "outputs" in watched else None
        self._binned: list[tuple[int, bool, float, int]] = []

    def add(
        self, request: Request, reply: Reply, candidate: bool, odds: float, unit: int, *, sampled: bool
    ) -> None:
        """An answer, which takes 2 µs to remember, and as much for its distribution if it is ``sampled``."""
        if request.id and self._labels:
            said, tenant = answer_of(reply.outputs), request.tags.get("tenant", "")
            self._memory.note(
                request.id, self._model, self._rollout, candidate, odds, said, time(), unit, tenant
            )
        if sampled and self._bins is not None and 0 < odds < 1:
            self._bin(self._bins, reply, candidate, odds, unit)

    def _bin(self, bins: Bins, reply: Reply, candidate: bool, odds: float, unit: int) -> None:
        if not candidate:
            bins.learn(reply.outputs)
        at = bins.of(reply.outputs)
        if at >= 0:
            self._binned.append((at, candidate, odds, unit >> 11))
        if len(self._binned) >= SAMPLED:
            self.flush()

    def flush(self) -> None:
        """Tell the judge what has gathered."""
        if self._binned:
            bins, candidate, odds, units = map(np.array, zip(*self._binned, strict=True))
            self._binned = []
            self._judge.answered(bins, candidate, odds, units.astype(np.uint64))

    def label(self, found: Sequence[tuple[Kept, bool]]) -> None:
        """What came true of requests, whenever that is known: whether each answer was wrong."""
        self._judge.labelled(
            np.array([wrong for _, wrong in found]),
            np.array([kept.candidate for kept, _ in found]),
            np.array([kept.odds for kept, _ in found]),
            np.array([kept.unit >> 11 for kept, _ in found], np.uint64),
        )
