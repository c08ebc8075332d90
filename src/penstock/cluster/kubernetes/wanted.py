"""What is to run on a cluster: one value that every manifest is made from, checked as a whole."""

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from penstock.cluster.kubernetes.names import check_image, check_name, check_path, check_quantity
from penstock.core.errors import BadSetting

Manifest: TypeAlias = dict[str, Any]
"""One object of Kubernetes, in its own words."""

HOME = "/models"
"""Where pods find the repository."""


class Source(Struct, frozen=True):
    """Where pods take the models from."""

    kind: Literal["claim", "uri", "image"]
    """A PersistentVolumeClaim; what KServe's storage initializer can fetch; a folder of the image."""
    where: str
    """The claim's name, the URI, or the folder."""
    below: str = ""
    """Folder inside the claim."""

    @property
    def folder(self) -> str:
        """Of the repository, in a pod that does not belong to KServe."""
        return self.where if self.kind == "image" else HOME

    @property
    def address(self) -> str:
        """As KServe's ``storageUri``; empty where the image has the models."""
        if self.kind == "claim":
            return "/".join(filter(None, (f"pvc://{self.where}", self.below)))
        return "" if self.kind == "image" else self.where


class Scaled(Struct, frozen=True):
    """A model by whose traffic replicas are scaled."""

    model: str
    target_ms: float = 0.0
    """0: what the replicas export as their target."""
    carries: float = 0.0
    """Requests/s of one replica within the target; 0: what the replicas export."""


class Secrets(Struct, frozen=True, kw_only=True):
    """Names of Secrets that are there already; empty: none."""

    keys: str = ""
    """``PENSTOCK_KEYS``, what `penstock key` prints for the environment; ``api-key``, one of the keys."""
    tls: str = ""
    """``tls.crt`` and ``tls.key`` of the server, and ``ca.crt`` for the scaler where it asks the replicas."""
    scaler_tls: str = ""
    """``tls.crt``, ``tls.key`` and ``ca.crt``: what the scaler and KEDA show each other."""


class Wanted(Struct, frozen=True, kw_only=True):
    """All of it."""

    name: str = "penstock"
    namespace: str = "default"
    image: str
    source: Source
    least: int = 2
    most: int = 2
    cpu: str = "1"
    memory: str = "1Gi"
    gpu: int = 0
    http_port: int = 8000
    grpc_port: int = 8001
    drain_s: float = 30.0
    lame_duck_s: float = 0.5
    start_s: int = 600
    """How long models may take to load before a container is started anew."""
    settings: str = ""
    """The text of penstock.toml."""
    has_keys: bool = False
    """Whether ``settings`` says who may use it."""
    secrets: Secrets = Secrets()
    scaled: tuple[Scaled, ...] = ()
    prometheus: str = ""
    """URL; empty: the scaler asks the replicas themselves."""
    demand: str = ""
    """PromQL whose value is the requests/s of all callers, counted before the replicas."""
    startup_s: float = 30.0
    """Of a replica, until it has been measured."""
    kserve: bool = False
    keda: bool = False
    monitor: bool = False
    """Write a ServiceMonitor for Prometheus' operator."""

    @property
    def target(self) -> str:
        """The Deployment that is scaled; KServe names its own."""
        return f"{self.name}-predictor" if self.kserve else self.name

    @property
    def open_to_all(self) -> bool:
        return not (self.secrets.keys or self.has_keys)

    @property
    def labels(self) -> dict[str, str]:
        """Of the pods that serve."""
        if self.kserve:
            return {"serving.kserve.io/inferenceservice": self.name, "component": "predictor"}
        return {"app.kubernetes.io/name": "penstock", "app.kubernetes.io/instance": self.name}


def check(wanted: Wanted) -> Wanted:
    """The same; raises BadSetting, with what would be right, for what no cluster would take."""
    check_name(wanted.name, "--name", room=len("-scaler-metrics"))
    check_name(wanted.namespace, "--namespace")
    check_image(wanted.image, "--image")
    check_quantity(wanted.cpu, "--cpu")
    check_quantity(wanted.memory, "--memory")
    for secret, option in (
        (wanted.secrets.keys, "--keys-secret"),
        (wanted.secrets.tls, "--tls-secret"),
        (wanted.secrets.scaler_tls, "--scaler-tls-secret"),
    ):
        if secret:
            check_name(secret, option, dots=True)
    _check_source(wanted)
    _check_replicas(wanted)
    return wanted


def _check_source(wanted: Wanted) -> None:
    source = wanted.source
    if source.kind == "claim":
        check_name(source.where, "--claim", dots=True)
    elif source.kind == "image":
        check_path(source.where, "--in-image")
    elif "://" not in source.where:
        raise BadSetting(f"--uri: {source.where!r} is no URI; write e.g. s3://bucket/models or pvc://claim")


def _check_replicas(wanted: Wanted) -> None:
    if not 0 <= wanted.least <= wanted.most or not wanted.most:
        raise BadSetting(
            f"--replicas: {wanted.least}:{wanted.most} is no range; write LEAST:MOST, e.g. 2:10, or a number"
        )
    if wanted.keda and wanted.least == wanted.most:
        raise BadSetting(
            f"--replicas {wanted.most} leaves KEDA nothing to move; write a range, e.g. 2:10, or no --keda"
        )
    if wanted.keda and wanted.has_keys and not wanted.secrets.keys and not wanted.prometheus:
        raise BadSetting(
            "the settings have [keys], so replicas do not answer the scaler; give --keys-secret with a key "
            "as api-key, or --prometheus URL"
        )
    if wanted.gpu < 0:
        raise BadSetting(f"--gpu: {wanted.gpu} is less than none; write 0 for none")
    if wanted.keda and not wanted.scaled:
        raise BadSetting(
            "by the traffic of which models is it to be scaled? "
            "give the repository's folder, or --model NAME; or --no-keda to leave replicas alone"
        )
    if wanted.keda and not wanted.least and not wanted.demand:
        raise BadSetting(
            "--replicas 0:…: where there is no replica nobody counts the requests that come; give --demand "
            "with a query of what counts them before (a gateway, an ingress), or keep at least 1"
        )
    if wanted.demand and not wanted.prometheus:
        raise BadSetting("--demand is asked of Prometheus; give its address with --prometheus URL, too")
    if not wanted.keda and wanted.least != wanted.most:
        raise BadSetting(
            f"--replicas {wanted.least}:{wanted.most} is a range, and --no-keda leaves nobody who moves "
            "replicas in it; write one number, or leave --no-keda out"
        )
