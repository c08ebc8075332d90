"""What a model is asked is kept where its settings want that: the last of it, within bounds, unchanged."""

import gc
from types import SimpleNamespace
from weakref import ref

import numpy as np
import pytest

from penstock.core.errors import BadSetting, Overloaded
from penstock.core.spec import Record
from penstock.core.tensors import Array, from_bytes, from_json
from penstock.core.ticket import Ticket
from penstock.core.types import Request, Tensors
from penstock.serving.recording import ELEMENT, Recorded, Recording, join, recording_of, unwrap, wrap

FIRST = np.zeros((1, 4), np.float32)


def kept(recording: Recording, name: str = "x") -> list[Array]:
    return [inputs[name] for inputs in recording.inputs()]


def numbers(recording: Recording) -> list[float]:
    return [float(array.flat[0]) for array in kept(recording)]


def test_the_last_so_many_are_kept() -> None:
    recording = Recording(Record(requests=3))
    for number in range(5):
        recording.add({"x": FIRST + number})
    assert numbers(recording) == [2, 3, 4]


def test_no_more_bytes_are_kept_than_allowed() -> None:
    recording = Recording(Record(requests=100, max_bytes=FIRST.nbytes * 3 + 1))
    for number in range(5):
        recording.add({"x": FIRST + number})
    assert numbers(recording) == [2, 3, 4]
    recording.add({"x": np.concatenate([FIRST + 9] * 3)})
    assert numbers(recording) == [9]


def test_one_that_is_larger_than_all_the_room_is_left_out() -> None:
    recording = Recording(Record(requests=100, max_bytes=str(FIRST.nbytes * 3)))
    recording.add({"x": FIRST + 1})
    recording.add({"x": np.concatenate([FIRST] * 4)})
    assert numbers(recording) == [1]


def test_without_a_bound_on_bytes_only_the_number_counts() -> None:
    recording = Recording(Record(requests=2, max_bytes=0))
    for number in range(3):
        recording.add({"x": FIRST + number})
    assert numbers(recording) == [1, 2]


def test_the_text_of_bytes_tensors_counts() -> None:
    texts = np.array([b"x" * 100, b"y"], object)
    exact = 101 + 2 * ELEMENT
    for room, count in ((2 * exact, 2), (2 * exact - 1, 1)):
        recording = Recording(Record(requests=100, max_bytes=room))
        recording.add({"x": texts})
        recording.add({"x": texts})
        assert len(kept(recording)) == count


def test_what_a_caller_changes_afterwards_is_kept_as_it_was() -> None:
    recording = Recording(Record(requests=3))
    own, texts = FIRST.copy(), np.array([b"a"], object)
    shared = np.frombuffer(bytearray(FIRST.nbytes), np.float32).reshape(1, 4)
    for array in (own, texts, shared):
        recording.add({"x": array})
    own[:], texts[:], shared[:] = 7, b"b", 7
    assert [array.flat[0] for array in kept(recording)] == [0.0, b"a", 0.0]


def test_views_of_a_body_are_not_copied_but_small_parts_of_large_ones_are() -> None:
    body = FIRST.tobytes()
    whole = from_bytes("x", "FP32", (1, 4), memoryview(body))
    values = from_json("x", "FP32", (1, 4), [1, 2, 3, 4])
    part = from_bytes("x", "FP32", (1, 4), memoryview(body * 9)[: len(body)])
    recording = Recording(Record(requests=3))
    for array in (whole, values, part):
        recording.add({"x": array})
    again = kept(recording)
    assert [again[0] is whole, again[1] is values, again[2] is part] == [True, True, False]
    assert again[2].tolist() == part.tolist()


def test_memory_that_a_worker_lent_is_let_go() -> None:
    class Lent(np.ndarray):
        """An array that can be watched."""

    lent = FIRST.view(Lent)
    gone = ref(lent)
    recording = Recording(Record(requests=1))
    recording.add({"x": lent[:]})
    del lent
    gc.collect()
    assert gone() is None
    assert numbers(recording) == [0.0]


def test_an_amount_that_is_none_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"record\.max_bytes: '64 MoB' is no amount of memory"):
        Recording(Record(requests=1, max_bytes="64 MoB"))


class Answers:
    """An executor that lets two requests in."""

    waiting, idle, cap, trouble, restarts = 3, False, 8, "none", 2

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, request: Request, /) -> Ticket:
        if len(self.calls) == 2:
            raise Overloaded("the queue is full")
        self.calls.append(request)
        return Ticket(request, 1, 0.0)

    def expire(self, now: float, /) -> None:
        self.calls.append(("expire", now))

    async def drain(self) -> None:
        self.calls.append("drain")

    def close(self) -> None:
        self.calls.append("close")


def request(number: float) -> Request:
    return Request(model="m", inputs={"x": FIRST + number})


def test_what_is_let_in_is_kept_and_what_is_refused_is_not() -> None:
    executor = wrap(Answers(), Record(requests=9))
    tickets = [executor(request(number)) for number in (1, 2)]
    assert [ticket.request.inputs["x"][0, 0] for ticket in tickets] == [1, 2]
    with pytest.raises(Overloaded):
        executor(request(3))
    recording = recording_of(executor)
    assert recording is not None
    assert numbers(recording) == [1, 2]


def test_a_model_that_records_nothing_is_not_wrapped() -> None:
    answers = Answers()
    assert wrap(answers, Record()) is answers
    assert recording_of(answers) is None
    assert unwrap(answers) is answers


def test_all_else_is_asked_of_the_one_within() -> None:
    answers = Answers()
    executor = Recorded(answers, Recording(Record(requests=1)))
    names = ("waiting", "idle", "cap", "trouble", "restarts")
    assert SimpleNamespace(**{name: getattr(executor, name) for name in names}) == SimpleNamespace(
        waiting=3, idle=False, cap=8, trouble="none", restarts=2
    )
    executor.expire(5.0)
    with pytest.raises(StopIteration):
        executor.drain().send(None)
    executor.close()
    assert answers.calls == [("expire", 5.0), "drain", "close"]
    assert unwrap(executor) is answers


def shapes(groups: list[Tensors]) -> list[dict[str, tuple[int, ...]]]:
    return [{name: array.shape for name, array in group.items()} for group in groups]


def test_requests_of_the_same_shapes_are_joined_in_their_order() -> None:
    requests: list[Tensors] = [
        {"a": np.full((rows, wide), number), "b": np.array([[b"t"]] * rows, object)}
        for number, (rows, wide) in enumerate([(1, 4), (2, 5), (3, 4)])
    ]
    groups = join(requests, batched=True)
    assert shapes(groups) == [{"a": (4, 4), "b": (4, 1)}, {"a": (2, 5), "b": (2, 1)}]
    assert groups[0]["a"][:, 0].tolist() == [0, 2, 2, 2]


def test_requests_of_other_datatypes_or_inputs_are_not_joined() -> None:
    requests = [{"x": FIRST}, {"x": FIRST.astype(np.float64)}, {"x": FIRST, "y": FIRST}]
    assert len(join(requests, batched=True)) == 3


def test_requests_of_a_model_that_is_not_batched_stay_alone() -> None:
    requests = [{"x": FIRST}, {"x": FIRST}, {"x": np.array(1.0)}]
    assert shapes(join(requests, batched=False)) == [{"x": (1, 4)}, {"x": (1, 4)}, {"x": ()}]
