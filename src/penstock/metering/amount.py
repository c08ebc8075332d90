"""What something costs: money, energy, and what that energy emitted."""

from msgspec import Struct

from penstock.metering.charges import Took, both
from penstock.metering.energy.probe import Joules


class Amount(Struct, frozen=True, kw_only=True):
    """None is what is not known, never 0."""

    money: float | None = None
    joules: Joules | None = None
    grams: float | None = None
    """CO2-equivalents of that energy."""

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            money=both(self.money, other.money),
            joules=both(self.joules, other.joules),
            grams=both(self.grams, other.grams),
        )

    def __mul__(self, factor: float) -> "Amount":
        return Amount(
            money=None if self.money is None else self.money * factor,
            joules=None if self.joules is None else self.joules * factor,
            grams=None if self.grams is None else self.grams * factor,
        )

    def rest(self, spent: "Amount") -> "Amount":
        """What is left of it; what is not known of the spent takes nothing away."""
        return Amount(
            money=None if self.money is None else self.money - (spent.money or 0.0),
            joules=None if self.joules is None else self.joules - (spent.joules or Joules()),
            grams=None if self.grams is None else self.grams - (spent.grams or 0.0),
        )


def of_machine(took: Took) -> Amount:
    """All that the machine cost and took, processors and GPUs."""
    return Amount(
        money=both(took.cpu_money, took.gpu_money),
        joules=both(took.cpu_joules, took.gpu_joules),
        grams=took.grams,
    )
