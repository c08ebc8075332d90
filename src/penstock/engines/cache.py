"""Folders for what engines compile, one for each state of a model's files and each framework version."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec

OFF = "off"
LOCK = ".lock"


def folder(spec: ModelSpec, engine: str, *key: str | Path) -> Path | None:
    """Where ``engine`` may keep what it compiles of this model; None where it must not, or cannot.

    ``key`` is all that an entry hangs on and that the framework does not check by itself: words, such
    as the framework's version, and files (a folder stands for those in it), which are read whole.
    The folder is there, and only its owner can write to it if it is new.
    Raises BadSetting where the folder that the settings name cannot be used.
    """
    if spec.cache == OFF:
        return None
    base = _named(spec.cache) if spec.cache else _usual()
    if base is None:
        return None
    path = base / engine / digest(*key)[:32] if key else base / engine
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        if spec.cache:
            raise BadSetting(
                f"cache: cannot make {path}: {error.strerror}; name another, or '{OFF}'"
            ) from error
        return None
    if os.access(path, os.W_OK | os.X_OK):
        return path
    if spec.cache:
        raise BadSetting(f"cache: cannot write to {path}; name another, or '{OFF}'")
    return None


@contextmanager
def alone(path: Path | None, waiting: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Holds back other processes that compile into ``path``, so that one compiles and the rest load.

    ``waiting`` is called where another is at it.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        path = None
    if path is None:
        yield
        return
    with (path / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _named(text: str) -> Path:
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path()
    if not path.is_absolute():
        raise BadSetting(f"cache is {text!r}; it must be an absolute path, or '{OFF}'")
    return path


def _usual() -> Path | None:
    """By the XDG Base Directory Specification, which has relative paths ignored."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "penstock"
    except RuntimeError:  # nobody's home
        return None


def digest(*key: str | Path) -> str:
    """SHA-256 (hex) of words and whole files; of a file its name counts, too."""
    made = hashlib.sha256()
    for part in key:
        if isinstance(part, str):
            _add(made, "word", part)
            continue
        for file in _files(part):
            with file.open("rb") as data:
                _add(made, file.name, hashlib.file_digest(data, "sha256").hexdigest())
    return made.hexdigest()


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _add(digest: "hashlib._Hash", *texts: str) -> None:
    for text in texts:
        digest.update(f"{len(text)}:{text}".encode())
