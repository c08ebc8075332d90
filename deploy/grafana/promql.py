"""PromQL that several panels share: what is selected, and what a share of the machine costs."""

HERE = 'job=~"$job", instance=~"$instance"'
ON = f'{HERE}, model=~"$model", version=~"$version"'
MODEL = f'{HERE}, model=~"$model"'
TENANT = f'{HERE}, tenant=~"$tenant"'
RATE = "[$__rate_interval]"
WINDOW = "[$window]"

OURS = 'reason=~"engine|crash|policy|failed|other|unavailable|quarantined"'
"""Reasons that are the server's own."""


def rate(metric: str, by: str = "model, version", where: str = ON, window: str = RATE) -> str:
    return f"sum by ({by}) (rate(penstock_{metric}{{{where}}}{window}))"


def rise(metric: str, by: str = "model", where: str = ON, window: str = WINDOW) -> str:
    return f"sum by ({by}) (increase(penstock_{metric}{{{where}}}{window}))"


def now(metric: str, by: str = "model, version", where: str = ON) -> str:
    return f"sum by ({by}) (penstock_{metric}{{{where}}})"


def quantile(share: float, by: str = "", metric: str = "request_seconds") -> str:
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'{by}le')})"


def marginal(what: str, label: str) -> str:
    """Money (``cost``) or joules over the window, by model, for the busy time alone."""
    return rise(f"{what}_total", f"model, {label}")


def full(what: str, label: str) -> str:
    """Likewise, with each model's part of what was idle.

    Each part of a machine (processors, GPUs) is spread over those who used it; what nobody used at all
    is borne by the users of the other part.
    """
    part = f"job, instance, part, {label}"
    used = f"({rise(f'{what}_total', part, HERE)} > 0)"
    machine = rise(f"machine_{what}_total", part, HERE)
    unused = f"sum by (job, instance, {label}) ({machine} unless {used})"
    borne = f"({machine} + on (job, instance, {label}) group_left () {unused} or {machine})"
    mine = f"increase(penstock_{what}_total{{{ON}}}{WINDOW})"
    return f"sum by (model, {label}) ({mine} * on ({part}) group_left () ({borne} / {used}))"


def per_1000(amount: str) -> str:
    """Of what a model cost or took, for 1,000 of its queries."""
    return f"1000 * {amount} / on (model) group_left () ({rise('queries_total')} > 0)"


def machine_per_1000(metric: str, label: str) -> str:
    """Of all that the machines cost or took, for 1,000 of the queries that they answered."""
    queries = f"(sum(increase(penstock_queries_total{{{HERE}}}{WINDOW})) > 0)"
    return f"1000 * {rise(metric, label, HERE)} / on () group_left () {queries}"
