"""What begins by itself: new versions where a model brings them in so, and self-tests of its guards."""

from collections.abc import Callable, Iterator
from time import monotonic

from msgspec.structs import replace

from penstock.core.spec import Rollout
from penstock.metering.ledger import Ledger
from penstock.rollout.opening import Wanted
from penstock.rollout.seating import Seating
from penstock.rollout.traffic import Traffic
from penstock.serving.catalog import Catalog

WATCH = 30.0
"""Seconds that traffic is watched after a start before a version is rolled out by itself."""
BY = "model.toml"


class Prompts:
    """Lives on the event loop; ``busy`` tells whether a model has a rollout."""

    def __init__(
        self, catalog: Catalog, ledger: Ledger, seating: Seating, busy: Callable[[str], bool]
    ) -> None:
        self.traffic = Traffic()
        self._catalog, self._ledger, self._seating, self._busy = catalog, ledger, seating, busy
        self._tests: dict[str, float] = {}
        """When each model's guards are tried next (monotonic seconds)."""

    def count(self) -> None:
        """See how much each model is asked."""
        now = monotonic()
        if self.traffic.due(now):
            counts: dict[str, int] = {}
            for book in self._ledger.books():
                counts[book.model] = counts.get(book.model, 0) + book.request.count
            self.traffic.note(now, counts)

    def due(self) -> Iterator[Wanted]:
        """What is to begin now."""
        for model, version in self._seating.next():
            live, spec = self._catalog.default(model), self._seating.folders[model].spec
            if live is None or spec is None or live.state.version == version:
                continue
            planned = spec.rollout.steps and spec.rollout.hold_s is not None
            if self.traffic.span >= WATCH or planned:  # else how it is rolled out depends on the traffic
                yield Wanted(model, live.state.version, version, spec.rollout, BY, "it came")
        for model, folder in self._seating.folders.items():
            if folder.spec is not None and folder.spec.rollout.self_test_h:
                yield from self._test(model, folder.spec.rollout)

    def _test(self, model: str, terms: Rollout) -> Iterator[Wanted]:
        """A version against itself, when it is time."""
        live, now, wait = self._catalog.default(model), monotonic(), terms.self_test_h * 3600
        if self._tests.setdefault(model, now + wait) > now or live is None:
            return
        if not self._busy(model) and self.traffic.rate(model):
            self._tests[model] = now + wait
            own = replace(terms, plan="aa", steps=())
            version = live.state.version
            yield Wanted(model, version, version, own, BY, "a self-test of the guards")
