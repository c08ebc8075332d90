"""What an hour of the machine costs now, its processors and its GPUs apart."""

from collections.abc import Callable

from msgspec import Struct

from penstock.core.errors import BadSetting
from penstock.core.terms import Price
from penstock.metering.price.catalogue import Catalogue, Listed
from penstock.metering.price.instance import Instance

DOLLARS = "USD"
FIGURES = {"on-demand": "per_hour", "spot": "spot_per_hour", "reserved": "reserved_per_hour"}
"""The key of ``[price]`` that gives a plan's figure."""
GPUS_APART = ("gcp",)
"""Vendors whose listed types are priced without GPUs."""


class PriceNow(Struct, frozen=True):
    """An hour of the whole machine; the two parts add up to its price."""

    cpu_per_hour: float
    gpu_per_hour: float
    """0 without GPUs."""
    currency: str
    source: str
    """``settings`` or ``catalogue of 2025-03-02: aws c5.large in us-east-1, on-demand``."""


def price(
    terms: Price, *, cores: int, gpus: int, instance: Instance | None, catalogue: Callable[[], Catalogue]
) -> PriceNow | None:
    """The price by the settings, else by the catalogue; None: not known, only resources are counted.

    ``cores``: vCPUs of the whole machine; ``catalogue`` is called when it is needed.
    Pure but for that.
    Raises BadSetting where a figure is missing for the plan, where the settings name a machine that the
    catalogue does not have, and where its dollars are not the currency.
    """
    amount = _given(terms)
    words = "settings" if terms.plan == "on-demand" else f"settings, {terms.plan}"
    listed = _listed(terms, gpus, instance, catalogue)
    if amount is None:
        if listed is None:
            _check_unused(terms)
            return None
        _check_dollars(terms)
        amount, words = listed.per_hour, listed.source()
    share, how = _gpus_share(terms, cores, gpus, amount, listed, catalogue)
    return PriceNow(amount - amount * share, amount * share, terms.currency, words + how)


def gpus_part(vcpus_cost: float, machine_cost: float) -> float:
    """1 − what a machine of as many vCPUs alone costs ÷ what this one costs, within 0 to 1.

    Pure.
    """
    return min(max(1 - vcpus_cost / machine_cost, 0.0), 1.0) if machine_cost > 0 else 0.0


def _given(terms: Price) -> float | None:
    """The plan's figure in the settings; None: the catalogue is to be asked."""
    key = FIGURES[terms.plan]
    figure: float | None = getattr(terms, key)
    if figure is None and terms.plan != "on-demand":
        raise BadSetting(
            f'price.plan is "{terms.plan}", but price.{key} is missing: give it, for the catalogue has '
            "on-demand prices only"
        )
    return figure


def _check_unused(terms: Price) -> None:
    """That no price is known is not for one that the plan does not use."""
    for plan, key in FIGURES.items():
        if getattr(terms, key) is not None:
            raise BadSetting(
                f'price.{key} is given, but price.plan is "{terms.plan}": set price.plan = "{plan}", or '
                f"give price.{FIGURES[terms.plan]}"
            )


def _check_dollars(terms: Price) -> None:
    if terms.currency != DOLLARS:
        raise BadSetting(
            f"price.currency is {terms.currency!r}, but the catalogue's prices are in {DOLLARS}: give "
            f'price.per_hour in {terms.currency}, or price.instance = "none"'
        )


def _listed(
    terms: Price, gpus: int, instance: Instance | None, catalogue: Callable[[], Catalogue]
) -> Listed | None:
    """What the catalogue says, if that is needed; it is an error that it lacks a machine of the settings."""
    given = _given(terms) is not None
    if instance is None or (given and (not gpus or terms.gpu_share is not None)):
        return None
    try:
        listed = catalogue().find(instance)
    except BadSetting:
        if instance.told:
            raise
        return None
    if not gpus or listed.vendor not in GPUS_APART:
        return listed
    if given:
        return None
    raise BadSetting(
        f"price.instance: the catalogue's price of {listed.vendor}:{listed.type} is without the GPUs "
        "attached to it; give price.per_hour"
    )


def _gpus_share(
    terms: Price,
    cores: int,
    gpus: int,
    amount: float,
    listed: Listed | None,
    catalogue: Callable[[], Catalogue],
) -> tuple[float, str]:
    """The part of the price that is for GPUs, and words for its source."""
    if not gpus:
        return 0.0, ""
    if terms.gpu_share is not None:
        return terms.gpu_share, ""
    if listed is not None:
        vcpus = cores * catalogue().vcpu(listed.vendor, listed.region)
        return _said(gpus_part(vcpus, listed.per_hour))
    if terms.currency != DOLLARS:
        raise BadSetting(
            f"price.gpu_share is missing: what processors alone cost is known in {DOLLARS}, not in "
            f"{terms.currency}; give the part of the price that is for the GPUs, 0 to 1, or price.instance"
        )
    return _said(gpus_part(cores * catalogue().vcpu(), amount))


def _said(share: float) -> tuple[float, str]:
    return share, f"; {share:.0%} for GPUs, by the catalogue's price of vCPUs"
