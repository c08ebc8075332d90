"""The catalogue tells a machine's price, or what it would have known."""

import re

import pytest

from penstock.core.errors import BadSetting
from penstock.metering.price.catalogue import FILE, GENERAL, HOME, Catalogue, Listed, Vendor, load
from penstock.metering.price.instance import VENDORS, Instance

SMALL = Catalogue(
    "made up",
    {
        "aws": Vendor(
            "2025-03-02",
            ["eu-west-1", "us-east-1"],
            {"c5.large": [0.1, 0.08], "g5.xlarge": [-1.2, None], "m5.large": [0.11, 0.1]},
        ),
        "azure": Vendor("2020-08-30", ["eastus"], {"standardd2sv3": [0.096]}),
    },
)


def aws(kind: str, region: str = "") -> Instance:
    return Instance(vendor="aws", type=kind, region=region)


def test_a_price_is_of_a_type_in_a_region() -> None:
    expected = Listed(vendor="aws", type="c5.large", region="eu-west-1", per_hour=0.1, date="2025-03-02")
    assert expected == SMALL.find(aws("c5.large", "eu-west-1"))
    assert expected.source() == "catalogue of 2025-03-02: aws c5.large in eu-west-1, on-demand"


def test_without_a_region_the_vendors_first_is_taken_and_said() -> None:
    found = SMALL.find(aws("c5.large"))
    assert found.per_hour == 0.08
    assert found.source() == "catalogue of 2025-03-02: aws c5.large in us-east-1 (assumed), on-demand"


def test_a_price_that_was_worked_out_says_so() -> None:
    found = SMALL.find(aws("g5.xlarge", "eu-west-1"))
    assert (found.per_hour, found.worked_out) == (1.2, True)
    assert found.source().endswith("on-demand, worked out from its family")


def test_azures_names_are_known_as_azure_writes_them() -> None:
    found = SMALL.find(Instance(vendor="azure", type="Standard_D2s_v3"))
    assert (found.type, found.per_hour) == ("standardd2sv3", 0.096)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (aws("c5.lareg"), "no aws:c5.lareg; nearest are c5.large"),
        (aws("zzz"), "no aws:zzz; it has 3 types of aws; or give price.per_hour"),
        (aws("g5.xlarge"), "no price of aws:g5.xlarge in us-east-1; have eu-west-1;"),
        (aws("c5.large", "mars-1"), "no price of aws:c5.large in mars-1; have eu-west-1, us-east-1;"),
        (Instance(vendor="gcp", type="n2-standard-4"), "no vendor 'gcp'; have aws, azure"),
    ],
)
def test_what_is_not_known_names_what_is(asked: Instance, message: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(message)):
        SMALL.find(asked)


@pytest.mark.parametrize(
    ("vendor", "region", "expected"),
    [("", "", 0.05), ("aws", "eu-west-1", 0.055), ("aws", "mars-1", 0.05), ("azure", "", 0.048)],
)
def test_a_vcpu_costs_what_a_general_purpose_machine_asks_for_one(
    vendor: str, region: str, expected: float
) -> None:
    assert expected == SMALL.vcpu(vendor, region)


def test_the_shipped_file_is_small_and_says_whence_and_when() -> None:
    assert FILE.stat().st_size < 400_000
    catalogue = load()
    assert set(VENDORS) == set(catalogue.vendors) == set(HOME) == set(GENERAL)
    assert re.fullmatch(r"pricing file of apache-libcloud \d+\.\d+\.\d+, Apache-2.0", catalogue.source)
    for vendor in catalogue.vendors.values():
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", vendor.date)


def test_each_shipped_type_has_a_price_somewhere_and_none_is_nothing() -> None:
    for vendor in load().vendors.values():
        for kind, prices in vendor.types.items():
            known = [price for price in prices if price is not None]
            assert known, kind
            assert 0 not in known, kind
            assert len(vendor.regions) == len(prices), kind


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (aws("c5.large", "us-east-1"), 0.085),
        (aws("c5.4xlarge", "us-east-1"), 0.68),
        (aws("m5.xlarge", "us-east-1"), 0.192),
        (aws("t3.medium", "us-east-1"), 0.0416),
        (aws("g5.xlarge", "us-east-1"), 1.006),
        (aws("g5.48xlarge", "us-east-1"), 16.288),
        (aws("inf1.xlarge", "us-east-1"), 0.228),
        (Instance(vendor="gcp", type="n2-standard-4"), 0.19424),
        (Instance(vendor="azure", type="Standard_D4s_v3"), 0.192),
    ],
)
def test_shipped_prices_are_those_that_the_vendors_publish(asked: Instance, expected: float) -> None:
    """Two of Amazon's are 0 in the source and three those of dedicated instances."""
    assert load() != SMALL
    assert load().find(asked).per_hour == pytest.approx(expected, rel=0.002)


def test_a_vcpu_of_the_shipped_file_costs_some_five_cents() -> None:
    assert all(0.03 < load().vcpu(vendor) < 0.07 for vendor in VENDORS)
