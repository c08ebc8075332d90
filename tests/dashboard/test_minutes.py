"""The last minutes, as a page is told of them that has just been opened."""

import msgspec
import pytest

from penstock.dashboard.minutes import MOST, SPAN, STEP, Minutes, past
from penstock.dashboard.words import Cost, Energy, Machine, Model, Tick
from tests.dashboard import schema


def model(name, **figures):
    return Model(name=name, version="1", state="READY", **figures)


def tick(at, *models, **figures):
    energy = Energy(watts=50.0, grams_per_1000=0.5)
    known = {"cost": Cost(per_1000=0.25), "energy": energy, "machine": Machine(busy=0.5), "errors": 1.0}
    return Tick(at=at, seconds=1.0, models=models, **known | figures)


def told(*ticks):
    minutes = Minutes()
    for each in ticks:
        minutes.add(each)
    return past(minutes.all())


def test_one_second_in_five_is_kept_and_the_newest():
    assert told(*(tick(1000.0 + at) for at in range(13))).at == (1000.0, 1005.0, 1010.0, 1012.0)
    assert told(tick(1000.0), tick(1001.0)).at == (1000.0, 1001.0)


def test_what_is_older_than_the_page_draws_is_forgotten():
    found = told(*(tick(float(at)) for at in range(2000)))
    assert found.at[0] >= 1999 - SPAN
    assert len(found.at) <= SPAN / STEP + 2


def test_the_whole_is_as_the_strip_shows_it():
    slow, busy = model("slow", rate=1.0, p99_ms=90.0), model("busy", rate=9.0, p99_ms=7.0)
    whole = told(tick(0.0, rate=3.0), tick(5.0, slow, busy, model("none"), rate=10.0)).whole
    assert (whole.rate, whole.errors, whole.p99) == ((3.0, 10.0), (1.0, 1.0), (None, 7.0))
    assert (whole.busy, whole.cost, whole.watts, whole.grams) == (
        (0.5,) * 2,
        (0.25,) * 2,
        (50.0,) * 2,
        (0.5,) * 2,
    )


def test_a_model_that_was_not_there_did_nothing():
    found = told(
        tick(0.0), tick(5.0, model("m", rate=2.0, p99_ms=3.0, error_rate=0.5)), tick(10.0, model("m"))
    )
    (name,) = found.models
    track = found.models[name]
    assert (name, track.rate, track.p99, track.errors) == (
        "m/1", (0.0, 2.0, 0.0), (None, 3.0, None), (0.0, 0.5, 0.0)
    )  # fmt: skip


def test_of_very_many_models_the_busiest_are_told():
    found = told(tick(0.0, *(model(f"m{n:03}", rate=float(n + 1)) for n in range(150))))
    assert len(found.models) == MOST
    assert set(found.models) == {f"m{n:03}/1" for n in range(50, 150)}
    sent = msgspec.json.decode(msgspec.json.encode(found), type=schema.Past)
    assert sent.models["m149/1"].rate == (150.0,)


@pytest.mark.parametrize("many", [1, 100])
def test_it_is_small(many):
    models = [model(f"m{n}", rate=123.45, p99_ms=12.345, error_rate=0.12) for n in range(many)]
    found = told(*(tick(5.0 * at, *models, rate=many * 123.45) for at in range(100)))
    assert len(msgspec.json.encode(found)) < 4_000 + 1_300 * many
