"""What ``penstock optimize`` makes of four kinds of models, served and checked on rows that it never saw."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from msgspec import structs

from benchmarks.machine import Aim, facts, report
from benchmarks.optimize_checks import Entry, Served, beside, served
from benchmarks.optimize_models import MODEL, SUBJECTS, Prepared, Subject, prepare
from penstock.core.errors import PenstockError
from penstock.optimize import trial as trials
from penstock.optimize.measure import Rounds
from penstock.optimize.report_table import original
from penstock.optimize.run import optimize
from penstock.optimize.types import Interval, Outcome, Progress, Targets, Trial

WORK = Path(__file__).parent / "out" / "optimize"
QUICK = ("cnn", "mlp")
QUICK_S = 40.0
"""The budget of a quick run's search, after which it still confirms what it has found."""
QUICK_ROUNDS = {
    "screen": Rounds(3, 0.03, (1,)),
    "full": Rounds(6, 0.03, (1, 4)),
    "confirm": Rounds(6, 0.05, (1, 4)),
}
QUICK_PASSES = ("int8-onnx",)
LONG = 4 * 3600.0
"""Budget of an exhaustive search, in seconds."""
TARGETS = Targets(minimize="latency")
REGRET, SHARE = 0.05, 0.25
SERVED = ("served ×", "run ×", "served ms", "fresh drop", "fresh up to")
"""Columns of the second table; ``run`` is the time in the server without the way of the request."""
WHOLE = ("best", "regret", "regret 95 %", "part of time", "all, minutes", "all of it")
"""Columns of the third."""
Row = dict[str, Any]


class Told:
    """Says on stderr what a search does, a line for each step."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, progress: Progress) -> None:
        print(f"{self._name:16}{progress.spent:6.0f} s  {progress.doing}", file=sys.stderr, flush=True)


def copy(prepared: Prepared, work: Path) -> Prepared:
    """A fresh repository to write versions into, with a cache of its own."""
    there = work / "runs" / prepared.subject.name
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(prepared.repository, there / "models")
    settings = there / "models" / MODEL / "model.toml"
    settings.write_text(f'cache = "{(there / "cache").absolute()}"\n{settings.read_text()}')
    return replace(prepared, repository=there / "models")


def search(prepared: Prepared, budget: float, passes: Sequence[str], *, exhaustive: bool = False) -> Outcome:
    """Begun anew; the version is written unless it is ``exhaustive``, which is only to compare with."""
    return optimize(
        f"{MODEL}@1",
        prepared.given,
        repository=prepared.repository,
        targets=TARGETS,
        budget=budget,
        passes=passes,
        finetune=prepared.subject.finetune,
        apply=not exhaustive,
        fresh=True,
        exhaustive=exhaustive,
        watch=Told(prepared.subject.name + (", all" if exhaustive else "")),
    )


# -- rows -------------------------------------------------------------------------------------------


def measure(subject: Subject, work: Path, budget: float, passes: Sequence[str], *, exhaustive: bool) -> Row:
    """One model's line; a failure is its line."""
    try:
        prepared = copy(prepare(subject, work / "subjects"), work)
        outcome = search(prepared, budget, passes)
        row = _found(subject, outcome)
        if outcome.applied:
            row |= _served(served(prepared.repository, prepared.fresh, TARGETS.max_drop))
        if exhaustive:
            row |= _regretted(prepared, outcome, passes)
    except (PenstockError, RuntimeError) as error:
        return {"model": subject.name, "winner": f"failed: {error}"}
    return row


def last(outcome: Outcome) -> Trial:
    """The winner's last, or the original's."""
    wanted = outcome.choice.winner or outcome.baseline
    return next(each for each in reversed(outcome.trials) if each.candidate == wanted)


def _found(subject: Subject, outcome: Outcome) -> Row:
    found = last(outcome)
    baseline = original(outcome)
    agreement = found.agreement
    return {
        "model": subject.name,
        "winner": found.candidate.label if outcome.choice.winner else "the original",
        "p50 ms": found.figures.p50_ms,
        "latency ×": found.figures.speedup.mid,
        "95 %": _span(found.figures.speedup),
        "rows/s ×": _throughput(found) / _throughput(baseline),
        "metric": agreement.metric,
        "of original": agreement.reference,
        "drop": agreement.drop,
        "drop up to": agreement.upper,
        "minutes": outcome.seconds / 60,
        "trials": len(outcome.trials),
    }


def _throughput(found: Trial) -> float:
    return max(batch.rows_per_s for batch in found.figures.batches)


def _span(interval: Interval) -> str:
    return f"{interval.low:.2f}–{interval.high:.2f}"


def _served(found: Served) -> Row:
    return {
        "served ×": found.ratio.mid,
        "run ×": found.ran.mid,
        "served ms": f"{found.ms[0]:.2f} → {found.ms[1]:.2f}",
        "fresh drop": found.agreement.drop,
        "fresh up to": found.agreement.upper,
    }


def _regretted(prepared: Prepared, outcome: Outcome, passes: Sequence[str]) -> Row:
    """What a search that measures everything finds, and how much faster that is in a measurement of both."""
    whole = search(prepared, LONG, passes, exhaustive=True)
    honest = [
        each for each in whole.trials if each.depth == "full" and each.agreement.passed and each.repeats
    ]
    best = max(honest, key=lambda each: each.figures.speedup.mid).candidate
    chosen = outcome.choice.winner or outcome.baseline
    ratio = Interval(1.0, 1.0, 1.0)
    if best != chosen:
        ratio = beside(prepared, _entry(outcome, prepared), (whole.artefacts[best.artefact], best))
    return {
        "best": best.label,
        "regret": max(0.0, ratio.mid - 1),
        "regret 95 %": f"{ratio.low - 1:.1%}–{ratio.high - 1:.1%}",
        "part of time": outcome.seconds / whole.seconds,
        "all, minutes": whole.seconds / 60,
        "all of it": "yes" if whole.complete else "no",
    }


def _entry(outcome: Outcome, prepared: Prepared) -> Entry:
    """What was chosen, in the file that the new version has, as a later search may have taken the first."""
    chosen = outcome.choice.winner
    if chosen is None:
        return outcome.artefacts[outcome.baseline.artefact], outcome.baseline
    artefact = outcome.artefacts[chosen.artefact]
    return structs.replace(artefact, file=str(Path(outcome.applied) / Path(artefact.file).name)), chosen


# -- aims -------------------------------------------------------------------------------------------


def aims(rows: Sequence[Row], subjects: Sequence[Subject]) -> list[Aim]:
    """What was aimed at; a model that failed has missed it."""
    found: list[Aim] = []
    for subject, row in zip(subjects, rows, strict=True):
        got = row.get("latency ×")
        asked = row.get("served ×")
        found.append(_aim(subject.name, "served and faster", asked, asked and asked > 1))
        if subject.aim:
            found.append(
                _aim(subject.name, f"latency at least {subject.aim:g} ×", got, got and got >= subject.aim)
            )
        if "served ×" in row:
            drop = row["fresh drop"]
            aim = f"on fresh rows a drop of at most {TARGETS.max_drop:g}"
            found.append(_aim(subject.name, aim, drop, drop <= TARGETS.max_drop))
        if "regret" in row:
            found.append(
                _aim(subject.name, f"regret at most {REGRET:.0%}", row["regret"], row["regret"] <= REGRET)
            )
            part = row["part of time"]
            found.append(_aim(subject.name, f"in at most {SHARE:.0%} of all the time", part, part <= SHARE))
    return found


def _aim(name: str, aim: str, got: float | None, met: object) -> Aim:
    return {"name": name, "aim": aim, "got": got, "met": bool(met)}


def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every aim is met."""
    names = [subject.name for subject in SUBJECTS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"{' and '.join(QUICK)} alone, {QUICK_S:.0f} s each"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, aims and the machine's facts")
    parser.add_argument("--models", type=lambda text: text.split(","), help=f"some of {','.join(names)}")
    parser.add_argument("--passes", type=lambda text: text.split(","), default=(), help="only these")
    parser.add_argument("--budget", type=float, default=900.0, metavar="S", help="of each search (900)")
    parser.add_argument("--no-exhaustive", action="store_true", help="no regret, which takes an hour or more")
    parser.add_argument("--work", type=Path, default=WORK, help="where models and their versions are kept")
    given = parser.parse_args(arguments)
    wanted = given.models or (QUICK if given.quick else names)
    if set(wanted) - set(names):
        parser.error(f"no {', '.join(sorted(set(wanted) - set(names)))}; have {', '.join(names)}")
    subjects = [subject for subject in SUBJECTS if subject.name in wanted]
    budget = QUICK_S if given.quick else given.budget
    passes = given.passes or (QUICK_PASSES if given.quick else ())
    if given.quick:
        trials.ROUNDS.update(QUICK_ROUNDS)
    began = time.monotonic()
    exhaustive = not (given.quick or given.no_exhaustive)
    rows = [measure(subject, given.work, budget, passes, exhaustive=exhaustive) for subject in subjects]
    minutes = (time.monotonic() - began) / 60
    found = aims(rows, subjects)
    searched = [_but(row, (*SERVED, *WHOLE)) for row in rows]
    report(searched, title=f"minimize latency; {minutes:.0f} minutes in all")
    asked = [_only(row, SERVED) for row in rows if "served ×" in row]
    report(asked, title="original and new version in one server, asked in turns about fresh rows")
    compared = [_only(row, WHOLE) for row in rows if "regret" in row]
    met = report(compared, found, title="beside a search that measures everything")
    if given.json:
        content = {"machine": facts(), "rows": rows, "aims": found}
        given.json.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY))
    return 0 if met else 1


def _only(row: Row, names: Sequence[str]) -> Row:
    return {name: value for name, value in row.items() if name in ("model", *names)}


def _but(row: Row, names: Sequence[str]) -> Row:
    return {name: value for name, value in row.items() if name not in names}


if __name__ == "__main__":
    sys.exit(main())
