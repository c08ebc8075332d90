"""What was wanted of scaling, and whether it is so."""

from collections.abc import Iterable, Sequence
from typing import Any

Row = dict[str, Any]
SHARE, HOURS = "over the target, %", "hours, × clairvoyant"
LIMITS: tuple[tuple[str, str, tuple[float, ...], float, float], ...] = (
    ("smooth or daily traffic, up to 30 s", "smooth", (5.0, 30.0), 1.2, 1.20),
    ("smooth or daily traffic, 120 s", "smooth", (120.0,), 1.3, 1.25),
    ("volatile traffic, up to 30 s", "volatile", (5.0, 30.0), 0.5, 1.35),
)
"""Kind, start-ups, most per cent over the target and most hours over the clairvoyant's."""
DEARER = 1.06
"""Hours over the HPA's that half its violations may take."""


def aims(rows: Sequence[Row], scores: Sequence[Row]) -> list[Row]:
    ours = [row for row in rows if row["policy"] == "ours"]
    found = [aim for limit in LIMITS for aim in _limit(ours, *limit)]
    found += [_beside(row, rows) for row in ours]
    return found + (_forecast(scores) if scores else [])


def _limit(
    ours: Iterable[Row], name: str, kind: str, delays: tuple[float, ...], share: float, hours: float
) -> list[Row]:
    """One for each trace: at the start-up where it is worst."""
    some = [row for row in ours if row["kind"] == kind and row["start-up, s"] in delays]
    found: list[Row] = []
    for trace in dict.fromkeys(row["trace"] for row in some):
        mine = [row for row in some if row["trace"] == trace]
        found.append(
            {
                "name": f"{name}: {trace}",
                "aim": f"≤ {share:g} % at ≤ {hours:g} ×",
                "got": "; ".join(f"{row[SHARE]:.2f} % at {row[HOURS]:.2f} ×" for row in mine),
                "met": all(row[SHARE] <= share and row[HOURS] <= hours for row in mine),
            }
        )
    return found


def _beside(row: Row, rows: Sequence[Row]) -> Row:
    hpa = next(
        other
        for other in rows
        if other["policy"] == "HPA at 0.7"
        and (other["trace"], other["start-up, s"]) == (row["trace"], row["start-up, s"])
    )
    # As few violations as none are fewer than none: to a hundredth of a per cent.
    fewer = row[SHARE] <= max(hpa[SHARE], 0.01) and row[HOURS] <= hpa[HOURS]
    half = row[SHARE] <= hpa[SHARE] / 2 and row[HOURS] <= DEARER * hpa[HOURS]
    return {
        "name": f"beside HPA at 0.7: {row['trace']}, {row['start-up, s']:g} s",
        "aim": "fewer violations for no more hours, or half for 6 % more",
        "got": f"{row[SHARE]:.2f} % at {row[HOURS]:.2f} ×, HPA {hpa[SHARE]:.2f} % at {hpa[HOURS]:.2f} ×",
        "met": fewer or half,
    }


def _forecast(scores: Sequence[Row]) -> list[Row]:
    points = sum(row["points"] for row in scores)
    coverage = 100 * sum(row["covered"] for row in scores) / points
    over = {
        name: sum(row["pinball"] for row in scores) / sum(row[name] for row in scores)
        for name in ("persistence", "seasonal")
    }
    return [
        {"name": "pooled coverage of the 95 % forecast, %", "aim": "94 to 96", "got": round(coverage, 2),
         "met": 94 <= coverage <= 96},
        {"name": "pinball over conformal persistence's, pooled", "aim": "≤ 1.0",
         "got": round(over["persistence"], 3), "met": over["persistence"] <= 1.0},
        {"name": "pinball over seasonal naive's, pooled", "aim": "≤ 0.4",
         "got": round(over["seasonal"], 3), "met": over["seasonal"] <= 0.4},
    ]  # fmt: skip
