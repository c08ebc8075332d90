"""What an instance asks of a Ray cluster, and what the cluster has."""

from collections.abc import Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any

from penstock.cluster.ray.host import Host
from penstock.core import resources
from penstock.core.errors import one_line
from penstock.core.spec import ModelSpec
from penstock.engines.require import QUIET as TELEMETRY
from penstock.workers.process import QUIET, THREAD_VARIABLES

CALLS = 4
"""Calls that an actor takes at once: a run, one that asks to be told of its end, and one to close."""
_HIDE = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
"""Has Ray hide a node's GPUs from an actor that asked for none, which it no longer does by itself."""
_MOMENT = 5.0


def asks(spec: ModelSpec) -> dict[str, float]:
    """What an instance asks of its node."""
    device = spec.device if isinstance(spec.device, str) else next(iter(spec.device), "auto")
    return resources.wanted(spec.instances.resources, spec.instances.threads, device)


def has(ray: Any) -> str:
    """What the cluster has, in all and free; a head that does not answer is waited for a moment only."""
    told: Future[str] = Future()
    Thread(target=lambda: told.set_result(_has(ray)), name="ray-has", daemon=True).start()
    try:
        return told.result(_MOMENT)
    except TimeoutError:
        return "the cluster's head does not answer"


def _has(ray: Any) -> str:
    try:
        whole, free = ray.cluster_resources(), ray.available_resources()
        nodes = sum(1 for node in ray.nodes() if node["Alive"])
    except Exception as error:  # noqa: BLE001 - it is asked just to tell it
        return f"the cluster does not say what it has ({one_line(error)})"
    named = "1 node has" if nodes == 1 else f"{nodes} nodes have"
    return f"the cluster's {named} {resources.words(whole)}, of which {resources.words(free)} are free"


def new(ray: Any, asked: Mapping[str, float], threads: int) -> Any:
    """An actor for which a node is looked for from now on; Ray's autoscaler sees that it waits."""
    own = {name: amount for name, amount in asked.items() if name not in resources.KNOWN}
    variables = QUIET | {TELEMETRY: "1", _HIDE: "1"} | dict.fromkeys(THREAD_VARIABLES, str(threads))
    options = {
        "num_cpus": asked.get(resources.CPU, 0),
        "num_gpus": asked.get(resources.GPU, 0),
        "memory": asked.get(resources.MEMORY),
        "resources": own,
        "runtime_env": {"env_vars": variables},
        "max_concurrency": CALLS,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    return ray.remote(Host).options(**options).remote()
