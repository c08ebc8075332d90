"""``penstock optimize`` and ``penstock profile``."""

import json
import shutil

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from rich.console import Console

from penstock.cli import optimize as verb
from penstock.cli.optimize import duration
from penstock.cli.optimize_end import advice, conclude, refusals, shown
from penstock.cli.optimize_table import BELOW, STAR, Lines, Screen, fitting, latest, leader, visible
from penstock.cli.samples import interruptible
from penstock.core.errors import BadSetting
from penstock.optimize.origin import sha256
from penstock.optimize.pick import pick
from penstock.optimize.run import WAITING
from penstock.optimize.types import (
    Agreement,
    Batch,
    Candidate,
    Figures,
    Interval,
    Outcome,
    Profile,
    Progress,
    Targets,
    Trial,
)
from penstock.repository.locate import locate
from tests.cli.command import run
from tests.optimize.models import mlp, rows

BASE = Candidate("source", "onnx", 2, 1)
TARGETS = Targets()


def trial(artefact="source", engine="onnx", speed=1.0, upper=0.006, depth="full", threads=1):
    """One that is ``speed`` times as fast as an original of 2 ms, and loses at most ``upper``."""
    ratio = Interval(speed * 0.95, speed, speed * 1.05)
    batch = Batch(rows=1, run_ms=2 / speed, p99_ms=3 / speed, rows_per_s=500 * speed, gain=ratio, cpu_ms=1.0)
    return Trial(
        candidate=Candidate(artefact, engine, 2 // threads, threads),
        depth=depth,
        figures=Figures(
            rounds=10,
            p50_ms=2 / speed,
            p99_ms=3 / speed,
            speedup=ratio,
            batches=(batch,),
            load_s=0.1,
            memory_bytes=1 << 20,
            file_bytes=1000,
        ),
        agreement=Agreement(
            metric="top1",
            drop=upper / 2,
            upper=upper,
            max_drop=0.01,
            rows=450,
            passed=upper <= 0.01,
            why="" if upper <= 0.01 else "the drop is too large",
        ),
    )


GOOD = trial("int8", "openvino", 2.6)
BAD = trial("int8-onnx", "onnx", 3.0, upper=0.05)
SCREENED = trial("bf16", "openvino", 1.5, depth="screen")
TRIALS = (trial(), BAD, SCREENED, GOOD)


def outcome(trials=TRIALS, **others):
    known = {
        "model": "digits",
        "version": "1",
        "digest": "",
        "targets": TARGETS,
        "choice": pick(trials[0], trials[1:], TARGETS),
        "baseline": BASE,
        "trials": tuple(trials),
        "artefacts": {},
        "refused": {},
        "rows": (150, 450),
        "labelled": False,
        "seconds": 75.0,
        "complete": True,
        "machine": {},
    }
    return Outcome(**{**known, **others})


def progress(trials=TRIALS, doing="making int8"):
    return Progress(doing=doing, spent=30.0, budget=90.0, trials=trials)


def drawn(thing, width=140, height=24):
    console = Console(width=width, height=height, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(thing)
    return [line.rstrip() for line in captured.get().splitlines()]


def screen(trials, width=140, height=24):
    console = Console(width=width, height=height, no_color=True)
    shown = Screen(console, TARGETS)
    shown(progress(trials))
    return drawn(shown, width, height)


# -- what is asked -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("20ms", 0.02), ("90s", 90), ("15m", 900), ("1h", 3600), ("1.5 min", 90)]
)
def test_spans_of_time_have_a_unit(text, seconds):
    assert duration(text, "--budget") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "20", "0s", "-1s", "5 days", "1m30s"])
def test_what_is_no_span_of_time_is_told_what_would_be(text):
    with pytest.raises(BadSetting, match=r"--p99 .* write e.g. 20ms, 90s, 15m or 1h"):
        duration(text, "--p99")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--minimize", "latenzy"], "did you mean 'latency'?"),
        (["--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["--p99", "20"], "--p99 '20' is no span of time"),
        (["--json", "/no/such/folder/x.json"], "/no/such/folder is no folder"),
        ([], "the repository models does not exist"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(tmp_path, monkeypatch, capsys, options, sentence):
    monkeypatch.chdir(tmp_path)
    assert run("optimize", "digits", "--data", "rows.npz", *options) == 2
    assert sentence in capsys.readouterr().err


def test_energy_without_a_counter_is_refused_with_what_comes_nearest(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("penstock.metering.energy.rapl.open_probe.__defaults__", (tmp_path,))
    assert run("optimize", "digits", "--data", "rows.npz", "--minimize", "energy") == 2
    said = capsys.readouterr().err
    assert "no energy counter is readable here" in said
    assert "--minimize cost" in said


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """In the working directory, with rows for it."""
    file = tmp_path / "models" / "mlp" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    mlp(file)
    (tmp_path / "models" / "mlp" / "model.toml").write_text(f'cache = "{tmp_path / "cache"}"\n')
    np.savez(tmp_path / "rows.npz", x=rows("x", 400).groups[0]["x"])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def test_live_data_has_no_labels(repository, capsys):
    assert run("optimize", "mlp", "--data", "live", "--labels", "y.npy") == 2
    assert "--labels goes with data of your own" in capsys.readouterr().err


def test_where_it_starts_is_said_if_the_newest_was_found_by_optimizing(repository, capsys):
    shutil.copytree(repository / "mlp" / "1", repository / "mlp" / "2")
    record = {"version": "1", "digest": sha256(locate("mlp@1", repository))}
    (repository / "mlp" / "2" / "variant.json").write_text(json.dumps(record))
    for model, said in (("mlp", "starting from version 1, of which 2 was made"), ("mlp@2", "error: ")):
        assert run("optimize", model, "--data", "none.npz") == 2
        assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    ("cache", "fresh", "sentence"),
    [
        ("", False, "the same command goes on from here"),
        ("", True, "the same command without --fresh goes on from here"),
        ('cache = "off"\n', False, "nothing is kept of it"),
    ],
)
def test_ctrl_c_is_a_line_and_an_exit_code(repository, capsys, cache, fresh, sentence):
    (repository / "mlp" / "model.toml").write_text(cache)
    from typer import Exit

    with pytest.raises(Exit) as told, interruptible(locate("mlp", repository), fresh=fresh):
        raise KeyboardInterrupt
    assert (told.value.exit_code, capsys.readouterr().err) == (130, f"stopped; {sentence}\n")


# -- the table ---------------------------------------------------------------------------------------


def test_a_candidate_has_one_row_with_what_was_measured_last():
    again = trial("bf16", "openvino", 1.4)
    assert latest([*TRIALS, again]) == [TRIALS[0], BAD, GOOD, again]


def test_the_best_is_marked_and_states_are_told():
    lines = screen(TRIALS)
    states = [line.split()[-1] for line in lines[1:5]]
    assert states == ["original", "rejected", "screened", "ok"]
    assert [STAR in line for line in lines[1:5]] == [False, False, False, True]
    assert "2.60  (2.47–2.73)" in lines[4]
    assert "≤ 0.006" in lines[4]
    assert lines[5].endswith("0:30/1:30 making int8")


def test_one_that_was_only_screened_leads_until_something_better_is_known():
    assert leader([TRIALS[0], BAD, SCREENED], TARGETS) == SCREENED.candidate
    assert leader([TRIALS[0], BAD], TARGETS) is None


def test_the_original_the_best_and_the_newest_stay_where_there_are_more_than_lines():
    others = [trial(f"pass{at}", "onnx", 0.5, depth="screen") for at in range(40)]
    trials = [TRIALS[0], GOOD, *others]
    shown = visible(trials, GOOD.candidate, 6)
    assert shown == [TRIALS[0], GOOD, *others[-4:]]
    lines = screen(trials, height=6 + BELOW)
    assert len(lines) <= 6 + BELOW
    assert "… 36 more" in lines


@pytest.mark.parametrize("width", [140, 100, 80, 60, 40])
def test_narrow_terminals_go_without_the_lesser_columns(width):
    lines = drawn(fitting(TRIALS, TRIALS[0], GOOD.candidate, TARGETS, Console(width=width)), width)
    assert len(lines) == 1 + len(TRIALS)
    assert "speed-up" in lines[0]
    assert lines[-1].split()[0] == STAR
    assert lines[-1].endswith("ok")
    assert ("interval" in lines[0]) == (width >= 100)


def test_a_pipe_gets_a_line_for_each_new_trial():
    console = Console(width=80, no_color=True, highlight=False)
    told = Lines(console, TARGETS)
    with console.capture() as captured:
        told(progress(()))
        for count in range(1, 5):
            told(progress(TRIALS[:count]))
    assert captured.get().splitlines() == [
        f"0:30 {line}"
        for line in (
            "full    source on onnx, 2 × 1: 2 ms",
            "full    int8-onnx on onnx, 2 × 1: 0.667 ms, 3.00 × (2.85–3.15), rejected: the drop is too large",
            "screen  bf16 on openvino, 2 × 1: 1.33 ms, 1.50 × (1.42–1.58), drop 0.003 (at most 0.006)",
            "full    int8 on openvino, 2 × 1: 0.769 ms, 2.60 × (2.47–2.73), drop 0.003 (at most 0.006)",
        )
    ]


def test_trials_of_an_earlier_run_are_a_number_on_a_pipe():
    console = Console(width=80, no_color=True, highlight=False)
    with console.capture() as captured:
        Lines(console, TARGETS)(progress())
    assert captured.get() == "4 trials are known from an earlier run\n"


def test_a_search_that_waits_for_another_is_a_line():
    console = Console(width=80, no_color=True, highlight=False)
    told = Lines(console, TARGETS)
    with console.capture() as captured:
        told(replace(progress((), WAITING), waiting=True))
        told(progress())
    assert captured.get().splitlines() == [WAITING, "4 trials are known from an earlier run"]


def test_the_end_says_whether_a_version_was_written_or_was_there(repository):
    (repository / "mlp" / "2").mkdir()
    (repository / "mlp" / "2" / "model.onnx").touch()
    located = locate("mlp", repository)
    there = outcome(applied=str(repository / "mlp" / "2"))
    assert advice(there, located, "15m") == [f"{repository / 'mlp' / '2'} is that already"]
    assert advice(outcome(applied="/elsewhere/2"), located, "15m") == ["wrote /elsewhere/2"]


# -- the end -----------------------------------------------------------------------------------------


def test_the_end_has_the_front_the_reasons_and_what_was_refused():
    console = Console(width=100, no_color=True, highlight=False)
    ended = outcome(refused={"fuse of source": "no attention was found"})
    with console.capture() as captured:
        conclude(ended, console)
    said = captured.get()
    assert all(reason in said for reason in ended.choice.reasons)
    assert [line.split()[-1] for line in said.splitlines()[1:3]] == ["original", "ok"]
    assert "4 trials of 4 artefacts in 1:15 of work, judged on 450 rows" in said
    assert "answered wrongly: 2" in said
    assert "fuse of source: no attention was found" in said
    assert "int8-onnx on onnx, 2 × 1: the drop is too large" in said
    assert "bf16 on openvino, 2 × 1:" not in said


def test_the_end_shows_the_trial_of_the_original_by_which_was_chosen():
    """Not its screening, which came first and is rough."""
    screened = trial(speed=0.5, depth="screen")
    assert shown(outcome((screened, *TRIALS)))[0] == TRIALS[0]


def test_labels_that_tell_little_are_said_aloud():
    base = TRIALS[0]
    doubt = "the original is right on 9% of the rows"
    base = replace(base, agreement=replace(base.agreement, doubt=doubt))
    console = Console(width=100, no_color=True, highlight=False)
    with console.capture() as captured:
        conclude(outcome((base, *TRIALS[1:])), console)
    assert f"look at the labels: {doubt}" in captured.get()


def test_a_reason_that_many_share_is_told_once():
    same = {f"pass{at}": "no such file" for at in range(3)}
    many = {f"other{at}": f"reason {at}" for at in range(9)}
    lines = list(refusals({**same, **many}))
    assert lines[:2] == [
        "could not be made or measured, or answered wrongly: 12",
        "  pass0 (and 2 more): no such file",
    ]
    assert lines[-1] == "  … and 2 more reasons, all of them in --json and --report"
    assert list(refusals({})) == []


def test_what_to_do_next_hangs_on_what_was_done(repository):
    located = locate("mlp", repository)
    alone = locate(str(mlp(repository.parent / "alone.onnx")), repository)
    applied = outcome(applied=str(repository / "mlp" / "2"))
    assert "with --apply" in advice(outcome(), located, "15m")[0]
    assert "with --out FOLDER" in advice(outcome(), alone, "15m")[0]
    assert "`penstock serve` brings it in by itself" in advice(applied, located, "15m")[1]
    assert len(advice(outcome(applied="/elsewhere"), located, "15m")) == 1
    assert "the budget of 15m is used up" in advice(outcome(complete=False), located, "15m")[0]
    assert advice(outcome(TRIALS[:2]), located, "15m") == []


# -- for real ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_writes_its_figures_and_says_nothing_but_the_end(repository, capsys):
    asked = ["optimize", "mlp", "--data", "rows.npz", "--passes", "clean", "--budget", "20s", "--quiet"]
    assert run(*asked, "--max-drop", "0.05", "--json", "out.json") == 0
    said = capsys.readouterr()
    found = msgspec.json.decode((repository.parent / "out.json").read_bytes(), type=Outcome)
    assert found.choice.reasons[0] in said.out.replace("\n", " ")
    assert said.err == ""
    assert run(*asked, "--max-drop", "0.05", "--json", "-") == 0
    assert msgspec.json.decode(capsys.readouterr().out, type=Outcome) == found


@pytest.mark.slow
def test_a_profile_has_a_line_for_each_layout_and_size(repository, capsys):
    assert run("profile", "mlp", "--data", "rows.npz", "--rounds", "2", "--json", "p.json") == 0
    text = (repository.parent / "p.json").read_text()
    measured = msgspec.json.decode(text, type=Profile)
    assert measured.model == "mlp"
    assert json.loads(text)["machine"]["cores"] >= 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["layout", "rows", "run", "ms", "p99", "ms", "rows/s", "CPU", "ms", "a", "row"]
    assert len(lines) == 1 + len(measured.points) + 3


def test_help_needs_no_optimizer():
    """``command`` names its types only for those who check them."""
    assert not {"optimize", "Screen", "Console"} & set(vars(verb))
