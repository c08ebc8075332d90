"""The queue of one version: who is run with whom, in which order, and who is told no."""

import asyncio
import logging
from math import inf
from time import monotonic

import pytest

from penstock.core.errors import (
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    ModelNotReady,
    Overloaded,
    PolicyFailed,
)
from penstock.core.ports import Take, Wait
from penstock.scheduling.lines import WINDOW
from tests.scheduling.stage import VARIED, Greedy, first, outcome, staged

# -- batches ---------------------------------------------------------------------------------------


@staged(instances=0)
async def test_what_arrives_in_one_turn_of_the_loop_runs_as_one_batch(stage):
    tickets = [stage.ask(n) for n in (1, 2, 3)]
    assert [await first(ticket) for ticket in tickets] == [2, 4, 6]
    assert stage.session.batches == [[1, 2, 3]]
    assert stage.recorder.batches == [(3, 3)]
    assert stage.policy.learned == [3]


@staged()
async def test_everybody_gets_all_of_their_own_rows_and_the_timing_of_their_batch(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(1, 2), stage.ask(3)]
    stage.release()
    await blocker
    one, two = [await ticket for ticket in tickets]
    assert (one.outputs["y"][:, 0].tolist(), two.outputs["y"][:, 0].tolist()) == ([2, 4], [6])
    assert (one.timing.batch, two.timing.batch) == (3, 3)
    assert one.timing.queued > 0
    assert (one.model, one.version) == ("m", "1")


@staged()
async def test_a_batch_is_never_larger_than_the_policy_says(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n) for n in range(10)]
    stage.release()
    await asyncio.gather(*(one for one in [blocker, *tickets]))
    assert stage.session.batches == [[99], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@staged(policy=Greedy(64))
async def test_requests_that_want_different_outputs_are_never_merged(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n, outputs=("y",) if n % 2 else ()) for n in range(6)]
    stage.release()
    await asyncio.gather(blocker, *tickets)
    assert stage.session.batches == [[99], [0, 2, 4], [1, 3, 5]]


@staged(policy=Greedy(64), signature=VARIED)
async def test_requests_of_different_trailing_shapes_are_never_merged(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n, width=2 + n % 2) for n in range(6)]
    stage.release()
    await asyncio.gather(blocker, *tickets)
    assert stage.session.batches == [[99], [0, 2, 4], [1, 3, 5]]


@staged(batched=False, policy=Greedy(1))
async def test_a_model_that_cannot_batch_runs_requests_one_by_one(stage):
    tickets = [stage.ask(n, n + 1) for n in (1, 5)]
    assert [await first(ticket) for ticket in tickets] == [2, 10]
    assert stage.session.batches == [[1, 2], [5, 6]]


@staged()
async def test_only_the_guilty_one_of_a_batch_fails(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n) for n in (1, 13, 3)]
    stage.release()
    await blocker
    one, guilty, three = [await outcome(ticket) for ticket in tickets]
    assert (one, three) == (2, 6)
    assert isinstance(guilty, EngineFailed)
    assert str(guilty) == "the model failed on this request: unlucky"
    assert stage.session.batches == [[99], [1, 13, 3], [1], [13], [3]]
    assert stage.recorder.failures == ["engine"]
    assert stage.policy.learned == [1]  # a batch that was taken apart says nothing of run times


# -- order ------------------------------------------------------------------------------------------


@staged(policy=Greedy(1))
async def test_the_most_urgent_go_first_and_equals_in_order(stage):
    blocker = await stage.busy()
    asked = [(1, 3), (2, 1), (3, 2), (4, 1), (5, 3)]
    tickets = [stage.ask(number, priority=priority) for number, priority in asked]
    stage.release()
    await asyncio.gather(blocker, *tickets)
    assert stage.session.batches == [[99], [2], [4], [3], [1], [5]]


@staged(policy=Greedy(1), default_priority=2)
async def test_a_request_without_priority_has_the_models_default(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(1, priority=3), stage.ask(2), stage.ask(3, priority=2), stage.ask(4, priority=1)]
    stage.release()
    await asyncio.gather(blocker, *tickets)
    assert stage.session.batches == [[99], [4], [2], [3], [1]]


@staged(max_priority=3)
async def test_a_priority_that_is_not_known_is_refused(stage):
    with pytest.raises(InvalidRequest, match=r"priority 4 is not known; model 'm' has 1 .* to 3, and 0"):
        stage.ask(1, priority=4)
    assert stage.recorder.failures == ["invalid"]


@staged()
async def test_room_that_the_urgent_leave_is_filled_by_the_less_urgent(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n, priority=2) for n in (1, 2, 3)] + [stage.ask(n, priority=1) for n in (4, 5)]
    stage.release()
    assert await asyncio.gather(*map(first, [blocker, *tickets])) == [198, 2, 4, 6, 8, 10]
    assert stage.session.batches == [[99], [4, 5, 1, 2], [3]]


@staged()
async def test_room_is_not_filled_with_what_wants_other_outputs(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(1, priority=2, outputs=("y",)), stage.ask(2, priority=1)]
    stage.release()
    await asyncio.gather(blocker, *tickets)
    assert stage.session.batches == [[99], [2], [1]]


@staged(policy=Greedy(100))
async def test_a_policy_looks_at_a_window_and_a_longer_line_is_served_whole_and_in_order(stage):
    blocker = await stage.busy()
    count = 3 * WINDOW + 7
    numbers = range(100, 100 + count)
    tickets = [stage.ask(n) for n in numbers]
    stage.release()
    assert await asyncio.gather(*map(first, tickets)) == [2 * n for n in numbers]
    await blocker
    assert [n for one in stage.session.batches for n in one] == [99, *numbers]
    assert max(waiting for waiting, _ in stage.policy.lines) == WINDOW
    assert max(rows for _, rows in stage.policy.lines) == count
    assert stage.scheduler.waiting == 0


# -- limits ----------------------------------------------------------------------------------------


@staged(max_rows=4)
async def test_the_queue_is_bounded_in_rows_and_says_how_many_wait(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(1, 2, 3), stage.ask(4)]
    with pytest.raises(Overloaded, match=r"the queue of model 'm' is full \(4 of 4 rows wait\)"):
        stage.ask(5)
    assert stage.scheduler.waiting == 4
    assert stage.recorder.failures == ["overloaded"]
    stage.release()
    await asyncio.gather(blocker, *tickets)
    assert stage.scheduler.waiting == 0
    assert await first(stage.ask(5)) == 10


@staged(max_rows=2, instances=0)
async def test_a_request_larger_than_the_queue_is_taken_when_nobody_waits(stage):
    assert await first(stage.ask(1, 2, 3)) == 2


@staged()
async def test_what_the_policy_does_not_admit_is_refused_with_the_rows_before_it(stage):
    blocker = await stage.busy()
    stage.policy.admits = lambda line_rows, newcomer, now: line_rows < 6
    tickets = [stage.ask(n) for n in range(6)]
    with pytest.raises(Overloaded, match=r"cannot answer within the deadline .*: 6 rows wait before"):
        stage.ask(7)
    stage.release()
    await asyncio.gather(blocker, *tickets)


# -- deadlines -------------------------------------------------------------------------------------


@staged()
async def test_a_deadline_that_has_passed_is_refused_at_the_door(stage):
    with pytest.raises(DeadlineExceeded, match="had passed before"):
        stage.ask(1, deadline=monotonic() - 0.001)
    assert stage.session.batches == []
    assert stage.recorder.failures == ["deadline"]


@staged(timeout_ms=5000)
async def test_who_is_late_in_the_queue_is_told_so_and_never_run(stage):
    blocker = await stage.busy()
    soon, later = stage.ask(1, deadline=monotonic() + 1), stage.ask(2)
    stage.scheduler.expire(monotonic() + 2)
    late = await outcome(soon)
    assert isinstance(late, DeadlineExceeded)
    assert "could not answer within" in str(late)
    assert "the request was not run" in str(late)
    stage.release()
    assert await asyncio.gather(*map(first, [blocker, later])) == [198, 4]
    assert stage.session.batches == [[99], [2]]
    assert stage.recorder.failures == ["deadline"]


@staged(timeout_ms=1000)
async def test_who_is_late_while_running_is_told_so_at_once_and_only_once(stage):
    blocker = await stage.busy()
    stage.scheduler.expire(monotonic() + 0.5)
    assert not blocker.over
    stage.scheduler.expire(monotonic() + 2)
    late = await outcome(blocker)
    assert str(late) == "model 'm' is still running past the deadline"
    stage.release()
    assert await first(stage.ask(1)) == 2
    assert stage.recorder.failures[0] == "deadline"


class Skipping(Greedy):
    """Gives up the first, once there are two."""

    def decide(self, line, /):
        return Take(len(line.waiting) - 1, 1) if len(line.waiting) > 1 else Take(1)


@staged(policy=Skipping())
async def test_whom_the_policy_gives_up_is_told_so(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n) for n in (1, 2, 3)]
    stage.release()
    await blocker
    given_up, *answered = [await outcome(ticket) for ticket in tickets]
    assert isinstance(given_up, DeadlineExceeded)
    assert answered == [4, 6]
    assert stage.recorder.failures == ["deadline"]


# -- callers who go --------------------------------------------------------------------------------


@staged()
async def test_who_goes_while_queued_is_never_run_and_is_counted(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n) for n in (1, 2, 3)]
    tickets[1].cancel()
    stage.release()
    assert await asyncio.gather(*map(first, [blocker, tickets[0], tickets[2]])) == [198, 2, 6]
    assert stage.session.batches == [[99], [1, 3]]
    assert stage.recorder.failures == ["cancelled"]
    assert stage.scheduler.waiting == 0


@staged()
async def test_who_goes_from_a_less_urgent_line_is_counted_too(stage):
    blocker = await stage.busy()
    urgent, gone, rest = stage.ask(1, priority=1), stage.ask(2, priority=2), stage.ask(3, priority=2)
    gone.cancel()
    stage.release()
    assert await asyncio.gather(*map(first, [blocker, urgent, rest])) == [198, 2, 6]
    assert stage.session.batches == [[99], [1, 3]]
    assert stage.recorder.failures == ["cancelled"]


@staged()
async def test_a_task_that_is_cancelled_while_it_waits_is_a_caller_who_goes(stage):
    blocker = await stage.busy()
    task = asyncio.create_task(outcome(stage.ask(1)))
    other = stage.ask(2)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stage.release()
    assert await asyncio.gather(*map(first, [blocker, other])) == [198, 4]
    assert stage.session.batches == [[99], [2]]


# -- policies that break ---------------------------------------------------------------------------


class Broken(Greedy):
    """Raises, or answers nonsense, as ``how`` says, once it is told to."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.breaks = False
        self._cap = 4

    @property
    def cap(self):
        if self.how == "cap" and self.breaks:
            raise RuntimeError("no cap")
        return self._cap

    @cap.setter
    def cap(self, value):
        pass

    def decide(self, line, /):
        if self.breaks:
            match self.how:
                case "decide":
                    raise RuntimeError("no idea")
                case "none":
                    return None
                case "too many":
                    return Take(100)
                case "too few":
                    return Take(0)
                case "negative":
                    return Take(3, -1)
                case "cap":
                    return Take(len(line.waiting))
        return super().decide(line)

    def learn(self, rows, seconds, /):
        if self.breaks and self.how == "learn":
            raise RuntimeError("cannot learn")

    def admits(self, line_rows, newcomer, now, /):
        if self.breaks and self.how == "admits":
            raise RuntimeError("no answer")
        return True


@pytest.mark.parametrize("how", ["decide", "none", "too many", "too few", "negative", "learn", "cap"])
def test_a_policy_that_fails_leaves_nobody_hanging(how, caplog):
    """Everybody who waits is told; the scheduler says that it is broken."""

    @staged(policy=Broken(how))
    async def run(stage):
        blocker = await stage.busy()
        tickets = [stage.ask(n, priority=1 + n % 2) for n in range(3)]
        stage.policy.breaks = True
        stage.release()
        assert await first(blocker) == 198
        got = await asyncio.wait_for(asyncio.gather(*map(outcome, tickets)), 5)
        assert [type(one) for one in got] == [PolicyFailed] * 3
        assert str(got[0]).startswith("the batch policy of model 'm' failed: ")
        assert stage.scheduler.broken is not None
        assert stage.scheduler.waiting == 0

    with caplog.at_level(logging.CRITICAL, "penstock.scheduler"):
        run()


def test_a_policy_that_fails_at_the_door_is_told_there():
    @staged(policy=Broken("admits"))
    async def run(stage):
        blocker = await stage.busy()
        tickets = [stage.ask(n) for n in range(4)]
        stage.policy.breaks = True
        with pytest.raises(PolicyFailed, match="failed: no answer"):
            stage.ask(5)
        assert stage.scheduler.broken is not None
        stage.release()
        got = await asyncio.wait_for(asyncio.gather(*map(outcome, [blocker, *tickets])), 5)
        assert got[0] == 198

    run()


# -- waiting and ending ----------------------------------------------------------------------------


class Patient(Greedy):
    """Waits until a moment, unless somebody joins."""

    def __init__(self, until=inf):
        super().__init__()
        self.until = until

    def decide(self, line, /):
        self.lines.append((len(line.waiting), line.rows))
        return super().decide(line) if len(line.waiting) > 1 or line.now >= self.until else Wait(self.until)


@staged(policy=Patient())
async def test_a_policy_that_waits_is_asked_again_when_somebody_joins(stage):
    one = stage.ask(1)
    await asyncio.sleep(0.01)
    assert stage.session.batches == []
    two = stage.ask(2)
    assert [await first(one), await first(two)] == [2, 4]
    assert stage.session.batches == [[1, 2]]


@staged(policy=Patient(monotonic()), instances=0)
async def test_a_policy_that_waits_is_asked_again_at_the_moment_that_it_named(stage):
    stage.policy.until = monotonic() + 0.02
    begun = monotonic()
    assert await first(stage.ask(1)) == 2
    assert monotonic() - begun >= 0.02


@staged()
async def test_a_drain_answers_all_that_were_accepted_and_refuses_the_rest(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n) for n in range(6)]
    draining = asyncio.create_task(stage.scheduler.drain())
    await asyncio.sleep(0)
    with pytest.raises(ModelNotReady, match="model 'm' version '1' is being unloaded"):
        stage.ask(7)
    assert not draining.done()
    stage.release()
    await draining
    assert all(ticket.over for ticket in [blocker, *tickets])
    assert await asyncio.gather(*map(first, tickets)) == [2 * n for n in range(6)]


@staged()
async def test_a_drain_ends_at_once_when_nothing_is_under_way(stage):
    await first(stage.ask(1))
    await asyncio.wait_for(stage.scheduler.drain(), 1)


@staged()
async def test_a_drain_ends_when_all_who_waited_have_gone(stage):
    blocker = await stage.busy()
    tickets = [stage.ask(n) for n in range(6)]
    for ticket in [blocker, *tickets]:
        ticket.cancel()
    draining = asyncio.create_task(stage.scheduler.drain())
    stage.release()
    await asyncio.wait_for(draining, 5)
    assert stage.session.batches == [[99]]


@staged(instances=0)
async def test_a_drain_in_the_loop_answers_all(stage):
    tickets = [stage.ask(n) for n in range(10)]
    await asyncio.wait_for(stage.scheduler.drain(), 5)
    assert all(ticket.over for ticket in tickets)
    assert stage.session.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
