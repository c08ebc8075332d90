"""Make the catalogue of machine prices from the pricing file that the package apache-libcloud carries.

    pip download --no-deps -d wheels/new apache-libcloud
    pip download --no-deps -d wheels/old apache-libcloud==3.2.0
    python scripts/make_prices.py wheels/new/*.whl wheels/old/*.whl

The first is read for prices; those after it, older ones, only for dates: a vendor's table is as old as the
oldest file that has the same.  Each is a wheel, the folder of an installed package, or the file itself.

Of Amazon the file has three sorts of wrong prices, which libcloud's reader of Amazon's list lets in: 0 for
tenancies that are paid otherwise, prices of dedicated instances (6 or 10 % dearer), and dedicated hosts in
place of instances (names without a size).  They are mended from their neighbours, see ``mend``.
"""

import gzip
import json
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OUT = Path(__file__).resolve().parents[1] / "src/penstock/metering/price/prices.json.gz"
INSIDE = "libcloud/data/pricing.json"
TABLES = {"aws": "ec2_linux", "azure": "azure_linux", "gcp": "gce_instances"}

Table = dict[str, dict[str, float]]
"""Dollars an hour by type and region; a mended one is negative."""

SAME = ("us-east-1", "us-east-2", "us-west-2")
"""Regions in which Amazon asks the same."""
DEARER = ((1.055, 1.075), (1.09, 1.11))
"""A dedicated instance over a shared one, which prices rounded to few digits blur."""
VOTES = 3
"""Neighbours that a price must have to be judged by them."""

GIB = {
    "n1": {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9},
    "n2": {"standard": 4, "highmem": 8, "highcpu": 1},
    "n2d": {"standard": 4, "highmem": 8, "highcpu": 1},
    "e2": {"standard": 4, "highmem": 8, "highcpu": 1},
    "c2": {"standard": 4},
}
"""Memory for each vCPU of Google's predefined types, which are priced by vCPU and GiB."""
VCPUS = {
    "n1": (1, 2, 4, 8, 16, 32, 64, 96),
    "n2": (2, 4, 8, 16, 32, 48, 64, 80),
    "n2d": (2, 4, 8, 16, 32, 48, 64, 80, 96),
    "e2": (2, 4, 8, 16),
    "c2": (4, 8, 16, 30, 60),
}


def main() -> int:
    if len(sys.argv) < 2:
        raise SystemExit(
            "usage: make_prices.py PACKAGE [OLDER…]; each a wheel, a package folder or pricing.json"
        )
    files = [read(Path(name)) for name in sys.argv[1:]]
    OUT.write_bytes(pack(make(files, version(Path(sys.argv[1])))))
    return 0


def make(files: list[dict], package: str) -> dict:
    """The catalogue's file: by vendor its date, its regions, and each type's prices in their order."""
    newest = files[0]["compute"]
    tables = {
        "aws": mend(newest[TABLES["aws"]]),
        "azure": {kind: row for kind, row in newest[TABLES["azure"]].items() if kind.startswith("standard")},
        "gcp": google(newest[TABLES["gcp"]]),
    }
    vendors = {vendor: {"date": date(files, TABLES[vendor]), **rows(tables[vendor])} for vendor in TABLES}
    return {"source": f"pricing file of {package}, Apache-2.0", "vendors": vendors}


def read(place: Path) -> dict:
    """The pricing file in a wheel, in a package's folder, or itself."""
    if place.suffix == ".whl":
        with zipfile.ZipFile(place) as wheel:
            return json.loads(wheel.read(INSIDE))
    return json.loads((place / "data/pricing.json" if place.is_dir() else place).read_text())


def version(place: Path) -> str:
    """``apache-libcloud 3.9.1`` by a wheel's name, else without the number."""
    found = re.match(r"apache_libcloud-([^-]+)-", place.name)
    return f"apache-libcloud {found[1]}" if found else "apache-libcloud"


def date(files: list[dict], table: str) -> str:
    """The day on which the oldest file was written that has the table as the newest has it."""
    newest = files[0]["compute"][table]
    same = (file["updated"] for file in files if file["compute"].get(table) == newest)
    return datetime.fromtimestamp(min(same), UTC).date().isoformat()


def rows(table: Table) -> dict:
    regions = sorted({region for row in table.values() for region in row})
    types = {kind: [tidy(row.get(region)) for region in regions] for kind, row in table.items() if row}
    return {"regions": regions, "types": dict(sorted(types.items()))}


def tidy(price: float | None) -> float | None:
    """To five digits: more only tell of arithmetic."""
    return None if price is None else float(f"{price:.5g}")


def pack(catalogue: dict) -> bytes:
    """The same bytes for the same catalogue."""
    text = json.dumps(catalogue, separators=(",", ":"))
    return gzip.compress(text.encode(), 9, mtime=0)


def google(families: Mapping[str, dict]) -> Table:
    """Predefined types from the prices of a vCPU and a GiB."""
    return {
        f"{family}-{form}-{vcpus}": _sums(families[family], vcpus, vcpus * gib)
        for family, forms in GIB.items()
        if family in families
        for form, gib in forms.items()
        for vcpus in VCPUS[family]
        if (form, vcpus) not in {("highmem", 1), ("highcpu", 1)}
    }


def _sums(family: dict, vcpus: int, gib: float) -> dict[str, float]:
    """By region, where it has a price for both; there is a 0 where it has none."""
    cpu, ram = (
        {region: found["price"] for region, found in family[part]["on_demand"].items() if found["price"]}
        for part in ("cpu", "ram")
    )
    return {region: vcpus * cpu[region] + gib * ram[region] for region in cpu if region in ram}


def mend(raw: Mapping[str, Mapping[str, float]]) -> Table:
    """Amazon's table with on-demand prices of shared machines only.

    Within a family the ratio of two sizes is the same in every region, so each price is told by any other
    size and region: p(size, there) × p(other, here) ÷ p(other, there).
    The median of all such votes stands in for a price that is 0 or that is dearer by what a dedicated
    instance is dearer; a price without enough votes stays as it is, or is left out where it is 0.
    """
    families: dict[str, dict[str, Mapping[str, float]]] = {}
    for kind in sorted(kind for kind in raw if "." in kind):
        families.setdefault(kind.partition(".")[0], {})[kind] = raw[kind]
    mended = (judged({kind: fold(row) for kind, row in family.items()}) for family in families.values())
    return {kind: unfold(row, raw[kind]) for family in mended for kind, row in family.items()}


def fold(row: Mapping[str, float]) -> dict[str, float]:
    """The regions of ``SAME`` as one, at the least of their prices, lest they vote for each other."""
    same = [price for region, price in row.items() if region in SAME]
    rest = {region: price for region, price in row.items() if region not in SAME}
    return rest | ({SAME[0]: min(filter(None, same), default=0.0)} if same else {})


def unfold(row: Mapping[str, float], raw: Mapping[str, float]) -> dict[str, float]:
    """Prices for the regions that the file has; one that is not the file's is negative."""
    found = {region: row.get(SAME[0] if region in SAME else region) for region in raw}
    return {
        region: price if price == raw[region] else -abs(price)
        for region, price in found.items()
        if price is not None
    }


def judged(family: Table) -> Table:
    """One family's prices, each held against the others' votes until that changes nothing any more."""
    regions = sorted({region for row in family.values() for region in row})
    said = np.array([[family[kind].get(region, 0.0) for region in regions] for kind in family])
    with np.errstate(divide="ignore"):
        known = np.where(said == 0, np.nan, np.log(said))
    trusted, wrong = known, np.zeros(known.shape, bool)
    for _ in range(5):
        told, count = vote(trusted)
        before, wrong = wrong, dearer(known, told) & (count >= VOTES)
        trusted = np.where(wrong, told, known)
        if (before == wrong).all():
            break
    told = np.where(count >= VOTES, told, np.nan)
    mended = np.where(wrong | np.isnan(known), np.exp(told), said)
    return {
        kind: {
            region: float(price)
            for region, price in zip(regions, line, strict=True)
            if region in family[kind] and not np.isnan(price)
        }
        for kind, line in zip(family, mended, strict=True)
    }


def dearer(known: NDArray, told: NDArray) -> NDArray:
    """Which prices, as logarithms, are those of dedicated instances; an unknown one is not."""
    ratio = np.exp(known - told)
    return np.any([(least < ratio) & (ratio < most) for least, most in DEARER], axis=0)


def vote(prices: NDArray) -> tuple[NDArray, NDArray]:
    """For each cell of logarithms the median of what the others tell, and how many do."""
    told, count = np.full(prices.shape, np.nan), np.zeros(prices.shape, int)
    for at, votes in _votes(prices):
        count[at] = len(votes)
        if len(votes):
            told[at] = np.median(votes)
    return told, count


def _votes(prices: NDArray) -> Iterator[tuple[tuple[int, int], NDArray]]:
    for row, column in np.ndindex(prices.shape):
        others = np.delete(np.delete(prices, row, 0), column, 1)
        there = np.delete(prices[row], column)[None, :]
        here = np.delete(prices[:, column], row)[:, None]
        votes = (there + here - others).ravel()
        yield (row, column), votes[~np.isnan(votes)]


if __name__ == "__main__":
    raise SystemExit(main())
