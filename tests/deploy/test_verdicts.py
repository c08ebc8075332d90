"""Manifests for Argo Rollouts and Flagger: well-formed, with known fields, and in words that the door has."""

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from msgspec.structs import replace

from penstock.doors.admin import make_app
from penstock.doors.auth import Keys
from penstock.doors.rollouts import routes
from penstock.doors.verdict import Answer
from penstock.rollout.port import VERBS
from tests.deploy.watch import ROOT
from tests.doors.house import TwoModels
from tests.rollout.memory import RUNNING, MemoryRollouts

ARGO = ROOT / "deploy/argo-rollouts"
FLAGGER = ROOT / "deploy/flagger"
TEMPLATES = list(yaml.safe_load_all((ARGO / "analysis.yml").read_text()))
ROLLOUT = yaml.safe_load((ARGO / "rollout.yml").read_text())
CANARY = yaml.safe_load((FLAGGER / "canary.yml").read_text())
METRICS = [metric for template in TEMPLATES for metric in template["spec"]["metrics"]]
WEBHOOKS = CANARY["spec"]["analysis"]["webhooks"]
PHASES = {"pass": "promoted", "fail": "rolled-back", "not yet": "running"}

METRIC_FIELDS = {
    "name", "interval", "initialDelay", "count", "successCondition", "failureCondition", "failureLimit",
    "inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit", "provider",
}  # fmt: skip
"""Of Argo Rollouts' ``Metric`` (pkg/apis/rollouts/v1alpha1/analysis_types.go)."""
WEB_FIELDS = {"method", "url", "headers", "body", "timeoutSeconds", "jsonPath", "jsonBody", "insecure"}
HOOK_FIELDS = {"name", "type", "muteAlert", "url", "timeout", "retries", "disableTLS", "metadata"}
"""Of Flagger's custom resource (artifacts/flagger/crd.yaml); no headers among them."""
GOES_BY_HOOK = {
    "confirm-rollout": ("pass", "not yet"),
    "rollout": ("pass", "not yet"),
    "confirm-promotion": ("pass",),
    "rollback": ("fail",),
}
"""Verdicts at which a hook is to succeed; that of ``rollback`` takes the canary back."""


def answer(url: str, verdict: str, method: str) -> httpx.Response:
    """What the door says to this URL where this is the verdict."""
    status = replace(RUNNING, model="digits", candidate="3", phase=PHASES[verdict])

    async def asked() -> httpx.Response:
        app = make_app(TwoModels(), lambda a: (b"", ""), routes(MemoryRollouts(status), Keys({}).who))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
            return await client.request(method, url)

    return asyncio.run(asked())


def filled(text: str) -> str:
    """A template's text with the arguments of the example."""
    values = {arg["name"]: arg["value"] for arg in ROLLOUT["spec"]["strategy"]["canary"]["analysis"]["args"]}
    return re.sub(r"\{\{ args\.([\w-]+) \}\}", lambda match: values[match[1]], text)


def holds(condition: str, result: object) -> bool:
    """Of the few operators that our conditions use."""
    python = re.sub(r"result\.(\w+)", r'result["\1"]', condition).replace("&&", "and")
    return bool(eval(python, {"__builtins__": {}}, {"result": result}))


def test_each_is_of_its_kind():
    kinds = [(each["apiVersion"], each["kind"]) for each in (*TEMPLATES, ROLLOUT, CANARY)]
    argo = "argoproj.io/v1alpha1"
    template = (argo, "AnalysisTemplate")
    assert kinds == [template, template, (argo, "Rollout"), ("flagger.app/v1beta1", "Canary")]


# -- Argo Rollouts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric["name"])
def test_a_metric_has_fields_that_argo_knows(metric):
    assert metric.keys() <= METRIC_FIELDS
    assert metric["provider"].keys() == {"web"}
    assert metric["provider"]["web"].keys() <= WEB_FIELDS
    assert [set(header) for header in metric["provider"]["web"]["headers"]] == [{"key", "value"}]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric["name"])
@pytest.mark.parametrize("verdict", PHASES)
def test_a_metric_finds_the_verdict_in_what_the_door_says(metric, verdict):
    found = answer(filled(metric["provider"]["web"]["url"]), verdict, "GET")
    assert found.status_code == 200
    path = metric["provider"]["web"].get("jsonPath")
    result = found.json()[re.fullmatch(r"\{\$\.(\w+)\}", path)[1]] if path else found.json()
    passed, failed = (holds(metric[f"{kind}Condition"], result) for kind in ("success", "failure"))
    expected = (verdict != "fail" if metric["name"] == "not-worse" else verdict == "pass", verdict == "fail")
    assert (passed, failed) == expected


def test_conditions_name_fields_that_the_verdict_has():
    for metric in METRICS:
        path = metric["provider"]["web"].get("jsonPath", "")
        text = f"{metric['successCondition']} {metric['failureCondition']} {path}"
        named = re.findall(r"(?:result|\$)\.(\w+)", text)
        assert named
        assert set(named) <= set(Answer.__struct_fields__)


def test_every_argument_of_a_template_is_given():
    canary = ROLLOUT["spec"]["strategy"]["canary"]
    uses = [canary["analysis"], *(step["analysis"] for step in canary["steps"] if "analysis" in step)]
    by_name = {template["metadata"]["name"]: template for template in TEMPLATES}
    assert {name["templateName"] for use in uses for name in use["templates"]} == by_name.keys()
    for use in uses:
        given = {argument["name"] for argument in use["args"]}
        for named in use["templates"]:
            wanted = by_name[named["templateName"]]["spec"]["args"]
            assert given == {argument["name"] for argument in wanted if "valueFrom" not in argument}


def test_a_key_comes_from_a_secret():
    for template in TEMPLATES:
        secret = next(arg for arg in template["spec"]["args"] if arg["name"] == "api-key")
        assert secret["valueFrom"] == {"secretKeyRef": {"name": "penstock", "key": "api-key"}}


# -- Flagger -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", WEBHOOKS, ids=lambda hook: hook["type"])
def test_a_webhook_has_fields_that_flagger_knows(hook):
    assert {"name", "url"} <= hook.keys() <= HOOK_FIELDS
    assert re.match(r"^[0-9]+(m|s)", hook["timeout"])


@pytest.mark.parametrize("hook", WEBHOOKS, ids=lambda hook: hook["type"])
@pytest.mark.parametrize("verdict", PHASES)
def test_a_webhook_goes_on_where_it_should(hook, verdict):
    status = answer(hook["url"], verdict, "POST").status_code
    assert status == (200 if verdict in GOES_BY_HOOK[hook["type"]] else 409)


def test_the_hooks_take_less_time_than_an_interval():
    assert CANARY["spec"]["analysis"]["interval"] == "1m"
    assert sum(int(hook["timeout"].removesuffix("s")) for hook in WEBHOOKS) < 60


# -- what is written about them ------------------------------------------------------------------------

GUIDE = (ROOT / "docs/guide/rollout-api.md").read_text()


def test_the_guide_shows_the_manifests_as_they_are():
    shown = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    files = [
        path.read_text() for path in (ARGO / "analysis.yml", ARGO / "rollout.yml", FLAGGER / "canary.yml")
    ]
    assert shown == files


def test_paths_that_the_guide_names_are_routes():
    table = routes(MemoryRollouts(), Keys({}).who)
    known = {(method, route.path) for route in table for method in route.methods - {"HEAD"}}
    known = {(method, path.replace("{model}", "M")) for method, path in known if "{verb}" not in path}
    known |= {("POST", f"/penstock/rollouts/M/{verb}") for verb in VERBS}
    named = re.findall(r"^\| `(GET|POST) (/[^`?]+)", GUIDE, re.MULTILINE)
    assert set(named) == known


def test_urls_ask_for_what_the_door_takes():
    urls = [metric["provider"]["web"]["url"] for metric in METRICS] + [hook["url"] for hook in WEBHOOKS]
    for url in map(filled, urls):
        parts = urlsplit(url)
        assert parts.path == "/penstock/rollouts/digits/verdict"
        assert parse_qs(parts.query).keys() <= {"version", "go"}
