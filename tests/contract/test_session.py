"""What every session must do, whichever engine opened it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks import fixtures
from penstock.core.importing import find
from penstock.core.ports import Session
from penstock.core.spec import Instances, ModelSpec
from penstock.core.tensors import datatype_of
from penstock.core.types import Tensors
from penstock.engines import ENGINES
from penstock.serving.synthesize import synthesize


@pytest.fixture(params=sorted(ENGINES))
def session(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Session]:
    file = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    engine = find(request.param, ENGINES, "engine")()
    opened = engine.open(ModelSpec(name="tiny", instances=Instances(threads=1)), file.parent)
    yield opened
    opened.close()


def question(session: Session, rows: int = 2, seed: int = 0) -> Tensors:
    return synthesize(session.signature, rows, np.random.default_rng(seed), 5)


def same(left: Tensors, right: Tensors) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_the_same_question_gets_the_same_answer(session: Session) -> None:
    assert same(session.run(question(session)), session.run(question(session)))


def test_another_question_gets_another_answer(session: Session) -> None:
    assert not same(session.run(question(session)), session.run(question(session, seed=1)))


def test_inputs_are_left_as_they_were_and_may_be_read_only(session: Session) -> None:
    inputs = question(session)
    before = {name: array.copy() for name, array in inputs.items()}
    for array in inputs.values():
        array.flags.writeable = False
    session.run(inputs)
    assert same(before, inputs)


def test_answers_do_not_share_memory_with_inputs(session: Session) -> None:
    inputs = question(session)
    outputs = session.run(inputs)
    assert not any(np.shares_memory(a, b) for a in inputs.values() for b in outputs.values())


def test_concurrent_runs_agree_with_runs_in_turn(session: Session) -> None:
    questions = [question(session, rows=1 + i % 5, seed=i) for i in range(200)]
    in_turn = [session.run(inputs) for inputs in questions]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(session.run, questions))
    assert [True] * len(questions) == [same(a, b) for a, b in zip(in_turn, at_once, strict=True)]


def test_only_outputs_asked_for_come_back(session: Session) -> None:
    for spec in session.signature.outputs:
        assert [spec.name] == list(session.run(question(session), (spec.name,)))


def test_no_outputs_named_means_all_in_the_signatures_order(session: Session) -> None:
    assert [spec.name for spec in session.signature.outputs] == list(session.run(question(session)))


def test_what_runs_return_is_what_the_signature_says(session: Session) -> None:
    outputs = session.run(question(session, rows=3))
    for spec in session.signature.outputs:
        array = outputs[spec.name]
        assert spec.datatype == datatype_of(array.dtype)
        assert len(spec.shape) == array.ndim
        assert all(want in (-1, got) for want, got in zip(spec.shape, array.shape, strict=True))


def test_any_mapping_serves_as_inputs(session: Session) -> None:
    from types import MappingProxyType

    inputs = question(session)
    assert same(session.run(inputs), session.run(MappingProxyType(dict(inputs))))


def test_wrong_inputs_raise_and_the_session_lives_on(session: Session) -> None:
    right = question(session)
    name, array = next(iter(right.items()))
    for wrong in ({}, {"nosuch": array}, {name: array.astype("f8")}, {name: array[0]}):
        with pytest.raises(Exception, match=r"."):
            session.run(wrong)
    with pytest.raises(Exception, match="nosuch"):
        session.run(right, ("nosuch",))
    assert same(session.run(right), session.run(right))


def test_a_closed_session_says_so(tmp_path: Path) -> None:
    file = fixtures.write(tmp_path, "tiny", "1", fixtures.tiny())
    for name in ENGINES:
        opened = find(name, ENGINES, "engine")().open(ModelSpec(), file)
        inputs = question(opened)
        opened.close()
        with pytest.raises(RuntimeError, match="closed"):
            opened.run(inputs)


def test_it_names_its_platform_and_threads(session: Session) -> None:
    assert session.platform
    assert session.threads == 1
