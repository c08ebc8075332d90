"""The pod that serves: the container, its probes, how it ends, and what it may write and nothing more."""

from math import ceil
from typing import Any

from penstock.cluster.kubernetes.wanted import HOME, Manifest, Wanted

USER = 10001
"""Of the Containerfile's user; any but 0 will do."""

CLOSING_S = 10
"""Beyond draining: the last entry in the books (5 s at most), and closing models."""
UNHEARD_S = 5
"""Until every node has heard that a pod is going.

The server stops accepting as soon as it is told to end, while nodes go on sending it connections until
they have heard; so it is told only then.
"""

CONFIG = "/etc/penstock/penstock.toml"
_TLS = "/etc/penstock/tls"
_WRITABLE = {"state": "/var/lib/penstock", "cache": "/var/cache/penstock", "tmp": "/tmp"}  # noqa: S108
"""The books and the state of rollouts; what engines compile; the rest. They end with the pod."""


def grace(wanted: Wanted) -> int:
    """Seconds from the word that a pod is to go until it is killed; draining ends long before, usually."""
    return UNHEARD_S + ceil(wanted.lame_duck_s + wanted.drain_s) + CLOSING_S


def template(wanted: Wanted) -> Manifest:
    """Of the Deployment."""
    spec = {
        "terminationGracePeriodSeconds": grace(wanted),
        "automountServiceAccountToken": False,  # it asks nothing of the cluster
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": wanted.labels},
            }
        ],
        **_fetching(wanted),
        "containers": [container(wanted, "penstock", [*_told(wanted, wanted.source.folder)])],
        "volumes": volumes(wanted),
    }
    return {"metadata": {"labels": wanted.labels}, "spec": spec}


def _told(wanted: Wanted, folder: str) -> list[str]:
    ports = ["--http-port", str(wanted.http_port), "--grpc-port", str(wanted.grpc_port)]
    return ["serve", folder, "--host", "0.0.0.0", *ports, "--log-format", "json"]


def container(wanted: Wanted, name: str, arguments: list[str]) -> Manifest:
    """The server itself; KServe has a name of its own for it."""
    mounts: list[Manifest] = [{"name": volume, "mountPath": path} for volume, path in _WRITABLE.items()]
    if wanted.source.kind != "image" and not wanted.kserve:
        models: Manifest = {"name": "models", "mountPath": HOME, "readOnly": True}
        below = {"subPath": wanted.source.below} if wanted.source.below else {}
        mounts.append(models | below)
    if wanted.settings:
        mounts.append({"name": "settings", "mountPath": CONFIG.rpartition("/")[0], "readOnly": True})
    if wanted.secrets.tls:
        mounts.append({"name": "tls", "mountPath": _TLS, "readOnly": True})
    return {
        "name": name,
        "image": wanted.image,
        "args": arguments,
        "env": _environment(wanted),
        "ports": _ports(wanted),
        **probes(wanted),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(UNHEARD_S)]}}},
        "resources": resources(wanted),
        "securityContext": container_security(),
        "volumeMounts": mounts,
    }


def _ports(wanted: Wanted) -> list[Manifest]:
    """KServe takes the first as the one to send requests to."""
    found: list[Manifest] = [{"name": "http", "containerPort": wanted.http_port}]
    if wanted.grpc_port > 0:
        found.append({"name": "grpc", "containerPort": wanted.grpc_port})
    return found


def _environment(wanted: Wanted) -> list[Manifest]:
    cache, state = (_WRITABLE[kind].rpartition("/")[0] for kind in ("cache", "state"))
    values = {
        "HOME": _WRITABLE["tmp"],
        "XDG_CACHE_HOME": cache,
        "XDG_STATE_HOME": state,
    }
    if wanted.settings:
        values["PENSTOCK_CONFIG"] = CONFIG
    if wanted.secrets.tls:
        values |= {
            "PENSTOCK_SERVER_TLS_CERT": f"{_TLS}/tls.crt",
            "PENSTOCK_SERVER_TLS_KEY": f"{_TLS}/tls.key",
        }
    if wanted.open_to_all:
        values["PENSTOCK_SERVER_INSECURE"] = "true"
    found: list[Manifest] = [{"name": name, "value": value} for name, value in values.items()]
    if wanted.secrets.keys:
        keys = from_secret("PENSTOCK_KEYS", wanted.secrets.keys, "PENSTOCK_KEYS")
        if wanted.has_keys:  # those of the settings are enough, and the Secret is for the scaler
            keys["valueFrom"]["secretKeyRef"]["optional"] = True
        found.append(keys)
    return found


def from_secret(name: str, secret: str, key: str) -> Manifest:
    """An environment variable."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def probes(wanted: Wanted) -> Manifest:
    """Nothing listens until models are loaded, so a slow load must not look like a hang.

    Ready is what the server says of itself: every model serves, and it is not stopping.
    """

    def ask(what: str) -> Manifest:
        scheme = {"scheme": "HTTPS"} if wanted.secrets.tls else {}
        return {"httpGet": {"path": f"/v2/health/{what}", "port": wanted.http_port} | scheme}

    every = 5
    return {
        "startupProbe": ask("live")
        | {"periodSeconds": every, "timeoutSeconds": 3, "failureThreshold": max(1, wanted.start_s // every)},
        "readinessProbe": ask("ready") | {"periodSeconds": every, "timeoutSeconds": 3, "failureThreshold": 2},
        "livenessProbe": ask("live") | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
    }


def resources(wanted: Wanted) -> Manifest:
    """Limits are what is asked for: what a model costs is measured, so nothing should change it later."""
    amounts: dict[str, Any] = {"cpu": wanted.cpu, "memory": wanted.memory}
    if wanted.gpu:
        amounts["nvidia.com/gpu"] = str(wanted.gpu)
    return {"requests": amounts, "limits": dict(amounts)}


def pod_security() -> Manifest:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def volumes(wanted: Wanted) -> list[Manifest]:
    found: list[Manifest] = [{"name": name, "emptyDir": {}} for name in _WRITABLE]
    if wanted.source.kind == "claim" and not wanted.kserve:
        claim = {"claimName": wanted.source.where, "readOnly": True}
        found.append({"name": "models", "persistentVolumeClaim": claim})
    elif wanted.source.kind == "uri" and not wanted.kserve:
        found.append({"name": "models", "emptyDir": {}})
    if wanted.settings:
        found.append({"name": "settings", "configMap": {"name": wanted.name}})
    if wanted.secrets.tls:
        found.append({"name": "tls", "secret": {"secretName": wanted.secrets.tls}})
    return found


FETCHER = "kserve/storage-initializer:v0.15.0"
"""Puts what a URI names into a folder; it is KServe's, and needs no KServe around it."""


def _fetching(wanted: Wanted) -> Manifest:
    if wanted.source.kind != "uri":
        return {}
    return {
        "initContainers": [
            {
                "name": "fetch",
                "image": FETCHER,
                "args": [wanted.source.where, HOME],
                "env": [{"name": "HOME", "value": _WRITABLE["tmp"]}],
                "resources": {
                    "requests": {"cpu": "100m", "memory": "100Mi"},
                    "limits": {"cpu": "1", "memory": "1Gi"},
                },
                "securityContext": container_security(),
                "volumeMounts": [
                    {"name": "models", "mountPath": HOME},
                    {"name": "tmp", "mountPath": _WRITABLE["tmp"]},
                ],
            }
        ]
    }
