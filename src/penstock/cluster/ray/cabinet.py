"""The models' files that a node keeps: each version once, by its digest, for all instances there."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from penstock.cluster.ray.parcel import Manifest, Piece, Seal
from penstock.core.errors import LoadFailed

UNUSED = 8 << 30
"""Bytes of versions that nobody uses that are kept for the next time."""


def usual() -> Path:
    """Where a node keeps them, by the XDG Base Directory Specification; raises LoadFailed without a home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "penstock" / "ray"
    except RuntimeError:
        raise LoadFailed("the node has no home folder for models; set XDG_CACHE_HOME for Ray there") from None


class Drawer:
    """One version on this node: open while somebody uses it, and nobody throws it away then.

    ``missing`` says whether it has to be filled; meanwhile others who want the same version wait.
    What is half filled is never seen: it gets its name when it is whole.
    """

    def __init__(self, base: Path, manifest: Manifest, unused: int = UNUSED) -> None:
        """Blocks while another instance fills it; raises LoadFailed where there is no room."""
        self._manifest = manifest
        self._whole = base / manifest.digest
        self._part = base / f"{manifest.digest}.part"
        self._seal = Seal(manifest)
        try:
            base.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = base / f"{manifest.digest}.lock"
            self._lock = _locked(lock, fcntl.LOCK_SH)  # as all have it who use it
            if not self._whole.is_dir():
                self._lock.close()
                self._lock = _locked(lock, fcntl.LOCK_EX)
            self.missing = not self._whole.is_dir()
            if self.missing:
                self._begin(base, unused)
            else:
                self._share()
        except OSError as error:
            raise _failed(base, error) from None

    def _begin(self, base: Path, unused: int) -> None:
        shutil.rmtree(self._part, ignore_errors=True)  # of one who died
        tidy(base, unused, self._manifest.size)
        free = shutil.disk_usage(base).free
        if free < self._manifest.size:
            raise LoadFailed(
                f"the node has {free / 2**30:.3g} GiB free in {base}; "
                f"the model takes {self._manifest.size / 2**30:.3g} GiB"
            )
        self._part.mkdir(mode=0o700)

    def _share(self) -> None:
        os.utime(self._lock.fileno())  # last used
        fcntl.flock(self._lock, fcntl.LOCK_SH)

    @property
    def target(self) -> Path:
        """What the engine opens."""
        return self._whole / self._manifest.target

    def add(self, pieces: tuple[Piece, ...]) -> None:
        """The next bytes, in order; raises LoadFailed where they cannot be written."""
        try:
            for piece in pieces:
                self._seal.add(piece)
                file = self._part / piece.name
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("ab") as out:
                    out.write(piece.data.data)
        except OSError as error:
            raise _failed(self._part, error) from None

    def finish(self) -> None:
        """All has come; raises LoadFailed where it is not what was announced."""
        self._seal.check()
        try:
            self._part.rename(self._whole)
        except OSError as error:
            raise _failed(self._part, error) from None
        self.missing = False
        self._share()

    def close(self) -> None:
        """What was not finished goes."""
        if self.missing:
            shutil.rmtree(self._part, ignore_errors=True)
        self._lock.close()


def tidy(base: Path, unused: int, need: int = 0) -> None:
    """Throws away what nobody uses, the longest unused first, beyond ``unused`` bytes of it.

    Also less than that where the disk has not the ``need`` bytes that are to come.
    """
    kept = [(lock.stat().st_mtime, lock) for lock in base.glob("*.lock")]
    for _, lock in sorted(kept, reverse=True):
        whole = lock.with_suffix("")
        _throw_away(lock, lock.with_suffix(".part"))  # of one who died as it came
        size = sum(_sizes(whole))
        if not size:
            continue
        unused -= size
        if unused < 0 or shutil.disk_usage(base).free < need:
            _throw_away(lock, whole)


def _throw_away(lock: Path, folder: Path) -> None:
    if not folder.is_dir():
        return
    try:
        with lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = lock.with_suffix(".gone")
            folder.rename(gone)  # never half there
            shutil.rmtree(gone, ignore_errors=True)
            lock.unlink()
    except OSError:
        pass  # in use, or another was quicker


def _sizes(folder: Path) -> Iterator[int]:
    for file in folder.rglob("*"):
        try:
            yield file.stat().st_size if file.is_file() else 0
        except OSError:
            pass


def _locked(path: Path, how: int) -> IO[str]:
    """The lock file, locked; another than was opened where somebody threw it away meanwhile."""
    while True:
        file = path.open("a")
        fcntl.flock(file, how)
        try:
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        except FileNotFoundError:
            pass
        file.close()


def _failed(where: Path, error: OSError) -> LoadFailed:
    return LoadFailed(f"the node cannot keep the model in {where}: {error.strerror or error}")
