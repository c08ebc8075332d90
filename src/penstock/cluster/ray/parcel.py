"""A version's files as they are sent to a node: what there is, its digest, and the bytes piece by piece."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from msgspec import Struct

from penstock.core.errors import LoadFailed
from penstock.core.tensors import Array

CHUNK = 8 << 20
"""Bytes that are sent at once; two such chunks are on their way."""
MOST = 10_000
"""Files."""


class Entry(Struct, frozen=True):
    """One file, by its name below the folder."""

    name: str
    size: int
    sha256: str


class Manifest(Struct, frozen=True):
    """What a node needs to know of the files before it has them."""

    digest: str
    """Of all names and contents: what a node keeps them by."""
    entries: tuple[Entry, ...]
    target: str
    """The name below the folder of what the engine opens."""

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)


class Piece(Struct, frozen=True):
    """The next bytes of a file."""

    name: str
    data: Array


class Parcel:
    """The files of one version, read when they are sent; what changes meanwhile is found out there."""

    def __init__(self, path: Path, version: str, file: str = "") -> None:
        """``path`` is what the engine opens; ``file`` as in the spec. Lists the files; blocks."""
        self._root, self._files = _found(path.absolute(), version, file)
        self._target = path.absolute().relative_to(self._root).as_posix()
        self._reading = Lock()
        self._manifest: Manifest | None = None
        stats = [(self._root / name).stat() for name in self._files]
        own = tuple((name, at.st_size, at.st_mtime_ns) for name, at in zip(self._files, stats, strict=True))
        self.stamp = (str(self._root), self._target, own)
        """Changes with the files, as far as that can be seen without reading them."""

    @property
    def manifest(self) -> Manifest:
        """The first time, it reads all of the files; blocks."""
        with self._reading:
            if self._manifest is None:
                self._manifest = self._read()
            return self._manifest

    def _read(self) -> Manifest:
        entries = tuple(self._entry(name) for name in self._files)
        made = hashlib.sha256(self._target.encode(errors="surrogateescape"))
        for entry in entries:
            made.update(f"\0{entry.name}\0{entry.sha256}".encode(errors="surrogateescape"))
        return Manifest(made.hexdigest()[:32], entries, self._target)

    def _entry(self, name: str) -> Entry:
        file = self._root / name
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
            return Entry(name, data.tell(), digest)

    def pieces(self) -> Iterator[tuple[Piece, ...]]:
        """Everything in order, ``CHUNK`` bytes at a time at most."""
        load: list[Piece] = []
        room = CHUNK
        for name in self._files:
            with (self._root / name).open("rb") as data:
                while True:
                    raw = data.read(room)
                    load.append(Piece(name, np.frombuffer(raw, np.uint8)))
                    room -= len(raw)
                    if room:  # the file ended
                        break
                    yield tuple(load)
                    load, room = [], CHUNK
        if load:
            yield tuple(load)


def _found(path: Path, version: str, file: str) -> tuple[Path, list[str]]:
    """The folder that is sent, and the files below it.

    A version's folder goes whole; of a lone file only those beside it go that begin with its name, as
    when it is served here.
    """
    depth = len(Path(file).parts) if file and path.as_posix().endswith(f"/{file}") else 1
    root = path.parents[depth - 1]
    if root.name != version:
        beside = sorted(path.parent.glob(f"{_literal(path.name)}*"))
        return path.parent, [each for top in beside for each in _below(top, path.parent)]
    return root, _below(root, root)


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _below(top: Path, root: Path) -> list[str]:
    """Visible files, links followed."""
    if top.is_file():
        return [top.relative_to(root).as_posix()]
    found = []
    for each in sorted(top.rglob("*")):
        inside = each.relative_to(top).parts
        if each.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in inside):
            found.append(each.relative_to(root).as_posix())
    if len(found) > MOST:
        raise LoadFailed(f"{top.name} holds {len(found)} files; a model that is sent may have {MOST}")
    return found


class Seal:
    """Checks what arrives against what was announced."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._made: dict[str, Any] = {entry.name: hashlib.sha256() for entry in manifest.entries}

    def add(self, piece: Piece) -> None:
        """Raises LoadFailed for a file that was not announced."""
        if piece.name not in self._made:
            raise LoadFailed(f"{piece.name!r} was sent and not announced")
        self._made[piece.name].update(piece.data)

    def check(self) -> None:
        """Raises LoadFailed where a file is not what it was to be."""
        for entry in self._manifest.entries:
            if self._made[entry.name].hexdigest() != entry.sha256:
                raise LoadFailed(f"{entry.name} changed while it was sent")
