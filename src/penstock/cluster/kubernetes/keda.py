"""KEDA's objects: what it scales, by whose word, and what it does when that word is missing."""

from penstock.cluster.kubernetes.core import manifest
from penstock.cluster.kubernetes.names import slug
from penstock.cluster.kubernetes.scaler import PORT
from penstock.cluster.kubernetes.wanted import Manifest, Scaled, Wanted

SYNC_S = 15
"""Between two questions of the autoscaler (kube-controller-manager's default)."""


def scaled_object(wanted: Wanted) -> Manifest:
    """One trigger for each model; the autoscaler takes the largest answer."""
    spec = {
        "scaleTargetRef": {"name": wanted.target},
        "minReplicaCount": wanted.least,
        "maxReplicaCount": wanted.most,
        "pollingInterval": SYNC_S,
        # Replicas that were there before the scaler fell silent stay, and so many are held at least.
        "fallback": {
            "failureThreshold": 3,
            "replicas": max(1, wanted.least),
            "behavior": "currentReplicasIfHigher",
        },
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior()}},
        "triggers": [_trigger(wanted, each) for each in wanted.scaled],
    }
    return manifest("keda.sh/v1alpha1", "ScaledObject", wanted.name, wanted, spec)


def _behavior() -> Manifest:
    """At once in both directions: what was wanted in the last minutes is in the scaler's answer already."""

    def at_once() -> Manifest:
        policies = [{"type": "Percent", "value": 900, "periodSeconds": SYNC_S}]
        return {"stabilizationWindowSeconds": 0, "policies": policies, "selectPolicy": "Max"}

    up, down = at_once(), at_once()
    up["policies"].append({"type": "Pods", "value": 100, "periodSeconds": SYNC_S})
    down["policies"][0]["value"] = 100
    return {"scaleUp": up, "scaleDown": down}


def _trigger(wanted: Wanted, scaled: Scaled) -> Manifest:
    metadata = {
        "scalerAddress": f"{wanted.name}-scaler.{wanted.namespace}:{PORT}",
        "model": scaled.model,
        "least": str(wanted.least),
        "most": str(wanted.most),
        **_source(wanted),
        "startupSeconds": f"{wanted.startup_s:g}",
    }
    if scaled.target_ms:
        metadata["target"] = f"{scaled.target_ms:g}"
    if scaled.carries:
        metadata["carries"] = f"{scaled.carries:g}"
    trigger: Manifest = {"type": "external-push", "name": slug(scaled.model), "metadata": metadata}
    if wanted.secrets.scaler_tls:
        metadata["enableTLS"] = "true"
        trigger["authenticationRef"] = {"name": f"{wanted.name}-scaler"}
    return trigger


def _source(wanted: Wanted) -> dict[str, str]:
    if not wanted.prometheus:
        scheme = "https://" if wanted.secrets.tls else ""
        return {"replicas": f"{scheme}{wanted.name}-replicas.{wanted.namespace}:{wanted.http_port}"}
    selector = f'namespace="{wanted.namespace}",service="{wanted.name}-replicas"'
    found = {"serverAddress": wanted.prometheus, "selector": selector}
    return found | ({"demand": wanted.demand} if wanted.demand else {})


def authentication(wanted: Wanted) -> Manifest:
    """What KEDA shows the scaler, and whom it trusts."""
    secret = wanted.secrets.scaler_tls
    files = {"caCert": "ca.crt", "tlsClientCert": "tls.crt", "tlsClientKey": "tls.key"}
    spec = {
        "secretTargetRef": [{"parameter": name, "name": secret, "key": file} for name, file in files.items()]
    }
    return manifest("keda.sh/v1alpha1", "TriggerAuthentication", f"{wanted.name}-scaler", wanted, spec)
