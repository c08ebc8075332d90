"""Requests that are divided between two versions: by weight, by caller, and saved where one of them fails."""

from collections import Counter
from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np
import pytest

from penstock.core.errors import DeadlineExceeded, EngineFailed, InvalidRequest, Overloaded, PenstockError
from penstock.core.ticket import Ticket
from penstock.core.types import Reply, Request, Timing
from penstock.serving.coin import Coin
from penstock.serving.split import Division, Relay, Split, number

F32 = np.float32
X = {"x": np.ones((1, 2), F32)}


class Arm:
    """A version that answers when it is told to; raises ``fails`` at once, and ``odd`` at its check."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.asked: list[Ticket] = []
        self.fails: PenstockError | None = None
        self.odd: PenstockError | None = None
        self.at_once = False

    def check(self, request: Request) -> None:
        if self.odd is not None:
            raise self.odd

    def executor(self, request: Request) -> Ticket:
        if self.fails is not None:
            raise self.fails
        ticket = Ticket(request, 1, 0.0, inf if request.deadline == inf else request.deadline)
        self.asked.append(ticket)
        if self.at_once:
            ticket.answer(self.reply())
        return ticket

    def reply(self, y: Any = 1.0) -> Reply:
        return Reply("m", self.version, {"y": np.full((1, 1), y, F32)}, Timing(0.0, 0.001, 1))


class Log:
    """A witness that writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[bool, float, str]] = []
        self.units: list[int] = []
        self.events: Counter[str] = Counter()

    def asked(self, ticket: Ticket, odds: float, unit: int, /) -> None:
        self.units.append(unit)

        def over(ticket: Ticket) -> None:
            self._hear(False, odds, ticket.reply, ticket.error)

        if ticket.over:
            over(ticket)
        ticket.watch = over

    def tried(self, relay: Relay, /) -> None:
        self.units.append(relay.unit)
        if relay.beside:
            self.events["beside"] += 1

    def told(self, relay: Relay, reply: Reply | None, error: PenstockError | None, /) -> None:
        self._hear(True, relay.odds, reply, error)

    def refused(self, odds: float, unit: int, error: PenstockError, /) -> None:
        self._hear(False, odds, None, error)

    def _hear(self, candidate: bool, odds: float, reply: Reply | None, error: PenstockError | None) -> None:
        what = "gone" if reply is None and error is None else type(error).__name__ if error else "answer"
        self.heard.append((candidate, odds, what))

    def spoilt(self, relay: Relay, /) -> None:
        self.events["spoilt"] += 1

    def saved(self, relay: Relay, /) -> None:
        self.events["saved"] += 1


class House:
    def __init__(self, weight: float = 1.0, **more: Any) -> None:
        self.old, self.new, self.log = Arm("1"), Arm("2"), Log()
        division = Division("1", "2", weight, self.log, salt=b"salt", **more)
        self.split = Split(self.old, self.new, division)  # type: ignore[arg-type]
        self.answers: list[Ticket] = []

    def ask(self, **told: Any) -> Ticket:
        ticket = self.split(Request(model="m", inputs=X, **told))
        if ticket.over:
            self.answers.append(ticket)
        else:
            ticket.then = self.answers.append
        return ticket

    @property
    def versions(self) -> list[str]:
        return [answer.reply.version if answer.reply else str(answer.error) for answer in self.answers]

    @property
    def whats(self) -> list[str]:
        return [what for _, _, what in self.log.heard]


def test_the_answer_is_that_of_the_version_that_was_asked():
    house = House(weight=1.0)
    house.ask()
    house.new.asked[0].answer(house.new.reply())
    assert (house.versions, house.log.heard, house.old.asked) == (["2"], [(True, 1.0, "answer")], [])


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.05, 0.25, 0.5, 1.0])
def test_weights_hold_within_a_tenth_of_a_percent_over_10_000_requests(weight):
    """Independent coins of one weight would be off by up to one percent at 50 %."""
    coin = Coin(weight, b"seed")
    tosses = [coin.toss() for _ in range(10_000)]
    assert abs(sum(chosen for _, chosen, _ in tosses) / 10_000 - weight) <= 0.001
    odds = {each for each, _, _ in tosses}
    assert len(odds) <= 21
    assert all(weight / 2 <= each <= (1 + weight) / 2 for each in odds)


def test_odds_are_what_they_are_said_to_be():
    """Sorted by the odds that were logged, as many fall on the candidate as those say."""
    coin = Coin(0.2, b"seed")
    said: dict[float, list[bool]] = {}
    for _ in range(200_000):
        odds, chosen, _ = coin.toss()
        said.setdefault(odds, []).append(chosen)
    for odds, fell in said.items():
        if len(fell) > 1000:
            assert abs(np.mean(fell) - odds) < 4 * np.sqrt(odds * (1 - odds) / len(fell))


def test_a_returning_caller_stays_on_his_version_as_the_weight_grows():
    keys = [f"caller {at}" for at in range(2000)]

    def of(request: Request) -> str:
        return request.id

    stood: Mapping[str, bool] = dict.fromkeys(keys, False)
    for weight in (0.01, 0.05, 0.25, 0.5):
        house = House(weight, key=of)
        house.old.at_once = house.new.at_once = True
        now = {key: house.ask(id=key).reply.version == "2" for key in keys}  # type: ignore[union-attr]
        again = {key: house.ask(id=key).reply.version == "2" for key in keys}  # type: ignore[union-attr]
        assert now == again
        assert all(now[key] for key in keys if stood[key])
        assert abs(np.mean(list(now.values())) - weight) < 4 * np.sqrt(weight / 2000)
        assert {odds for _, odds, _ in house.log.heard} == {weight}
        stood = now


def test_other_rollouts_have_other_callers_first():
    both = [(number(f"{at}", b"one") < 2**62, number(f"{at}", b"two") < 2**62) for at in range(4000)]
    assert abs(np.mean([a and b for a, b in both]) - 1 / 16) < 0.02


def test_who_has_no_key_is_divided_by_lot():
    house = House(0.5, key=lambda _: "")
    house.old.at_once = house.new.at_once = True
    assert {house.ask().reply.version for _ in range(50)} == {"1", "2"}  # type: ignore[union-attr]
    assert set(house.log.units) == {0}


@pytest.mark.parametrize("error", [EngineFailed("broken"), Overloaded("full"), InvalidRequest("odd")])
@pytest.mark.parametrize("when", ["while it runs", "at once", "at its check"])
def test_what_fails_on_the_candidate_is_answered_by_the_stable_version(error, when):
    house = House(weight=1.0)
    if when == "at once":
        house.new.fails = error
    elif when == "at its check":
        house.new.odd = error
    house.ask()
    if when == "while it runs":
        house.new.asked[0].fail(error)
    house.old.asked[0].answer(house.old.reply())
    assert (house.versions, house.whats) == (["1"], [type(error).__name__])
    assert house.log.events == {"saved": 1}


def test_what_the_stable_version_cannot_answer_either_is_told_by_its_error():
    house = House(weight=1.0)
    house.ask()
    house.new.asked[0].fail(EngineFailed("new"))
    house.old.asked[0].fail(EngineFailed("old"))
    assert (house.versions, house.whats, +house.log.events) == (["old"], ["EngineFailed"], {})
    house.old.fails = Overloaded("full")
    house.ask()
    house.new.asked[1].fail(EngineFailed("new"))
    assert house.versions == ["old", "full"]


def test_what_fails_on_the_stable_version_is_not_tried_on_the_candidate():
    house = House(weight=0.0)
    house.ask()
    house.old.asked[0].fail(EngineFailed("old"))
    assert (house.versions, house.new.asked, house.whats) == (["old"], [], ["EngineFailed"])
    house.old.fails = Overloaded("full")
    with pytest.raises(Overloaded):
        house.ask()
    assert house.whats == ["EngineFailed", "Overloaded"]


def test_a_deadline_that_has_passed_leaves_no_time_to_try_again():
    house = House(weight=1.0)
    house.ask(deadline=-1.0)
    house.new.asked[0].fail(DeadlineExceeded("late"))
    assert (house.versions, house.old.asked, house.whats) == (["late"], [], ["DeadlineExceeded"])


def test_the_second_try_has_the_deadline_of_the_first():
    house = House(weight=1.0)
    house.ask(deadline=1e12)
    house.new.asked[0].fail(EngineFailed("new"))
    assert house.old.asked[0].request.deadline == 1e12


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_replaced_by_one_that_is(bad):
    house = House(weight=1.0)
    house.ask()
    house.new.asked[0].answer(house.new.reply(bad))
    house.old.asked[0].answer(house.old.reply())
    assert (house.versions, house.whats) == (["1"], ["EngineFailed"])
    assert house.log.events == {"saved": 1, "spoilt": 1}


def test_where_the_model_answers_with_nan_the_candidate_may_too():
    house = House(weight=1.0)
    house.ask()
    house.new.asked[0].answer(house.new.reply(np.nan))
    house.old.asked[0].answer(house.old.reply(np.nan))
    assert (house.versions, house.whats, +house.log.events) == (["1"], ["answer"], {})


def test_an_answer_that_is_no_number_is_better_than_none():
    """Nobody can tell whether the model is like that: no alarm, and the caller has what there is."""
    house = House(weight=1.0)
    house.ask()
    house.old.fails = Overloaded("full")
    house.new.asked[0].answer(house.new.reply(np.inf))
    assert (house.versions, house.whats, house.log.events) == (["2"], ["answer"], {})


def test_once_the_model_is_known_to_answer_with_nan_nobody_asks_twice():
    house = House(weight=1.0)
    for at in range(3):
        house.ask()
        house.new.asked[at].answer(house.new.reply(np.nan))
        if not at:
            house.old.asked[0].answer(house.old.reply(np.nan))
    assert (house.versions, len(house.old.asked)) == (["1", "2", "2"], 1)


def test_who_waits_for_the_stable_version_already_is_not_given_up_again():
    house = House(weight=1.0)
    relay = house.ask()
    house.new.asked[0].answer(house.new.reply(np.nan))
    house.split.give_up(relay)  # type: ignore[arg-type]
    house.old.asked[0].answer(house.old.reply())
    assert (house.versions, len(house.old.asked), house.log.events["spoilt"]) == (["1"], 1, 1)


def test_what_fails_on_the_baseline_is_answered_by_the_stable_version():
    beside = Arm("1")
    house = House(0.5, baseline=beside)
    house.new.at_once = house.old.at_once = True
    beside.fails = Overloaded("full")
    for _ in range(50):
        house.ask()
    assert set(house.versions) == {"1", "2"}
    assert house.log.events["beside"] > 10


def test_a_caller_who_goes_takes_both_tries_with_him_and_is_told_of_once():
    house = House(weight=1.0)
    gone = house.ask()
    gone.cancel()
    assert house.new.asked[0].over
    house.new.asked[0].answer(house.new.reply())
    late = house.ask()
    house.new.asked[1].fail(EngineFailed("new"))
    late.cancel()
    assert house.old.asked[0].over
    assert (house.answers, house.whats) == ([], ["gone", "EngineFailed"])


def test_what_takes_too_long_is_asked_of_the_stable_version_and_counts_once():
    house = House(weight=1.0)
    relay = house.ask()
    assert isinstance(relay, Relay)
    house.split.give_up(relay)
    house.split.give_up(relay)
    house.new.asked[0].answer(house.new.reply())
    house.old.asked[0].answer(house.old.reply())
    assert (house.versions, house.whats, len(house.old.asked)) == (["1"], ["DeadlineExceeded"], 1)


def test_an_answer_that_is_there_at_once_is_given_at_once():
    house = House(weight=1.0)
    house.new.at_once = True
    assert house.ask().reply is not None
    assert house.whats == ["answer"]


def test_the_time_that_was_lost_counts_as_queued():
    house = House(weight=1.0)
    relay = house.ask()
    house.new.asked[0].fail(EngineFailed("new"))
    house.old.asked[0].arrived = relay.arrived + 2.0
    house.old.asked[0].answer(house.old.reply())
    assert house.answers[0].reply is not None
    assert house.answers[0].reply.timing.queued == pytest.approx(2.0)


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("key", [None, lambda request: request.id], ids=["by lot", "by caller"])
def test_a_baseline_gets_as_many_requests_as_the_candidate_while_there_are_enough(weight, key):
    beside = Arm("1")
    house = House(weight, baseline=beside, key=key)
    house.old.at_once = house.new.at_once = beside.at_once = True
    for at in range(5000):
        house.ask(id=f"{at}")
    shares = np.array([len(house.new.asked), len(beside.asked), len(house.old.asked)]) / 5000
    rest = min(weight, 1 - weight)
    np.testing.assert_allclose(shares, [weight, rest, 1 - weight - rest], atol=0.03)
    assert house.log.events["beside"] == len(beside.asked)
