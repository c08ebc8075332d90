"""What energy weighs in CO2-equivalents: the grid's intensity now, and the machine's making."""

import csv
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from penstock.core.errors import BadSetting, one_line
from penstock.core.schema import nearest
from penstock.core.terms import Carbon
from penstock.metering.intensity import ask, header

log = logging.getLogger("penstock.carbon")
TABLE = Path(__file__).with_name("grid.csv")
KEPT = 24 * 3600.0
"""Seconds for which the last answer stands when no new one comes."""
YEAR = 365.25 * 24 * 3600.0


class Country(NamedTuple):
    """The yearly mean of a country's grid."""

    name: str
    grams: float
    year: int


class Grid(Protocol):
    """Grams of CO2-equivalents for each kWh of electricity."""

    source: str
    """Where the figure is from."""

    def grams(self) -> float | None:
        """Now; None where it is not known. Does not block."""
        ...


class Steady:
    """A figure that stays as it is."""

    def __init__(self, grams: float | None, source: str) -> None:
        self._grams = grams
        self.source = source

    def grams(self) -> float | None:
        return self._grams


class Asked:
    """What a server says, asked in a thread of its own, at most every ``every_s``.

    Its last answer stands for a day; before the first and after that, ``mean`` does.
    """

    def __init__(
        self,
        question: Callable[[], float],
        every: float,
        source: str,
        mean: float | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.source = source
        self._question = question
        self._every = every
        self._mean = mean
        self._clock = clock
        self._answer: tuple[float, float] | None = None
        """When it came, and what it was."""
        self._asked: float | None = None
        self._asking: Thread | None = None

    def grams(self) -> float | None:
        now = self._clock()
        if self._asked is None or now - self._asked >= self._every:
            self._ask(now)
        if self._answer is None or now - self._answer[0] > KEPT:
            return self._mean
        return self._answer[1]

    def wait(self, seconds: float | None = None) -> None:
        """Until the question that is on its way has been answered, or not."""
        if self._asking is not None:
            self._asking.join(seconds)

    def _ask(self, now: float) -> None:
        if self._asking is None or not self._asking.is_alive():
            self._asked = now
            asking = Thread(target=self._answered, name="penstock-carbon", daemon=True)
            try:
                asking.start()
            except RuntimeError:
                return  # no more threads: it is asked again when it is due
            self._asking = asking

    def _answered(self) -> None:
        try:
            self._answer = self._clock(), self._question()
        except Exception as error:  # noqa: BLE001 - a server that is not there, or speaks of something else
            log.warning("carbon.url: %s; the last answer stands for a day", one_line(error))


def grid(terms: Carbon, clock: Callable[[], float] = monotonic) -> Grid:
    """By a fixed value, else by asking a server, else by the country's mean; not known without any of them.

    A country beside a URL tells when the server does not.
    Raises BadSetting for an unknown country, a URL that is none, or a header that is none.
    """
    place = country(terms.country) if terms.country else None
    if terms.intensity is not None:
        return Steady(terms.intensity, "setting")
    mean = place.grams if place else None
    if terms.url:
        host, headers = _host(terms.url), header(terms.header)
        return Asked(lambda: ask(terms.url, headers, terms.field), terms.every_s, host, mean, clock)
    return Steady(mean, f"Ember, {place.name}, {place.year}" if place else "")


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname if parts.scheme in ("http", "https") else None
    except ValueError:
        host = None
    if not host:
        raise BadSetting(f"carbon.url = {url!r}; it must begin with http:// or https:// and a host")
    return host


def country(code: str) -> Country:
    """By its ISO 3166 code of two or three letters. Raises BadSetting for one that is not in the table."""
    known = countries()
    if code.upper() in known:
        return known[code.upper()]
    names = {row.name: key for key, row in known.items() if len(key) == 2}
    if code.title() in names:
        raise BadSetting(f"carbon.country = {code!r}; give its ISO 3166 code, {names[code.title()]!r}")
    near = nearest(code.upper(), sorted(known)) if len(code) < 4 else nearest(code.title(), sorted(names))
    raise BadSetting(f"carbon.country = {code!r} is no ISO 3166 code of the table; {near}")


@cache
def countries() -> dict[str, Country]:
    """By both codes."""
    with TABLE.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    found: dict[str, Country] = {}
    for row in rows:
        entry = Country(row["name"], float(row["grams"]), int(row["year"]))
        found[row["alpha_2"]] = found[row["alpha_3"]] = entry
    found["UK"] = found["GB"]  # ISO has it reserved for the same country
    return found


def embodied(terms: Carbon, share: float = 1.0) -> float | None:
    """Grams a second for having made the machine, by this part of it; None where it is not said.

    M = TE × TS × RS of ISO/IEC 21031:2024: all that was emitted, by the part of its life, by the part of it.
    """
    if terms.embodied_kg is None:
        return None
    return terms.embodied_kg * 1e3 / (terms.lifetime_years * YEAR) * share
