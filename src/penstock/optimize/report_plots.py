"""The two plots of a report: gain against what it costs in answers, and latency against throughput."""

from collections.abc import Sequence

from penstock.optimize.plot import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Point,
    across,
    downward,
    line,
    scatter,
    text,
    upward,
)
from penstock.optimize.reasons import times
from penstock.optimize.report_table import GAINS, Entry, count, percent
from penstock.optimize.types import Outcome

REACH = 2.5
"""Floors that the axis of drops reaches down to; beyond, marks lie at its end."""


def plots(outcome: Outcome, rows: Sequence[Entry]) -> str:
    """Two figures beside each other."""
    what = GAINS[outcome.targets.minimize]
    return (
        '<div class="plots">'
        + _figure(
            f"Times {what}, and what it may cost in answers",
            "Better is right and up; only the green field is eligible.",
            _gains(outcome, rows),
        )
        + _figure(
            "Time for one row, and rows a second",
            "Better is left and up; numbers are those of the table.",
            _speeds(rows),
        )
        + "</div>"
    )


def _figure(title: str, words: str, svg: str) -> str:
    return f"<figure><figcaption><b>{title}</b>{words}</figcaption>{svg}</figure>"


def _gains(outcome: Outcome, rows: Sequence[Entry]) -> str:
    known = [each for each in rows if each.gain is not None]
    floor = outcome.targets.max_drop
    deepest = max((each.trial.agreement.upper for each in known), default=floor)
    y = downward("drop at most", max(min(REACH * floor, 1.15 * deepest), 1.3 * floor) * 100 or 1.0, " %")
    x = across(f"times {GAINS[outcome.targets.minimize]} (original = 1)", _reach(known))
    points = [_gain(each, y) for each in known]
    over = _limits(x, y, floor)
    return scatter("Gain against drop", x, y, points, below=_field(x, y, floor), above=over)


def _reach(known: Sequence[Entry]) -> list[float]:
    return [1.0, *(each.gain.mid for each in known if each.gain)]


def _gain(entry: Entry, y: Axis) -> Point:
    drop = 100 * max(entry.trial.agreement.upper, 0.0)
    found = entry.gain
    x = found.mid if found and entry.kind != "original" else 1.0
    shown = found is not None and entry.kind in ("chosen", "front", "original")
    label = _label(entry) + (f" ↓ {drop:.2g} %" if drop > y.high else "")
    return Point(
        x=x,
        y=drop,
        kind=entry.kind,
        label=label,
        hint=_hint(entry),
        span=(found.low, found.high) if shown and found else None,
    )


def _field(x: Axis, y: Axis, floor: float) -> str:
    left, bottom = x.at(1.0), y.at(100 * floor)
    return (
        f'<rect class="area" x="{left:.1f}" y="{TOP:g}" width="{WIDTH - RIGHT - left:.1f}" '
        f'height="{bottom - TOP:.1f}"/>'
    )


def _limits(x: Axis, y: Axis, floor: float) -> str:
    height = y.at(100 * floor)
    return (
        line(x.at(1.0), TOP, x.at(1.0), HEIGHT - BOTTOM, "unity")
        + line(LEFT, height, WIDTH - RIGHT, height, "limit")
        + text(LEFT + 6, height + 14, f"floor {percent(floor)}")
    )


def _speeds(rows: Sequence[Entry]) -> str:
    x = across("ms for one row (median)", [each.trial.figures.p50_ms for each in rows])
    y = upward("rows a second, best batch", [each.best.rows_per_s for each in rows])
    points = [
        Point(
            x=each.trial.figures.p50_ms,
            y=each.best.rows_per_s,
            kind=each.kind,
            label=_label(each),
            hint=_hint(each),
        )
        for each in rows
    ]
    return scatter("Latency against throughput", x, y, points)


def _label(entry: Entry) -> str:
    return f"{entry.number} {entry.kind}" if entry.kind in ("chosen", "original") else f"{entry.number}"


def _hint(entry: Entry) -> str:
    gained = f", {times(entry.gain.mid)} ×" if entry.gain else ""
    return (
        f"{entry.number} {entry.name}: {entry.verdict}{gained}\n"
        f"{entry.trial.figures.p50_ms:.3g} ms for one row, {count(entry.best.rows_per_s)} rows/s, "
        f"drop at most {percent(entry.trial.agreement.upper)}"
    )
