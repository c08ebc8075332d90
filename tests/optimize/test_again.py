"""Searches that are stopped, taken up again, or wait for each other."""

import os
import signal
import subprocess
import sys
from threading import Event, Thread
from time import monotonic

import numpy as np
import pytest

from penstock.core.errors import LoadFailed
from penstock.optimize import workshop
from penstock.optimize.journal import Journal
from penstock.optimize.run import WAITING, optimize
from penstock.optimize.types import Progress
from tests.e2e.process import environment, until
from tests.optimize.models import mlp, rows

WAITS = "tests.optimize.odd_passes:Waits"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """In the working directory, with rows for its model."""
    file = tmp_path / "models" / "mlp" / "1" / "model.onnx"
    file.parent.mkdir(parents=True)
    mlp(file)
    (tmp_path / "models" / "mlp" / "model.toml").write_text(f'cache = "{tmp_path / "cache"}"\n')
    np.savez(tmp_path / "rows.npz", x=rows("x", 200).groups[0]["x"])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "models"


def search(repository, *passes, **options):
    return optimize("mlp", rows("x", 200), repository=repository, passes=passes, **options)


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_ctrl_c_in_the_middle_of_a_child_ends_it_and_the_same_command_goes_on(repository, monkeypatch):
    """What had been measured by then is kept, and nothing of it is measured again."""
    mark = repository.parent / "mark"
    monkeypatch.setenv("WAITS", str(mark))
    command = [sys.executable, "-m", "penstock", "optimize", "mlp", "--data", "rows.npz"]
    command += ["--passes", f"clean,{WAITS}", "--budget", "25s"]
    with subprocess.Popen(
        command, env=environment(WAITS=mark), stderr=subprocess.PIPE, text=True, cwd=repository.parent
    ) as process:
        until(mark.exists, "the pass to begin")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "stopped; the same command goes on from here"
    until(lambda: gone(int(mark.read_text())), "the pass's process to end")
    told: list[Progress] = []
    outcome = search(repository, "clean", WAITS, budget=25.0, watch=told.append)
    kept = told[0].trials
    assert kept
    assert outcome.trials[: len(kept)] == kept
    assert len({(each.candidate, each.depth) for each in outcome.trials}) == len(outcome.trials)
    assert told[1].doing == f"making {WAITS}"
    assert {WAITS, "source"} <= {each.candidate.artefact for each in outcome.trials}
    assert search(repository, "clean", WAITS, budget=25.0) == outcome


def test_a_second_search_of_the_same_says_that_it_waits_and_finds_the_same(repository):
    begun, go = Event(), Event()
    found = []

    def hold(_):
        begun.set()
        assert go.wait(60)

    first = Thread(target=lambda: found.append(search(repository, "clean", budget=0.1, watch=hold)))
    first.start()
    assert begun.wait(60)
    told = []

    def watch(progress):
        told.append(progress.doing)
        go.set()

    again = search(repository, "clean", budget=0.1, watch=watch)
    first.join()
    assert told == [WAITING, "looking at the model", ""]
    assert found == [again]


def test_all_that_a_search_takes_counts_as_work(repository):
    """The original's answers, its layout and the start of processes included."""
    began = monotonic()
    outcome = search(repository, "clean", budget=0.1)
    took = monotonic() - began
    assert not outcome.complete
    assert 0.8 * took < outcome.seconds <= took
    assert sum(each.seconds for each in outcome.trials) < 0.8 * outcome.seconds


def test_an_original_that_takes_too_long_to_answer_is_said(repository, monkeypatch):
    monkeypatch.setattr(workshop, "ANSWERING", 0.0)
    with pytest.raises(LoadFailed, match=r"has not answered the 99700 rows that judge: .*larger --budget"):
        optimize("mlp", rows("x", 100_000), repository=repository, passes=("clean",), budget=1e-9)
    assert Journal(next((repository.parent / "cache" / "optimize").iterdir())).known.artefacts == {}
