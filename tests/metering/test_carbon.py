"""The grid's intensity is a figure, a server's answer or the country's mean; SCI follows its standard."""

from collections.abc import Callable

import pytest

from penstock.core.errors import BadSetting
from penstock.core.terms import Carbon
from penstock.metering.carbon import KEPT, Asked, countries, country, embodied, grid
from penstock.testing import ManualClock


class Server:
    """Answers what it is told to."""

    def __init__(self, answer: float | Exception) -> None:
        self.answer = answer
        self.questions = 0

    def __call__(self) -> float:
        self.questions += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def asked(question: Callable[[], float], clock: ManualClock, mean: float | None = None) -> Asked:
    return Asked(question, 900.0, "test", mean, clock)


def after(grid: Asked) -> float | None:
    """What is known when the question has been answered."""
    grid.grams()
    grid.wait(5)
    return grid.grams()


def test_a_fixed_value_goes_before_the_rest() -> None:
    found = grid(Carbon(intensity=12.5, country="DE", url="http://127.0.0.1:9/"))
    assert (found.grams(), found.source) == (12.5, "setting")


def test_zero_is_a_value() -> None:
    assert grid(Carbon(intensity=0.0)).grams() == 0


@pytest.mark.parametrize("code", ["DE", "de", "DEU"])
def test_a_country_has_the_mean_of_its_last_year(code: str) -> None:
    found = grid(Carbon(country=code))
    assert (found.grams(), found.source) == (344.14, "Ember, Germany, 2024")


def test_a_country_s_other_reserved_code_is_known() -> None:
    assert country("UK") == country("GB")


def test_without_any_of_them_it_is_not_known() -> None:
    assert grid(Carbon()).grams() is None


@pytest.mark.parametrize(
    ("code", "hint"), [("germany", "'DE'"), ("Grmany", "Germany"), ("DUE", "DE"), ("9", "ISO 3166")]
)
def test_a_country_that_is_not_known_is_refused_with_what_is(code: str, hint: str) -> None:
    with pytest.raises(BadSetting, match=hint):
        country(code)


def test_the_table_is_whole() -> None:
    found = countries()
    assert len({row.name for row in found.values()}) == 208
    assert all(0 < row.grams < 1500 and 2022 <= row.year <= 2024 for row in found.values())
    assert found["FR"].grams < found["DE"].grams < found["PL"].grams


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "http://", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadSetting, match="http://"):
        grid(Carbon(url=url))


def test_a_server_is_asked_beside_and_not_again_before_its_time() -> None:
    clock, server = ManualClock(), Server(300.0)
    found = asked(server, clock)
    assert after(found) == 300
    clock.advance(899)
    assert after(found) == 300
    assert server.questions == 1
    server.answer = 200.0
    clock.advance(1)
    assert after(found) == 200
    assert server.questions == 2


def test_the_last_answer_stands_for_a_day_when_no_other_comes() -> None:
    clock, server = ManualClock(), Server(300.0)
    found = asked(server, clock)
    after(found)
    server.answer = ConnectionError("nobody there")
    clock.advance(KEPT)
    assert after(found) == 300
    clock.advance(1)
    assert after(found) is None
    server.answer = 100.0
    clock.advance(900)
    assert after(found) == 100


def test_the_country_s_mean_tells_when_the_server_does_not() -> None:
    assert after(asked(Server(OSError("nobody there")), ManualClock(), 344.14)) == 344.14


def test_a_server_that_nobody_is_behind_is_not_known() -> None:
    found = grid(Carbon(url="http://127.0.0.1:9/now"))
    assert isinstance(found, Asked)
    assert after(found) is None
    assert found.source == "127.0.0.1"


def test_embodied_carbon_is_spread_over_the_machine_s_life_by_the_part_of_it() -> None:
    terms = Carbon(embodied_kg=1200, lifetime_years=4)
    year = 365.25 * 24 * 3600
    assert embodied(terms, 0.5) == pytest.approx(1200e3 / (4 * year) * 0.5)
    assert embodied(Carbon()) is None
