"""What the dashboard shows of cost: money and energy of queries, the machine, tenants and their budgets."""

from panel import VERSION, Panel, Row
from promql import HERE, TENANT, WINDOW, full, machine_per_1000, marginal, now, per_1000, rate, rise

FULL = "Full: with their part of what was idle; the full costs of all models add up to the machine's."
BUSY = "For busy time alone (marginal)."


def _money(metric: str, by: str, where: str = HERE) -> str:
    return rate(metric, by, where, WINDOW)


ALL_MONEY = _money("machine_cost_total", "currency")

COST = Row(
    "Cost and energy",
    8,
    (
        Panel(
            "Money for 1,000 queries",
            f"Marginal: the time that they kept the machine busy. {FULL}",
            (
                (per_1000(marginal("cost", "currency")), "{{model}} marginal {{currency}}"),
                (per_1000(full("cost", "currency")), "{{model}} full {{currency}}"),
            ),
            "none",
            wide=12,
        ),
        Panel(
            "Energy for 1,000 queries",
            "Marginal and full, as for money; in brackets, how it is known.",
            (
                (per_1000(marginal("energy_joules", "method")), "{{model}} marginal ({{method}})"),
                (per_1000(full("energy_joules", "method")), "{{model}} full ({{method}})"),
            ),
            "joule",
            wide=12,
        ),
        Panel(
            "Money an hour",
            "What the machines cost: the busy time of each model, and what was idle.",
            (
                (f"3600 * {_money('cost_total', 'model, currency')}", "{{model}} {{currency}}"),
                (f"3600 * ({ALL_MONEY} - {_money('cost_total', 'currency')})", "idle {{currency}}"),
            ),
            "none",
            wide=12,
            stacked=True,
        ),
        Panel(
            "Core-seconds of a query",
            "What a query uses of the processors, whatever they cost.",
            ((f"{rise('cpu_seconds_total')} / ({rise('queries_total')} > 0)", "{{model}}"),),
            "s",
            wide=12,
        ),
    ),
)


def _use(part: str) -> str:
    busy = rate(f"{part}_seconds_total", "instance", HERE)
    return f"{busy} / {rate(f'machine_{part}_capacity_seconds_total', 'instance', HERE)}"


def _watts(bound: str) -> str:
    return rate(f"machine_energy_{bound}joules_total", "instance, method", HERE)


MACHINE = Row(
    "Machine",
    8,
    (
        Panel(
            "Use",
            "Core-seconds and GPU-seconds that queries are charged, of those that there were.",
            ((_use("cpu"), "{{instance}} processors"), (_use("gpu"), "{{instance}} GPUs")),
            "percentunit",
            most=1,
        ),
        Panel(
            "Power",
            "What the machines take, and the band in which it lies; in brackets, how it is known.",
            (
                (_watts(""), "{{instance}} ({{method}})"),
                (_watts("low_"), "{{instance}} low"),
                (_watts("high_"), "{{instance}} high"),
            ),
            "watt",
        ),
        Panel(
            "Carbon for 1,000 queries",
            "CO2-equivalents of the energy and of making the machine (SCI): all of it, by the queries.",
            ((machine_per_1000("machine_carbon_grams_total", "source"), "{{source}}"),),
            "massg",
        ),
        Panel(
            "Memory of models",
            "What each version takes, measured or estimated.",
            ((now("model_resident_bytes"), VERSION),),
            "bytes",
            stacked=True,
        ),
        Panel(
            "Memory of the server",
            "Its process, and the limit on models where one is set.",
            (
                (f"process_resident_memory_bytes{{{HERE}}}", "{{instance}}"),
                (f"penstock_memory_limit_bytes{{{HERE}}} > 0", "{{instance}} limit"),
            ),
            "bytes",
        ),
        Panel(
            "Not in the books yet",
            "Seconds of use and cost that are in memory alone because the books cannot be written.",
            ((f"penstock_meter_unsaved_seconds{{{HERE}}}", "{{instance}}"),),
            "s",
        ),
    ),
)

TENANTS = Row(
    "Tenants and budgets",
    8,
    (
        Panel(
            "Queries",
            "Answered and charged.",
            ((rate("tenant_queries_total", "tenant", TENANT), "{{tenant}}"),),
            "reqps",
            wide=6,
            stacked=True,
        ),
        Panel(
            "Money an hour",
            BUSY,
            (
                (
                    f"3600 * {_money('tenant_cost_total', 'tenant, currency', TENANT)}",
                    "{{tenant}} {{currency}}",
                ),
            ),
            "none",
            wide=6,
            stacked=True,
        ),
        Panel(
            "Power",
            BUSY,
            (
                (
                    _money("tenant_energy_joules_total", "tenant, method", TENANT),
                    "{{tenant}} ({{method}})",
                ),
            ),
            "watt",
            wide=6,
            stacked=True,
        ),
        Panel(
            "Budgets used",
            "Part of each budget that the last hour has used, on the server where most is; "
            "orange from 80 % on, while the alert goes by each budget's own warn.",
            ((f"max by (tenant, what) (penstock_budget_used_ratio{{{TENANT}}})", "{{tenant}} {{what}}"),),
            "percentunit",
            "bargauge",
            6,
            limits=(("orange", 0.8), ("red", 1.0)),
            most=1,
        ),
    ),
)

ROWS = (COST, MACHINE, TENANTS)
