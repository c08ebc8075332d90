"""The shipped catalogue of on-demand prices by vendor, machine type and region."""

import gzip
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.metering.price.instance import Instance

FILE = Path(__file__).with_name("prices.json.gz")
HOME = {"aws": "us-east-1", "azure": "eastus", "gcp": "us-central1"}
"""The region that is taken where none is told."""
GENERAL = {
    "aws": (("m6i.large", 2), ("m5.large", 2), ("m4.large", 2)),
    "azure": (("standardd2sv4", 2), ("standardd2sv3", 2)),
    "gcp": (("n2-standard-2", 2), ("n1-standard-2", 2)),
}
"""General-purpose types (4 GiB for each vCPU, or nearly) and their vCPUs; the first that the region has."""
GENERAL_VENDOR = "aws"


class Listed(Struct, frozen=True, kw_only=True):
    """One price of the catalogue, in US dollars an hour of the whole machine."""

    vendor: str
    type: str
    region: str
    per_hour: float
    date: str
    """Of the vendor's table, ``2025-03-02``."""
    worked_out: bool = False
    """From other sizes and regions of its family, where the catalogue's source has none or a wrong one."""
    assumed: bool = False
    """The region was not told; it is the vendor's first."""

    def source(self) -> str:
        region = f"{self.region} (assumed)" if self.assumed else self.region
        how = ", worked out from its family" if self.worked_out else ""
        return f"catalogue of {self.date}: {self.vendor} {self.type} in {region}, on-demand{how}"


class Vendor(Struct, frozen=True):
    """A vendor's table; a price that was worked out is negative, one that is not known None."""

    date: str
    regions: Sequence[str]
    types: Mapping[str, Sequence[float | None]]

    def by_region(self, kind: str) -> dict[str, float]:
        prices = zip(self.regions, self.types.get(kind, ()), strict=False)
        return {region: price for region, price in prices if price is not None}


class Catalogue(Struct, frozen=True):
    """Prices of ``source`` as of each vendor's date."""

    source: str
    vendors: Mapping[str, Vendor]

    def find(self, instance: Instance) -> Listed:
        """The price of a machine.

        Raises BadSetting for a type that it does not have, naming the nearest, and for a region in which it
        does not have the type, naming those in which it has.
        """
        table = self._vendor(instance.vendor)
        kind = plain(instance)
        prices = table.by_region(kind)
        if not prices:
            raise BadSetting(f"price.instance: {_unknown(instance, kind, table)}")
        region = instance.region or HOME[instance.vendor]
        if region not in prices:
            raise BadSetting(
                f"price.region: the catalogue has no price of {instance.vendor}:{kind} in {region}; "
                f"have {', '.join(prices)}; or give price.per_hour"
            )
        return Listed(
            vendor=instance.vendor,
            type=kind,
            region=region,
            per_hour=abs(prices[region]),
            date=table.date,
            worked_out=prices[region] < 0,
            assumed=not instance.region,
        )

    def vcpu(self, vendor: str = "", region: str = "") -> float:
        """US dollars an hour for one vCPU with the memory that usually goes with it.

        In the region if it is known, else in the vendor's first; without a vendor, Amazon's.
        """
        vendor = vendor or GENERAL_VENDOR
        table = self._vendor(vendor)
        for where in (region, HOME[vendor]):
            for kind, vcpus in GENERAL[vendor]:
                if price := table.by_region(kind).get(where):
                    return abs(price) / vcpus
        raise BadSetting(f"the catalogue has no general-purpose machine of {vendor}")

    def _vendor(self, name: str) -> Vendor:
        try:
            return self.vendors[name]
        except KeyError:
            have = ", ".join(self.vendors)
            raise BadSetting(f"the catalogue has no vendor {name!r}; have {have}") from None


def plain(instance: Instance) -> str:
    """The type as the catalogue writes it: Azure's ``Standard_D2s_v3`` is ``standardd2sv3``."""
    return instance.type.lower().replace("_", "") if instance.vendor == "azure" else instance.type


@cache
def load(file: Path = FILE) -> Catalogue:
    """The catalogue as it is shipped; reads the file (a few milliseconds) when first asked."""
    return msgspec.json.decode(gzip.decompress(file.read_bytes()), type=Catalogue)


def _unknown(instance: Instance, kind: str, table: Vendor) -> str:
    close = get_close_matches(kind, list(table.types), n=3)
    have = (
        f"nearest are {', '.join(close)}"
        if close
        else f"it has {len(table.types)} types of {instance.vendor}"
    )
    return f"the catalogue of {table.date} has no {instance.vendor}:{kind}; {have}; or give price.per_hour"
