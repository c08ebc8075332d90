"""Sample data: rows of a model's inputs, with or without labels, grouped by shape where lengths vary."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from penstock.core.errors import BadSetting
from penstock.core.tensors import Array, as_bytes, datatype_of, from_bytes, to_bytes
from penstock.core.types import Tensors

CALIBRATION = 300
"""Rows that calibration takes at the most (NNCF's own default); more change little."""
LABELS = "labels"
SHARE = 4
"""One row in so many calibrates, the others judge."""


class Samples(Struct, frozen=True, eq=False):
    """Rows in groups of the same trailing shapes; row numbers run through the groups in order."""

    groups: tuple[Tensors, ...]
    """Each maps input names to arrays with the rows on axis 0."""
    labels: Array | None = None
    """The right answer to each row, [rows] or [rows, …]."""

    @property
    def rows(self) -> int:
        return sum(length(group) for group in self.groups)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "Samples":
        """Just these rows, in the order given, group by group."""
        wanted = np.asarray(rows, dtype=np.int64)
        groups: list[Tensors] = []
        kept: list[NDArray[np.int64]] = []
        begin = 0
        for group in self.groups:
            end = begin + length(group)
            inside = wanted[(wanted >= begin) & (wanted < end)]
            if len(inside):
                groups.append({name: array[inside - begin] for name, array in group.items()})
                kept.append(inside)
            begin = end
        labels = (
            None if self.labels is None else self.labels[np.concatenate(kept)] if kept else self.labels[:0]
        )
        return Samples(tuple(groups), labels)

    def split(self, seed: int = 0) -> tuple["Samples", "Samples"]:
        """(to calibrate with, to judge with): no row is in both; a quarter, and 300 rows at most, calibrate.

        Drawn and ordered at random, the same for the same seed.
        """
        order = np.random.default_rng(seed).permutation(self.rows)
        few = min(CALIBRATION, max(1, self.rows // SHARE))
        return self.take(order[:few]), self.take(order[few:])

    def batches(self, size: int) -> Iterator[Tensors]:
        """All rows in order, in batches of rows of the same shapes; the last of a group may be smaller."""
        for group in self.groups:
            for at in range(0, length(group), size):
                yield {name: array[at : at + size] for name, array in group.items()}

    def digest(self) -> str:
        """SHA-256 (hex) of all of it."""
        made = hashlib.sha256()
        for part in self._parts():
            made.update(part)
        return made.hexdigest()

    def save(self, file: Path) -> None:
        """All datatypes as V2 writes them, behind a header; labels, too."""
        with file.open("wb") as stream:
            stream.writelines(self._parts())

    def _parts(self) -> list[bytes]:
        tensors = [
            (f"{at}/{name}", array) for at, group in enumerate(self.groups) for name, array in group.items()
        ]
        if self.labels is not None:
            tensors.append((LABELS, labels_as_tensor(self.labels)))
        blobs = [bytes(to_bytes(array)) for _, array in tensors]
        told = [
            (name, datatype_of(array.dtype), array.shape, len(blob))
            for (name, array), blob in zip(tensors, blobs, strict=True)
        ]
        head = msgspec.json.encode(told)
        return [len(head).to_bytes(8, "little"), head, *blobs]

    @classmethod
    def load(cls, file: Path) -> "Samples":
        """What ``save`` wrote."""
        data = memoryview(file.read_bytes())
        at = 8 + int.from_bytes(data[:8], "little")
        told = msgspec.json.decode(data[8:at], type=list[tuple[str, str, list[int], int]])
        groups: dict[int, dict[str, Array]] = {}
        labels: Array | None = None
        for key, datatype, shape, size in told:
            array = from_bytes(key, datatype, shape, data[at : at + size])
            at += size
            number, slash, name = key.partition("/")
            if slash:
                groups.setdefault(int(number), {})[name] = array
            else:
                labels = array
        return cls(tuple(groups[at] for at in sorted(groups)), labels)


def labels_as_tensor(labels: Array) -> Array:
    """Text as BYTES; what is a number stays one."""
    if labels.dtype.kind not in "OSU":
        return labels
    out = np.empty(labels.size, dtype=object)
    out[:] = [as_bytes(value) for value in labels.flat]
    return out.reshape(labels.shape)


def length(group: Mapping[str, Array]) -> int:
    """Rows of tensors that belong together."""
    return len(next(iter(group.values())))


def gather(rows: Sequence[Tensors], labels: Any = None) -> Samples:
    """Of requests of one or more rows each, with ``labels`` in their order; same shapes are joined.

    Raises BadSetting where there is nothing, inputs differ, or there are not as many labels as rows.
    """
    if not rows:
        raise BadSetting("there are no samples; give at least some hundred rows")
    order: dict[tuple[Any, ...], list[int]] = {}
    for at, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise BadSetting(f"sample {at} has inputs {', '.join(row)}; the first has {', '.join(rows[0])}")
        order.setdefault(tuple(array.shape[1:] for array in row.values()), []).append(at)
    groups = tuple(
        {name: np.concatenate([rows[at][name] for at in ats]) for name in rows[0]} for ats in order.values()
    )
    if labels is None:
        return Samples(groups)
    labels = np.asarray(labels)
    counts = [length(row) for row in rows]
    if len(labels) != sum(counts):
        raise BadSetting(f"there are {len(labels)} labels for {sum(counts)} rows; give one for each")
    begins = np.concatenate([[0], np.cumsum(counts)])
    places = [np.arange(begins[at], begins[at + 1]) for ats in order.values() for at in ats]
    return Samples(groups, labels[np.concatenate(places)])
