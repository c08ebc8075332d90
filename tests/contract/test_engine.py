"""What every engine must do: opened here and in a process, asked rightly and oddly, closed."""

import gc
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from penstock.core.errors import LoadFailed, one_line
from penstock.core.ports import Session
from penstock.core.spec import ModelSpec
from penstock.core.tensors import DATATYPES, datatype_of
from penstock.engines import ENGINES
from penstock.serving.warmup import Batchability, verify_batching
from penstock.workers.worker import Worker
from tests.contract import cases
from tests.contract.cases import CASES
from tests.contract.inputs import LAYOUTS, odd, question, same

DEVICE = re.compile(r"(cpu|gpu|npu|mps|dml|coreml|neuron|(cuda|rocm|gpu|tpu):\d+)( \(.+\))?")
PATH = re.compile(r"(?<![\w.])/[\w.-]+/")
PATIENCE = 60.0
"""Seconds from nothing to the first answer on a busy machine."""


def is_sentence(told: str) -> None:
    """Of one line, without the folders of this machine."""
    assert (len(told.split()) > 4, "\n" in told, PATH.search(told)) == (True, False, None), told


def test_every_engine_is_a_case() -> None:
    assert sorted(ENGINES) == sorted(CASES)


def test_an_engine_says_where_its_sessions_run(name: str) -> None:
    assert cases.engine(name).isolation in ("thread", "process")


# -- what a session tells ---------------------------------------------------------------------------


def test_it_tells_a_signature_whose_axis_0_is_the_batch(session: Session) -> None:
    for tensors in (session.signature.inputs, session.signature.outputs):
        assert tensors
        assert len(tensors) == len({tensor.name for tensor in tensors})
        for tensor in tensors:
            assert tensor.name
            assert tensor.datatype in DATATYPES
            assert tensor.shape[0] == -1
            assert all(size >= -1 for size in tensor.shape)


def test_it_tells_platform_device_threads_and_concurrency(session: Session) -> None:
    assert session.platform
    assert DEVICE.fullmatch(session.device)
    assert session.threads == 1
    assert (session.concurrency == 0) == session.device.startswith("cpu")


def test_a_process_tells_the_same_and_answers_the_same(here: Session, started: tuple[Worker, float]) -> None:
    worker = started[0]
    for fact in ("signature", "platform", "device", "threads", "concurrency"):
        assert getattr(here, fact) == getattr(worker, fact)
    assert same(here.run(question(here)), worker.run(question(here)))


# -- what it answers --------------------------------------------------------------------------------


def test_the_same_question_gets_the_same_answer_and_another_another(session: Session) -> None:
    answer = session.run(question(session))
    assert same(answer, session.run(question(session)))
    assert not same(answer, session.run(question(session, seed=1)))


def test_what_runs_return_is_what_the_signature_says(session: Session) -> None:
    outputs = session.run(question(session, rows=3))
    assert [spec.name for spec in session.signature.outputs] == list(outputs)
    for spec in session.signature.outputs:
        array = outputs[spec.name]
        assert isinstance(array, np.ndarray)
        assert spec.datatype == datatype_of(array.dtype)
        assert array.dtype.isnative
        assert len(spec.shape) == array.ndim
        assert len(array) == 3
        assert all(want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True))


def test_only_outputs_asked_for_come_back(session: Session) -> None:
    names = [spec.name for spec in session.signature.outputs]
    whole = session.run(question(session))
    for wanted in [[name] for name in names] + [names[::-1]]:
        answer = session.run(question(session), tuple(wanted))
        assert same({name: whole[name] for name in wanted}, answer)


def test_rows_together_and_alone_get_the_same_answers(session: Session) -> None:
    assert verify_batching(session, np.random.default_rng(0), 5) == Batchability(True)


# -- what it is given -------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_inputs_may_lie_in_any_way_and_are_left_as_they_were(session: Session, layout: str) -> None:
    inputs = question(session, rows=3)
    given = {name: LAYOUTS[layout](array) for name, array in inputs.items()}
    before = {name: array.copy() for name, array in given.items()}
    assert same(session.run(inputs), session.run(given))
    assert same(before, given)


def test_any_mapping_serves_as_inputs(here: Session) -> None:
    inputs = question(here)
    assert same(here.run(inputs), here.run(MappingProxyType(dict(inputs))))


def test_answers_share_memory_with_neither_inputs_nor_later_answers(here: Session) -> None:
    inputs = question(here)
    outputs = here.run(inputs)
    assert not any(np.shares_memory(a, b) for a in inputs.values() for b in outputs.values())
    kept = {name: array.copy() for name, array in outputs.items()}
    here.run(question(here, seed=1))
    assert same(kept, outputs)


def test_odd_inputs_are_refused_with_a_sentence_and_the_session_lives_on(session: Session) -> None:
    right = question(session, rows=3)
    answer = session.run(right)
    for wrong in odd(session):
        with pytest.raises(Exception, match=r".") as refused:
            session.run(wrong)
        is_sentence(one_line(refused.value))
        assert same(answer, session.run(right))
    with pytest.raises(Exception, match="nosuch"):
        session.run(right, ("nosuch",))
    assert same(answer, session.run(right))


def test_no_rows_get_no_rows_or_a_sentence(session: Session) -> None:
    right = question(session)
    answer = session.run(right)
    try:
        nothing = session.run({name: array[:0] for name, array in right.items()})
    except Exception as error:
        is_sentence(one_line(error))
    else:
        assert [(name, 0) for name in answer] == [(name, len(array)) for name, array in nothing.items()]
    assert same(answer, session.run(right))


def test_concurrent_runs_agree_with_runs_in_turn(here: Session) -> None:
    questions = [question(here, rows=1 + i % 5, seed=i) for i in range(120)]
    in_turn = [here.run(inputs) for inputs in questions]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(here.run, questions))
    assert [True] * len(questions) == [same(a, b) for a, b in zip(in_turn, at_once, strict=True)]


# -- how it begins ----------------------------------------------------------------------------------


def test_a_fresh_process_answers_soon_and_brings_no_framework_but_its_own(
    name: str, started: tuple[Worker, float]
) -> None:
    worker, seconds = started
    assert seconds < PATIENCE
    own = {name} if CASES[name].package else set()
    assert own == cases.brought(worker._process.pid) - set(CASES[name].brings)


@pytest.mark.parametrize("damage", ["missing", "garbage", "0 %", "10 %", "50 %", "90 %"])
def test_a_spoilt_file_is_a_sentence_without_paths_and_nothing_on_stderr(
    name: str, file: Path, damage: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a version's files one is spoilt at a time; a number says how much of it is left."""
    if not CASES[name].reads:
        pytest.skip(f"{name} does not read its file")
    for which in sorted(path.name for path in file.parent.iterdir()):
        with pytest.raises(LoadFailed) as failed:
            cases.opened(name, cases.spoilt(file, which, damage, tmp_path / which))
        is_sentence(str(failed.value))
    assert capfd.readouterr() == ("", "")


def test_a_path_without_a_model_is_a_sentence_without_paths(name: str, tmp_path: Path) -> None:
    if not CASES[name].reads:
        pytest.skip(f"{name} does not read its file")
    for path in (tmp_path / "nosuch", tmp_path):
        with pytest.raises(LoadFailed) as failed:
            cases.engine(name).open(ModelSpec(name="m"), path)
        is_sentence(str(failed.value))


@pytest.mark.parametrize("engine", cases.INSTALLABLE)
def test_a_missing_package_is_told_with_what_to_install(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.forget(CASES[engine].package, monkeypatch)
    file = tmp_path / cases.usual(engine)
    file.write_bytes(b"something")
    with pytest.raises(LoadFailed, match=rf"engine '{engine}' needs .+: pip install 'penstock\[{engine}\]'"):
        cases.engine(engine).open(ModelSpec(name="m"), file)


# -- how it ends ------------------------------------------------------------------------------------


def test_a_closed_session_says_so(name: str, file: Path) -> None:
    session = cases.opened(name, file)
    inputs = question(session)
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.run(inputs)


def test_close_gives_memory_back_though_the_session_is_kept(name: str, tmp_path: Path) -> None:
    """Where a heavy model can be had, what one load leaves behind would show.

    Allocators keep one more or less, so the most of the first loads is held against the least of the last.
    """
    file = cases.heavy(name, tmp_path / "model")
    kept, after = [], []
    gc.collect()
    gc.freeze()  # what other tests have imported need not be looked through each time
    for _ in range(CASES[name].loads):
        kept.append(cases.opened(name, file))
        kept[-1].run(question(kept[-1]))
        kept[-1].close()
        gc.collect()
        after.append(resident())
    gc.unfreeze()
    grown = min(after[-3:]) - max(after[:3])
    assert grown < CASES[name].slack, f"{grown / 1e6:.1f} MB more after {len(after)} loads"


def resident() -> int:
    """Bytes of memory that this process holds."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("the system does not tell how much memory a process has")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
