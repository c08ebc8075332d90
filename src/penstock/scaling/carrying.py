"""What an instance of one version carries: reckoned from learned run times, corrected by what happened."""

from collections.abc import Mapping

from msgspec.structs import replace

from penstock.core.ports import BatchPolicy
from penstock.metering.book import Book
from penstock.scaling.capacity import Capacity, Happened, capacity, corrected
from penstock.scheduling.profile import Profile
from penstock.serving.catalog import Live

PATIENCE_S, RUNS = 0.1, 4.0
"""Without a target, a request may take 100 ms, or four times as long as one that is alone if that is more."""

LEARNED = 8
"""Runs of one size that a look teaches at the most, each as long as they were in the mean."""
LOOP = 40e-6
"""Seconds of the event loop for each request beside its run (14 µs to 41 µs, by benchmarks/overhead.py)."""


class Carrying:
    """Of one version; the correction is kept while its reckoning moves on with the run times."""

    def __init__(self, live: Live, policy: BatchPolicy) -> None:
        self._live = live
        learned = getattr(policy, "profile", None)
        self._own = not isinstance(learned, Profile)
        self._profile = learned if isinstance(learned, Profile) else _profile(live)
        self._sizes: Mapping[int, tuple[int, float]] | None = None
        """Of the book as it was last; None: it was not seen yet."""
        self._factor = 1.0
        self.known: Capacity | None = None
        """None before the first run."""

    def look(self) -> Capacity | None:
        """By the run times as they are now."""
        profile, batched = self._profile, self._live.state.batched
        seconds = profile.seconds if batched else profile.seconds[:2]
        if not seconds[1] > 0:
            return None
        if self._live.state.isolation == "inline":  # the loop does nothing else meanwhile
            seconds = [run + rows * LOOP for rows, run in enumerate(seconds)]
        found = capacity(seconds, profile.spread, self.target_s)
        carries, alone = found.carries * self._factor, found.alone * self._factor
        self.known = replace(found, carries=carries, alone=alone, factor=self._factor)
        return self.known

    def fed(self, book: Book) -> None:
        """What ran since the last call, where the policy learns no run times itself."""
        if not self._own:
            return
        before, self._sizes = self._sizes, dict(book.sizes)
        if before is None:
            return
        for rows, (count, seconds) in self._sizes.items():
            runs, spent = before.get(rows, (0, 0.0))
            for _ in range(min(count - runs, LEARNED)):
                self._profile.learn(rows, (seconds - spent) / (count - runs))

    def learn(self, happened: Happened) -> None:
        """From what missed the target under load."""
        if self.known is not None:
            self.known = corrected(self.known, happened)
            self._factor = self.known.factor

    @property
    def target_s(self) -> float:
        """The target in seconds, or what stands for one where there is none."""
        target = self._live.state.spec.target.p99_ms / 1e3
        return target or max(PATIENCE_S, RUNS * self._profile.seconds[1])


def _profile(live: Live) -> Profile:
    """Of what the warm-up measured."""
    profile = Profile(live.state.spec.batching.max_rows or 64)
    for rows, seconds in live.warmth.samples if live.warmth is not None else ():
        profile.learn(rows, seconds)
    return profile
