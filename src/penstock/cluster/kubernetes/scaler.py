"""The external scaler's own Deployment and Service; it asks nothing of the cluster, and so has no rights."""

from penstock.cluster.kubernetes.core import COMPONENT, manifest
from penstock.cluster.kubernetes.pod import container_security, from_secret, pod_security
from penstock.cluster.kubernetes.wanted import Manifest, Wanted

PORT = 6000
_TLS, _CA = "/etc/penstock/tls", "/etc/penstock/ca"


def deployment(wanted: Wanted) -> Manifest:
    """One replica: a second would know a history of its own, and KEDA would ask them in turns."""
    labels = _labels(wanted)
    spec: Manifest = {
        "terminationGracePeriodSeconds": 15,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "containers": [_container(wanted)],
    }
    if found := _volumes(wanted):
        spec["volumes"] = found
    whole = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    return manifest("apps/v1", "Deployment", f"{wanted.name}-scaler", wanted, whole)


def service(wanted: Wanted) -> Manifest:
    """What KEDA asks."""
    ports = [{"name": "grpc", "port": PORT, "targetPort": PORT}]
    spec = {"selector": _labels(wanted), "ports": ports}
    return manifest("v1", "Service", f"{wanted.name}-scaler", wanted, spec)


def _labels(wanted: Wanted) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "penstock-scaler",
        "app.kubernetes.io/instance": wanted.name,
        COMPONENT: "scaler",
    }


def _asks_over_tls(wanted: Wanted) -> bool:
    return bool(wanted.secrets.tls) and not wanted.prometheus


def _volumes(wanted: Wanted) -> list[Manifest]:
    found: list[Manifest] = []
    if wanted.secrets.scaler_tls:
        found.append({"name": "tls", "secret": {"secretName": wanted.secrets.scaler_tls}})
    if _asks_over_tls(wanted):  # without the server's private key, which is no business of the scaler's
        items = [{"key": "ca.crt", "path": "ca.crt"}]
        found.append({"name": "ca", "secret": {"secretName": wanted.secrets.tls, "items": items}})
    return found


def _arguments(wanted: Wanted) -> list[str]:
    found = ["scaler", "--host", "0.0.0.0", "--port", str(PORT), "--log-format", "json"]
    if wanted.secrets.scaler_tls:
        files = {"--tls-cert": "tls.crt", "--tls-key": "tls.key", "--client-ca": "ca.crt"}
        found += [word for option, file in files.items() for word in (option, f"{_TLS}/{file}")]
    if _asks_over_tls(wanted):
        found += ["--ca", f"{_CA}/ca.crt"]
    return found


def _container(wanted: Wanted) -> Manifest:
    made: Manifest = {
        "name": "scaler",
        "image": wanted.image,
        "args": _arguments(wanted),
        "ports": [{"name": "grpc", "containerPort": PORT}],
        **_probes(bool(wanted.secrets.scaler_tls)),
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "securityContext": container_security(),
    }
    if wanted.secrets.keys and not wanted.prometheus:
        made["env"] = [from_secret("PENSTOCK_API_KEY", wanted.secrets.keys, "api-key")]
    if found := _volumes(wanted):
        paths = {"tls": _TLS, "ca": _CA}
        made["volumeMounts"] = [
            {"name": each["name"], "mountPath": paths[each["name"]], "readOnly": True} for each in found
        ]
    return made


def _probes(tls: bool) -> Manifest:
    """The kubelet's gRPC probe speaks no TLS; there it can only see that somebody listens."""
    ask: Manifest = {"tcpSocket": {"port": PORT}} if tls else {"grpc": {"port": PORT}}
    return {
        "readinessProbe": ask | {"periodSeconds": 5, "timeoutSeconds": 3},
        "livenessProbe": ask | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
    }
