"""How a search looks: the live table and its bar, or a line for each trial."""

from collections.abc import Collection, Sequence
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Self

from penstock.optimize.merit import Score, dishonest, obstacle, score
from penstock.optimize.pick import pick
from penstock.optimize.reasons import part
from penstock.optimize.types import Candidate, Progress, Targets, Trial

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

HEADS = (
    "",
    "artefact",
    "engine",
    "layout",
    "p50 ms",
    "speed-up",
    "interval",
    "rows/s",
    "drop",
    "bound",
    "state",
)
WORDS = ("", "artefact", "engine", "layout", "state")
LESSER = ("interval", "rows/s", "p50 ms", "bound", "layout", "engine", "drop")
"""Columns that a narrow terminal goes without, the first one first."""
FLOW_LESSER = ("interval", "p50 ms", "bound", "layout", "rows/s", "engine", "drop")
"""The same where latency is not what counts."""
NAME_ROOM = 24
"""Columns of the terminal for an artefact, before others are left out for it; what is longer is cut."""
BELOW = 4
"""Lines for the head, what is left out, and the bar."""
STAR = "★"


class Screen:
    """A live table on a terminal, and below it how much of the budget is spent and what is being done."""

    def __init__(self, console: "Console", targets: Targets) -> None:
        from rich.live import Live

        self._targets = targets
        self._console = console
        self._progress: Progress | None = None
        self._told = monotonic()
        self._live = Live(self, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def __call__(self, progress: Progress) -> None:
        self._progress, self._told = progress, monotonic()
        self._live.refresh()

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        progress = self._progress
        if progress is None:
            return
        trials = latest(progress.trials)
        if trials:
            star = leader(trials, self._targets)
            shown = visible(trials, star, max(3, console.size.height - BELOW))
            yield fitting(shown, trials[0], star, self._targets, console)
            if len(shown) < len(trials):
                yield f"[dim]… {len(trials) - len(shown)} more[/]"
        yield self._bar(progress, console.width)

    def _bar(self, progress: Progress, width: int) -> "Table":
        from rich.markup import escape
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        spent = progress.spent + monotonic() - self._told
        line = Table.grid(padding=(0, 1))
        line.add_column(width=min(20, width // 4))
        line.add_column(no_wrap=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        bar = ProgressBar(progress.budget, min(spent, progress.budget))
        line.add_row(bar, f"{clock(spent)}/{clock(progress.budget)}", escape(progress.doing))
        return line


class Lines:
    """A line for each trial, as it is done."""

    def __init__(self, console: "Console", targets: Targets) -> None:
        self._console = console
        self._targets = targets
        self._before: int | None = None

    def __call__(self, progress: Progress) -> None:
        """What an earlier run had found out is told as a number only."""
        trials = progress.trials
        if progress.waiting:
            self._console.print(progress.doing, soft_wrap=True)
            return
        if self._before is None and trials:
            self._console.print(f"{len(trials)} trials are known from an earlier run", soft_wrap=True)
        for trial in trials[len(trials) if self._before is None else self._before :]:
            self._console.print(
                f"{clock(progress.spent)} {sentence(trials[0], trial, self._targets)}",
                soft_wrap=True,
                markup=False,
            )
        self._before = len(trials)


def sentence(baseline: Trial, trial: Trial, targets: Targets) -> str:
    """A trial in one line."""
    told = [f"{trial.depth:7} {trial.candidate.label}: {number(trial.figures.p50_ms)} ms"]
    if trial.candidate != baseline.candidate:
        told.append(f"{trial.figures.speedup.mid:.2f} × {interval(trial)}")
        wrong = dishonest(trial, targets)
        told.append(f"rejected: {wrong}" if wrong else f"drop {drop(trial)} (at most {bound(trial)})")
    return ", ".join(told)


# -- which rows ---------------------------------------------------------------------------------------


def latest(trials: Sequence[Trial]) -> list[Trial]:
    """The last of each candidate, the baseline first, the others in the order in which they came."""
    found: dict[Candidate, Trial] = {}
    for trial in trials:
        if trial.candidate != trials[0].candidate:
            found.pop(trial.candidate, None)
        found[trial.candidate] = trial
    return list(found.values())


def leader(trials: Sequence[Trial], targets: Targets) -> Candidate | None:
    """The best so far: of those measured thoroughly, else of those that were screened."""
    baseline, *others = trials
    winner = pick(baseline, others, targets).winner
    if winner is not None:
        return winner
    able = [each for each in others if not obstacle(baseline, each, targets)]
    scores = [found for each in able if isinstance(found := score(baseline, each, targets), Score)]
    return max(scores, key=lambda each: each.ratio.mid).trial.candidate if scores else None


def visible(trials: Sequence[Trial], star: Candidate | None, room: int) -> list[Trial]:
    """As many as there is room for: the baseline, the best, and the newest of the others."""
    fixed = [at for at, each in enumerate(trials) if at == 0 or each.candidate == star]
    others = [at for at in range(len(trials)) if at not in fixed]
    newest = others[max(0, len(others) - max(room - len(fixed), 1)) :]
    return [trials[at] for at in sorted([*fixed, *newest])]


# -- the table ----------------------------------------------------------------------------------------


def fitting(
    trials: Sequence[Trial], baseline: Trial, star: Candidate | None, targets: Targets, console: "Console"
) -> "Table":
    """The fullest table that fits into the console, or the smallest there is."""
    endless = console.options.update(width=10_000)
    lesser = LESSER if targets.minimize == "latency" else FLOW_LESSER
    spare = max(0, max(len(each.candidate.artefact) for each in trials) - NAME_ROOM)
    shown = table(trials, baseline, star, targets)
    for few in range(1, len(lesser) + 1):
        if console.measure(shown, options=endless).maximum - spare <= console.width:
            break
        shown = table(trials, baseline, star, targets, lesser[:few])
    return shown


def table(
    trials: Sequence[Trial],
    baseline: Trial,
    star: Candidate | None,
    targets: Targets,
    without: Collection[str] = (),
) -> "Table":
    """One line a trial; ``without`` names columns."""
    from rich.table import Table

    shown = Table(box=None, pad_edge=False, header_style="bold")
    kept = [at for at, head in enumerate(HEADS) if head not in without]
    for at in kept:
        head = HEADS[at]
        shown.add_column(
            head, justify="left" if head in WORDS else "right", no_wrap=True, overflow="ellipsis"
        )
    for trial in trials:
        row = cells(trial, baseline, star, targets)
        shown.add_row(*(row[at] for at in kept))
    return shown


def cells(trial: Trial, baseline: Trial, star: Candidate | None, targets: Targets) -> list[str]:
    """The words for one trial."""
    from rich.markup import escape

    candidate = trial.candidate
    original = candidate == baseline.candidate
    rows = max(batch.rows_per_s for batch in trial.figures.batches)
    return [
        f"[bold yellow]{STAR}[/]" if candidate == star else "",
        escape(candidate.artefact),
        candidate.engine,
        f"{candidate.instances} × {candidate.threads}",
        number(trial.figures.p50_ms),
        "1" if original else f"{trial.figures.speedup.mid:.2f}",
        "" if original else interval(trial),
        number(rows),
        "" if original else drop(trial),
        "" if original else f"≤ {bound(trial)}",
        state(trial, original, targets),
    ]


def state(trial: Trial, original: bool, targets: Targets) -> str:
    """Where it stands, coloured."""
    if original:
        return "[bold]original[/]"
    if dishonest(trial, targets):
        return "[red]rejected[/]"
    return "[cyan]screened[/]" if trial.depth == "screen" else "[green]ok[/]"


def interval(trial: Trial) -> str:
    """Of the speed-up."""
    return f"({trial.figures.speedup.low:.2f}–{trial.figures.speedup.high:.2f})"


def drop(trial: Trial) -> str:
    """What was lost, at best nothing."""
    return part(max(0.0, trial.agreement.drop))


def bound(trial: Trial) -> str:
    """What may have been lost."""
    return part(max(0.0, trial.agreement.upper))


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
