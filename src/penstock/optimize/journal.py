"""What a search has found out, line by line in a file, so that it is never found out twice."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.optimize.search import Known, Order
from penstock.optimize.types import Artefact, Candidate, Refused, Trial

FILE = "journal.jsonl"


class Entry(Struct, frozen=True, omit_defaults=True):
    """One order and what came of it: exactly one of the last three, or what a search begins with."""

    order: str
    artefact: Artefact | None = None
    trial: Trial | None = None
    refused: Refused | None = None
    baseline: Candidate | None = None
    """How the server would run the original; found out first."""


class Journal:
    """In a folder, which also holds the artefacts; written through at every entry."""

    def __init__(self, folder: Path, *, fresh: bool = False) -> None:
        """Reads what is there, unless a ``fresh`` one is wanted.

        A line that was cut off, and artefacts that have gone, are forgotten.
        """
        self._file = folder / FILE
        if fresh:
            self._file.unlink(missing_ok=True)
        self._entries = [entry for entry in _read(self._file) if _holds(entry)]

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
        return sum(
            done.seconds
            for entry in self._entries
            for done in (entry.artefact, entry.trial, entry.refused)
            if done
        )


def entry(order: Order, done: Artefact | Trial | Refused) -> Entry:
    """For an order that was carried out."""
    match done:
        case Artefact():
            return Entry(order.label, artefact=done)
        case Trial():
            return Entry(order.label, trial=done)
        case Refused():
            return Entry(order.label, refused=done)


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


def _holds(entry: Entry) -> bool:
    return entry.artefact is None or Path(entry.artefact.file).is_file()


def _ended(file: Path) -> bool:
    with file.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"
