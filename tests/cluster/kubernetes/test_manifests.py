"""Manifests against Kubernetes' own schemas, and against what the server does."""

from pathlib import Path

import kubernetes_validate
import pytest
from msgspec.structs import replace

from penstock.cluster.kubernetes import pod
from penstock.cluster.kubernetes.wanted import Secrets, Source, check
from penstock.cluster.kubernetes.write import file_name, manifests, needs
from penstock.core.errors import BadSetting
from penstock.settings import Settings, load
from tests.cluster.kubernetes.wanted import ALL, ASKING, FETCHED, FIXED, FULL, PLAIN, SCALED

OWN = {"v1", "apps/v1", "policy/v1"}
"""API versions of Kubernetes itself."""


def kinds(wanted, **changed):
    return [each["kind"] for each in manifests(check(replace(wanted, **changed)))]


def of(wanted, kind, name=None):
    found = [each for each in manifests(wanted) if each["kind"] == kind]
    return next(each for each in found if name is None or each["metadata"]["name"] == name)


def served(wanted):
    """The pod's spec, and its container."""
    spec = of(wanted, "Deployment", wanted.name)["spec"]["template"]["spec"]
    return spec, spec["containers"][0]


@pytest.mark.parametrize("version", ["1.27", "1.32", "1.37"])
@pytest.mark.parametrize("name", ["scaled", "fetched", "full"])
def test_kubernetes_own_objects_fit_its_schemas_strictly(name, version):
    seen = 0
    for each in manifests(check(ALL[name])):
        if each["apiVersion"] in OWN:
            assert kubernetes_validate.validate(each, version, strict=True) == version
            seen += 1
    assert seen >= 3


def test_a_wrong_field_would_be_found():
    wrong = of(PLAIN, "Deployment")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


def test_what_is_written_for_what():
    assert kinds(PLAIN) == ["Deployment", "Service", "PodDisruptionBudget"]
    keda = [
        "Deployment",
        "Service",
        "Service",
        "PodDisruptionBudget",
        "Deployment",
        "Service",
        "ScaledObject",
    ]
    assert kinds(SCALED) == keda
    assert set(kinds(FULL)) - set(keda) == {"ConfigMap", "ServiceMonitor", "TriggerAuthentication"}
    kserve = ["ServingRuntime", "InferenceService", "PodDisruptionBudget"]
    assert kinds(PLAIN, kserve=True) == kserve


@pytest.mark.parametrize("kserve", [False, True])
def test_no_two_have_the_same_file(kserve):
    names = [file_name(each) for each in manifests(replace(FULL, kserve=kserve))]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ALL)
def test_services_and_budgets_select_the_pods(name):
    made = manifests(ALL[name])
    pods = [e["spec"]["template"]["metadata"]["labels"] for e in made if e["kind"] == "Deployment"]
    for each in made:
        if each["kind"] == "Service":
            selected = each["spec"]["selector"].items()
        elif each["kind"] == "PodDisruptionBudget":
            selected = each["spec"]["selector"]["matchLabels"].items()
        else:
            continue
        assert sum(selected <= labels.items() for labels in pods) == 1


# -- coming up and going ------------------------------------------------------------------------


def test_replicas_are_left_to_keda_alone():
    assert "replicas" not in of(SCALED, "Deployment", "penstock")["spec"]
    assert of(PLAIN, "Deployment")["spec"]["replicas"] == 2


@pytest.mark.parametrize("wanted", [PLAIN, FULL])
def test_a_pod_has_time_to_drain(wanted):
    spec, container = served(wanted)
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] >= waits + wanted.drain_s + wanted.lame_duck_s + 5


def test_the_usual_drain_is_the_servers():
    server = Settings().server
    assert (PLAIN.drain_s, PLAIN.lame_duck_s) == (server.drain_s, server.lame_duck_s)
    assert (PLAIN.http_port, PLAIN.grpc_port) == (server.http_port, server.grpc_port)


def test_a_slow_load_is_no_hang():
    _, container = served(replace(PLAIN, start_s=900))
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 900
    assert startup["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"


def test_probes_speak_tls_where_the_server_does():
    assert "scheme" not in served(PLAIN)[1]["readinessProbe"]["httpGet"]
    assert served(FULL)[1]["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


# -- what it may --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_nobody_is_root_or_writes_beyond_his_volumes(name):
    made = manifests(ALL[name])
    specs = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment"]
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"]
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["automountServiceAccountToken"] is False
        for container in [*spec["containers"], *spec.get("initContainers", ())]:
            assert container["securityContext"] == pod.container_security()
            assert container["resources"]["limits"]
        mounted = {mount["name"] for c in spec["containers"] for mount in c.get("volumeMounts", ())}
        assert mounted == {volume["name"] for volume in spec.get("volumes", ())}


def test_what_the_server_writes_is_writable():
    environment = {each["name"]: each.get("value") for each in served(PLAIN)[1]["env"]}
    writable = {each["mountPath"] for each in served(PLAIN)[1]["volumeMounts"] if not each.get("readOnly")}
    for variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        assert str(Path(environment[variable]) / "penstock") in writable
    assert environment["HOME"] in writable


def test_keys_come_from_the_secret_or_all_are_let_in():
    def variables(wanted):
        return {each["name"]: each for each in served(wanted)[1]["env"]}

    assert variables(PLAIN)["PENSTOCK_SERVER_INSECURE"]["value"] == "true"
    keyed = variables(FULL)
    assert "PENSTOCK_SERVER_INSECURE" not in keyed
    own = {"name": "keys", "key": "PENSTOCK_KEYS"}
    assert keyed["PENSTOCK_KEYS"]["valueFrom"]["secretKeyRef"] == own | {"optional": True}
    assert variables(ASKING)["PENSTOCK_KEYS"]["valueFrom"]["secretKeyRef"] == own


def test_a_scaler_without_a_key_for_replicas_that_want_one_is_refused():
    with pytest.raises(BadSetting, match="give --keys-secret"):
        check(replace(ASKING, has_keys=True, secrets=Secrets()))


@pytest.mark.parametrize("wanted", [PLAIN, FETCHED])
def test_the_environment_is_the_servers_own(wanted):
    given = {each["name"]: each["value"] for each in served(wanted)[1]["env"] if "value" in each}
    settings = load(None, {name: value for name, value in given.items() if name != "PENSTOCK_CONFIG"}, {})
    assert settings.server.insecure


# -- where models come from ---------------------------------------------------------------------


def test_a_claim_is_mounted_for_reading():
    mount = next(each for each in served(SCALED)[1]["volumeMounts"] if each["name"] == "models")
    assert mount == {"name": "models", "mountPath": "/models", "readOnly": True, "subPath": "team/a"}
    assert served(SCALED)[1]["args"][:2] == ["serve", "/models"]


def test_a_uri_is_fetched_before():
    spec, container = served(FETCHED)
    assert spec["initContainers"][0]["args"] == ["s3://bucket/models", "/models"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_an_image_has_its_models_itself():
    spec, container = served(FIXED)
    assert container["args"][:2] == ["serve", "/m"]
    assert "models" not in {volume["name"] for volume in spec["volumes"]}


@pytest.mark.parametrize(
    ("source", "address"),
    [
        (Source("claim", "models", "a/b"), "pvc://models/a/b"),
        (Source("uri", "gs://b/m"), "gs://b/m"),
        (Source("image", "/m"), None),
    ],
)
def test_kserve_fetches_what_is_not_in_the_image(source, address):
    made = of(replace(PLAIN, source=source, kserve=True), "InferenceService")
    assert made["spec"]["predictor"]["model"].get("storageUri") == address


# -- the scaler ---------------------------------------------------------------------------------


def test_the_scaler_gets_the_key_and_the_authority_where_it_asks_the_replicas():
    scaler = of(ASKING, "Deployment", "penstock-scaler")["spec"]["template"]["spec"]
    container = scaler["containers"][0]
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["key"] == "api-key"
    assert container["args"][-2:] == ["--ca", "/etc/penstock/ca/ca.crt"]
    assert scaler["volumes"][0]["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_there_is_one_scaler():
    assert of(FULL, "Deployment", "search-scaler")["spec"]["replicas"] == 1


def test_what_must_be_there_is_said():
    said = " ".join(needs(FULL))
    for word in (
        "image penstock:1",
        "Claim models",
        "Secret keys",
        "Secret tls",
        "scaler.tls",
        "KEDA",
        "Prometheus",
    ):
        assert word in said
    assert "obey all" in " ".join(needs(PLAIN))
    assert "obey all" not in said
