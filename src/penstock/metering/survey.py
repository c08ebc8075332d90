"""The machine looked over once, at the start: processors and GPUs, counters, price, grid, and our share."""

import logging
import os

from msgspec import Struct

from penstock.core.terms import Budgets, Carbon, EnergyTerms, Metering, Price
from penstock.metering import carbon
from penstock.metering.budget import needs
from penstock.metering.energy import estimate, opening
from penstock.metering.equipment import Equipment
from penstock.metering.price import catalogue, instance, share
from penstock.metering.price.rates import price

log = logging.getLogger("penstock.meter")


class Terms(Struct, frozen=True, kw_only=True):
    """What the settings say of it."""

    meter: Metering = Metering()
    price: Price = Price()
    energy: EnergyTerms = EnergyTerms()
    carbon: Carbon = Carbon()


def survey(terms: Terms) -> Equipment:
    """Blocks, for seconds where drivers are loaded; raises BadSetting where the terms cannot hold here."""
    cores, gpus = os.cpu_count() or 1, opening.gpu_count()
    found = price(
        terms.price, cores=cores, gpus=gpus, instance=instance.find(terms.price), catalogue=catalogue.load
    )
    pue, pue_from = opening.pue(terms.energy, instance.vendor())
    return Equipment(
        cores=cores,
        gpus=gpus,
        share=share.mine(terms.meter.share),
        share_gpus=terms.meter.share_gpus,
        pue=pue,
        pue_from=pue_from,
        probes=opening.probes(terms.energy),
        cpu_per_hour=found.cpu_per_hour if found else None,
        gpu_per_hour=found.gpu_per_hour if found else None,
        currency=found.currency if found else "",
        price_from=found.source if found else "",
        embodied=carbon.embodied(terms.carbon),
        grid=carbon.grid(terms.carbon),
        load=estimate.busy_seconds,
    )


def tell(equipment: Equipment, budgets: Budgets) -> None:
    """Log what is known, and where a budget can never be spent since what it is in is not known here."""
    price = equipment.price_from or "no price is known; give [price] per_hour"
    silent = "that of the GPUs" if equipment.untold == {"gpu"} else "the energy"
    energy = "+".join(equipment.methods) or f"nothing tells {silent}"
    log.info("metering: %.3g cores are ours; price: %s; energy: %s", equipment.cores, price, energy)
    needed = needs(budgets)
    if "money" in needed and equipment.cpu_per_s is None:
        log.warning("budgets in money do nothing: no price is known; give [price] per_hour")
    if "energy" in needed and not equipment.methods:
        log.warning("budgets in joules do nothing: nothing tells %s; see [energy] probe", silent)
