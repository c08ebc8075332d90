"""Forecasts of the peak, how far they were off, and the choice between them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.scaling.forecast import candidates, point
from penstock.scaling.forecast.conformal import TAUS, USUAL, pinball, quantiles
from penstock.scaling.forecast.fit import busy, choose, fit, horizon
from penstock.scaling.forecast.history import highest, history
from penstock.scaling.series import DAY
from tests.scaling.stage import restored


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 12))
def test_the_highest_of_neighbours_is_that_of_every_window(values, span):
    expected = [max(values[i : i + span]) for i in range(len(values) - span + 1)]
    assert highest(np.array(values), span).tolist() == expected


def test_the_peak_is_the_highest_half_minute_after_the_moment_and_within_the_lead():
    past = history(restored([30.0, 30, 30, 60, 90, 60, 30, 30]), lead=3)
    assert past.peaks.tolist() == pytest.approx([4.0, 6.0, 7.0, 7.0, 7.0])


@pytest.mark.parametrize(("startup_s", "expected"), [(0, 1), (0.1, 2), (10, 2), (30, 4), (120, 13)])
def test_the_horizon_is_the_start_up_and_one_tick(startup_s, expected):
    assert horizon(startup_s, 10.0) == expected


def test_quantiles_are_those_of_split_conformal_prediction():
    found = quantiles(np.arange(199.0))
    assert found.tolist() == [179.0, 189.0, 195.0, 197.0, 198.0]


@given(st.lists(st.floats(-5, 5), min_size=60, max_size=300))
def test_at_least_that_share_of_residuals_is_at_or_under_its_quantile(residuals):
    values = np.array(residuals)
    for tau, quantile in zip(TAUS, quantiles(values), strict=True):
        assert (values <= quantile).mean() >= tau - 1 / len(values)


def test_the_loss_of_a_quantile_is_least_at_the_quantile():
    came = np.random.default_rng(1).normal(100, 10, 5000)
    at = {share: pinball(came, np.full(5000, np.quantile(came, share)), 0.95) for share in (0.8, 0.95, 0.99)}
    assert min(at, key=lambda share: at[share]) == 0.95


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ({"persistence": 1.0, "ridge": 0.98}, "persistence"),
        ({"persistence": 1.0, "ridge": 0.96}, "ridge"),
        ({"persistence": 1.0, "ridge": 0.9, "seasonal": 0.8}, "seasonal"),
    ],
)
def test_another_method_is_used_only_where_it_is_clearly_better(losses, expected):
    assert choose(losses) == expected


def test_there_is_no_forecast_before_there_are_enough_residuals():
    assert fit(restored([10.0] * 150), 4) is None
    assert fit(restored([10.0] * 250), 4) is not None


def test_a_repeating_day_is_learned_by_days():
    """Jumps at the same time, which persistence cannot know: their losses are not its."""
    counts = np.tile(np.where(np.arange(DAY) // 360 % 2, 3000.0, 1000.0), 5)
    counts = np.random.default_rng(1).poisson(counts).astype(float)
    found = fit(restored(counts), 13)
    assert found is not None
    assert found.method in ("seasonal", "ridge")
    assert found.off[USUAL] < 0.6 * found.persistent[USUAL]


def test_noise_is_forecast_no_better_than_by_a_mean():
    found = fit(restored(np.random.default_rng(1).poisson(1000, 4 * DAY)), 4)
    assert found is not None
    assert found.method != "seasonal"
    assert 1.0 < np.exp(found.off[USUAL]) < 1.1


def test_the_forecast_now_is_what_the_history_gives_at_its_last_moment():
    """One formula twice: over arrays when it is fitted, over rates when it is asked."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(100 * (1.5 + np.sin(np.arange(3 * DAY) / 500))).astype(float)
    series = restored(counts)
    fitted = fit(series, 4)
    assert fitted is not None
    past = history(series, 4)
    past = replace(past, least=fitted.least)
    last = np.array([past.count - 1])
    now = point.rates(series)
    for method, rate in candidates.plain(past, last).items():
        expected = past.log(rate)[0]
        assert point._point(fitted, method, series, now) == pytest.approx(expected, rel=1e-5)
    from penstock.scaling.forecast import ridge

    assert fitted.weights is not None
    line = candidates.base(past, last) + ridge.features(past, last) @ fitted.weights
    assert point._point(fitted, "ridge", series, now) == pytest.approx(line[0], rel=1e-5)
    season = candidates.seasonal(past, last)[0]
    assert point._point(fitted, "seasonal", series, now) == pytest.approx(season, rel=1e-5)


def test_nine_of_ten_requests_come_at_the_busy_rate_or_under_it():
    assert busy(np.array([1.0] * 90 + [100.0] * 10)) == 100.0
    assert busy(np.array([10.0] * 99 + [100.0])) == 10.0


def test_new_traffic_has_the_coverage_that_its_quantile_says():
    """Of three days that wander, the last one forecast by what came before each moment of it."""
    rng = np.random.default_rng(4)
    rate = 1000 * np.exp(np.convolve(rng.normal(0, 0.02, 3 * DAY), np.exp(-np.arange(500) / 120), "same"))
    counts = rng.poisson(rate).astype(float)
    covered: list[bool] = []
    for end in range(2 * DAY, 3 * DAY - 20, 60):
        series = restored(counts[end - DAY : end])
        fitted = fit(series, 4)
        assert fitted is not None
        means = np.convolve(counts[end - 2 : end + 4], np.ones(3), "valid")[1:] / 30
        covered.append(bool(means.max() <= point.forecast(fitted, series, point.rates(series), USUAL)))
    assert 0.88 <= np.mean(covered) <= 1.0
