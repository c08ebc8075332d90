"""The catalogue is made from libcloud's file, with Amazon's prices mended."""

import copy
import gzip
import json
import sys
import zipfile
from pathlib import Path

import pytest

from scripts import make_prices

REGIONS = {"us-east-1": 1.0, "us-east-2": 1.0, "us-west-2": 1.0, "eu-west-1": 1.1, "eu-central-1": 1.2}
SIZES = {"c5.large": 0.1, "c5.xlarge": 0.2, "c5.2xlarge": 0.4, "c5.metal": 1.7}
RIGHT = {kind: {r: round(each * part, 5) for r, part in REGIONS.items()} for kind, each in SIZES.items()}


def table(**wrong: float) -> dict[str, dict[str, float]]:
    """RIGHT, with prices changed by ``size__region`` (underlines for lines)."""
    changed = copy.deepcopy(RIGHT)
    for name, price in wrong.items():
        size, region = name.split("__")
        changed[f"c5.{size}"][region.replace("_", "-")] = price
    return changed


def part(price: float) -> dict:
    return {"on_demand": {"us-central1": {"price": price, "sku": "A"}, "mars-1": {"price": 0}}}


def pricing(updated: int = 1_740_936_978, ec2: dict | None = None) -> dict:
    compute = {
        "ec2_linux": ec2 or RIGHT,
        "azure_linux": {"standardd2": {"eastus": 0.1}, "lowpriorityd2": {"eastus": 0.02}},
        "gce_instances": {"e2": {"cpu": part(0.02), "ram": part(0.003)}},
    }
    return {"updated": updated, "compute": compute}


def test_right_prices_stay() -> None:
    assert make_prices.mend(RIGHT) == RIGHT


@pytest.mark.parametrize(
    ("wrong", "kind", "region"),
    [
        ({"xlarge__eu_west_1": 0.0}, "c5.xlarge", "eu-west-1"),
        ({"xlarge__eu_west_1": 0.2332}, "c5.xlarge", "eu-west-1"),
        ({"metal__eu_central_1": 2.244}, "c5.metal", "eu-central-1"),
        ({"large__us_east_1": 0.11}, "c5.large", "us-east-1"),
        ({"large__us_east_1": 0.0, "large__us_east_2": 0.106}, "c5.large", "us-east-1"),
        ({"large__eu_west_1": 0.0, "xlarge__eu_west_1": 0.242}, "c5.large", "eu-west-1"),
    ],
)
def test_nothing_and_dedicated_prices_are_mended_from_their_family(
    wrong: dict[str, float], kind: str, region: str
) -> None:
    mended = make_prices.mend(table(**wrong))
    assert mended[kind][region] == pytest.approx(-RIGHT[kind][region], rel=1e-6)
    assert {kind: {r: abs(price) for r, price in row.items()} for kind, row in mended.items()} == {
        kind: pytest.approx(row, rel=1e-6) for kind, row in RIGHT.items()
    }


def test_a_size_that_costs_otherwise_in_a_region_is_left_as_it_is() -> None:
    assert make_prices.mend(table(metal__eu_west_1=2.5))["c5.metal"]["eu-west-1"] == 2.5
    assert make_prices.mend(table(metal__eu_west_1=1.5))["c5.metal"]["eu-west-1"] == 1.5


def test_what_has_no_neighbours_stays_and_nothing_is_left_out() -> None:
    assert make_prices.mend({"p9.large": {"eu-west-1": 3.0, "sa-east-1": 0.0}}) == {
        "p9.large": {"eu-west-1": 3.0}
    }


def test_a_single_type_takes_the_least_of_the_regions_that_cost_the_same() -> None:
    mended = make_prices.mend({"p4d.24xlarge": {"us-east-1": 36.05, "us-east-2": 0.0, "us-west-2": 32.77}})
    assert mended == {"p4d.24xlarge": {"us-east-1": -32.77, "us-east-2": -32.77, "us-west-2": 32.77}}


def test_fewer_than_three_neighbours_do_not_judge() -> None:
    few = {
        "p9.large": {"eu-west-1": 1.1, "sa-east-1": 2.0},
        "p9.xlarge": {"eu-west-1": 2.0, "sa-east-1": 4.0},
    }
    assert few == make_prices.mend(few)
    few["p9.large"]["eu-west-1"] = 0.0
    assert make_prices.mend(few)["p9.large"] == {"sa-east-1": 2.0}


def test_dedicated_hosts_are_no_instances() -> None:
    assert make_prices.mend({**RIGHT, "c5": {"us-east-1": 4.2}}) == RIGHT


def test_a_table_is_as_old_as_the_oldest_file_that_has_it() -> None:
    files = [pricing(), pricing(1_598_818_533, table(large__eu_west_1=0.2)), pricing(1_640_000_000)]
    vendors = make_prices.make(files, "x")["vendors"]
    assert {vendor: found["date"] for vendor, found in vendors.items()} == {
        "aws": "2021-12-20",
        "azure": "2020-08-30",
        "gcp": "2020-08-30",
    }


def test_only_standard_machines_of_azure_are_taken() -> None:
    expected = {"date": "2025-03-02", "regions": ["eastus"], "types": {"standardd2": [0.1]}}
    assert expected == make_prices.make([pricing()], "x")["vendors"]["azure"]


def test_googles_types_are_priced_by_vcpu_and_memory() -> None:
    found = make_prices.make([pricing()], "x")["vendors"]["gcp"]
    assert found["regions"] == ["us-central1"]
    assert found["types"]["e2-standard-4"] == [0.128]
    assert found["types"]["e2-highcpu-2"] == [0.046]


@pytest.mark.parametrize("form", ["wheel", "folder", "file"])
def test_the_same_package_gives_the_same_bytes(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, source = given(form, tmp_path)
    out = tmp_path / "prices.json.gz"
    monkeypatch.setattr(make_prices, "OUT", out)
    monkeypatch.setattr(sys, "argv", ["make_prices.py", str(place)])
    made = set()
    for _ in range(2):
        assert make_prices.main() == 0
        made.add(out.read_bytes())
    assert len(made) == 1
    found = json.loads(gzip.decompress(made.pop()))
    assert found["source"] == source
    assert found["vendors"]["aws"]["types"]["c5.large"] == [0.12, 0.11, 0.1, 0.1, 0.1]


def given(form: str, folder: Path) -> tuple[Path, str]:
    text = json.dumps(pricing())
    if form == "wheel":
        wheel = folder / "apache_libcloud-3.9.1-py3-none-any.whl"
        with zipfile.ZipFile(wheel, "w") as file:
            file.writestr(make_prices.INSIDE, text)
        return wheel, "pricing file of apache-libcloud 3.9.1, Apache-2.0"
    (folder / "data").mkdir()
    (folder / "data/pricing.json").write_text(text)
    place = folder if form == "folder" else folder / "data/pricing.json"
    return place, "pricing file of apache-libcloud, Apache-2.0"
