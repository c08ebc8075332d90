"""The machine's type and region come from the settings, the firmware's tables and the environment alone."""

from pathlib import Path

import pytest

from penstock.core.errors import BadSetting
from penstock.core.terms import Price
from penstock.metering.price.instance import AZURE_TAG, Instance, find, vendor


def dmi(root: Path, **said: str) -> Path:
    for name, text in said.items():
        (root / name).write_text(text + "\n")
    return root


NITRO = {"sys_vendor": "Amazon EC2", "product_name": "c5.large", "bios_version": "1.0"}
XEN = {"sys_vendor": "Xen", "product_name": "HVM domU", "bios_version": "4.11.amazon"}
GOOGLE = {"sys_vendor": "Google", "product_name": "Google Compute Engine"}
LAPTOP = {"sys_vendor": "Google", "product_name": "Eve"}
AZURE = {
    "sys_vendor": "Microsoft Corporation",
    "product_name": "Virtual Machine",
    "chassis_asset_tag": AZURE_TAG,
}
HYPER_V = {**AZURE, "chassis_asset_tag": "1234"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [(NITRO, "aws"), (XEN, "aws"), (GOOGLE, "gcp"), (AZURE, "azure"), (HYPER_V, ""), (LAPTOP, ""), ({}, "")],
)
def test_vendor_is_told_by_the_firmware(tmp_path: Path, said: dict[str, str], expected: str) -> None:
    assert expected == vendor(dmi(tmp_path, **said))


def test_a_nitro_machine_says_its_type(tmp_path: Path) -> None:
    found = find(Price(), dmi(tmp_path, **NITRO), {"AWS_REGION": "eu-west-1"})
    assert Instance(vendor="aws", type="c5.large", region="eu-west-1") == found


@pytest.mark.parametrize("said", [XEN, GOOGLE, AZURE, {}, {**NITRO, "product_name": "Virtual Machine"}])
def test_a_machine_that_does_not_say_its_type_is_not_guessed(tmp_path: Path, said: dict[str, str]) -> None:
    assert find(Price(), dmi(tmp_path, **said), {}) is None


def test_a_machine_in_a_region_of_the_settings_is_told(tmp_path: Path) -> None:
    """So that a region which is wrong is an error."""
    found = find(Price(region="eu-wset-1"), dmi(tmp_path, **NITRO), {"AWS_REGION": "eu-west-1"})
    assert Instance(vendor="aws", type="c5.large", region="eu-wset-1", told=True) == found


def test_none_switches_the_machine_off(tmp_path: Path) -> None:
    assert find(Price(instance="none"), dmi(tmp_path, **NITRO), {}) is None


@pytest.mark.parametrize(
    ("setting", "owner", "kind"),
    [
        ("aws:g5.xlarge", "aws", "g5.xlarge"),
        ("c7i-flex.large", "aws", "c7i-flex.large"),
        ("n2-standard-4", "gcp", "n2-standard-4"),
        ("Standard_D2s_v3", "azure", "Standard_D2s_v3"),
        ("gcp:e2-highmem-2", "gcp", "e2-highmem-2"),
    ],
)
def test_the_setting_goes_before_the_machine(tmp_path: Path, setting: str, owner: str, kind: str) -> None:
    found = find(Price(instance=setting), dmi(tmp_path, **NITRO), {})
    assert Instance(vendor=owner, type=kind, told=True) == found


@pytest.mark.parametrize(
    ("region", "environ", "expected"),
    [
        ("eu-north-1", {"AWS_REGION": "eu-west-1"}, "eu-north-1"),
        ("", {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-2"}, "eu-west-1"),
        ("", {"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-east-2"}, "us-east-2"),
        ("", {"GOOGLE_CLOUD_REGION": "us-west1"}, ""),
        ("", {}, ""),
    ],
)
def test_region_is_the_setting_or_the_vendors_variable(
    tmp_path: Path, region: str, environ: dict[str, str], expected: str
) -> None:
    found = find(Price(instance="c5.large", region=region), tmp_path, environ)
    assert found is not None
    assert expected == found.region


def test_an_unknown_vendor_names_those_known(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"price.instance 'hal:c5': no vendor 'hal'; have aws, azure, gcp"):
        find(Price(instance="hal:c5"), tmp_path, {})
