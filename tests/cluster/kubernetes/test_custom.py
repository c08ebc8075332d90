"""Objects of KServe, KEDA and Prometheus' operator: with known fields, and in words that the scaler takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from penstock.cluster.kubernetes import kserve
from penstock.cluster.kubernetes.write import manifests
from penstock.cluster.scaler import trigger
from penstock.cluster.scaler.replicas import where
from tests.cluster.kubernetes.wanted import ALL, ASKING, FETCHED, FULL, PLAIN, SCALED

FIELDS = Path(__file__).with_name("kserve_fields.py")
SPEC_FIELDS = {
    "scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "idleReplicaCount",
    "minReplicaCount", "maxReplicaCount", "fallback", "advanced", "triggers",
}  # fmt: skip
"""Of a ScaledObject (keda.sh/docs/latest/reference/scaledobject-spec)."""
FALLBACK_FIELDS = {"failureThreshold", "replicas", "behavior"}
BEHAVIORS = {"static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"}
TRIGGER_FIELDS = {"type", "name", "metadata", "authenticationRef", "metricType", "useCachedMetrics"}
ENDPOINT_FIELDS = {
    "port", "targetPort", "path", "scheme", "interval", "scrapeTimeout", "tlsConfig", "authorization",
}  # fmt: skip
"""Of a ServiceMonitor (prometheus-operator.dev/docs/api-reference/api), those that we might use."""
SCALERS = [SCALED, FULL, ASKING]


def of(wanted, kind):
    return next(each for each in manifests(wanted) if each["kind"] == kind)


def asked_of_kserve(objects):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", FIELDS], input=json.dumps(objects), text=True,
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_kserve_knows_every_field():
    """And would say so of one that it does not know."""
    cases = [replace(each, kserve=True) for each in ALL.values()]
    objects = [
        each for wanted in cases for each in manifests(wanted) if "serving.kserve.io" in each["apiVersion"]
    ]
    assert len(objects) == 2 * len(ALL)
    wrong = of(replace(PLAIN, kserve=True), "InferenceService")
    wrong["spec"]["predictor"]["securityContext"]["runAsNobody"] = True
    wrong["spec"]["predictor"]["model"]["storageURI"] = ""
    assert asked_of_kserve([*objects, wrong]) == [
        "InferenceService.spec.predictor.securityContext.runAsNobody is no field of V1PodSecurityContext",
        "InferenceService.spec.predictor.model.storageURI is no field of V1beta1ModelSpec",
    ]


def test_a_runtime_serves_what_kserve_fetches():
    made = of(replace(FETCHED, kserve=True), "ServingRuntime")
    container = made["spec"]["containers"][0]
    assert container["name"] == "kserve-container"
    assert container["args"][:2] == ["serve", "/mnt/models"]
    formats = {each["name"] for each in made["spec"]["supportedModelFormats"]}
    service = of(replace(FETCHED, kserve=True), "InferenceService")["spec"]["predictor"]
    assert service["model"]["modelFormat"]["name"] == kserve.FORMAT
    assert kserve.FORMAT in formats
    assert service["model"]["runtime"] == made["metadata"]["name"]


def test_kserve_keeps_its_hands_off_what_keda_scales():
    scaled = of(replace(SCALED, kserve=True), "InferenceService")
    assert scaled["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "external"
    assert (
        of(replace(SCALED, kserve=True), "ScaledObject")["spec"]["scaleTargetRef"]["name"]
        == "penstock-predictor"
    )
    plain = of(replace(PLAIN, kserve=True), "InferenceService")
    assert "serving.kserve.io/autoscalerClass" not in plain["metadata"]["annotations"]


@pytest.mark.parametrize("wanted", SCALERS)
def test_a_scaled_object_has_fields_that_keda_knows(wanted):
    spec = of(wanted, "ScaledObject")["spec"]
    assert spec.keys() <= SPEC_FIELDS
    assert spec["scaleTargetRef"] == {"name": wanted.name}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (wanted.least, wanted.most)
    assert spec["fallback"].keys() <= FALLBACK_FIELDS
    assert spec["fallback"]["behavior"] in BEHAVIORS
    for each in spec["triggers"]:
        assert each.keys() <= TRIGGER_FIELDS
        assert each["type"] == "external-push"
        assert all(isinstance(value, str) for value in each["metadata"].values())


@pytest.mark.parametrize("wanted", SCALERS)
def test_the_scaler_takes_every_trigger(wanted):
    for scaled, each in zip(wanted.scaled, of(wanted, "ScaledObject")["spec"]["triggers"], strict=True):
        read = trigger.read(each["metadata"])
        assert (read.model, read.target_ms, read.carries) == (scaled.model, scaled.target_ms, scaled.carries)
        assert (read.terms.least, read.terms.most) == (wanted.least, wanted.most)


def test_the_scaler_finds_what_it_is_sent_to():
    names = {
        (each["metadata"]["name"], port["port"])
        for each in manifests(ASKING)
        if each["kind"] == "Service"
        for port in each["spec"]["ports"]
    }
    metadata = of(ASKING, "ScaledObject")["spec"]["triggers"][0]["metadata"]
    address, _, port = metadata["scalerAddress"].partition(":")
    assert (address.removesuffix(".default"), int(port)) in names
    [found] = where(metadata["replicas"])
    assert (found.host.removesuffix(".default"), found.port) in names
    assert found.scheme == "https"


@pytest.mark.parametrize("wanted", SCALERS)
def test_a_trigger_is_authenticated_where_the_scaler_wants_certificates(wanted):
    made = [each for each in manifests(wanted) if each["kind"] == "TriggerAuthentication"]
    refs = [each.get("authenticationRef") for each in of(wanted, "ScaledObject")["spec"]["triggers"]]
    assert {ref["name"] for ref in refs if ref} == {each["metadata"]["name"] for each in made}
    for each in made:
        parameters = {one["parameter"] for one in each["spec"]["secretTargetRef"]}
        assert parameters == {"caCert", "tlsClientCert", "tlsClientKey"} <= trigger.KEDA


def test_prometheus_operator_finds_the_replicas():
    spec = of(FULL, "ServiceMonitor")["spec"]
    assert spec.keys() == {"jobLabel", "selector", "endpoints"}
    assert spec["endpoints"][0].keys() <= ENDPOINT_FIELDS
    chosen = [
        each["metadata"]["name"]
        for each in manifests(FULL)
        if each["kind"] == "Service"
        and spec["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    ]
    assert chosen == ["search-replicas"]
    labels = next(e for e in manifests(FULL) if e["metadata"]["name"] == "search-replicas")["metadata"][
        "labels"
    ]
    assert labels[spec["jobLabel"]] == "penstock"  # the job that our alerts go by
