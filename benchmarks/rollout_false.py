"""How often a good version is taken back over a whole rollout that somebody looks at all the time."""

from collections import Counter
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.rollout_rivals import RIVALS, minutes
from benchmarks.rollout_streams import STEPS, Run, pieces, product, rollout

Row = dict[str, Any]
OURS = "penstock, all guards"
PROMISED = 0.01


class Setting(NamedTuple):
    name: str
    sticky: bool = False
    margins: bool = True
    replica: float = 0.0
    promised: bool = True
    """On another machine a good version is not as good; what is promised holds where the versions are."""


SETTINGS = (
    Setting("independent callers"),
    Setting("returning callers", sticky=True),
    Setting("no margins", margins=False),
    Setting("replica ± 3 %", replica=0.03, promised=False),
)


def taken_back(seed: int, each: int, setting: Setting) -> list[str]:
    """Methods (and our guards) that take back the good version of one run."""
    run = rollout(seed, each, setting.sticky, setting.replica)
    ours = judged(run, seed, setting)
    cut = minutes(run)
    return [*([OURS] if ours else []), *ours, *(name for name, rival in RIVALS.items() if rival(cut))]


def judged(run: Run, seed: int, setting: Setting) -> tuple[str, ...]:
    """The guards whose alarm went off at any look, of which there is one each 512 requests."""
    rng = np.random.default_rng((seed, 1))
    judge, plan = product(setting.sticky, setting.margins)
    each = len(run.stage) // len(STEPS)
    for stage in range(len(STEPS)):
        if stage:
            judge.begin(plan.targets[stage])
        names = run.seen.__struct_fields__
        part = {name: getattr(run.seen, name)[stage * each : (stage + 1) * each] for name in names}
        for seen in pieces(type(run.seen)(**part)):
            judge.fold(seen)
            beside(judge, rng, seen)
    return judge.alarmed()


def beside(judge: Any, rng: np.random.Generator, seen: Any) -> None:
    """Copies of a twentieth of the requests, half a percent of which differ; classes; labels."""
    count = len(seen) // 20
    judge.compared(rng.random(count) < 0.005, rng.random(count) < 0.005)
    classes = np.minimum(rng.geometric(0.3, len(seen)), 10)
    kept = rng.random(len(seen)) < 0.1
    unit = seen.unit[kept]
    judge.answered(classes[kept], seen.candidate[kept], seen.odds[kept], unit)
    judge.labelled(rng.random(int(kept.sum())) < 0.1, seen.candidate[kept], seen.odds[kept], unit)


def false_rollbacks(pool: Any, runs: int, each: int) -> tuple[list[Row], list[Row]]:
    """A row for each method, and the aims."""
    found: dict[str, Counter[str]] = {}
    for setting in SETTINGS:
        some = partial(taken_back, each=each, setting=setting)
        taken = pool.map(some, range(runs), chunksize=5)
        found[setting.name] = Counter(name for names in taken for name in names)
    names = [OURS, *RIVALS]
    rows: list[Row] = [
        {
            "what": "false rollbacks",
            "method": name,
            **{setting: f"{counts[name] / runs:.1%}" for setting, counts in found.items()},
        }
        for name in names
    ]
    guards = {setting: sorted(set(counts) - set(names)) for setting, counts in found.items()}
    rows += [
        {"what": "… of ours, by guard", "method": guard, setting: f"{found[setting][guard] / runs:.1%}"}
        for setting, some_guards in guards.items()
        for guard in some_guards
    ]
    aims = [
        {
            "name": f"false rollbacks of a staged rollout, {setting.name}, looking all the time",
            "aim": f"≤ {PROMISED:.0%}",
            "got": round(found[setting.name][OURS] / runs, 4),
            "met": found[setting.name][OURS] <= PROMISED * runs,
        }
        for setting in SETTINGS
        if setting.promised
    ]
    return rows, aims
