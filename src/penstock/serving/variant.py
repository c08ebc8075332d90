"""What ``penstock optimize`` wrote beside a version that it found: why it was taken."""

import asyncio
from pathlib import Path

import msgspec
from msgspec import Struct

RECORD = "variant.json"


class _Choice(Struct, frozen=True):
    reasons: tuple[str, ...] = ()


class _Outcome(Struct, frozen=True):
    choice: _Choice


async def gains(model: Path) -> str:
    """What a version gains over the one that it was made of, and how good its answers stayed.

    ``model`` is the version's file; empty where it was not found by optimizing.
    """
    return await asyncio.to_thread(_read, model.parent / RECORD)


def _read(record: Path) -> str:
    try:
        outcome = msgspec.json.decode(record.read_bytes(), type=_Outcome)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    return "; ".join(outcome.choice.reasons[:2])
