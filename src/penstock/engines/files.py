"""A model's file, found in a version's folder."""

from pathlib import Path

from penstock.core.errors import LoadFailed
from penstock.core.spec import ModelSpec


def find(spec: ModelSpec, files: Path, *usual: str) -> Path:
    """``files`` itself where it is a file, else in it ``spec.file``, or the first there is of ``usual``.

    Raises LoadFailed that says what is there instead.
    """
    if files.is_file():
        return files
    wanted = (spec.file,) if spec.file else usual
    for name in wanted:
        if (files / name).is_file():
            return files / name
    if not files.is_dir():
        raise LoadFailed(f"no folder {files.name}, which would have {' or '.join(wanted)}")
    there = ", ".join(sorted(file.name for file in files.iterdir())[:8]) or "nothing"
    raise LoadFailed(f"no {' or '.join(wanted)} in {files.name}, which has {there}; `file` names another")
