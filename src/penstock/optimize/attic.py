"""What earlier searches have left in the cache, and how long it stays: new data make a new folder."""

import shutil
from pathlib import Path
from time import time

from penstock.engines.cache import LOCK
from penstock.optimize.journal import FILE

DAYS = 30
"""Since a search was last run, or shown again, for which what it found out is kept."""


def sweep(folder: Path) -> None:
    """Remove the folders beside this one that no search has used for so long. Blocks."""
    oldest = time() - DAYS * 86400
    for each in folder.parent.iterdir():
        if each != folder and (each / FILE).is_file() and _used(each) < oldest:
            shutil.rmtree(each, ignore_errors=True)


def _used(folder: Path) -> float:
    """When its lock was last taken, or something was written down."""
    there = [file.stat().st_mtime for name in (LOCK, FILE) if (file := folder / name).exists()]
    return max(there, default=time())
