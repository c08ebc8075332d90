"""Requests on their way through pipelines: what is answered, by whom, and what happens when a step fails."""

import asyncio
from math import inf
from time import monotonic

import numpy as np
import pytest

from penstock.core.errors import (
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    ModelNotReady,
    Overloaded,
    PenstockError,
)
from penstock.core.types import Request, StepTiming, Timing
from penstock.serving.pipeline.run import idle
from tests.serving.pipeline.stage import outcome, plus, rows, staged, turns

CASCADE = ({"model": "small"}, {"model": "big", "when": "max(y) < 5"})


def cascade(stage, **big):
    """Small says what it was told, big a hundred more; big is asked below 5."""
    stage.model("small", plus(0))
    stage.model("big", plus(100), **big)
    return stage.pipeline("pipe", *CASCADE)


def diamond(stage, threads=0):
    """y = (x + 1) + (x + 10)."""
    stage.model("left", plus(1), threads=threads)
    stage.model("right", plus(10), threads=threads)
    stage.model("both", lambda a, b: {"y": a + b}, inputs="a b", threads=threads)
    steps = {"model": "left", "outputs": {"y": "a"}}, {"model": "right", "outputs": {"y": "b"}}
    return stage.pipeline("pipe", *steps, {"model": "both"})


@staged
async def test_a_chain_is_its_models_one_after_the_other(stage):
    stage.model("a", plus(1))
    stage.model("b", lambda x: {"y": x * 2})
    stage.pipeline("pipe", {"model": "a", "outputs": {"y": "h"}}, {"model": "b", "inputs": {"x": "h"}})
    assert await outcome(stage.ask("pipe", rows(1, 2))) == {"y": rows(4, 6).tolist()}


@staged
async def test_only_the_rows_for_which_the_condition_holds_go_to_the_second_model(stage):
    cascade(stage)
    answer = await outcome(stage.ask("pipe", rows(1, 6, 2, 7, 8, 3, 9, 5)))
    assert answer == {"y": rows(101, 6, 102, 7, 8, 103, 9, 5).tolist()}
    assert (stage.sessions["small"].batches, stage.sessions["big"].batches) == ([8], [3])


@pytest.mark.parametrize(("asked", "answered", "batches"), [((6, 7), (6, 7), []), ((1, 2), (101, 102), [2])])
def test_a_step_runs_for_no_row_or_for_all(asked, answered, batches):
    @staged
    async def test(stage):
        cascade(stage)
        assert await outcome(stage.ask("pipe", rows(*asked))) == {"y": rows(*answered).tolist()}
        assert stage.sessions["big"].batches == batches

    test()


@staged
async def test_what_a_model_that_is_not_batched_overrides_is_the_whole_request(stage):
    cascade(stage, batched=False, shape=(2, 2))
    assert await outcome(stage.ask("pipe", rows(6, 7))) == {"y": rows(6, 7).tolist()}
    assert await outcome(stage.ask("pipe", rows(6, 2))) == {"y": rows(106, 102).tolist()}


@staged
async def test_requests_meet_in_the_batches_of_each_model(stage):
    cascade(stage)
    asked = [(1, 6), (7,), (2, 3), (8, 9, 4)]
    answers = await asyncio.gather(*(stage.ask("pipe", rows(*numbers)) for numbers in asked))
    for numbers, reply in zip(asked, answers, strict=True):
        assert reply.outputs["y"].tolist() == rows(*(n + 100 if n < 5 else n for n in numbers)).tolist()
    assert (stage.sessions["small"].batches, stage.sessions["big"].batches) == ([8], [4])


@staged
async def test_an_answer_is_row_by_row_what_the_two_models_say(stage):
    rng = np.random.default_rng(0)
    stage.model("small", lambda x: {"y": np.sin(x)})
    stage.model("big", lambda x: {"y": np.cos(x * 3)})
    stage.pipeline("pipe", {"model": "small"}, {"model": "big", "when": "margin(y) < 0.5 or min(y) < -0.5"})
    for _ in range(20):
        x = rng.standard_normal((int(rng.integers(1, 20)), 2), dtype=np.float32)
        got = (await stage.ask("pipe", x)).outputs["y"]
        small, big = np.sin(x), np.cos(x * 3)
        unsure = (np.abs(small[:, 0] - small[:, 1]) < 0.5) | (small.min(1) < -0.5)
        assert got.tolist() == np.where(unsure[:, None], big, small).tolist()


@staged
async def test_branches_run_side_by_side(stage):
    diamond(stage, threads=1)
    left, right = stage.sessions["left"], stage.sessions["right"]
    left.gate.clear()
    right.gate.clear()
    ticket = stage.ask("pipe", rows(1))
    await asyncio.to_thread(left.began.acquire)
    await asyncio.to_thread(right.began.acquire)
    left.gate.set()
    right.gate.set()
    assert (await ticket).outputs["y"].tolist() == rows(13).tolist()


@staged
async def test_two_hundred_requests_through_a_diamond_get_their_own_answers(stage):
    pipe = diamond(stage, threads=2)
    numbers = [[i, i + 1000] for i in range(200)]
    replies = await asyncio.gather(*(stage.ask("pipe", rows(*each)) for each in numbers))
    assert [reply.outputs["y"][:, 0].tolist() for reply in replies] == [
        [2 * n + 11 for n in each] for each in numbers
    ]
    assert (pipe.waiting, pipe.idle) == (0, True)
    assert len(stage.sessions["both"].batches) < 200
    assert stage.statistics("pipe").success.count == 200
    assert stage.statistics("left").inference_count == 400


@staged
async def test_only_what_was_asked_for_runs(stage):
    stage.model("a", plus(1))
    stage.model("b", plus(2))
    stage.pipeline("pipe", {"model": "a", "outputs": {"y": "l"}}, {"model": "b", "outputs": {"y": "r"}})
    assert await outcome(stage.ask("pipe", rows(1), outputs=("r",))) == {"r": rows(3).tolist()}
    assert stage.sessions["a"].batches == []
    assert list(await outcome(stage.ask("pipe", rows(1)))) == ["l", "r"]


@staged
async def test_an_input_that_is_given_back_needs_no_step(stage):
    stage.model("a", plus(1))
    stage.pipeline("pipe", {"model": "a"}, give=("x", "y"))
    assert await outcome(stage.ask("pipe", rows(1), outputs=("x",))) == {"x": rows(1).tolist()}
    assert await outcome(stage.ask("pipe", rows(1))) == {"x": rows(1).tolist(), "y": rows(2).tolist()}


@staged
async def test_a_pipeline_may_be_a_step(stage):
    cascade(stage)
    stage.model("last", lambda x: {"z": -x}, outputs="z")
    stage.pipeline("outer", {"model": "pipe", "name": "inner"}, {"model": "last", "inputs": {"x": "y"}})
    reply = await stage.ask("outer", rows(1, 6))
    assert reply.outputs["z"].tolist() == rows(-101, -6).tolist()
    inner, last = reply.timing.steps
    assert (inner.name, inner.model, last.name) == ("inner", "pipe", "last")
    assert [(step.name, step.rows) for step in inner.timing.steps] == [("small", 2), ("big", 1)]


# -- what is passed on ---------------------------------------------------------------------------------


@staged
async def test_a_pipeline_that_is_a_step_is_no_query_that_anybody_asked_for(stage):
    stage.model("double", lambda x: {"y": 2 * x})
    stage.pipeline("within", {"model": "double"})
    stage.pipeline("outer", {"model": "within"})
    await stage.ask("outer", [[1, 2]])
    books = stage.ledger.books()
    assert {book.model: (book.request.count, book.inner) for book in books} == {
        "double": (1, 1),
        "within": (1, 1),
        "outer": (1, 0),
    }
    taken = {payer.model: account for payer, account in stage.ledger.accounts.take()}
    assert set(taken) == {"outer"}
    assert (taken["outer"].queries, taken["outer"].rows) == (1, 1)


@staged
async def test_steps_have_the_requests_deadline_id_tags_and_known_priority(stage):
    seen = []
    stage.model("few", plus(1), max_priority=2)
    stage.model("many", plus(1))
    stage.pipeline("pipe", {"model": "few", "outputs": {"y": "h"}}, {"model": "many", "inputs": {"x": "h"}})

    def listening(request: Request):
        seen.append(request)
        return stage.gateway(request)

    stage.handler = listening
    deadline = monotonic() + 5
    await stage.ask("pipe", rows(1), deadline=deadline, id="r", tags={"traceparent": "t"}, priority=3)
    assert [(r.deadline, r.id, r.tags, r.priority) for r in seen] == [
        (deadline, "r", {"traceparent": "t"}, 0), (deadline, "r", {"traceparent": "t"}, 3),
    ]  # fmt: skip


@staged
async def test_the_bill_has_every_step_that_ran(stage):
    cascade(stage)
    reply = await stage.ask("pipe", rows(1, 6, 2))
    timing = reply.timing
    assert (reply.model, reply.version, timing.batch) == ("pipe", "1", 3)
    assert [(s.name, s.model, s.version, s.rows) for s in timing.steps] == [
        ("small", "small", "1", 3), ("big", "big", "1", 2),
    ]  # fmt: skip
    assert timing.ran == pytest.approx(sum(step.timing.ran for step in timing.steps))
    assert 0 <= timing.steps[0].began < timing.steps[1].began
    assert timing.queued >= 0
    (unneeded,) = (await stage.ask("pipe", rows(6))).timing.steps
    assert unneeded.name == "small"


def step(began, queued, took):
    return StepTiming("s", "m", "1", 1, began, took, Timing(queued, 0.0, 1))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], 10.0),
        ([step(0, 1, 3), step(3, 2, 7)], 3.0),
        ([step(0, 1, 5), step(0, 2, 4)], 6.0),
        ([step(0, 0, 10), step(2, 1, 3)], 0.0),
    ],
)
def test_queued_is_the_time_in_which_no_step_ran(steps, expected):
    assert idle(steps, 10.0) == pytest.approx(expected)


# -- what goes wrong -----------------------------------------------------------------------------------


def unlucky(x):
    raise ValueError("unlucky")


@staged
async def test_an_error_keeps_its_class_and_names_the_step(stage):
    stage.model("small", plus(0))
    stage.model("big", unlucky, version="1")
    stage.pipeline("pipe", {"model": "small"}, {"model": "big", "name": "second", "when": "max(y) < 5"})
    error = await outcome(stage.ask("pipe", rows(1)))
    assert isinstance(error, EngineFailed)
    assert str(error).startswith("step 'second' (model 'big' version '1'): ")
    assert "unlucky" in str(error)
    assert await outcome(stage.ask("pipe", rows(6))) == {"y": rows(6).tolist()}
    assert stage.failures("pipe") == {"engine": 1}
    assert stage.statistics("pipe").success.count == 1


@staged
async def test_when_a_branch_fails_the_other_is_given_up(stage):
    diamond(stage, threads=1)
    stage.model("left", unlucky, threads=1)
    right = stage.sessions["right"]
    right.gate.clear()
    ticket = stage.ask("pipe", rows(1))
    error = await outcome(ticket)
    assert "step 'left'" in str(error)
    right.gate.set()
    while not stage.failures("right"):
        await asyncio.sleep(0.001)
    assert stage.failures("right") == {"cancelled": 1}
    assert stage.sessions["both"].batches == []


@staged
async def test_an_overload_says_when_to_come_again(stage):
    stage.model("small", plus(0), threads=1, max_rows=1)
    stage.pipeline("pipe", {"model": "small"})
    stage.sessions["small"].gate.clear()
    first = stage.ask("pipe", rows(1))
    await asyncio.to_thread(stage.sessions["small"].began.acquire)
    second = stage.ask("pipe", rows(2))
    error = await outcome(stage.ask("pipe", rows(3)))
    assert isinstance(error, Overloaded)
    assert error.retry_after == 1.0
    assert str(error).startswith("step 'small' (model 'small' version '1'): the queue")
    stage.sessions["small"].gate.set()
    assert [await outcome(one) for one in (first, second)] == [
        {"y": rows(1).tolist()},
        {"y": rows(2).tolist()},
    ]


@staged
async def test_a_step_that_hangs_past_the_deadline_is_answered_by_the_clock(stage):
    stage.model("small", plus(0))
    stage.model("big", plus(100), threads=1)
    pipe = stage.pipeline("pipe", *CASCADE)
    big = stage.sessions["big"]
    big.gate.clear()
    ticket = stage.ask("pipe", rows(1), deadline=monotonic() + 60)
    await asyncio.to_thread(big.began.acquire)
    pipe.expire(monotonic() + 30)
    assert not ticket.over
    pipe.expire(monotonic() + 61)
    error = await outcome(ticket)
    assert isinstance(error, DeadlineExceeded)
    assert str(error).endswith("it waits for step 'big'")
    assert (pipe.waiting, stage.failures("pipe")) == (0, {"deadline": 1})


@staged
async def test_a_deadline_that_a_step_meets_first_names_the_step(stage):
    stage.model("small", plus(0), threads=1)
    stage.pipeline("pipe", {"model": "small"})
    stage.sessions["small"].gate.clear()
    ticket = stage.ask("pipe", rows(1), deadline=monotonic() + 60)
    await asyncio.to_thread(stage.sessions["small"].began.acquire)
    stage.expire(monotonic() + 61)
    error = await outcome(ticket)
    assert isinstance(error, DeadlineExceeded)
    assert "step 'small'" in str(error)
    assert stage.failures("pipe") == {"deadline": 1}


@staged
async def test_a_model_that_is_unloaded_midway_is_an_error_that_names_the_step(stage):
    stage.model("small", plus(0), threads=1)
    stage.model("big", plus(100))
    pipe = stage.pipeline("pipe", *CASCADE)
    stage.sessions["small"].gate.clear()
    ticket = stage.ask("pipe", rows(1))
    await asyncio.to_thread(stage.sessions["small"].began.acquire)
    stage.drop("big")
    stage.sessions["small"].gate.set()
    error = await outcome(ticket)
    assert isinstance(error, ModelNotReady)
    assert str(error).startswith("step 'big' (model 'big'): no model 'big'")
    assert pipe.trouble == ""  # not every request needs it
    stage.drop("small")
    assert pipe.trouble == "step 'small' needs model 'small', which is not serving"


@staged
async def test_what_a_reloaded_model_gives_no_more_is_an_error(stage):
    stage.model("small", plus(0))
    stage.pipeline("pipe", {"model": "small"})
    stage.model("small", lambda x: {"z": x}, outputs="z")
    error = await outcome(stage.ask("pipe", rows(1)))
    assert isinstance(error, EngineFailed)
    assert str(error) == "step 'small' (model 'small' version '1'): it gave no output 'y'"


@staged
async def test_rows_of_another_shape_cannot_lie_over_others(stage):
    stage.model("small", lambda x: {"y": x}, shape=(-1, -1))
    stage.model("big", lambda x: {"y": x[:, :1]}, shape=(-1, -1))
    stage.pipeline("pipe", *CASCADE)
    error = await outcome(stage.ask("pipe", rows(1, 6)))
    assert isinstance(error, EngineFailed)
    assert "it gave [1, 1] for 1 rows of [2, 2]" in str(error)


@staged
async def test_a_condition_that_a_request_makes_impossible_is_an_error(stage):
    stage.model("small", lambda x: {"y": x}, shape=(-1, -1))
    stage.model("big", plus(100), shape=(-1, -1))
    stage.pipeline("pipe", {"model": "small"}, {"model": "big", "when": "y < 5"})
    error = await outcome(stage.ask("pipe", rows(1)))
    assert "has 2 values a row; say which is meant" in str(error)
    assert await outcome(stage.ask("pipe", np.ones((1, 1), np.float32))) == {"y": [[101.0]]}


@staged
async def test_a_handler_that_breaks_leaves_nobody_hanging(stage):
    stage.model("small", plus(0))
    pipe = stage.pipeline("pipe", {"model": "small"})

    def broken(request):
        raise RuntimeError("a bug")

    stage.handler = broken
    error = await outcome(stage.ask("pipe", rows(1)))
    assert type(error) is PenstockError
    assert pipe.idle


@staged
async def test_a_handler_may_give_any_awaitable(stage):
    """As it does for a model that has to be loaded first."""
    stage.model("small", plus(0))
    pipe = stage.pipeline("pipe", {"model": "small"})

    async def later(request):
        await asyncio.sleep(0)
        return await stage.gateway(request)

    stage.handler = later
    assert await outcome(stage.ask("pipe", rows(1))) == {"y": rows(1).tolist()}

    async def full(request):
        raise Overloaded("no room")

    stage.handler = full
    error = await outcome(stage.ask("pipe", rows(1)))
    assert str(error) == "step 'small' (model 'small' version '1'): no room"

    given_up = []

    async def never(request):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            given_up.append(request.model)
            raise

    stage.handler = never
    ticket = stage.ask("pipe", rows(1))
    await turns()
    ticket.cancel()
    pipe.expire(monotonic())
    await turns()
    assert given_up == ["small"]


@staged
async def test_a_caller_who_goes_takes_his_steps_with_him_and_nobody_elses(stage):
    pipe = diamond(stage, threads=1)
    left = stage.sessions["left"]
    left.gate.clear()
    tickets = [stage.ask("pipe", rows(i)) for i in range(3)]
    await asyncio.to_thread(left.began.acquire)
    tickets[1].cancel()
    pipe.expire(monotonic())
    assert pipe.waiting == 2
    left.gate.set()
    assert [await outcome(tickets[i]) for i in (0, 2)] == [{"y": rows(11).tolist()}, {"y": rows(15).tolist()}]
    assert stage.failures("pipe") == {"cancelled": 1}
    assert sum(stage.sessions["both"].batches) == 2


# -- who is let in -------------------------------------------------------------------------------------


@staged
async def test_rows_in_flight_are_bounded(stage):
    stage.model("small", plus(0), threads=1)
    pipe = stage.pipeline("pipe", {"model": "small"}, max_rows=3)
    stage.sessions["small"].gate.clear()
    tickets = [stage.ask("pipe", rows(1, 2)), stage.ask("pipe", rows(3))]
    with pytest.raises(Overloaded, match=r"3 of 3 rows are in it"):
        stage.ask("pipe", rows(4))
    stage.sessions["small"].gate.set()
    await asyncio.gather(*tickets)
    assert await outcome(stage.ask("pipe", rows(4, 5, 6, 7))) == {"y": rows(4, 5, 6, 7).tolist()}
    assert stage.failures("pipe") == {"overloaded": 1}
    assert pipe.waiting == 0


@staged
async def test_what_cannot_be_asked_is_refused_before_any_step(stage):
    cascade(stage)
    with pytest.raises(InvalidRequest, match="priority 9 is not known"):
        stage.ask("pipe", rows(1), priority=9)
    with pytest.raises(DeadlineExceeded):
        stage.ask("pipe", rows(1), deadline=0.0)
    with pytest.raises(InvalidRequest, match="has shape"):
        stage.ask("pipe", np.ones((1, 3), np.float32))
    with pytest.raises(InvalidRequest, match="no output 'z'"):
        stage.ask("pipe", rows(1), outputs=("z",))
    assert stage.sessions["small"].batches == []


@staged
async def test_a_drain_waits_for_who_is_inside_and_lets_nobody_in(stage):
    stage.model("small", plus(0), threads=1)
    pipe = stage.pipeline("pipe", {"model": "small"})
    stage.sessions["small"].gate.clear()
    ticket = stage.ask("pipe", rows(1))
    draining = asyncio.create_task(pipe.drain())
    await turns()
    with pytest.raises(ModelNotReady, match="is being unloaded"):
        stage.ask("pipe", rows(1))
    assert not draining.done()
    stage.sessions["small"].gate.set()
    assert await outcome(ticket) == {"y": rows(1).tolist()}
    await draining
    await pipe.drain()


@staged
async def test_without_a_deadline_the_pipelines_own_timeout_holds(stage):
    stage.model("small", plus(0), threads=1)
    pipe = stage.pipeline("pipe", {"model": "small"}, timeout_ms=50.0)
    stage.sessions["small"].gate.clear()
    ticket = stage.ask("pipe", rows(1), deadline=inf)
    pipe.expire(monotonic() + 0.06)
    assert isinstance(await outcome(ticket), DeadlineExceeded)
