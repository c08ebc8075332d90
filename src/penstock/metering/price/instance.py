"""What the machine says of itself without any network: whose cloud, which type, which region."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.core.terms import Price

DMI = Path("/sys/class/dmi/id")
VENDORS = ("aws", "azure", "gcp")
AZURE_TAG = "7783-7084-3265-9085-8269-3286-77"
"""Chassis asset tag of Azure's machines; other Hyper-V machines name the same maker without it."""
REGIONS = {
    "aws": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "gcp": ("GOOGLE_CLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"),
}
"""Environment variables that name the region, by vendor."""


class Instance(Struct, frozen=True, kw_only=True):
    """A machine type as the catalogue knows it; ``region`` is empty where nothing tells it."""

    vendor: str
    type: str
    region: str = ""
    told: bool = False
    """By the settings, so that one which the catalogue does not know is an error."""


def find(terms: Price, root: Path = DMI, environ: Mapping[str, str] = os.environ) -> Instance | None:
    """By the settings, else by what the machine says; None where neither tells.

    Only Amazon's machines of the Nitro generations say their type.
    Raises BadSetting for a vendor that is not known.
    """
    if terms.instance == "none":
        return None
    owner, kind = _told(terms.instance) if terms.instance else (vendor(root), _kind(root))
    if not owner or not kind:
        return None
    region = terms.region or _region(owner, environ)
    return Instance(vendor=owner, type=kind, region=region, told=bool(terms.instance or terms.region))


def vendor(root: Path = DMI) -> str:
    """``aws``, ``azure`` or ``gcp``, as the firmware's tables (DMI) tell; else empty."""
    if _read(root, "sys_vendor") == "Amazon EC2" or _read(root, "bios_version").endswith(".amazon"):
        return "aws"
    if _read(root, "product_name").startswith("Google Compute Engine"):
        return "gcp"
    return "azure" if _read(root, "chassis_asset_tag") == AZURE_TAG else ""


def _told(setting: str) -> tuple[str, str]:
    """Vendor and type of ``aws:c5.large``; without a vendor by the form: names differ between them."""
    owner, colon, kind = setting.rpartition(":")
    if colon and owner not in VENDORS:
        raise BadSetting(f"price.instance {setting!r}: no vendor {owner!r}; have {', '.join(VENDORS)}")
    return owner or _by_form(kind), kind


def _by_form(kind: str) -> str:
    if "." in kind:
        return "aws"
    return "azure" if kind.lower().startswith(("standard", "basic")) else "gcp"


def _kind(root: Path) -> str:
    """``c5.large`` on Amazon's Nitro, where the product's name is the type; else empty."""
    name = _read(root, "product_name")
    return name if _read(root, "sys_vendor") == "Amazon EC2" and "." in name else ""


def _region(owner: str, environ: Mapping[str, str]) -> str:
    return next((environ[name] for name in REGIONS.get(owner, ()) if environ.get(name)), "")


def _read(root: Path, name: str) -> str:
    try:
        return (root / name).read_text(errors="replace").strip()
    except OSError:
        return ""
