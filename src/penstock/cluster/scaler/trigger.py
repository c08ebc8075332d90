"""What a ScaledObject asks for: its trigger's metadata, texts all of them, as one checked value."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.scaling.schedules import check
from penstock.scaling.types import Schedule, Terms

SYNC_S = 15.0
"""Between two questions of the autoscaler, after which a replica begins to start at the latest."""


IDLE_S = 300.0
"""Without a request for so long there need be no replica, where none are allowed."""


class Trigger(Struct, frozen=True, kw_only=True):
    """One model, where its requests are counted, and what is wanted of it."""

    model: str
    server_address: str = ""
    """Of Prometheus."""
    replicas: str = ""
    """Or ``host:port`` whose host has an address for each replica, or several of them, by commas."""
    selector: str = ""
    """Label matchers of the replicas' series in Prometheus."""
    demand: str = ""
    """PromQL whose value is the requests/s of all callers."""
    target_ms: float = 0.0
    carries: float = 0.0
    """Requests/s of one replica; 0: what the replicas say."""
    startup_s: float = 30.0
    sync_s: float = SYNC_S
    every_s: float = 1.0
    """Between two looks at the replicas; their counts are what the burstiness of seconds is known by."""
    stale_s: float = 90.0
    """For so long the last decision stands when nothing can be counted; then the RPC fails."""
    tolerance: float = 0.1
    """Relative change that the autoscaler ignores (its default)."""
    terms: Terms = field(default_factory=Terms)


def _number(low: float, high: float = 1e9) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return read


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text):
        raise ValueError("a whole number")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return text.lower() == "true"


def _schedules(text: str) -> tuple[Schedule, ...]:
    return tuple(_schedule(each) for each in text.split(";") if each.strip())


_SCHEDULE = re.compile(r"\s*(\S+(?:\s+\S+){4})\s*=\s*(\d+)(?:\s+for\s+(\d+))?\s*")


def _schedule(text: str) -> Schedule:
    match = _SCHEDULE.fullmatch(text)
    if match is None:
        raise ValueError("CRON = REPLICAS for SECONDS, e.g. 0 8 * * 1-5 = 4 for 7200; several by ';'")
    made = Schedule(match[1], int(match[2]), float(match[3] or 3600))
    try:
        check(made)
    except ValueError as error:
        raise ValueError(f"cron's five fields ({error})") from None
    return made


_KEYS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "model": ("model", str),
    "serverAddress": ("server_address", str),
    "replicas": ("replicas", str),
    "selector": ("selector", str),
    "demand": ("demand", str),
    "target": ("target_ms", _number(0.001)),
    "carries": ("carries", _number(1e-6)),
    "startupSeconds": ("startup_s", _number(0, 86400)),
    "syncSeconds": ("sync_s", _number(0, 3600)),
    "everySeconds": ("every_s", _number(0.1, 60)),
    "staleSeconds": ("stale_s", _number(1, 3600)),
    "tolerance": ("tolerance", _number(0, 0.5)),
}
_TERMS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "least": ("least", _whole),
    "most": ("most", _whole),
    "idleSeconds": ("idle_s", _number(0, 86400)),
    "budget": ("budget", _number(0.0001, 0.5)),
    "holdSeconds": ("hold_s", _number(0, 3600)),
    "tickSeconds": ("tick_s", _number(0.1, 60)),
    "feedback": ("feedback", _flag),
    "headroom": ("headroom", _number(1, 10)),
    "schedules": ("schedules", _schedules),
}
KEDA = frozenset({"scalerAddress", "enableTLS", "unsafeSsl", "caCert", "tlsClientCert", "tlsClientKey"})
"""Keys that KEDA reads itself, and passes on."""


def known() -> set[str]:
    """Keys of the metadata that are ours."""
    return {*_KEYS, *_TERMS}


def read(metadata: Mapping[str, str]) -> Trigger:
    """Raises BadSetting that names the key and says what would be right."""
    keys = _KEYS | _TERMS
    values: dict[str, Any] = {}
    terms: dict[str, Any] = {"idle_s": IDLE_S}
    for key in sorted(metadata):
        if key in KEDA:
            continue
        if key not in keys:
            raise BadSetting(f"metadata: no key {key!r}; {nearest(key, list(keys))}")
        name, parse = keys[key]
        try:
            (terms if key in _TERMS else values)[name] = parse(metadata[key].strip())
        except ValueError as error:
            expected = "a number" if "could not convert" in str(error) else str(error)
            raise BadSetting(f"metadata: {key} must be {expected}, got {metadata[key]!r}") from None
    if not values.get("model"):
        raise BadSetting("metadata: model is missing; name the model whose requests are to be counted")
    return _checked(Trigger(**values, terms=Terms(**terms)), "most" in terms)


def _checked(trigger: Trigger, has_most: bool) -> Trigger:
    if bool(trigger.server_address) == bool(trigger.replicas):
        raise BadSetting(
            "metadata: requests are counted in one place; give serverAddress (of Prometheus) or "
            "replicas (host:port), and not both"
        )
    if trigger.server_address and not re.match(r"https?://[^/\s]+", trigger.server_address):
        raise BadSetting(
            f"metadata: serverAddress must be Prometheus' URL, e.g. http://prometheus.monitoring:9090, "
            f"got {trigger.server_address!r}"
        )
    for key, value in (("selector", trigger.selector), ("demand", trigger.demand)):
        if value and not trigger.server_address:
            raise BadSetting(f"metadata: {key} is for Prometheus; give serverAddress, or leave {key} out")
    if not has_most:
        raise BadSetting("metadata: most is missing; give the largest number of replicas (maxReplicaCount)")
    terms = trigger.terms
    if not terms.most or terms.least > terms.most:
        raise BadSetting(f"metadata: least ({terms.least}) must not be over most ({terms.most})")
    if not terms.least and not trigger.demand:
        raise BadSetting(
            "metadata: with least 0 nobody counts what comes while there is no replica; give demand "
            "(PromQL of what counts requests before them), or least 1"
        )
    return trigger
