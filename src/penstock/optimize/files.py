"""Arrays, columns and text from files of samples and labels."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from penstock.core.errors import BadSetting
from penstock.core.tensors import Array


def _loaded(file: str) -> Any:
    """What numpy reads; pickled objects are refused, as they could run code."""
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise BadSetting(f"{file} cannot be read: {_reason(error)}") from None


def array(file: str) -> Array:
    """Of a .npy file. All here block, and raise BadSetting that says what is wrong with a file."""
    found: Array = _loaded(file)
    return found


def archive(file: str) -> dict[str, Array]:
    """The arrays of a .npz file by name."""
    try:
        with _loaded(file) as arrays:
            return dict(arrays)
    except ValueError as error:
        raise BadSetting(f"{file} cannot be read: {_reason(error)}") from None


def columns(file: str) -> dict[str, Array]:
    """The columns of a .csv file by the names in its first line, each as ``parsed``."""
    rows = [row for row in csv.reader(StringIO(text(file))) if row]
    if len(rows) < 2:
        raise BadSetting(f"{file} holds no rows; it needs a line of column names and a line for each sample")
    head, body = [name.strip() for name in rows[0]], rows[1:]
    for at, row in enumerate(body, 2):
        if len(row) != len(head):
            raise BadSetting(f"{file}, row {at}: {len(row)} values; the header names {len(head)} columns")
    return {name: parsed([row[at].strip() for row in body]) for at, name in enumerate(head)}


def text(file: str) -> str:
    """Of a file in UTF-8."""
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{file} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def parsed(values: Sequence[str]) -> Array:
    """A column of a text file: whole numbers, numbers (nothing is NaN), or text."""
    for kind in (np.int64, np.float64):
        try:
            return np.array([value or "nan" for value in values]).astype(kind)
        except (ValueError, OverflowError):
            continue
    return np.array(values, dtype=object)
