"""The schema of the rollouts' file, and how the words for rollouts become rows of it."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from penstock.core.database.layout import Layout, Migration, text
from penstock.core.errors import BadSetting, Failed
from penstock.rollout.words import Bad, Change, Pin

Row: TypeAlias = Sequence[Any]


class StateBusy(BadSetting):
    """Another server keeps its rollouts in this file."""


class StateFailed(Failed):
    """They could not be written or read now, e.g. on a full disk; nothing of it was written."""


class Saved(Struct, frozen=True):
    """One rollout as it is kept."""

    id: str
    model: str
    course: bytes
    """JSON of where it stands."""
    evidence: bytes
    """What its guards have seen."""
    ended: float | None
    """Seconds since the epoch; None: it runs."""


MIGRATIONS: Sequence[Migration] = (
    (
        """CREATE TABLE rollouts (
            number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, model TEXT NOT NULL,
            course BLOB NOT NULL, evidence BLOB NOT NULL, ended REAL
        )""",
        """CREATE TABLE changes (
            number INTEGER PRIMARY KEY, at REAL NOT NULL,
            model TEXT NOT NULL, id TEXT NOT NULL, by TEXT NOT NULL, what TEXT NOT NULL, why TEXT NOT NULL
        )""",
        """CREATE TABLE bad (
            number INTEGER PRIMARY KEY, model TEXT NOT NULL, version TEXT NOT NULL,
            at REAL NOT NULL, why TEXT NOT NULL, fingerprint TEXT NOT NULL, UNIQUE (model, version)
        )""",
        """CREATE TABLE pins (
            model TEXT PRIMARY KEY, version TEXT NOT NULL, policy TEXT NOT NULL, over TEXT NOT NULL
        ) WITHOUT ROWID""",
    ),
)

ROLLOUTS = Layout(
    what="rollouts",
    mark=0x50656E72,  # "Penr"
    migrations=MIGRATIONS,
    setting="`file` in [meter]",
    log="penstock.rollout",
    busy=StateBusy,
    failed=StateFailed,
    synchronous="FULL",
)

SAVE = """INSERT INTO rollouts (id, model, course, evidence, ended) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET model = excluded.model, course = excluded.course,
    evidence = excluded.evidence, ended = excluded.ended"""
SAVED = "SELECT id, model, course, evidence, ended FROM rollouts"
CHANGE = "INSERT INTO changes (at, model, id, by, what, why) VALUES (?, ?, ?, ?, ?, ?)"
CHANGES = "SELECT at, model, id, by, what, why FROM changes"
BAD = "INSERT OR REPLACE INTO bad (model, version, at, why, fingerprint) VALUES (?, ?, ?, ?, ?)"
BADS = "SELECT model, version, at, why, fingerprint FROM bad"
PIN = "INSERT OR REPLACE INTO pins (model, version, policy, over) VALUES (?, ?, ?, ?)"
PINS = "SELECT model, version, policy, over FROM pins ORDER BY model"


def saved_row(saved: Saved) -> Row:
    """For ``SAVE``."""
    return (text(saved.id), text(saved.model), saved.course, saved.evidence, saved.ended)


def change_row(change: Change) -> Row:
    """For ``CHANGE``."""
    return (change.at, *map(text, (change.model, change.id, change.by, change.what, change.why)))


def bad_row(bad: Bad) -> Row:
    """For ``BAD``."""
    return (text(bad.model), text(bad.version), bad.at, text(bad.why), text(bad.fingerprint))


def pin_row(pin: Pin) -> Row:
    """For ``PIN``."""
    over = msgspec.json.encode([text(each) for each in pin.over]).decode()
    return (text(pin.model), text(pin.version), text(pin.policy), over)


def pin(row: Row) -> Pin:
    """From ``PINS``; versions that cannot be read are none."""
    model, version, policy, over = row
    try:
        return Pin(model, version, policy, msgspec.json.decode(over, type=tuple[str, ...]))
    except msgspec.DecodeError:
        return Pin(model, version, policy)
