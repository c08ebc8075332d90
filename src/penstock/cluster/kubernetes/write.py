"""All manifests of what is wanted, in the order in which they are applied, and what has to be there first."""

from collections.abc import Iterator

from penstock.cluster.kubernetes import core, keda, kserve, scaler
from penstock.cluster.kubernetes.wanted import Manifest, Wanted

_GRACE = "terminationGracePeriodSeconds is preStop, then lame_duck_s and drain_s, then closing."

SAID = {
    "ConfigMap": "The server's settings, as they are in the file.",
    "Deployment": f"{_GRACE}\n"
    "preStop waits until nodes have stopped sending connections; the server closes its ports at once.",
    "PodDisruptionBudget": "Upkeep of nodes takes one replica at a time.",
    "ServiceMonitor": "Prometheus' operator asks each replica for its metrics.",
    "ServingRuntime": "How KServe runs Penstock: models of the format penstock are a whole repository.",
    "InferenceService": _GRACE,
    "ScaledObject": "penstock scaler says how many replicas are wanted; a target of 1 makes it the number.\n"
    "Where it has been silent for three questions, the replicas that are there stay.",
    "TriggerAuthentication": "What KEDA and the scaler show each other.",
}
_REPLICAS = "The address of each replica, ready or on its way, for the scaler and Prometheus."


def said(manifest: Manifest) -> str:
    """The comment above it; empty where it explains itself."""
    if manifest["spec" if "spec" in manifest else "data"].get("clusterIP") == "None":
        return _REPLICAS
    if manifest["metadata"]["name"].endswith("-scaler"):
        return ""
    return SAID.get(manifest["kind"], "")


def manifests(wanted: Wanted) -> list[Manifest]:
    return list(_all(wanted))


def _all(wanted: Wanted) -> Iterator[Manifest]:
    if wanted.settings:
        yield core.settings(wanted)
    if wanted.kserve:
        yield kserve.runtime(wanted)
        yield kserve.service(wanted)
    else:
        yield core.deployment(wanted)
        yield core.service(wanted)
    if wanted.keda or wanted.monitor:
        yield core.replicas(wanted)
    yield core.budget(wanted)
    if wanted.monitor:
        yield core.monitor(wanted)
    if wanted.keda:
        yield scaler.deployment(wanted)
        yield scaler.service(wanted)
        if wanted.secrets.scaler_tls:
            yield keda.authentication(wanted)
        yield keda.scaled_object(wanted)


def file_name(manifest: Manifest) -> str:
    return f"{manifest['metadata']['name']}-{manifest['kind'].lower()}.yaml"


def needs(wanted: Wanted) -> Iterator[str]:
    """What these manifests take for granted, and what is worth a thought before they are applied."""
    yield f"image {wanted.image}, from where the nodes can pull it (the Containerfile makes it)"
    if wanted.source.kind == "claim":
        below = f", folder {wanted.source.below}" if wanted.source.below else ""
        yield f"PersistentVolumeClaim {wanted.source.where}{below} with the models"
    for secret, what in (
        (wanted.secrets.keys, "PENSTOCK_KEYS and api-key (penstock key prints both)"),
        (wanted.secrets.tls, "tls.crt and tls.key, and ca.crt where the scaler asks the replicas"),
        (wanted.secrets.scaler_tls, "tls.crt, tls.key and ca.crt"),
    ):
        if secret:
            yield f"Secret {secret} with {what}"
    if wanted.kserve:
        yield "KServe, in its Standard mode"
    if wanted.keda:
        yield "KEDA 2.17 or newer"
    if wanted.monitor:
        yield "Prometheus' operator"
    if wanted.open_to_all:
        yield "somebody who decides who may connect; without --keys-secret the pods obey all who reach them"
