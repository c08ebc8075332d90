"""Made-up scaling for the stage: how models stand, their last hours, and decisions, in the page's words."""

import math

CARRIES = 14.6
TICK = 10.0
START = 20.0
"""Seconds from a decision to the instances."""
BOUNDS = {"resnet50": (1, 8), "minilm-embed": (0, 4), "churn": (1, 2)}
"""Least and most instances of those whose number moves."""
VERSIONS = {"resnet50": "1", "minilm-embed": "2", "churn": "3", "fraud-xgb": "3"}
AWAY = (3000, 3240)
"""Seconds ago between which the server was stopped."""


def rate(ago):
    """Requests a second so many seconds ago: two waves, and a spike in every twenty minutes."""
    spike = 24 if (ago + 300) % 1200 < 60 else 0
    return 34 + 21 * math.cos(ago / 1400 + 2.6) + 5 * math.sin(ago / 45) + spike


def forecast(ago):
    """The peak expected soon; a spike that came often enough is known."""
    return (34 + 21 * math.cos((ago - 200) / 1400 + 2.6) + 7) * 1.12 + (26 if ago < 15 else 0)


def wanted(model, ago):
    """Instances that were decided upon then."""
    least, most = BOUNDS[model]
    return max(least, min(most, math.ceil(forecast(ago) / CARRIES)))


def line(model, ago):
    count = wanted(model, ago)
    return (
        f"{rate(ago):.4g} requests/s (burst 2.1) → up to {forecast(ago):.4g} expected (ridge at 97%) → "
        f"{count * CARRIES:.4g} needed at {CARRIES} an instance → {count} instances by {by(ago)}"
    )


def by(ago):
    return "recurring" if ago < 15 else "forecast"


def brief(model, **more):
    """As the feed tells it."""
    ready = wanted(model, START)
    told = {
        "model": model,
        "version": VERSIONS[model],
        "ready": ready,
        "wanted": wanted(model, 0),
        "by": by(0),
    }
    told |= {"rate": rate(0), "forecast": forecast(0), "capacity": ready * CARRIES} | more
    return {name: value for name, value in told.items() if value}


def shown(now):
    """What the feed tells of all: one has its most, one is at none, one grows."""
    nothing = dict.fromkeys(("version", "ready", "wanted", "rate", "forecast", "capacity"))
    return [
        brief("churn", ready=2, by="limit"),
        brief("minilm-embed", by="idle", **nothing),
        brief("resnet50"),
    ]


def standing(model, now):
    """The answer of ``GET /penstock/scale/MODEL``."""
    made = {"model": model, "version": VERSIONS.get(model, "1"), "starting": 0, "least": 2, "most": 2}
    made |= {"target_ms": 50.0, "startup_s": 2.31, "starts": 8, "alone": 11.2, "wait_ms": 31.4, "note": ""}
    if model not in BOUNDS:
        return made | {"fixed": "fixed", "ready": 2, "wanted": 2, "carries": 120.4, "decisions": []}
    told, (least, most) = brief(model), BOUNDS[model]
    made |= {name: told[name] for name in ("ready", "wanted", "by", "rate", "forecast")}
    made |= {"fixed": "", "least": least, "most": most, "quantile": 0.97, "method": "ridge", "burst": 2.1}
    made |= {"carries": CARRIES, "corrected": 0.93, "missed": 0.0042}
    return made | {"line": line(model, 0), "decisions": decisions(model, now)}


def decisions(model, now):
    """The newest first."""
    return [
        {"at": now - ago, "had": wanted(model, ago + TICK), "wanted": wanted(model, ago), "by": by(ago),
         "line": line(model, ago)}
        for ago in ticks()[::-1]
        if wanted(model, ago + TICK) != wanted(model, ago)
    ][:50]  # fmt: skip


def ticks(hours=2.0):
    """How many seconds ago each decision was, the earliest first."""
    every = [TICK * back for back in range(int(hours * 3600 / TICK), -1, -1)]
    return [ago for ago in every if not AWAY[0] < ago < AWAY[1]]


def history(model, now, hours=2.0):
    """The answer of ``GET /penstock/scale/MODEL/history``."""
    agos = ticks(hours) if model in BOUNDS else []
    ready = [wanted(model, ago + START) for ago in agos]
    return {
        "at": [now - ago for ago in agos],
        "rate": [rate(ago) for ago in agos],
        "forecast": [forecast(ago) for ago in agos],
        "capacity": [count * CARRIES for count in ready],
        "ready": ready,
        "wanted": [wanted(model, ago) for ago in agos],
    }
