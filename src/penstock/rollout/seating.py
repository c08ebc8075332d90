"""What rollouts keep of each model between and beside them: who answers, and who was taken back."""

import logging
from collections.abc import Callable, Mapping, Sequence

from penstock.core.errors import BadSetting, LoadFailed, UnknownModel, UnknownVersion
from penstock.core.schema import nearest
from penstock.core.spec import Rollout
from penstock.repository.layout import ModelFolder
from penstock.rollout import seats
from penstock.rollout.seats import Seat
from penstock.rollout.terms import check
from penstock.rollout.words import Bad, Pin
from penstock.serving.catalog import Catalog

log = logging.getLogger("penstock.rollout")


class Seating:
    """Lives on the event loop; ``trial`` tells stable version and candidate of the rollout that runs."""

    def __init__(
        self,
        catalog: Catalog,
        trial: Callable[[str], tuple[str, str] | None],
        keep: Callable[[Pin], None],
    ) -> None:
        self.folders: Mapping[str, ModelFolder] = {}
        """As the last scan found them."""
        self._catalog = catalog
        self._trial = trial
        self._keep = keep
        self._terms: dict[str, Rollout] = {}
        """What settings were last seen to say of rollouts."""
        self._pins: dict[str, Pin] = {}
        self._bad: dict[str, dict[str, Bad]] = {}

    def restore(self, pins: Sequence[Pin], bad: Sequence[Bad]) -> None:
        """As an earlier server left them."""
        for pin in pins:
            self.pin(pin)
        for each in reversed(bad):
            self.mark(each)

    def direct(self, folders: Mapping[str, ModelFolder]) -> Mapping[str, ModelFolder]:
        """What a scan found, as the watcher is to see it."""
        self.folders, before = folders, self._terms
        self._terms = {name: folder.spec.rollout for name, folder in folders.items() if folder.spec}
        for name, terms in self._terms.items():
            if terms != before.get(name):
                self._check(name, terms)
        return {name: seats.direct(folder, self.seat(name)) for name, folder in folders.items()}

    def _check(self, model: str, terms: Rollout) -> None:
        """Say now what would be wrong when a version comes."""
        try:
            check(terms)
        except BadSetting as error:
            log.error("model %s: %s; no version is rolled out by itself", model, error)

    def seat(self, model: str) -> Seat:
        """All that decides which of its versions are there."""
        bad = {version: each.fingerprint for version, each in self._bad.get(model, {}).items()}
        return Seat(pin=self._pins.get(model), trial=self._trial(model), bad=bad)

    def pin(self, pin: Pin) -> None:
        """Have this version answer."""
        self._pins[pin.model] = pin
        self._catalog.choose(pin.model, pin.version)

    def pin_of(self, model: str, version: str) -> Pin:
        """A pin to a version, beside those that are there now."""
        folder = self.folders.get(model)
        if folder is None:
            return Pin(model, version)
        return Pin(model, version, seats.policy_of(folder), tuple(folder.versions))

    def settle(self) -> None:
        """Have each model answer with the version that is to.

        Where versions come in by rollouts, the first that answers is where they begin.
        """
        for name, folder in self.folders.items():
            seat = self.seat(name)
            live = self._catalog.default(name)
            if seat == seats.NOBODY and not seats.by_rollout(folder):
                continue
            lost = seat.pin is None or seat.pin.version not in folder.versions
            if lost and seat.trial is None and live is not None:
                if seats.by_rollout(folder) and live.state.version in folder.versions:
                    pin = self.pin_of(name, live.state.version)
                    self.pin(pin)
                    self._keep(pin)
            elif (chosen := seats.answering(folder, seat)) != self._catalog.chosen(name):
                self._catalog.choose(name, chosen)

    def next(self) -> list[tuple[str, str]]:
        """(model, version) of what is to be rolled out by itself now."""
        found = ((name, seats.candidate(folder, self.seat(name))) for name, folder in self.folders.items())
        return [(name, version) for name, version in found if version]

    # -- versions that were taken back -------------------------------------------------------------

    def mark(self, bad: Bad) -> None:
        """It is not rolled out again by itself."""
        self._bad.setdefault(bad.model, {}).pop(bad.version, None)
        self._bad[bad.model][bad.version] = bad

    def forgive(self, model: str, version: str) -> bool:
        """It may come again; whether it was marked."""
        return self._bad.get(model, {}).pop(version, None) is not None

    def bad(self, model: str = "") -> list[Bad]:
        """Of one model or of all, the last one first."""
        found = [
            each for name, marked in self._bad.items() if model in ("", name) for each in marked.values()
        ]
        return sorted(found, key=lambda each: -each.at)

    def why_bad(self, model: str, version: str) -> str:
        """Why these very files were taken back; empty where they were not."""
        folder = self.folders.get(model)
        if folder is None or not seats.is_bad(folder, version, self.seat(model)):
            return ""
        return self._bad[model][version].why

    def folder(self, model: str, version: str = "") -> ModelFolder:
        """Raises UnknownModel, UnknownVersion or LoadFailed."""
        folder = self.folders.get(model)
        if folder is None:
            raise UnknownModel(f"no model {model!r}; {nearest(model, list(self.folders))}")
        if folder.spec is None:
            raise LoadFailed(f"model {model!r} cannot be loaded: {folder.error}")
        if version and version not in folder.versions:
            raise UnknownVersion(
                f"model {model!r} has no version {version!r}; {nearest(version, list(folder.versions))}"
            )
        return folder
