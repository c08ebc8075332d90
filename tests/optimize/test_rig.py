import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from penstock.core.errors import LoadFailed, PenstockError
from penstock.core.spec import Instances, ModelSpec, Signature
from penstock.optimize.entrant import Entrant
from penstock.optimize.messages import Answer, Answered, Crafted, Make, Open, Opened, Spin, Spun
from penstock.optimize.passes import Source
from penstock.optimize.rig import Child, Lost, Memo, saved
from penstock.optimize.samples import Samples
from penstock.optimize.types import Artefact, Candidate
from penstock.workers.worker import import_path
from tests.optimize.models import mlp

HERE = "tests.optimize.odd_passes"
ROWS = 24


@pytest.fixture
def source(tmp_path):
    file = tmp_path / "1" / "model.onnx"
    file.parent.mkdir()
    mlp(file)
    artefact = Artefact(name="source", file=str(file), engines=("onnx", "openvino"))
    return Source(artefact=artefact, spec=ModelSpec(name="mlp"), signature=Signature((), ()))


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return Samples(({"x": rng.standard_normal((ROWS, 16), dtype=np.float32)},))


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def make(kind, source, out, memo):
    out.mkdir()
    return Make("odd", f"{HERE}:{kind}", source, {}, "odd", str(out), str(memo.path), import_path())


def apply(kind, source, samples, scratch, tmp_path, seconds=30.0, memory=0):
    with closing(saved(samples)) as memo, closing(Child(scratch, 1, memory, [memo])) as child:
        return child.ask(make(kind, source, tmp_path / "out", memo), Crafted, seconds).artefact


def test_a_pass_makes_an_artefact_that_tells_how_it_was_made(source, samples, scratch, tmp_path):
    artefact = apply("Copy", source, samples, scratch, tmp_path)
    assert (artefact.name, artefact.engines) == ("odd", ("onnx", "openvino"))
    assert str(tmp_path / "out" / "model.onnx") == artefact.file
    assert {"numpy": np.__version__} == artefact.steps[0].versions
    assert (tmp_path / "1" / "model.onnx").stat().st_size == artefact.bytes


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("Dies", "signal 9: about to die"),
        ("Aborts", "Fatal Python error: Aborted"),
        ("Exits", "SystemExit: no more"),
        ("Nothing", "has not made model.onnx"),
        ("Missing", "cannot be imported"),
    ],
)
def test_a_pass_that_breaks_is_a_reason_and_not_the_end(source, samples, scratch, tmp_path, kind, said):
    with pytest.raises(LoadFailed, match=said):
        apply(kind, source, samples, scratch, tmp_path)


def test_a_pass_that_hangs_is_ended_in_time(source, samples, scratch, tmp_path):
    began = time.monotonic()
    with pytest.raises(Lost, match="not done within 1 s"):
        apply("Hangs", source, samples, scratch, tmp_path, seconds=1.0)
    assert time.monotonic() - began < 10


def test_a_pass_that_eats_memory_is_ended_before_the_machine_is(source, samples, scratch, tmp_path):
    with pytest.raises(Lost, match=r"more than 0\.4 GiB of memory"):
        apply("Eats", source, samples, scratch, tmp_path, memory=400 << 20)


def test_what_a_pass_prints_is_no_answer(source, samples, scratch, tmp_path):
    assert apply("Prints", source, samples, scratch, tmp_path).name == "odd"


def test_what_a_pass_leaves_in_its_working_directory_is_nobodys_concern(source, samples, scratch, tmp_path):
    apply("Litters", source, samples, scratch, tmp_path)
    assert [each.name for each in scratch.iterdir()] == ["litter.txt"]
    assert [each.name for each in (tmp_path / "1").iterdir()] == ["model.onnx"]


def test_a_model_runs_on_the_rows_and_its_answers_come_back(source, samples, scratch):
    import onnxruntime

    with (
        closing(saved(samples)) as memo,
        closing(Memo("answers")) as answers,
        closing(Child(scratch, 1, 0, [memo, answers])) as child,
    ):
        spec = ModelSpec(name="mlp", instances=Instances(count=1, threads=1))
        ask = Open("onnx", spec, source.artefact.file, str(memo.path))
        assert child.ask(ask, Opened, 30).device == "cpu"
        assert child.ask(Answer(str(answers.path), 4, most=7), Answered, 30).counts == (7,)
        few = Samples.load(answers.path).groups[0]
        child.ask(Answer(str(answers.path), 5), Answered, 30)
        found = Samples.load(answers.path).groups[0]
        spun = child.ask(Spin(rows=4, runs=9, instances=2), Spun, 30)
    expected = onnxruntime.InferenceSession(source.artefact.file).run(None, dict(samples.groups[0]))[0]
    np.testing.assert_allclose(expected, found["logits"], atol=1e-6)
    np.testing.assert_allclose(expected[:7], few["logits"], atol=1e-6)
    assert (len(spun.seconds), spun.rows) == (9, 36)


def test_batches_are_of_the_size_asked_for_however_few_rows_there_are(source, scratch):
    few = Samples(({"x": np.zeros((3, 16), np.float32)},))
    with closing(saved(few)) as memo, closing(Child(scratch, 1, 0, [memo])) as child:
        spec = ModelSpec(name="mlp", instances=Instances(count=1, threads=1))
        child.ask(Open("onnx", spec, source.artefact.file, str(memo.path)), Opened, 30)
        assert child.ask(Spin(rows=16, runs=2), Spun, 30).rows == 32


def test_a_child_ends_with_its_parent(tmp_path):
    """Though it be in the middle of work, and the parent be killed."""
    code = f"""
import os, sys, time
from pathlib import Path
from penstock.optimize.rig import Child
child = Child(Path({str(tmp_path)!r}), 1, 0)
print(child._process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        pid = int(parent.stdout.readline())
        time.sleep(0.5)  # past the child's imports, after which it is on the line
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(pid, 9)
    pytest.fail("the child outlived its parent")


def test_a_child_that_has_ended_is_lost_and_not_a_closed_file(scratch, samples):
    with closing(saved(samples)) as memo, closing(Child(scratch, 1, 0, [memo])) as child:
        child.close()
        with pytest.raises(Lost, match="has ended before"):
            child.ask(Answer(str(memo.path), 1), Answered, 1.0)


def test_an_entrant_that_cannot_be_run_leaves_no_file_open(source, samples, scratch):
    with closing(saved(samples)) as memo:
        before = len(list(Path("/dev/fd").iterdir()))
        with pytest.raises(PenstockError):
            Entrant(source.spec, source.artefact, Candidate("source", "no-such", 1, 1), memo, scratch, 0)
        assert len(list(Path("/dev/fd").iterdir())) == before
