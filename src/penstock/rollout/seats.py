"""Which versions of a model are to be there, and which of them answers, while rollouts have a say; pure."""

import hashlib
from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from penstock.repository.layout import ModelFolder
from penstock.repository.versions import natural, wanted
from penstock.rollout.words import Pin


class Seat(Struct, frozen=True, kw_only=True):
    """What rollouts know of one model."""

    pin: Pin | None = None
    """The version that answers, as the last rollout left it."""
    trial: tuple[str, str] | None = None
    """(stable version, candidate) of the rollout that runs."""
    bad: Mapping[str, str] = {}
    """Versions that were taken back, and the prints of their files."""


NOBODY = Seat()


def by_rollout(folder: ModelFolder) -> bool:
    """Whether new versions come in by rollouts."""
    return folder.spec is not None and folder.spec.rollout.plan not in ("", "aa")


def direct(folder: ModelFolder, seat: Seat) -> ModelFolder:
    """The folder as the repository's watcher is to see it: with a list of the versions that are wanted."""
    spec = folder.spec
    if spec is None or not folder.versions or (seat == NOBODY and not by_rollout(folder)):
        return folder
    return replace(folder, spec=replace(spec, versions=versions(folder, seat)))


def versions(folder: ModelFolder, seat: Seat) -> tuple[str, ...] | str:
    """The versions that are to be loaded, oldest first; the settings' own words where they alone count."""
    assert folder.spec is not None  # noqa: S101 - ``direct`` looked
    policy = folder.spec.versions
    if seat.trial is None and answering(folder, seat) == "" and not _any_bad(folder, seat):
        return policy
    able = [name for name in folder.versions if not is_bad(folder, name, seat)] or list(folder.versions)
    chosen = answering(folder, seat)
    if chosen and by_rollout(folder):  # what is newer waits for a rollout of its own
        able = [name for name in able if natural(name) <= natural(chosen)]
    named = wanted(able, policy)
    if chosen and chosen not in policy and not isinstance(policy, str):
        named = []  # it has taken the place of those that the settings list
    found = {*named, *(seat.trial or ()), *([chosen] if chosen else [])}
    return tuple(sorted(found & folder.versions.keys(), key=natural))


def answering(folder: ModelFolder, seat: Seat) -> str:
    """The version that requests without one go to; empty: the newest that serves.

    Where versions do not come in by rollouts, one that came after the last rollout takes over as ever.
    """
    if seat.trial is not None:
        return seat.trial[0]
    pin = seat.pin
    if pin is None or folder.spec is None or pin.version not in folder.versions:
        return ""
    if by_rollout(folder):
        return pin.version
    if pin.policy != policy_of(folder):
        return ""
    new = [name for name in wanted(folder.versions, folder.spec.versions) if name not in pin.over]
    return "" if new else pin.version


def candidate(folder: ModelFolder, seat: Seat) -> str:
    """The version that is to be rolled out next by itself: the newest over the one that answers."""
    spec = folder.spec
    if spec is None or not by_rollout(folder) or seat.pin is None or seat.trial is not None:
        return ""
    if seat.pin.version not in folder.versions:
        return ""  # whatever serves now takes its place first
    now = natural(seat.pin.version)
    newer = [
        name
        for name, version in folder.versions.items()
        if natural(name) > now and not version.error and not is_bad(folder, name, seat)
    ]
    fit = wanted(newer, spec.versions)
    return fit[-1] if fit else ""


def is_bad(folder: ModelFolder, version: str, seat: Seat) -> bool:
    """Whether these very files were taken back."""
    return version in seat.bad and seat.bad[version] == print_of(folder, version)


def _any_bad(folder: ModelFolder, seat: Seat) -> bool:
    return any(is_bad(folder, name, seat) for name in folder.versions)


def print_of(folder: ModelFolder, version: str) -> str:
    """Of a version's files; empty where it is not there."""
    found = folder.versions.get(version)
    if found is None:
        return ""
    return hashlib.sha256(repr(found.fingerprint).encode()).hexdigest()[:16]


def policy_of(folder: ModelFolder) -> str:
    """What the settings say of versions, as text."""
    policy = folder.spec.versions if folder.spec is not None else ""
    return policy if isinstance(policy, str) else ",".join(policy)
