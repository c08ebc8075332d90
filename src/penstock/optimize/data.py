"""Samples from what people have: arrays, tables, saved requests, or a function of their own."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson

from penstock.core.errors import BadSetting, InvalidRequest, PenstockError
from penstock.core.importing import find
from penstock.core.schema import nearest
from penstock.core.spec import Signature
from penstock.core.tensors import Array, from_json
from penstock.optimize import origin
from penstock.optimize.entrant import Entrant
from penstock.optimize.files import archive, array, columns, parsed, text
from penstock.optimize.fit import LONE, fitted
from penstock.optimize.rig import saved
from penstock.optimize.samples import Samples, gather
from penstock.optimize.types import Candidate
from penstock.repository.locate import Located

Group: TypeAlias = Mapping[str, Any]
"""Rows of one shape: arrays, or what can become such, by name."""
LABELS = ("labels", "label", "y")
"""Names that mean the right answers, unless an input has that name."""


def signature_of(located: Located) -> Signature:
    """As the model's engine tells it; opens the model once in a child process.

    Blocks; raises LoadFailed where it cannot be opened.
    """
    source = origin.original(located)
    with ExitStack() as kept:
        scratch = Path(kept.enter_context(tempfile.TemporaryDirectory(prefix="penstock-look-")))
        memo = saved(Samples(()))
        kept.callback(memo.close)
        candidate = Candidate(origin.SOURCE, source.engines[0], 1, 1)
        entrant = Entrant(located.spec, source, candidate, memo, scratch, 0)
        kept.callback(entrant.close)
        return entrant.signature


def read(data: str, labels: str, signature: Signature) -> Samples:
    """What ``--data`` and ``--labels`` name, fit for a model's inputs.

    ``data`` is a file (.npz, .npy, .csv, .json, .jsonl) or ``"module:function"``;
    ``labels`` a file (.npy, .npz, .csv, .txt) or the name of an array or column in the data; empty: what
    is called labels, label or y there, if anything is.
    Blocks; raises BadSetting that says what is wrong with the data and what would be right.
    """
    groups, found = _source(data)(data, labels, signature)
    return samples(groups, signature, data, _chosen(data, labels, found, signature))


def samples(groups: Sequence[Group], signature: Signature, where: str, labels: Any = None) -> Samples:
    """Groups of rows as the inputs want them, with ``labels`` in their order; names ``where`` in errors."""
    if not groups:
        raise BadSetting(f"{where} holds no samples; give at least some hundred rows")
    ready = [fitted(group, signature, _place(where, at, groups)) for at, group in enumerate(groups)]
    return gather(ready, labels)


def _place(where: str, at: int, groups: Sequence[Group]) -> str:
    return where if len(groups) == 1 else f"{where}, sample {at}"


_Found: TypeAlias = tuple[Sequence[Group], Mapping[str, Any]]
"""Groups of rows, and what might be labels by name."""


def _source(data: str) -> Callable[[str, str, Signature], _Found]:
    reader = _READERS.get(Path(data).suffix.lower())
    if reader is not None:
        return reader
    if ":" in data and not Path(data).exists():
        return _called
    known = ", ".join(_READERS)
    raise BadSetting(f"--data {data!r}: samples are a file ({known}), a 'module:function', or live")


# -- formats ------------------------------------------------------------------------------------------


def _npz(data: str, labels: str, signature: Signature) -> _Found:
    arrays = archive(data)
    others = [name for name in arrays if name not in (labels, *LABELS)]
    lone = len(signature.inputs) == 1 and others == ["arr_0"]  # np.savez without names
    return [{LONE: arrays["arr_0"]} if lone else arrays], arrays


def _npy(data: str, labels: str, signature: Signature) -> _Found:
    return [{LONE: array(data)}], {}


def _csv(data: str, labels: str, signature: Signature) -> _Found:
    """Inputs by column, else what are numbers and no labels as columns of the only input."""
    found = columns(data)
    inputs = [spec.name for spec in signature.inputs]
    missing = [name for name in inputs if name not in found]
    if not missing:
        return [{name: found[name] for name in inputs}], found
    if len(inputs) > 1:
        raise BadSetting(f"{data} has no column {missing[0]!r}; {nearest(missing[0], list(found))}")
    right = labels if labels in found else next((name for name in LABELS if name in found), "")
    numbers = [each for name, each in found.items() if name != right and each.dtype.kind in "biuf"]
    if not numbers:
        raise BadSetting(f"{data} has no column {missing[0]!r}, nor any of numbers; have {', '.join(found)}")
    return [{LONE: np.column_stack(numbers)}], found


def _json(data: str, labels: str, signature: Signature) -> _Found:
    return _requests(data, [text(data)], signature)


def _jsonl(data: str, labels: str, signature: Signature) -> _Found:
    return _requests(data, [line for line in text(data).splitlines() if line.strip()], signature)


def _requests(data: str, texts: Sequence[str], signature: Signature) -> _Found:
    groups: list[Group] = []
    found: dict[str, list[Any]] = {}
    for at, request in enumerate(texts, 1):
        where = data if len(texts) == 1 else f"{data}, line {at}"
        group, others = _request(where, request)
        groups.append(group)
        for name, value in others.items():
            found.setdefault(name, []).extend(value if isinstance(value, list) else [value])
    return groups, found


def _request(where: str, request: str) -> tuple[Group, dict[str, Any]]:
    """The inputs of a V2 infer request, and what else it says."""
    try:
        body = orjson.loads(request)
        inputs = body.pop("inputs")
        group = {
            one["name"]: from_json(one["name"], one["datatype"], one["shape"], one["data"]) for one in inputs
        }
    except InvalidRequest as error:
        raise BadSetting(f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadSetting(
            f"{where} is no V2 infer request in JSON; it needs 'inputs' with name, datatype, shape and data"
        ) from None
    return group, body


def _called(data: str, labels: str, signature: Signature) -> _Found:
    made = find(data, {}, "samples")
    try:
        given = made() if callable(made) else made
    except PenstockError:
        raise
    except Exception as error:  # a user's function may raise anything
        raise BadSetting(f"{data} failed: {type(error).__name__}: {error}") from error
    right: dict[str, Any] = {}
    if isinstance(given, tuple) and len(given) == 2:
        given, right = given[0], {LABELS[0]: given[1]}
    if isinstance(given, Mapping):
        return [given], {**given, **right}
    if isinstance(given, list | tuple) and all(isinstance(each, Mapping) for each in given):
        return given, right
    raise BadSetting(
        f"{data} gave {type(given).__name__}; it should give a mapping of input names to arrays, "
        "a list of such, or one of these and the labels as a tuple"
    )


_READERS: dict[str, Callable[[str, str, Signature], _Found]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".json": _json,
    ".jsonl": _jsonl,
}


# -- labels -------------------------------------------------------------------------------------------


def _chosen(data: str, labels: str, found: Mapping[str, Any], signature: Signature) -> Any:
    """The labels that are named, or that have a usual name and are no input; None where there are none."""
    inputs = {spec.name for spec in signature.inputs}
    if not labels:
        usual = next((name for name in LABELS if name in found and name not in inputs), "")
        return found.get(usual)
    if labels in found:
        return found[labels]
    reader = _LABELS.get(Path(labels).suffix.lower())
    if reader is None:
        have = [name for name in found if name not in inputs]
        known = f"; {nearest(labels, have)}" if have else ""
        raise BadSetting(
            f"--labels {labels!r} is nothing in {data}, nor a file ({', '.join(_LABELS)}){known}"
        )
    return reader(labels)


def _only(file: str) -> Array:
    """The one array or column of a file, or that which has a usual name."""
    arrays = archive(file) if file.lower().endswith(".npz") else columns(file)
    names = list(arrays)
    name = names[0] if len(names) == 1 else next((name for name in LABELS if name in names), "")
    if not name:
        raise BadSetting(
            f"--labels {file}: which of {', '.join(names)}? name one of them labels, or leave just one"
        )
    return arrays[name]


def _lines(file: str) -> Array:
    return parsed([line.strip() for line in text(file).splitlines() if line.strip()])


_LABELS: dict[str, Callable[[str], Array]] = {".npy": array, ".npz": _only, ".csv": _only, ".txt": _lines}
