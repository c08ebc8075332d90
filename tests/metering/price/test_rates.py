"""The price is the settings', else the catalogue's, else not known; GPUs and processors are apart."""

import re

import pytest

from penstock.core.errors import BadSetting
from penstock.core.terms import Price
from penstock.metering.price.catalogue import Catalogue, Vendor
from penstock.metering.price.instance import Instance
from penstock.metering.price.rates import PriceNow, gpus_part, price

AWS = Vendor(
    "2025-03-02",
    ["eu-west-1", "us-east-1"],
    {"c5.large": [None, 0.08], "g5.xlarge": [1.2, 1.0], "m6i.large": [0.15, 0.1]},
)
GCP = Vendor("2020-08-30", ["us-central1"], {"n1-standard-4": [0.19], "n2-standard-2": [0.1]})
CPU = Instance(vendor="aws", type="c5.large", region="us-east-1")
GPU = Instance(vendor="aws", type="g5.xlarge", region="us-east-1")
FAR = Instance(vendor="aws", type="g5.xlarge", region="eu-west-1")
NEW = Instance(vendor="aws", type="c99.large", region="us-east-1")
GOOGLE = Instance(vendor="gcp", type="n1-standard-4", told=True)


def now(terms: Price, instance: Instance | None = None, gpus: int = 0) -> PriceNow | None:
    return price(
        terms,
        cores=4,
        gpus=gpus,
        instance=instance,
        catalogue=lambda: Catalogue("made up", {"aws": AWS, "gcp": GCP}),
    )


def never() -> Catalogue:
    raise AssertionError("the catalogue was asked")


def parts(found: PriceNow | None) -> tuple[float, float]:
    assert found is not None
    return round(found.cpu_per_hour, 9), round(found.gpu_per_hour, 9)


def test_without_settings_or_a_known_machine_there_is_no_price() -> None:
    assert now(Price()) is None
    assert now(Price(), NEW) is None


def test_settings_go_before_the_catalogue() -> None:
    assert PriceNow(2.0, 0.0, "EUR", "settings") == now(Price(per_hour=2.0, currency="EUR"), CPU)


def test_the_catalogue_is_asked_by_the_machine() -> None:
    expected = "catalogue of 2025-03-02: aws c5.large in us-east-1, on-demand"
    assert PriceNow(0.08, 0.0, "USD", expected) == now(Price(), CPU)


def test_the_catalogue_is_not_opened_without_need() -> None:
    for terms, gpus in [(Price(per_hour=1.0), 0), (Price(per_hour=1.0, gpu_share=0.5), 1)]:
        assert price(terms, cores=4, gpus=gpus, instance=GPU, catalogue=never) is not None
    assert price(Price(), cores=4, gpus=1, instance=None, catalogue=never) is None


@pytest.mark.parametrize(("plan", "expected"), [("on-demand", 3.0), ("spot", 1.0), ("reserved", 2.0)])
def test_the_plan_says_which_figure_counts(plan: str, expected: float) -> None:
    terms = Price(per_hour=3.0, spot_per_hour=1.0, reserved_per_hour=2.0, plan=plan)  # type: ignore[arg-type]
    found = now(terms)
    assert parts(found) == (expected, 0.0)
    assert found is not None
    assert found.source == ("settings" if plan == "on-demand" else f"settings, {plan}")


@pytest.mark.parametrize(
    ("terms", "machine", "gpus", "message"),
    [
        (Price(plan="spot", per_hour=1.0), CPU, 0, 'plan is "spot", but price.spot_per_hour is missing'),
        (Price(plan="reserved"), CPU, 0, 'plan is "reserved", but price.reserved_per_hour is missing'),
        (Price(spot_per_hour=1.0), None, 0, 'price.plan is "on-demand": set price.plan = "spot"'),
        (Price(currency="EUR"), CPU, 0, "give price.per_hour in EUR"),
        (Price(), Instance(vendor="aws", type="c5.lagre", told=True), 0, "nearest are c5.large"),
        (Price(per_hour=2.0), Instance(vendor="aws", type="c5.lagre", told=True), 1, "nearest are c5.large"),
        (Price(), GOOGLE, 1, "gcp:n1-standard-4 is without the GPUs"),
        (Price(per_hour=1.0, currency="EUR"), None, 1, "price.gpu_share is missing"),
    ],
)
def test_a_setting_that_cannot_be_followed_says_what_would_be_right(
    terms: Price, machine: Instance | None, gpus: int, message: str
) -> None:
    with pytest.raises(BadSetting, match=re.escape(message)):
        now(terms, machine, gpus)


@pytest.mark.parametrize(
    ("terms", "machine", "gpus", "expected"),
    [
        (Price(per_hour=2.0), None, 0, (2.0, 0.0)),
        (Price(per_hour=2.0, gpu_share=0.9), None, 0, (2.0, 0.0)),
        (Price(per_hour=2.0, gpu_share=0.9), GPU, 2, (0.2, 1.8)),
        (Price(per_hour=2.0), None, 1, (0.2, 1.8)),
        (Price(per_hour=0.1), None, 1, (0.1, 0.0)),
        (Price(per_hour=0.0), None, 1, (0.0, 0.0)),
        (Price(), GPU, 1, (0.2, 0.8)),
        (Price(), FAR, 1, (0.3, 0.9)),
        (Price(plan="spot", spot_per_hour=0.3, currency="EUR"), GPU, 1, (0.06, 0.24)),
        (Price(per_hour=2.0), NEW, 1, (0.2, 1.8)),
        (Price(per_hour=2.0), GOOGLE, 1, (0.2, 1.8)),
    ],
)
def test_gpus_cost_what_as_many_processors_alone_would_not(
    terms: Price, machine: Instance | None, gpus: int, expected: tuple[float, float]
) -> None:
    """Four vCPUs at 0.05 a vCPU-hour (0.075 in Ireland); a known machine is split as its listed price."""
    assert expected == parts(now(terms, machine, gpus))


def test_a_split_that_was_worked_out_is_in_the_source() -> None:
    found = now(Price(per_hour=2.0), None, 1)
    assert found is not None
    assert found.source == "settings; 90% for GPUs, by the catalogue's price of vCPUs"


@pytest.mark.parametrize(
    ("vcpus", "machine", "expected"), [(1, 4, 0.75), (5, 4, 0.0), (0, 4, 1.0), (1, 0, 0.0)]
)
def test_the_part_for_gpus_is_between_nothing_and_all(vcpus: float, machine: float, expected: float) -> None:
    assert expected == gpus_part(vcpus, machine)
