"""Plots of scaling, as SVG files for the docs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write(folder: Path, rows: Sequence[dict[str, Any]], drawn: Sequence[dict[str, Any]]) -> None:
    pass
