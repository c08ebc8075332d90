"""The terms on which queries are charged: the price of the machine and its energy, and who may spend what."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from penstock.core.spec import Seconds

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e15)]
"""Finite: infinity would turn sums into what is no number."""
Role: TypeAlias = Literal["infer", "admin"]


NO_FILE = "none"
"""Instead of a file's name: nothing is kept on disk."""


class KeyTerms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key may do, and whom its requests are charged to."""

    role: Role
    tenant: str = ""


class Metering(Struct, frozen=True, kw_only=True):
    """``[meter]``: where what was used is kept, and who used it."""

    file: str = ""
    """SQLite file; empty: one for each repository in the user's state folder; ``none``: memory alone."""
    site: str = "local"
    """The name of this place in bills that cover several."""
    share: Share = 0.0
    """The part of the machine that is this server's; 0: by the processors that it may use."""
    share_gpus: Share = 1.0
    """The same of its GPUs; those that it may see are all its own."""
    tenant_header: str = ""
    """Header (gRPC: metadata) that names the tenant where the key does not."""
    every_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    """Seconds between two entries in the books; counters of energy wrap around where they are read rarely."""


class Price(Struct, frozen=True, kw_only=True):
    """``[price]``: what the machine costs; without one only resources are counted."""

    per_hour: Amount | None = None
    """Of the whole machine, GPUs included."""
    spot_per_hour: Amount | None = None
    reserved_per_hour: Amount | None = None
    plan: Literal["on-demand", "spot", "reserved"] = "on-demand"
    """Which of the three it runs on."""
    gpu_share: Share | None = None
    """The part of the price that is for its GPUs; without it, what a machine of as many processors alone
    would not cost.
    """
    currency: str = "USD"
    instance: str = ""
    """Type by which the shipped catalogue is asked, ``aws:c5.large``; empty: what the machine says of
    itself; ``none``: no catalogue.
    """
    region: str = ""
    """Of the catalogue, ``eu-central-1``."""


class EnergyTerms(Struct, frozen=True, kw_only=True):
    """``[energy]``: how it is told what the machine takes."""

    probe: Literal["auto", "rapl", "nvml", "zeus", "estimate", "none"] = "auto"
    """``auto``: counters where they can be read, else an estimate."""
    processor: str = ""
    """Family for the estimate, as the guide lists them; empty: what the machine says."""
    min_watts: Amount | None = None
    """Of one vCPU that is idle; with ``max_watts`` it replaces the family's."""
    max_watts: Amount | None = None
    pue: Annotated[float, Meta(ge=1, le=10)] | None = None
    """Power usage effectiveness: what the building takes for each joule of the machine."""


class Carbon(Struct, frozen=True, kw_only=True):
    """``[carbon]``: what a kilowatt-hour and the machine itself weigh in CO2-equivalents."""

    intensity: Amount | None = None
    """Grams for each kWh; goes before ``url`` and ``country``."""
    country: str = ""
    """ISO 3166 code of two or three letters: the yearly mean of its grid."""
    url: str = ""
    """Asked for JSON or a plain number, in grams for each kWh."""
    field: str = ""
    """Where in the JSON it stands, ``data.0.intensity``; empty: found by its usual names."""
    header: str = ""
    """``NAME: VALUE`` sent with the question, e.g. a token."""
    every_s: Seconds = 900.0
    embodied_kg: Amount | None = None
    """Emitted to make the machine."""
    lifetime_years: Seconds = 4.0


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[budgets.NAME]``: what a tenant may use in an hour; ``"*"`` is for each that has none of its own."""

    money_per_hour: Amount | None = None
    """Marginal cost in the currency of ``[price]``."""
    joules_per_hour: Amount | None = None
    """Marginal energy."""
    queries_per_hour: Annotated[int, Meta(ge=0)] | None = None
    warn: Share = 0.8
    """Part of a budget at which the log and the metrics warn."""


Budgets: TypeAlias = Mapping[str, Budget]
Keys: TypeAlias = Mapping[str, Role | KeyTerms]
"""By the SHA-256 (hex) of a key: its role, or role and tenant."""
