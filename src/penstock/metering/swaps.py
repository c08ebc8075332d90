"""What the memory budget did: loads, evictions, and how long requests waited for models."""

from collections import Counter
from typing import Literal

import numpy as np

from penstock.metering.histogram import SECONDS, Histogram


class Swaps:
    """Counts by model; the ledger's, on the event loop's thread."""

    def __init__(self) -> None:
        self.limit = 0
        """Bytes; 0: none."""
        self.loads: Counter[tuple[str, str]] = Counter()
        """By model and outcome, ``ok`` or ``error``."""
        self.load_seconds: Counter[str] = Counter()
        self.evictions: Counter[str] = Counter()
        self.waits: dict[str, Histogram] = {}
        """Seconds that requests waited for a cold model, whatever came of them."""

    def loaded(self, model: str, outcome: Literal["ok", "error"], seconds: float) -> None:
        """A version was loaded, or could not be."""
        self.loads[model, outcome] += 1
        self.load_seconds[model] += seconds  # type: ignore[assignment]  # a Counter holds floats as well

    def evicted(self, model: str) -> None:
        """It was unloaded to make room."""
        self.evictions[model] += 1

    def waited(self, model: str, seconds: float) -> None:
        """A request waited for it."""
        self.waits.setdefault(model, Histogram(SECONDS)).add(np.array([seconds]))

    def forget(self, model: str) -> None:
        """Its folder is gone: nobody asks for it any more."""
        for outcome in ("ok", "error"):
            self.loads.pop((model, outcome), None)
        self.load_seconds.pop(model, None)
        self.evictions.pop(model, None)
        self.waits.pop(model, None)
