"""Plots of scaling, as SVG for the docs: the forecast with the instances, and violations against hours."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from math import ceil, log10
from pathlib import Path
from typing import Any

from penstock.optimize.plot import line, text

Row = dict[str, Any]
Pair = tuple[float, float]
SHARE, HOURS = "over the target, %", "hours, × clairvoyant"
INK, FAINT, BAND, LINE, STEP = "#222", "#ddd", "#9ecae1", "#08519c", "#e6550d"
MARKS = {
    "static peak": ("#636363", "M-5 -5 H5 V5 H-5 Z"),
    "HPA at 0.7": ("#756bb1", "M0 -6 L6 5 H-6 Z"),
    "Ray Serve default": ("#31a354", "M0 6 L6 -5 H-6 Z"),
    "target tracking": ("#c51b8a", "M0 -6 L6 0 0 6 -6 0 Z"),
    "ours, reactive only": ("#6baed6", "M-5 0 A5 5 0 1 0 5 0 A5 5 0 1 0 -5 0 Z"),
    "ours": ("#08519c", "M-6.5 0 A6.5 6.5 0 1 0 6.5 0 A6.5 6.5 0 1 0 -6.5 0 Z"),
}
LEAST, MOST = 0.01, 100.0
"""Per cent at the ends of the axis; less is drawn at its end."""
SHOWN = 2160
"""Ticks of ten seconds: six hours."""
STYLE = "font-family='system-ui,sans-serif' font-size='12'"


def write(folder: Path, rows: Sequence[Row], drawn: Sequence[Row]) -> None:
    """``forecast-TRACE.svg`` for each, and ``hours.svg``."""
    for each in drawn:
        found = each.get("30")
        if found and len(found["decided"]) >= SHOWN:
            name = "".join(c if c.isalnum() else "-" for c in each["name"])
            (folder / f"scale-forecast-{name}.svg").write_text(forecast(each["name"], found))
    (folder / "scale-hours.svg").write_text(hours(rows))


def forecast(name: str, found: Row) -> str:
    """Six hours: what came, the forecast over it, and what the instances that were ready carry."""
    decided = found["decided"][-SHOWN:]
    start = decided[0][0]
    at = [(moment - start) / 3600 for moment, *_ in decided]
    came = [(x, rate) for x, (_, rate, *_rest) in zip(at, decided, strict=True)]
    expected = [(x, each[2]) for x, each in zip(at, decided, strict=True)]
    ready = [(x, each[4] * found["carries"]) for x, each in zip(at, decided, strict=True)]
    top = round_up(1.05 * max(y for _, y in [*came, *expected, *ready]))
    width, height, left, right, above, below = 760.0, 300.0, 58.0, 14.0, 46.0, 40.0

    def place(x: float, y: float) -> Pair:
        across = left + x / max(at[-1], 1e-9) * (width - left - right)
        return across, height - below - y / top * (height - above - below)

    parts: list[str] = []
    for k in range(5):
        y = place(0, top * k / 4)[1]
        parts += [ruled(left, y, width - right, y), text(left - 6, y + 4, f"{top * k / 4:g}", "end")]
    for hour in range(int(at[-1] + 0.5) + 1):
        x = min(place(hour, 0)[0], width - right)
        parts += [ruled(x, above, x, height - below), text(x, height - below + 16, str(hour), "middle")]
    parts.append(text(width - right, height - 6, "hours", "end"))
    parts.append(text(4, 14, f"requests/s: {name}, start-up of 30 s"))
    low, high = ([place(x, y) for x, y in thin(some)] for some in (came, expected))
    parts.append(f'<polygon points="{joined([*low, *reversed(high)])}" fill="{BAND}" fill-opacity=".7"/>')
    parts.append(drawn_line(stairs([place(x, y) for x, y in ready]), STEP, 1.4))
    parts.append(drawn_line(low, LINE, 1.2))
    legend = (
        (LINE, "what came, mean of 30 s"),
        (BAND, "up to the forecast"),
        (STEP, "what ready instances carry"),
    )
    x = left
    for colour, words in legend:
        parts.append(f'<rect x="{x}" y="25" width="14" height="8" fill="{colour}"/>')
        parts.append(text(x + 20, 33, words))
        x += 48 + 6.6 * len(words)
    return svg(width, height, parts, f"Forecast and instances on {name}")


def hours(rows: Sequence[Row], delay: float = 30.0) -> str:
    """A panel for each trace: share over the target against hours, both on logarithmic scales."""
    some = [row for row in rows if row.get("start-up, s") == delay and row["policy"] in MARKS]
    traces = list(dict.fromkeys(row["trace"] for row in some))
    across, wide, tall = 3, 260.0, 210.0
    width, height = across * wide + 10, ceil(len(traces) / across) * tall + 62
    parts = [
        text(
            8,
            16,
            f"requests over the target, %, by instance hours over the clairvoyant's; start-up {delay:g} s",
        )
    ]
    x = 14.0
    for policy, (colour, path) in MARKS.items():
        parts += [mark(x, 36, colour, path), text(x + 11, 40, policy)]
        x += 34 + 6.5 * len(policy)
    for k, trace in enumerate(traces):
        mine = [row for row in some if row["trace"] == trace]
        parts += panel(mine, trace, k % across * wide + 8, k // across * tall + 54, wide, tall)
    return svg(width, height, parts, "Violations against hours")


def panel(rows: Sequence[Row], name: str, x0: float, y0: float, wide: float, tall: float) -> list[str]:
    left, right, top, bottom = x0 + 40, x0 + wide - 12, y0 + 24, y0 + tall - 34
    ends = [row[HOURS] for row in rows]
    low, high = min(0.95, min(ends) * 0.95), max(2.2, max(ends) * 1.1)

    def place(hours: float, share: float) -> Pair:
        part = log10(min(max(share, LEAST), MOST) / LEAST) / log10(MOST / LEAST)
        across = log10(hours / low) / log10(high / low)
        return left + across * (right - left), bottom - part * (bottom - top)

    parts = [text(left, y0 + 14, name)]
    for share in (0.01, 0.1, 1, 10, 100):
        y = place(low, share)[1]
        label = "≤ 0.01" if share == LEAST else f"{share:g}"
        parts += [ruled(left, y, right, y), text(left - 5, y + 4, label, "end")]
    for ratio in (1, 1.5, 2, 3) if high < 4 else (1, 2, 3, 5, 10, 20):
        if low <= ratio <= high:
            x = place(ratio, 1)[0]
            parts += [ruled(x, top, x, bottom), text(x, bottom + 15, f"{ratio:g} ×", "middle")]
    for row in sorted(rows, key=lambda row: list(MARKS).index(row["policy"])):
        parts.append(mark(*place(row[HOURS], row[SHARE]), *MARKS[row["policy"]]))
    return parts


# -- pieces ---------------------------------------------------------------------------------------


def svg(width: float, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{escape(title)}" {STYLE}>'
        f'<rect width="100%" height="100%" fill="#fff"/><g fill="{INK}">{"".join(parts)}</g></svg>\n'
    )


def ruled(x1: float, y1: float, x2: float, y2: float) -> str:
    return line(x1, y1, x2, y2, "grid").replace("<line ", f'<line stroke="{FAINT}" ')


def mark(x: float, y: float, colour: str, path: str) -> str:
    where = f"translate({x:.1f} {y:.1f})"
    return f'<path transform="{where}" d="{path}" fill="{colour}" fill-opacity=".85" stroke="#fff"/>'


def drawn_line(points: Sequence[Pair], colour: str, width: float) -> str:
    return f'<polyline points="{joined(points)}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'


def joined(points: Sequence[Pair]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def thin(points: Sequence[Pair], most: int = 720) -> list[Pair]:
    """The highest of neighbours, so that no peak is lost."""
    step = ceil(len(points) / most)
    return [max(points[i : i + step], key=lambda point: point[1]) for i in range(0, len(points), step)]


def stairs(points: Sequence[Pair]) -> list[Pair]:
    """Corners of a line that is level but where it changes."""
    found = [points[0]]
    for (_, before), (x, y) in pairwise(points):
        if y != before:
            found += [(x, before), (x, y)]
    return [*found, points[-1]]


def round_up(value: float) -> float:
    unit = 10.0 ** int(log10(max(value, 1e-9)))
    return next(
        m * unit for m in (0.2, 0.4, 0.8, 1, 1.2, 1.6, 2, 2.4, 3, 4, 5, 6, 8, 10, 20) if m * unit >= value
    )
