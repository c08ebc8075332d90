"""What a busy second costs now: a small table that the meter swaps whole and requests read."""

from msgspec import Struct

from penstock.core.spec import Scalar
from penstock.core.types import Timing
from penstock.metering.energy.probe import Joules


class Rates(Struct, frozen=True, kw_only=True):
    """Money and energy for a core-second and for a GPU-second; None is what is not known."""

    cpu_money: float | None = None
    gpu_money: float | None = None
    cpu_joules: Joules | None = None
    gpu_joules: Joules | None = None

    def money(self, cpu: float, gpu: float) -> float | None:
        """Of so many core- and GPU-seconds; None where a part that was used has no price."""
        if self.cpu_money is None or (gpu and self.gpu_money is None):
            return None
        return cpu * self.cpu_money + gpu * (self.gpu_money or 0.0)

    def joules(self, cpu: float, gpu: float) -> Joules | None:
        """Likewise."""
        if self.cpu_joules is None or (gpu and self.gpu_joules is None):
            return None
        of_cpu = self.cpu_joules * cpu
        return of_cpu + self.gpu_joules * gpu if self.gpu_joules is not None else of_cpu


class Tariff(Struct, frozen=True, kw_only=True):
    """Marginal rates as of the last entry in the books, and full ones over the last hour."""

    marginal: Rates = Rates()
    full: Rates = Rates()
    currency: str = ""
    method: str = ""
    """Of the energy; several are joined by ``+``."""
    grams: float | None = None
    """CO2-equivalents for each joule."""

    def quote(self, timing: Timing) -> dict[str, Scalar]:
        """The response parameters that say what one answer cost; what is not known is not there."""
        cpu, gpu = timing.cpu, timing.gpu
        quoted: dict[str, Scalar | None] = {"penstock_cpu_s": cpu, "penstock_gpu_s": gpu or None}
        money, full_money = self.marginal.money(cpu, gpu), self.full.money(cpu, gpu)
        if money is not None:
            quoted["penstock_cost_marginal"] = money
            quoted["penstock_cost"] = full_money
            quoted["penstock_currency"] = self.currency
        joules, full = self.marginal.joules(cpu, gpu), self.full.joules(cpu, gpu)
        if joules is not None:
            quoted["penstock_energy_marginal_j"] = joules.mid
            quoted["penstock_energy_method"] = self.method
        if full is not None:
            quoted["penstock_energy_j"] = full.mid
            quoted["penstock_energy_low_j"] = full.low
            quoted["penstock_energy_high_j"] = full.high
            if self.grams is not None:
                quoted["penstock_carbon_g"] = full.mid * self.grams
        return {name: value for name, value in quoted.items() if value is not None}
