"""Rules, dashboard and guide against a real Prometheus that scrapes a real server under traffic."""

import hashlib
import re
import shutil
import time
from threading import Event, Thread

import httpx
import pytest

from benchmarks import fixtures
from tests.deploy.watch import DASHBOARD, NAME, ROOT, RULES, filled, panels, rules, watching
from tests.e2e import models
from tests.e2e.process import serving, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus (Debian: prometheus)"),
]

KEYS = {"red": "key-of-red", "blue": "key-of-blue", "": "key-of-prometheus"}
"""By tenant."""
SETTINGS = """
[price]
per_hour = 3.6
currency = "EUR"
[energy]
probe = "estimate"
min_watts = 1.0
max_watts = 4.0
pue = 1.2
[carbon]
intensity = 380
embodied_kg = 1200
[meter]
share = 1
every_s = 0.5
file = "none"
[memory]
limit = "4 GiB"
[budgets."*"]
queries_per_hour = 1000000
[budgets.red]
money_per_hour = 100.0
"""
BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 32], "data": [0.5] * 32}]}
ASKED = [
    ("red", "tiny", BODY),
    ("red", "tiny", BODY),
    ("blue", "tiny", BODY),
    ("blue", "adding", BODY),
    ("blue", "tiny", {"inputs": []}),
    ("red", "broken", BODY),
]
"""Whose question to which model; the last two are errors."""

QUIET = {"{{instance}} GPUs", "{{model}} evicted"}
"""Legends of what this server cannot have: GPUs, models that were pushed out."""


class World:
    """A Prometheus, and what the server that it scrapes may have, by the types that this announces."""

    def __init__(self, server, prometheus):
        self.prometheus = prometheus
        text = server.get("/metrics", headers={"x-api-key": KEYS[""]}).text
        self.kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))

    @property
    def series(self):
        """Names that expressions may have."""
        parts = {"histogram": ("_bucket", "_sum", "_count")}
        return {name + part for name, kind in self.kinds.items() for part in parts.get(kind, ("",))}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    repository = folder / "models"
    fixtures.write(repository, "tiny", "1", fixtures.tiny())
    (repository / "tiny" / "model.toml").write_text("[target]\np99_ms = 5000\n")
    fixtures.write(repository, "adding", "1", models.adding(1))
    fixtures.write(repository, "broken", "1", b"no model")
    hashed = {tenant: hashlib.sha256(key.encode()).hexdigest() for tenant, key in KEYS.items()}
    lines = [f'{hashed[tenant]} = {{ role = "infer", tenant = "{tenant}" }}' for tenant in KEYS if tenant]
    config = folder / "penstock.toml"
    config.write_text("\n".join(["[keys]", *lines, f'{hashed[""]} = "infer"', SETTINGS]))
    with (
        serving(repository, "--config", str(config)) as server,
        Traffic(server),
        watching(folder, server.http, KEYS[""]) as prometheus,
    ):
        until(lambda: seen(prometheus), "scrapes of all that is to be seen")
        yield World(server, prometheus)


def seen(prometheus):
    """Whether everything moves that traffic and time can move."""
    moving = ("machine_cost_total", "tenant_queries_total", "request_seconds_count")
    found = [prometheus.query(f"sum(increase(penstock_{name}[15s])) > 0") for name in moving]
    enough = prometheus.query('count_over_time(up{job="penstock"}[15s]) >= 6')
    return all(found) and enough and prometheus.query("job_model:penstock_cost_full:per_1000_queries_1h")


class Traffic:
    """Two tenants who ask a little, now and then wrongly, until the block ends."""

    def __init__(self, server):
        self._server = server
        self._ended = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        with httpx.Client(base_url=self._server.url, timeout=30) as client:
            while not self._ended.is_set():
                for tenant, model, body in ASKED:
                    client.post(f"/v2/models/{model}/infer", json=body, headers={"x-api-key": KEYS[tenant]})
                time.sleep(0.05)


def named(text):
    return set(NAME.findall(text))


def test_every_metric_that_is_asked_for_is_exported(world):
    for file in (DASHBOARD, RULES):
        assert named(file.read_text()) - world.series == set()


def test_every_metric_that_the_guide_names_is_exported(world):
    for page in ("metrics.md", "alerts.md"):
        assert named((ROOT / "docs/guide" / page).read_text()) - world.series - world.kinds.keys() == set()


def test_every_metric_of_the_server_is_in_the_guide(world):
    guide = named((ROOT / "docs/guide/metrics.md").read_text())
    assert sorted(n for n in world.kinds if n not in guide and not n.startswith("process_")) == []


def test_every_expression_of_the_dashboard_has_data(world):
    empty = [
        (panel["title"], target["legendFormat"], target["expr"])
        for panel in panels()
        for target in panel["targets"]
        if target["legendFormat"] not in QUIET and not world.prometheus.query(filled(target["expr"]))
    ]
    assert empty == []


def test_prometheus_evaluates_every_rule(world):
    states = [rule for group in world.prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(states) == len(rules())
    assert [rule for rule in states if rule["health"] != "ok" or rule.get("lastError")] == []


def test_what_can_be_recorded_is(world):
    names = {rule["record"] for rule in rules() if "record" in rule}
    found = {name for name in names if world.prometheus.query(name)}
    assert names - found == {
        "job_model_version:penstock_overload:ratio5m",  # nobody was refused
        "instance:penstock_machine_cost_unused:increase1h",  # there are no GPUs
    }


def test_expressions_in_the_guide_are_understood(world):
    page = (ROOT / "docs/guide/metrics.md").read_text()
    blocks = re.findall(r"```promql\n(.*?)```", page, re.DOTALL)
    expressions = [one for block in blocks for one in re.split(r"\n(?=[\w\d])", block.strip())]
    assert len(expressions) > 10
    empty = [one for one in expressions if not world.prometheus.query(one)]
    assert [one for one in empty if "penstock_budget_used_ratio >" not in one] == []


def test_full_costs_add_up_to_what_the_machine_cost(world):
    at = time.time()
    panel = next(panel for panel in panels() if panel["title"] == "Money for 1,000 queries")
    per_1000 = filled(panel["targets"][1]["expr"], window="15s")
    ours = world.prometheus.ask(
        "query",
        time=at,
        query=f"sum({per_1000} * on (model) sum by (model) (increase(penstock_queries_total[15s])))",
    )
    machine = world.prometheus.ask("query", time=at, query="sum(increase(penstock_machine_cost_total[15s]))")
    total = float(ours["result"][0]["value"][1]) / 1000
    assert total == pytest.approx(float(machine["result"][0]["value"][1]))
    assert 0.002 < total < 0.03  # of 3.60 an hour


def test_tenants_are_told_apart(world):
    found = world.prometheus.query("sum by (tenant) (increase(penstock_tenant_queries_total[15s]))")
    rates = {labels["tenant"]: value for labels, value in found}
    assert rates.keys() >= {"red", "blue"}
    assert min(rates["red"], rates["blue"]) > 0
    budgets = world.prometheus.query("penstock_budget_used_ratio")
    assert {("red", "money"), ("blue", "queries")} <= {(one["tenant"], one["what"]) for one, _ in budgets}


def test_only_what_is_wrong_fires(world):
    """Of all that may be pending or firing, a model that cannot be loaded is the one thing."""
    found = world.prometheus.ask("alerts")["alerts"]
    assert {(one["labels"]["alertname"], one["labels"].get("model")) for one in found} <= {
        ("PenstockModelNotReady", "broken"),
        ("PenstockVersionFailed", "broken"),
        ("PenstockErrors", "broken"),
        ("PenstockErrors", None),  # what was never loaded has no name
    }
    assert ("PenstockVersionFailed", "broken") in {
        (one["labels"]["alertname"], one["labels"].get("model")) for one in found
    }
