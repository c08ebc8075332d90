"""``penstock rollout``, against a real door with rollouts that are kept in a dict."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from rich.console import Console

from penstock.cli import rollout_table, rollout_watch
from penstock.cli.rollout import read
from penstock.cli.rollout_watch import MISSED, SELDOM, JsonLines, Lines, Live, ask, follow, watch
from penstock.client import Client, ServerError
from penstock.core.errors import BadSetting
from penstock.core.spec import Rollout
from penstock.doors.auth import Keys
from penstock.doors.rollouts import routes
from penstock.rollout.words import Bad, Change, Guard, Stage, Status
from tests.cli.command import run
from tests.cli.v2_server import V2Server, error, ok
from tests.doors.house import house
from tests.rollout.memory import NOW, RUNNING, MemoryRollouts

Capture = pytest.CaptureFixture[str]
ENDED = replace(RUNNING, phase="rolled-back", ended=NOW, says="p99 is proven to be over 1.1")


@pytest.fixture(scope="module")
def door() -> Iterator[Any]:
    kept = MemoryRollouts()
    with house(extra=routes(kept, Keys({}).who)) as found:
        found.rollouts = kept
        yield found


@pytest.fixture
def rollouts(door: Any, monkeypatch: pytest.MonkeyPatch) -> MemoryRollouts:
    monkeypatch.setenv("PENSTOCK_URL", f"http://127.0.0.1:{door.port}")
    monkeypatch.setenv("COLUMNS", "120")
    kept: MemoryRollouts = door.rollouts
    kept.__init__(RUNNING)  # type: ignore[misc]
    return kept


def text(status: Status, width: int = 80, now: float = NOW, terminal: bool = True) -> list[str]:
    console = Console(width=width, highlight=False, color_system=None, force_terminal=terminal)
    with console.capture() as captured:
        rollout_table.show(status, console, now)
    return [line.rstrip() for line in captured.get().splitlines()]


# -- how it looks --------------------------------------------------------------------------------------


def test_80_columns_show_stages_and_what_each_guard_has_found() -> None:
    assert text(RUNNING) == [
        "digits  2 → 3  canary, running for 25 min, by team-a",
        "1 % ✓ → 5 % ● → 25 % → 100 %",
        "",
        "                                        fails  passes",
        "guard    verdict  new/old     interval   over   under  against  for        needs",
        "errors   not yet     1.08    0.71–1.62   1.25       2  ▊·····   ███▉··    20 min",
        "p99      pass        1.01    0.97–1.05    1.1     1.2  ▏·····   ██████",
        "answers  not yet   0.17 %  0.01–0.62 %    1 %     1 %  ······   ██▌···  880 more",
        "",
        "waits for errors and answers: some 1,240 more requests, 20 min at today's",
        "traffic",
        "cost, energy: off, no price is set",
        "Version 2 answered 23,560 requests, version 3 1,240; 3 more failed on version 3",
        "and were answered by version 2; copies of 600 ran on both; 15.5 requests a",
        "second now.",
    ]


def test_120_columns_show_on_how_much_each_guard_rests() -> None:
    lines = text(RUNNING, 120)
    assert lines[4].split()[-4:] == ["seen", "events", "needs", "requests"]
    assert lines[5].split()[-5:] == ["1,240", "31", "20", "min", "1,240"]


@pytest.mark.parametrize("width", [60, 72, 80, 100, 120, 160])
def test_the_table_fits_however_narrow_the_terminal(width: int) -> None:
    wide = replace(RUNNING, guards=[replace(each, name="accuracy") for each in RUNNING.guards])
    for status in (RUNNING, wide):
        assert max(map(len, text(status, width))) <= width
        assert "…" not in "".join(text(status, width))


def test_what_is_piped_is_one_sentence_a_line() -> None:
    assert RUNNING.says in text(RUNNING, terminal=False)


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        ("paused", "1 % ✓ → 5 % ● → 25 %"),
        ("promoted", "1 % ✓ → 5 % ✓ → 25 % ✓"),
        ("rolled-back", "1 % ✓ → 5 % ✗ → 25 %"),
    ],
)
def test_the_stages_tell_how_far_it_came(phase: Any, line: str) -> None:
    stages = (Stage(1), Stage(5), Stage(25))
    assert text(replace(RUNNING, phase=phase, stages=stages))[1] == line


def test_a_stage_without_requests_is_one_of_copies() -> None:
    assert text(replace(RUNNING, stage=0, stages=(Stage(0), Stage(100))))[1] == "copies ● → 100 %"


def test_what_has_ended_needs_nothing_more() -> None:
    lines = text(ENDED, now=NOW + 3_600)
    assert lines[0] == "digits  2 → 3  canary, rolled back after 25 min, by team-a"
    assert "needs" not in lines[4]
    assert "a second now" not in " ".join(lines)


def test_what_has_not_begun_to_know_anything_shows_no_table() -> None:
    fresh = Status(id="r", model="m", stable="1", candidate="2", kind="ab", phase="loading", began=NOW)
    assert text(fresh) == [
        "m  1 → 2  ab, loading for 0 s",
        "",
        "Version 1 answered 0 requests, version 2 0; 0 requests a second now.",
    ]


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0.5, 2.0, "0.5–2"), (0.5, None, "≥ 0.5"), (None, 2.0, "≤ 2"), (None, None, "–")],
)
def test_an_interval_may_be_open(low: float | None, high: float | None, shown: str) -> None:
    assert rollout_table.interval(Guard(name="p99", verdict="not yet", low=low, high=high)) == shown


@pytest.mark.parametrize(
    ("guard", "shown"),
    [
        ({"target": 2.0}, ("–", "–")),
        ({"target": 2.0, "needs": 1_240}, ("1,240 more", "1,240")),
        ({"target": 2.0, "needs": 1_240, "needs_s": 1_200.0}, ("20 min", "1,240")),
        ({"needs": 1_240, "needs_s": 1_200.0}, ("", "")),
        ({"target": 2.0, "verdict": "pass", "needs": 0, "needs_s": 0.0}, ("", "")),
        ({"target": 2.0, "verdict": "fail"}, ("", "")),
    ],
    ids=["not known", "requests", "time", "need not pass", "has passed", "has failed"],
)
def test_what_a_guard_needs(guard: dict[str, Any], shown: tuple[str, str]) -> None:
    found = Guard(**{"name": "p99", "verdict": "not yet", **guard})
    assert (rollout_table.needs(found), rollout_table.requests(found)) == shown
    assert rollout_table.effect(found) == "–"


def test_an_estimate_of_time_has_one_unit() -> None:
    spans = {0.4: "0 s", 119: "119 s", 125: "2 min", 5_400: "90 min", 97_200: "27 h", 280_000: "3 d"}
    assert list(spans.values()) == [rollout_table.about(each) for each in spans]


def test_guards_that_say_the_same_say_it_once_and_the_table_is_not_repeated() -> None:
    silent = "no requests of the new version come: no traffic is no evidence"
    guards = (
        Guard(name="errors", verdict="not yet", why=silent),
        Guard(name="p50", verdict="not yet", why=silent),
        Guard(name="p95", verdict="not yet", why="needs some 170 more requests", needs=170),
        Guard(name="p99", verdict="fail", why="1.5 times as slow"),
    )
    status = replace(RUNNING, guards=guards)
    assert rollout_table.reasons(status) == {silent: ["errors", "p50"], "1.5 times as slow": ["p99"]}
    ended = replace(status, phase="rolled-back")
    assert rollout_table.reasons(ended) == {"1.5 times as slow": ["p99"]}


@pytest.mark.parametrize(
    ("part", "cells"), [(-1.0, "······"), (0.0, "······"), (0.5, "███···"), (1.0, "██████"), (7.0, "██████")]
)
def test_a_bar_never_leaves_its_cells(part: float, cells: str) -> None:
    assert rollout_table.bar(part).replace("[dim]", "").replace("[/]", "") == cells


def test_names_cannot_style_the_terminal() -> None:
    odd = replace(RUNNING, model="[red]m[/]", says="[bold]x", by="[b]", guards=())
    lines = text(odd)
    assert lines[0].startswith("[red]m[/]  2 → 3")
    assert "[bold]x" in lines


# -- verbs ---------------------------------------------------------------------------------------------


def test_status_of_a_model_and_of_all(rollouts: MemoryRollouts, capsys: Capture) -> None:
    assert run("rollout", "status", "digits") == 0
    assert "1 % ✓ → 5 % ● → 25 % → 100 %" in capsys.readouterr().out
    rollouts.statuses.append(ENDED)
    rollouts.marked.append(Bad("digits", "4", NOW, "p99: slow"))
    assert run("rollout", "status") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:7] for line in lines[1:3]] == [
        ["digits", "2", "→", "3", "canary", "running", "at"],
        ["digits", "2", "→", "3", "canary", "rolled", "back"],
    ]
    assert lines[-1] == "marked bad: digits 4: p99: slow"


def test_json_is_what_the_server_says(rollouts: MemoryRollouts, capsys: Capture) -> None:
    def said(*arguments: str) -> Any:
        assert run("rollout", *arguments, "--json") == 0
        return json.loads(capsys.readouterr().out)

    assert msgspec.convert(said("status", "digits"), Status) == RUNNING
    assert msgspec.convert(said("status"), list[Status]) == [RUNNING]
    assert said("pause", "digits")["phase"] == "paused"
    assert said("start", "plain", "5")["candidate"] == "5"
    assert [each["what"] for each in said("history")] == ["start", "pause"]
    assert [each["what"] for each in said("history", "digits", "--limit", "1")] == ["pause"]


def test_without_rollouts_it_says_how_to_begin_one(rollouts: MemoryRollouts, capsys: Capture) -> None:
    rollouts.statuses.clear()
    assert run("rollout", "status") == 0
    assert "`penstock rollout start MODEL VERSION` begins one" in capsys.readouterr().out
    assert run("rollout", "history") == 0
    assert capsys.readouterr().out == "nothing has happened yet\n"


def test_start_sends_what_was_typed_and_nothing_else(rollouts: MemoryRollouts, capsys: Capture) -> None:
    options = (
        "--plan canary --steps 1,5,25,100 --guard p99=1.2 --guard cost=off --hold 5m --patience 1d "
        "--inconclusive rollback --sticky header:X-User --mirror 0.05 --compare top1 --tolerance 0.1 "
        "--differ 0.02 --baseline --risk 0.05 --force"
    )
    assert run("rollout", "start", "digits", "5", *options.split(), "--why", "it is better") == 0
    terms = Rollout(
        plan="canary", steps=(1, 5, 25, 100), guards={"p99": 1.2, "cost": False}, hold_s=300,
        patience_s=86_400, inconclusive="rollback", sticky="header:X-User", mirror=0.05, compare="top1",
        tolerance=0.1, differ=0.02, baseline=True, risk=0.05,
    )  # fmt: skip
    assert rollouts.started == [("digits", "5", terms, "anyone", "it is better", True)]
    assert "digits  2 → 5" in capsys.readouterr().out
    rollouts.base = Rollout(plan="canary", baseline=True, hold_s=60)
    assert run("rollout", "start", "digits", "6", "--no-baseline") == 0
    assert rollouts.started[-1][2] == Rollout(plan="canary", hold_s=60)


@pytest.mark.parametrize(
    ("verb", "phase"),
    [("pause", "paused"), ("resume", "running"), ("promote", "promoted"), ("rollback", "rolled back")],
)
def test_a_command_says_why_and_shows_what_became(
    rollouts: MemoryRollouts, capsys: Capture, verb: str, phase: str
) -> None:
    assert run("rollout", verb, "digits", "--why", "told so") == 0
    assert f"canary, {phase} " in capsys.readouterr().out
    assert rollouts.changes == [Change(NOW, "digits", "r-7", "anyone", verb, "told so")]


def test_the_history_tells_who_and_why(rollouts: MemoryRollouts, capsys: Capture) -> None:
    rollouts.changes.append(Change(NOW, "digits", "r-7", "[guard] p99", "rollback", "1.6 times as slow"))
    assert run("rollout", "history", "digits") == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split("  ")[-4:] == ["digits", "rollback", "[guard] p99", "1.6 times as slow"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["strat", "digits", "5"], "rollout has no verb 'strat'; did you mean 'start'?"),
        (["begin"], "rollout has no verb 'begin'; have history, pause, promote"),
        (["start", "digits", "5", "--guard", "p9=1"], "no guard 'p9'; did you mean 'p99'?"),
        (["start", "digits", "5", "--steps", "a"], "steps 'a' are no percents; write e.g. 1,5,25,100"),
        (["start", "digits", "5", "--hold", "5"], "--hold '5' is no span of time; write e.g. 20ms"),
        (["start", "digits", "5", "--plan", "canry"], "rollout: plan cannot be 'canry'; did you mean"),
        (["start", "digits", "A"], "digits has no version 'A'"),
        (["status", "nope"], "no model 'nope'; have digits, plain"),
        (["status", "plain"], "plain has had no rollout; `penstock rollout start plain VERSION`"),
        (["pause", "plain"], "plain has had no rollout"),
        (["watch", "plain"], "plain has had no rollout"),
        (["history", "nope"], "no model 'nope'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    rollouts: MemoryRollouts, capsys: Capture, arguments: list[str], sentence: str
) -> None:
    assert run("rollout", *arguments) == 2
    shown = capsys.readouterr()
    assert (shown.err.startswith(f"error: {sentence}"), shown.out) == (True, ""), shown.err
    assert rollouts.started == []


@pytest.mark.parametrize("verb", ["start", "status", "watch", "pause", "promote", "history"])
def test_every_verb_has_help(verb: str, capsys: Capture) -> None:
    assert run("rollout", verb, "--help") == 0
    assert "--url" in capsys.readouterr().out


def test_the_verbs_are_listed(capsys: Capture) -> None:
    assert run("rollout", "--help") == 0
    shown = capsys.readouterr().out
    assert [verb for verb in ("start", "status", "watch", "rollback", "history") if verb not in shown] == []
    assert run("--help") == 0
    assert "rollout" in capsys.readouterr().out


def test_a_server_of_other_words_is_named_so() -> None:
    with pytest.raises(BadSetting, match="speaks of rollouts in other words"):
        read({"id": "r", "phase": "sideways"})


# -- looking on ----------------------------------------------------------------------------------------


def raw(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(replace(RUNNING, **changes))
    return found


class Script:
    """Answers one after the other; an exception is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.pauses = 0

    def __call__(self) -> dict[str, Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        found: dict[str, Any] = answer
        return found

    def pause(self) -> None:
        self.pauses += 1


NOBODY = ServerError("nobody answers", 0)


def test_it_looks_on_until_the_end_and_through_a_restart() -> None:
    script = Script(raw(), NOBODY, NOBODY, raw(stage=2, weight=25), raw(phase="promoted"))
    shown: list[float] = []
    end = watch(script, lambda raw, status: shown.append(status.weight), script.pause)
    assert (end.phase, shown, script.pauses) == ("promoted", [5, 25, 5], 4)


@pytest.mark.parametrize(
    "answers",
    [(NOBODY,), (raw(), *[NOBODY] * MISSED), (raw(), ServerError("no model", 404))],
    ids=["at once", "too long", "refused"],
)
def test_a_server_that_stays_away_or_refuses_is_an_error(answers: tuple[Any, ...]) -> None:
    script = Script(*answers)
    with pytest.raises(ServerError):
        watch(script, lambda raw, status: None, script.pause)
    assert script.answers == []


def test_a_pipe_gets_a_line_for_each_change_and_now_and_then_what_it_waits_for() -> None:
    console = Console(width=80, highlight=False, color_system=None)
    waiting = [raw(says=f"needs {200 - at} more") for at in range(SELDOM + 1)]
    script = Script(*waiting, raw(weight=25, says=""), raw(phase="promoted", weight=100, says="done"))
    with console.capture() as captured:
        watch(script, Lines(console), script.pause)
    assert captured.get().splitlines() == [
        "running at 5 %: needs 200 more",
        f"running at 5 %: needs {200 - SELDOM} more",
        "running at 25 %",
        "promoted at 100 %: done",
    ]


def test_json_is_a_line_for_each_change(capsys: Capture) -> None:
    script = Script(raw(), raw(), raw(phase="promoted"))
    watch(script, JsonLines(), script.pause)
    assert [json.loads(line)["phase"] for line in capsys.readouterr().out.splitlines()] == [
        "running",
        "promoted",
    ]


def test_a_terminal_shows_all_of_it() -> None:
    console = Console(width=80, height=40, highlight=False, color_system=None, force_terminal=True)
    with console.capture() as captured, Live(console) as live:
        live(raw(), RUNNING)
    assert "1 % ✓ → 5 % ● → 25 % → 100 %" in captured.get()
    assert "Ctrl-C leaves it running." in captured.get()


@pytest.mark.parametrize(("phase", "code"), [("promoted", 0), ("rolled-back", 1)])
def test_the_exit_code_tells_how_it_ended(
    rollouts: MemoryRollouts, capsys: Capture, phase: Any, code: int
) -> None:
    rollouts.statuses = [replace(RUNNING, phase=phase, ended=NOW, says="over")]
    assert run("rollout", "watch", "digits") == code
    assert capsys.readouterr().out.startswith(f"{phase.replace('-', ' ')} at 5 %: over\n")
    assert run("rollout", "watch", "digits", "--json") == code
    assert json.loads(capsys.readouterr().out)["phase"] == phase


def test_start_can_stay_and_look_on(
    rollouts: MemoryRollouts, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def promoted(seconds: float) -> None:
        rollouts.statuses[0] = replace(rollouts.statuses[0], phase="promoted", ended=NOW)

    monkeypatch.setattr(rollout_watch, "sleep", promoted)
    assert run("rollout", "start", "digits", "5", "--watch") == 0
    assert "promoted" in capsys.readouterr().out


def test_ctrl_c_leaves_it_running_and_says_so(door: Any, rollouts: MemoryRollouts, capsys: Capture) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with Client(f"http://127.0.0.1:{door.port}") as client:
        assert follow(client, "digits", pause=interrupted) == 130
    said = "the rollout goes on; `penstock rollout watch digits` shows it again\n"
    assert capsys.readouterr().err == said
    assert rollouts.statuses == [RUNNING]


def test_the_rollout_that_was_begun_is_followed_though_another_has_begun_since(
    door: Any, rollouts: MemoryRollouts
) -> None:
    rollouts.statuses = [replace(RUNNING, id="r-9"), replace(ENDED, id="r-8")]
    with Client(f"http://127.0.0.1:{door.port}") as client:
        asked = {which: ask(client, "digits", which)["id"] for which in ("", "r-9", "r-8", "r-1")}
    assert asked == {"": "r-9", "r-9": "r-9", "r-8": "r-8", "r-1": "r-9"}


def test_a_server_without_rollouts_says_what_it_says(capsys: Capture) -> None:
    answers = {"/penstock/rollouts": error(404, "no path '/penstock/rollouts'; the API begins at /v2")}
    with V2Server(routes={**answers, "/v2": ok({})}) as server:
        assert run("rollout", "status", "--url", server.url) == 2
    assert "no path '/penstock/rollouts'" in capsys.readouterr().err
