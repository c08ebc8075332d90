"""What a search has found out, line by line in a file, so that it is never found out twice."""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.optimize.orders import Known, Order
from penstock.optimize.origin import SOURCE
from penstock.optimize.types import Artefact, Candidate, Refused, Trial

FILE = "journal.jsonl"
MORE = 1.5
"""Times the budget or the memory, with which what was lost is tried again."""


class Entry(Struct, frozen=True, omit_defaults=True):
    """One order and what came of it: exactly one of the last three, or what a search begins with."""

    order: str
    artefact: Artefact | None = None
    trial: Trial | None = None
    refused: Refused | None = None
    baseline: Candidate | None = None
    """How the server would run the original; found out first."""
    budget: float = 0.0
    """Seconds, where a process was lost; a much larger one may be enough."""
    memory: int = 0
    """The same in bytes."""
    seconds: float = 0.0
    """Of work, all that it took to get there included: starting processes, the original's answers."""


class Journal:
    """In a folder, which also holds the artefacts; written through at every entry."""

    def __init__(
        self, folder: Path, *, fresh: bool = False, source: str = "", budget: float = 0.0, memory: int = 0
    ) -> None:
        """Reads what is there, unless a ``fresh`` one is wanted.

        A line that was cut off is forgotten, and so are artefacts that have gone with all their trials:
        what is made again need not be the same. So are processes that were lost within much less than
        ``budget`` seconds or ``memory`` bytes.
        ``source`` is where the original lies now.
        """
        self._file = folder / FILE
        if fresh:
            self._file.unlink(missing_ok=True)
        enough = [each for each in _read(self._file) if not _short(each, budget, memory)]
        self._entries = _valid(_moved(enough, source))

    def write(self, entry: Entry) -> None:
        """Raises BadSetting where it cannot be written, e.g. on a full disk."""
        line = msgspec.json.encode(entry) + b"\n"
        try:
            with self._file.open("ab") as stream:
                if stream.tell() and not _ended(self._file):
                    stream.write(b"\n")
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise BadSetting(
                f"{self._file} cannot be written: {error.strerror}; make room, or name another folder with "
                "`cache` in the model's settings"
            ) from None
        self._entries.append(entry)

    @property
    def baseline(self) -> Candidate | None:
        return next((entry.baseline for entry in self._entries if entry.baseline), None)

    @property
    def known(self) -> Known:
        """Of a trial or an artefact that was done again, the last counts."""
        made = {entry.artefact.name: entry.artefact for entry in self._entries if entry.artefact}
        trials = {entry.order: entry.trial for entry in self._entries if entry.trial}
        refused = {entry.order: entry.refused.reason for entry in self._entries if entry.refused}
        return Known(made, tuple(trials.values()), refused)

    @property
    def seconds(self) -> float:
        """Of work, in all runs."""
        return sum(entry.seconds for entry in self._entries)


def entry(
    order: Order,
    done: Artefact | Trial | Refused,
    seconds: float,
    *,
    budget: float = 0.0,
    memory: int = 0,
) -> Entry:
    """For an order that took ``seconds``; ``budget`` and ``memory`` of a process that was lost."""
    match done:
        case Artefact():
            return Entry(order.label, artefact=done, seconds=seconds)
        case Trial():
            return Entry(order.label, trial=done, seconds=seconds)
        case Refused():
            return Entry(order.label, refused=done, seconds=seconds, budget=budget, memory=memory)


def _read(file: Path) -> list[Entry]:
    entries: list[Entry] = []
    try:
        lines = file.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except msgspec.MsgspecError:
            continue
    return entries


def _short(entry: Entry, budget: float, memory: int) -> bool:
    """Whether a process was lost for want of what there is now."""
    return 0 < MORE * entry.budget <= budget or 0 < MORE * entry.memory <= memory


def _moved(entries: Sequence[Entry], source: str) -> list[Entry]:
    """With the original's file where it is now, also of artefacts that are only run otherwise."""
    before = {each.artefact.file for each in entries if each.artefact and each.artefact.name == SOURCE}
    return [
        replace(each, artefact=replace(each.artefact, file=source))
        if source and each.artefact and each.artefact.file in before
        else each
        for each in entries
    ]


def _valid(entries: Sequence[Entry]) -> list[Entry]:
    """Without what was done again later, and what was measured of artefacts that have gone since."""
    kept: dict[str, Entry] = {}
    for each in entries:
        if each.artefact:
            kept = _without(kept, each.artefact.name)
        kept.pop(each.order, None)
        kept[each.order] = each
    for each in list(kept.values()):
        if each.artefact and not Path(each.artefact.file).is_file():
            kept = _without(kept, each.artefact.name)
    return list(kept.values())


def _without(kept: dict[str, Entry], artefact: str) -> dict[str, Entry]:
    return {
        order: each
        for order, each in kept.items()
        if artefact
        not in (each.artefact and each.artefact.name, each.trial and each.trial.candidate.artefact)
    }


def _ended(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
