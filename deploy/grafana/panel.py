"""A panel and a row of the dashboard, as data."""

from dataclasses import dataclass

VERSION = "{{model}} {{version}}"
"""The usual legend."""


@dataclass(frozen=True)
class Panel:
    title: str
    description: str
    queries: tuple[tuple[str, str], ...]
    """Expressions, each with its legend."""
    unit: str = "short"
    """As Grafana names it."""
    kind: str = "timeseries"
    wide: int = 8
    """Of the 24 columns."""
    stacked: bool = False
    limits: tuple[tuple[str, float], ...] = ()
    """Colors, and the value from which on each holds."""
    least: float | None = 0
    most: float | None = None


@dataclass(frozen=True)
class Row:
    title: str
    high: int
    panels: tuple[Panel, ...]
