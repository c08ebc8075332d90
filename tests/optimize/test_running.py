import numpy as np
import pytest

from penstock.core.spec import Signature, TensorSpec
from penstock.optimize.messages import Answer, Spin
from penstock.optimize.running import LEAST, Running, cut
from penstock.optimize.samples import Samples, length


class Counting:
    """Remembers the batches that it was given."""

    def __init__(self, rows=-1):
        self.seen = []
        self.rows = rows
        self.signature = Signature((TensorSpec("x", "FP64", (rows, -1)),), ())

    def run(self, inputs, outputs=()):
        assert self.rows in (-1, len(inputs["x"]))
        self.seen.append(inputs["x"][:, 0].tolist())
        return {"y": inputs["x"]}


def samples(*counts):
    return Samples(
        tuple({"x": np.arange(count)[:, None] * np.ones((1, wide + 1))} for wide, count in enumerate(counts))
    )


def test_batches_rotate_over_real_rows_and_never_repeat_one():
    session = Counting()
    running = Running(session, samples(6))
    running.spin(Spin(rows=2, runs=1))
    session.seen.clear()
    running.spin(Spin(rows=2, runs=4, start=1))
    assert session.seen == [[2, 3], [4, 5], [0, 1], [2, 3]]


def test_every_shape_is_warm_before_anything_is_timed():
    session = Counting()
    running = Running(session, samples(3, 2))
    spun = running.spin(Spin(rows=1, runs=2))
    shapes_and_rows = LEAST * 2 + 5
    assert len(session.seen) == shapes_and_rows + 2
    assert len(spun.seconds) == 2


def test_a_size_is_warmed_once():
    session = Counting()
    running = Running(session, samples(4))
    for _ in range(3):
        running.spin(Spin(rows=4, runs=1))
    assert len(session.seen) == LEAST + 1 + 3


@pytest.mark.parametrize(("rows", "expected"), [(1, 5), (2, 2), (5, 1), (8, 1)])
def test_batches_have_just_the_size_asked_for(rows, expected):
    batches = cut(samples(5), rows)
    assert len(batches) == expected
    assert {length(batch) for batch in batches} == {rows}


def test_threads_share_the_runs():
    session = Counting()
    spun = Running(session, samples(4)).spin(Spin(rows=1, runs=20, instances=3))
    assert (len(spun.seconds), spun.rows) == (20, 20)


def test_what_takes_too_long_is_cut_off_and_counts_what_it_did():
    spun = Running(Counting(), samples(4)).spin(Spin(rows=2, runs=1000, limit=0.0))
    assert (len(spun.seconds), spun.rows) == (1, 2)


def test_few_runs_see_more_than_the_first_shapes():
    """Rows are grouped by shape, so in their order a slow model would be timed on its first groups alone."""

    class Shapes(Counting):
        def run(self, inputs, outputs=()):
            self.seen.append(inputs["x"].shape[1])
            return {"y": inputs["x"]}

    session = Shapes()
    running = Running(session, samples(20, 20, 20, 20))
    running.spin(Spin(rows=1, runs=1))
    session.seen.clear()
    running.spin(Spin(rows=1, runs=20))
    assert {1, 2, 3, 4} == set(session.seen)


def test_the_last_batch_of_a_model_of_a_fixed_size_is_filled_up(tmp_path):
    running = Running(Counting(rows=4), samples(6))
    counts = running.answer(Answer(str(tmp_path / "out"), 4)).counts
    answers = Samples.load(tmp_path / "out")
    assert (counts, answers.groups[0]["y"][:, 0].tolist()) == ((6,), [0, 1, 2, 3, 4, 5])
