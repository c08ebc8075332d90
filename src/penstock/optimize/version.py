"""A new version's folder: the artefact, its settings as ``model.toml``, and ``variant.json``."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec
from penstock.optimize.types import Artefact, Candidate, Choice, Outcome
from penstock.repository.locate import Located
from penstock.repository.spec import SPEC, changed, merged
from penstock.repository.version import read_own

RECORD = "variant.json"
LEFT = ("name", "versions", "labels")
"""Settings of a model that mean its folder, and nothing elsewhere."""


def next_version(versions: Sequence[str], parent: str) -> str:
    """A name that comes after all of them: the number at the end of the newest, one higher. Pure.

    ``versions`` in their order, oldest first.
    """
    newest = versions[-1] if versions else parent
    match = re.fullmatch(r"(.*?)([0-9]+)", newest)
    return f"{match[1]}{int(match[2]) + 1}" if match else f"{newest}-2"


def write(folder: Path, outcome: Outcome, files: Sequence[Path], own: Mapping[str, Any]) -> None:
    """Make ``folder``, complete or not at all; ``files`` are the original's, ``own`` what it is run with.

    Raises BadSetting where there is no winner, where the folder is there, or cannot be written.
    """
    winner = outcome.choice.winner
    if winner is None:
        raise BadSetting("there is nothing to write: the original is kept")
    if folder.exists():
        raise BadSetting(f"{folder} is there already; name another folder")
    artefact = outcome.artefacts[winner.artefact]
    draft = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        _copy(Path(artefact.file), files, draft)
        values = merged(own, settings(artefact, winner, outcome.choice, outcome.targets.p99_ms))
        (draft / SPEC).write_text(f"# Found by penstock optimize; {RECORD} tells how.\n{toml(values)}")
        (draft / RECORD).write_bytes(record(outcome))
        draft.rename(folder)
    except OSError as error:
        raise BadSetting(f"{folder} cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def same(located: Located, outcome: Outcome) -> Path | None:
    """The version beside the original that just this outcome was written to, if there is one. Blocks."""
    if located.folder is None:
        return None
    told = record(outcome)
    for version in located.versions:
        file = located.folder / version / RECORD
        if file.is_file() and file.read_bytes() == told:
            return file.parent
    return None


def _copy(file: Path, files: Sequence[Path], draft: Path) -> None:
    """The artefact with all that lies beside it, or the original's files where it is only run otherwise."""
    beside = files if file in files else [each for each in file.parent.rglob("*") if each.is_file()]
    for each in beside:
        target = draft / each.relative_to(file.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(each, target)


def inherited(located: Located, folder: Path) -> dict[str, Any]:
    """What a version in ``folder`` was measured with, and would not have of its model. Blocks."""
    if located.folder is None or folder.absolute().parent != located.folder.absolute():
        told = changed(msgspec.to_builtins(located.spec), msgspec.to_builtins(ModelSpec()))
        return {key: value for key, value in told.items() if key not in LEFT}
    return read_own(located.folder / located.version)


def settings(artefact: Artefact, winner: Candidate, choice: Choice, p99_ms: float) -> dict[str, Any]:
    """What the version's ``model.toml`` says, as nested plain values. Pure."""
    layout = {"instances": {"count": winner.instances, "threads": winner.threads}}
    batching: dict[str, Any] = {}
    if artefact.alone or choice.max_rows == 1:
        batching = {"batching": {"policy": "none"}}
    elif choice.max_rows:
        batching = {"batching": {"max_rows": choice.max_rows}}
    target = {"target": {"p99_ms": p99_ms}} if p99_ms else {}
    base = {"engine": winner.engine, "file": Path(artefact.file).name}
    return merged(merged(base, layout | batching | target), artefact.settings)


def record(outcome: Outcome) -> bytes:
    """``variant.json``: the whole outcome, without the paths of the machine on which it was found."""
    artefacts = {
        name: replace(artefact, file=Path(artefact.file).name) for name, artefact in outcome.artefacts.items()
    }
    plain = replace(outcome, artefacts=artefacts, applied="")
    return msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n"


def toml(values: Mapping[str, Any], prefix: str = "") -> str:
    """Nested values as TOML."""
    plain = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in plain.items()]
    text = "".join(lines)
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = f"{prefix}{_key(key)}"
            inner = toml(value, f"{name}.")
            head = f"\n[{name}]\n" if any(not isinstance(each, Mapping) for each in value.values()) else ""
            text += head + inner
    return text


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    """As in JSON, but for tables, and one character that TOML wants to be escaped."""
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {_value(each)}" for key, each in value.items() if each is not None)
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
