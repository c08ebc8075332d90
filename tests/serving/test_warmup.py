"""What warm-up finds out: batchability, batch costs, placement and layout."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from penstock.core.spec import Batching, Instances, ModelSpec, Signature, TensorSpec
from penstock.core.tensors import Array
from penstock.core.types import Tensors
from penstock.engines.echo import EchoSession
from penstock.serving.synthesize import find_size, synthesize
from penstock.serving.warmup import (
    Batchability,
    choose_isolation,
    choose_layout,
    sweep,
    verify_batching,
    warm,
)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class Formula:
    """A session whose one output ``y`` is a function of its one input ``x``."""

    platform = "formula"
    threads = 1

    def __init__(
        self,
        function: Callable[[Array], Array],
        shape: tuple[int, ...] = (-1, 4),
        out: tuple[int, ...] = (-1, 4),
        datatype: str = "FP32",
    ) -> None:
        self.signature = Signature((TensorSpec("x", datatype, shape),), (TensorSpec("y", "FP32", out),))
        self.function = function
        self.seen: list[tuple[int, ...]] = []

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        self.seen.append(inputs["x"].shape)
        return {"y": self.function(inputs["x"])}

    def close(self) -> None:
        pass


# -- made-up input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "datatype",
    ["BOOL", "UINT8", "INT32", "INT64", "UINT64", "FP16", "FP32", "FP64", "BF16", "BYTES"],
)
def test_made_up_inputs_follow_the_signature(datatype: str) -> None:
    from penstock.core.tensors import dtype_of

    x = synthesize(Signature((TensorSpec("x", datatype, (-1, 3, -1)),), ()), 2, rng(), 5)["x"]
    assert (dtype_of(datatype), (2, 3, 5)) == (x.dtype, x.shape)


def test_made_up_token_ids_are_in_any_vocabulary_and_text_is_digits() -> None:
    specs = (TensorSpec("ids", "INT64", (-1, 50)), TensorSpec("text", "BYTES", (-1, 1)))
    inputs = synthesize(Signature(specs, ()), 8, rng())
    assert {0, 1} == set(inputs["ids"].ravel().tolist())
    assert all(text.isdigit() for text in inputs["text"].ravel())


def test_made_up_whole_numbers_differ_from_row_to_row() -> None:
    for seed in range(20):
        spec = Signature((TensorSpec("x", "INT64", (-1, 1)),), ())
        x = synthesize(spec, 2, np.random.default_rng(seed))["x"]
        assert abs(x[0] - x[1]).tolist() == [1]


def test_a_scalar_input_is_made_up_too() -> None:
    assert synthesize(Signature((TensorSpec("x", "INT32", ()),), ()), 3, rng())["x"].shape == ()


@pytest.mark.parametrize("works", [1, 8, 32, 224])
def test_the_size_with_which_a_model_runs_is_found(works: int) -> None:
    def function(x: Array) -> Array:
        assert x.shape[1] == works
        return x

    assert (works, "") == find_size(Formula(function, (-1, -1)), rng())


def test_a_model_that_runs_with_no_size_says_why() -> None:
    def function(x: Array) -> Array:
        raise ValueError("not\n today")

    assert find_size(Formula(function, (-1, -1)), rng()) == (None, "not today")


# -- batching -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x,
        lambda x: x.sum(1, keepdims=True).repeat(4, 1),
        lambda x: x * np.float32(1 + 1e-6 * (len(x) > 1)),
        lambda x: np.full_like(x, np.nan),
        lambda x: np.zeros_like(x),
        lambda x: (x > 0).astype(np.int64),
        lambda x: np.where(x > 0, "yes", "no").astype(object),
    ],
)
def test_rows_that_answer_alike_singly_and_together_are_batched(function: Callable[[Array], Array]) -> None:
    assert Batchability(True) == verify_batching(Formula(function), rng())


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x - x.mean(0), "changes with the rows beside it"),
        (lambda x: x * np.float32(1 + 1e-2 * (len(x) > 1)), "changes with the rows beside it"),
        (lambda x: np.cumsum(x, 0), "changes with the rows beside it"),
        (lambda x: x[::-1], "changes with the rows beside it"),
        (lambda x: (x > x.mean(0)).astype(np.int64), "changes with the rows beside it"),
        (lambda x: x.sum(0, keepdims=True), "does not follow the rows: [1, 4] for one row and [1, 4] for 3"),
        (lambda x: x.sum(), "does not follow the rows"),
        (lambda x: x[:, None].repeat(len(x), 1), "another shape when rows run together"),
        (lambda x: x.reshape(1, 4), "cannot be run together: cannot reshape"),
    ],
)
def test_rows_that_touch_each_other_are_not(function: Callable[[Array], Array], reason: str) -> None:
    found = verify_batching(Formula(function), rng())
    assert (found.batched, reason in found.reason) == (False, True), found


@pytest.mark.parametrize(
    ("shape", "out", "reason"),
    [
        ((1, 4), (1, 4), "axis 0 of input 'x' is fixed to 1"),
        ((8, 4), (8, 4), "axis 0 of input 'x' is fixed to 8"),
        ((-1, 4), (1, 4), "axis 0 of output 'y' is fixed to 1"),
        ((), (), "input 'x' is a scalar"),
    ],
)
def test_shapes_that_rule_batching_out_are_named(
    shape: tuple[int, ...], out: tuple[int, ...], reason: str
) -> None:
    assert Batchability(False, reason) == verify_batching(Formula(lambda x: x, shape, out), rng())


def test_sixteen_bit_floats_may_differ_by_more() -> None:
    def function(x: Array) -> Array:
        return (x * (1 + 5e-3 * (len(x) > 1))).astype(np.float16)

    assert Batchability(True) == verify_batching(Formula(function, datatype="FP16"), rng())


# -- sweep ----------------------------------------------------------------------------------------------


class Timed(EchoSession):
    """Advances a manual clock by ``delay + rows × per_row`` seconds a run; fails over ``most`` rows."""

    def __init__(self, delay: float, per_row: float = 0.0, most: int = 1000) -> None:
        super().__init__()
        self.delay, self.per_row, self.most = delay, per_row, most
        self.now = 0.0

    def run(self, inputs: Tensors, outputs: Sequence[str] = (), /) -> Tensors:
        rows = len(inputs["x"])
        if rows > self.most:
            raise MemoryError
        self.now += self.delay + rows * self.per_row
        return super().run(inputs, outputs)

    def sweep(self, **settings: Any) -> list[tuple[int, float]]:
        return sweep(self, rng(), clock=lambda: self.now, **settings)


def sizes(samples: list[tuple[int, float]]) -> list[int]:
    return sorted({rows for rows, _ in samples})


def test_a_quick_model_is_measured_thrice_at_every_power_of_two() -> None:
    samples = Timed(1e-3, 1e-5).sweep()
    assert [rows for rows, _ in samples] == [rows for rows in (1, 2, 4, 8, 16, 32, 64) for _ in range(3)]
    assert [seconds for _, seconds in samples] == pytest.approx([1e-3 + rows * 1e-5 for rows, _ in samples])


def test_the_largest_batch_allowed_is_measured_too() -> None:
    assert sizes(Timed(1e-3).sweep(max_rows=6)) == [1, 2, 4, 6]


def test_an_unbatched_model_is_measured_with_one_row() -> None:
    assert sizes(Timed(1e-3).sweep(batched=False)) == [1]


@pytest.mark.parametrize("budget", [0.5, 1.0, 2.0, 4.0])
def test_the_sweep_keeps_to_its_budget(budget: float) -> None:
    session = Timed(0.05, 5e-3)
    session.sweep(budget=budget)
    assert 0.25 < session.now <= budget


def test_one_row_is_measured_however_slow_it_is() -> None:
    session = Timed(5.0)
    assert (session.sweep(), session.now) == ([(1, 5.0)], 10.0)


def test_the_sweep_ends_at_four_times_the_size_from_which_a_row_gets_no_cheaper() -> None:
    assert sizes(Timed(0.0, 1e-3).sweep()) == [1, 2, 4]
    assert sizes(Timed(1e-3, 2e-3).sweep(budget=100.0)) == [1, 2, 4, 8, 16, 32]
    assert sizes(Timed(1e-4, 2e-3).sweep(budget=100.0)) == [1, 2, 4]


def test_a_size_that_fails_ends_the_sweep() -> None:
    assert sizes(Timed(1e-3, most=4).sweep()) == [1, 2, 4]


# -- isolation and layout -------------------------------------------------------------------------------

QUICK = [(1, 10e-6), (64, 30e-6)]


@pytest.mark.parametrize(
    ("samples", "spec", "isolation"),
    [
        (QUICK, ModelSpec(), "inline"),
        (QUICK, ModelSpec(isolation="thread"), "thread"),
        (QUICK, ModelSpec(isolation="process"), "process"),
        (QUICK, ModelSpec(instances=Instances(count=2)), "thread"),
        ([(1, 60e-6)], ModelSpec(), "thread"),
        ([(1, 60e-6)], ModelSpec(isolation="inline"), "inline"),
        ([(1, 40e-6), (64, 300e-6)], ModelSpec(), "thread"),
        ([(1, 40e-6), (1, 900e-6), (1, 41e-6)], ModelSpec(), "inline"),
        ([], ModelSpec(), "thread"),
    ],
)
def test_only_quick_models_run_in_the_loop(
    samples: list[tuple[int, float]], spec: ModelSpec, isolation: str
) -> None:
    assert isolation == choose_isolation(samples, spec)


@pytest.mark.parametrize(
    ("row", "beside", "isolation"),
    [
        (40e-6, "thread", "thread"),
        (60e-6, "inline", "inline"),
        (10e-6, "thread", "inline"),
        (200e-6, "inline", "thread"),
        (40e-6, "process", "inline"),
        (60e-6, "", "thread"),
    ],
)
def test_a_version_runs_where_the_one_beside_it_does_unless_that_is_clearly_wrong(row, beside, isolation):
    """Else the luck of a measurement would make one of two like versions a thread hop slower."""
    assert choose_isolation([(1, row)], ModelSpec(), "thread", beside) == isolation


def test_what_an_engine_wants_in_processes_stays_there_unless_told_otherwise() -> None:
    assert choose_isolation(QUICK, ModelSpec(), "process") == "process"
    assert choose_isolation(QUICK, ModelSpec(isolation="inline"), "process") == "inline"


@pytest.mark.parametrize(
    ("instances", "cores", "row", "layout"),
    [
        (Instances(), 1, 0.0, (1, 1)),
        (Instances(), 1, 5.0, (1, 1)),
        (Instances(), 2, 0.0, (2, 1)),
        (Instances(), 16, 3e-3, (16, 1)),
        (Instances(), 16, 35e-3, (4, 4)),
        (Instances(), 16, 5.0, (1, 16)),
        (Instances(), 2, 35e-3, (1, 2)),
        (Instances(count=1), 8, 0.0, (1, 8)),
        (Instances(count=3), 8, 0.0, (3, 2)),
        (Instances(count=9), 8, 0.0, (9, 1)),
        (Instances(threads=4), 8, 0.0, (2, 4)),
        (Instances(threads=9), 8, 0.0, (1, 9)),
        (Instances(count=5, threads=7), 2, 1.0, (5, 7)),
    ],
)
def test_layout_fills_the_cores_and_keeps_what_is_set(
    instances: Instances, cores: int, row: float, layout: tuple[int, int]
) -> None:
    assert layout == choose_layout(instances, cores, row)


def test_a_model_on_another_device_gets_one_instance() -> None:
    assert choose_layout(Instances(), 16, 1.0, accelerated=True) == (1, 1)
    assert choose_layout(Instances(count=2), 16, 1.0, accelerated=True) == (2, 8)


# -- all of it ------------------------------------------------------------------------------------------


def test_warm_finds_everything_at_once() -> None:
    found = warm(EchoSession(), ModelSpec(batching=Batching(max_rows=8)))
    assert (
        found.batched,
        found.reason,
        found.isolation,
        sizes(found.samples),
    ) == (True, "", "inline", [1, 2, 4, 8])
    assert 0 < found.run_seconds < 1e-3


def test_without_batching_only_one_row_is_measured() -> None:
    found = warm(EchoSession(), ModelSpec(batching=Batching(policy="none")))
    assert (found.batched, sizes(found.samples)) == (True, [1])


def test_a_model_that_made_up_input_cannot_run_is_served_unbatched() -> None:
    def function(x: Array) -> Array:
        raise ValueError("the year must be after 1900")

    found = warm(Formula(function), ModelSpec())
    assert (found.batched, found.samples, found.isolation, found.run_seconds) == (False, [], "thread", 0.0)
    assert found.reason == "it cannot be run on made-up input: the year must be after 1900"
