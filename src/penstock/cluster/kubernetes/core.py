"""Kubernetes' own objects: the Deployment, its Services, and how much of it may go at once."""

from penstock.cluster.kubernetes.pod import template
from penstock.cluster.kubernetes.wanted import Manifest, Wanted

COMPONENT = "app.kubernetes.io/component"


def manifest(version: str, kind: str, name: str, wanted: Wanted, spec: Manifest) -> Manifest:
    metadata = {"name": name, "namespace": wanted.namespace, "labels": _labels(wanted)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def _labels(wanted: Wanted) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "penstock",
        "app.kubernetes.io/instance": wanted.name,
        "app.kubernetes.io/managed-by": "penstock",
    }


def settings(wanted: Wanted) -> Manifest:
    """penstock.toml as it is."""
    made = manifest("v1", "ConfigMap", wanted.name, wanted, {})
    del made["spec"]
    return made | {"data": {"penstock.toml": wanted.settings}}


def deployment(wanted: Wanted) -> Manifest:
    """Without ``replicas`` where KEDA sets them, or else each ``kubectl apply`` would set them back."""
    counted = {} if wanted.keda else {"replicas": wanted.most}
    spec = {
        **counted,
        "selector": {"matchLabels": wanted.labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": template(wanted),
    }
    return manifest("apps/v1", "Deployment", wanted.name, wanted, spec)


def service(wanted: Wanted) -> Manifest:
    """What clients ask."""
    spec = {"selector": wanted.labels, "ports": _ports(wanted)}
    return manifest("v1", "Service", wanted.name, wanted, spec)


def replicas(wanted: Wanted) -> Manifest:
    """A name with the address of each replica, ready or on its way, for the scaler to ask them."""
    spec = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": wanted.labels,
        "ports": [_ports(wanted)[0]],
    }
    made = manifest("v1", "Service", f"{wanted.name}-replicas", wanted, spec)
    made["metadata"]["labels"][COMPONENT] = "replicas"
    return made


def _ports(wanted: Wanted) -> list[Manifest]:
    found: list[Manifest] = [{"name": "http", "port": wanted.http_port, "targetPort": wanted.http_port}]
    if wanted.grpc_port > 0:
        grpc = {"name": "grpc", "port": wanted.grpc_port, "targetPort": wanted.grpc_port}
        found.append(grpc | {"appProtocol": "kubernetes.io/h2c"} if not wanted.secrets.tls else grpc)
    return found


def budget(wanted: Wanted) -> Manifest:
    """One at a time may be taken for a node's upkeep; one that is not ready may always be."""
    spec = {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": wanted.labels},
    }
    return manifest("policy/v1", "PodDisruptionBudget", wanted.name, wanted, spec)


def monitor(wanted: Wanted) -> Manifest:
    """For Prometheus' operator: each replica by its own address, those on their way included."""
    endpoint: Manifest = {"port": "http", "path": "/metrics", "interval": "10s", "scrapeTimeout": "5s"}
    if wanted.secrets.keys:
        key = {"name": wanted.secrets.keys, "key": "api-key"}
        endpoint["authorization"] = {"type": "Bearer", "credentials": key}
    if wanted.secrets.tls:  # the certificate names the Service, and each replica is asked by its address
        endpoint |= {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}
    spec = {
        "jobLabel": "app.kubernetes.io/name",
        "selector": {"matchLabels": _labels(wanted) | {COMPONENT: "replicas"}},
        "endpoints": [endpoint],
    }
    return manifest("monitoring.coreos.com/v1", "ServiceMonitor", wanted.name, wanted, spec)
