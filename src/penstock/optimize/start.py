"""Where a search starts: not at what an earlier one wrote, but at what that was made of."""

from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.optimize.origin import sha256
from penstock.optimize.version import RECORD
from penstock.repository.locate import Located, locate


class _Record(Struct, frozen=True):
    version: str
    digest: str


def start(model: str, repository: Path) -> tuple[Located, str]:
    """The version to optimize, and a sentence where that is another than the newest, or has lost before.

    One that was found by optimizing is gone back from to its original, unless it is asked for by name:
    what it lost would be forgotten, and drops would add up.
    Blocks; raises BadSetting as ``locate``.
    """
    at = newest = locate(model, repository)
    gone = {newest.version}
    while not newest.named and (record := _record(at)) is not None:
        before, wrong = _before(at, record, gone)
        if before is None:
            lost = f"version {at.version} was made of {record.version}, which {wrong}: what it lost then is"
            return at, "; ".join(filter(None, (_back(newest, at), f"{lost} not counted, so drops add up")))
        at = before
        gone.add(at.version)
    return at, _back(newest, at)


def _before(at: Located, record: _Record, gone: Collection[str]) -> tuple[Located | None, str]:
    """What a version was made of, or why it cannot be had."""
    if record.version in gone or record.version not in at.versions:
        return None, "is not here"
    before = locate(f"{at.folder}@{record.version}", Path())
    return (before, "") if sha256(before) == record.digest else (None, "has changed since")


def _back(newest: Located, at: Located) -> str:
    if at is newest:
        return ""
    return (
        f"starting from version {at.version}, of which {newest.version} was made, so that drops do not add "
        f"up; {newest.name}@{newest.version} would start from that"
    )


def _record(located: Located) -> _Record | None:
    """How a version was found; None for one that somebody made."""
    if located.folder is None:
        return None
    try:
        content = (located.folder / located.version / RECORD).read_bytes()
        return msgspec.json.decode(content, type=_Record)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
