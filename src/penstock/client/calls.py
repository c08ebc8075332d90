"""Every call a client can make, as data: what to send, and how to read the answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlencode

import orjson
from msgspec import Struct

from penstock.client.codec import Headers, Result, decode, encode
from penstock.client.errors import ServerError
from penstock.core.tensors import Array
from penstock.core.types import Parameters, Tensors

T = TypeVar("T")


class Answer(Struct, frozen=True):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Headers
    body: bytes


class Call(Struct, Generic[T], frozen=True, kw_only=True):
    """One call; ``read`` makes its value of the answer, or raises ServerError."""

    method: str
    path: str
    read: Callable[[Answer], T]
    headers: Headers = {}
    body: bytes = b""
    timeout: float | None = None
    """Seconds; None takes the client's."""


def _model(model: str, version: str = "") -> str:
    tail = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(model, safe='')}{tail}"


def _get(path: str, read: Callable[[Answer], T]) -> Call[T]:
    return Call(method="GET", path=path, read=read)


def _post(path: str, body: Mapping[str, Any], read: Callable[[Answer], T]) -> Call[T]:
    headers = {"Content-Type": "application/json"}
    return Call(method="POST", path=path, read=read, headers=headers, body=_dumps(body))


def _dumps(body: Mapping[str, Any]) -> bytes:
    """Scalars and arrays of NumPy are as good as Python's."""
    return orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)


def live() -> Call[bool]:
    """Whether the server runs."""
    return _get("/v2/health/live", _yes)


def ready(model: str = "", version: str = "") -> Call[bool]:
    """Whether the server, or one model, can answer."""
    return _get(f"{_model(model, version)}/ready" if model else "/v2/health/ready", _yes)


def server() -> Call[dict[str, Any]]:
    """Name, version and extensions."""
    return _get("/v2", _object)


def metadata(model: str, version: str) -> Call[dict[str, Any]]:
    """Versions, platform, inputs and outputs."""
    return _get(_model(model, version), _object)


def config(model: str, version: str) -> Call[dict[str, Any]]:
    """The model's configuration in Triton's form."""
    return _get(f"{_model(model, version)}/config", _object)


def statistics(model: str, version: str) -> Call[list[dict[str, Any]]]:
    """Counts and durations by model and version (Triton's statistics extension)."""
    path = f"{_model(model, version)}/stats" if model else "/v2/models/stats"
    return _get(path, lambda answer: _list(_object(answer), "model_stats"))


def index(ready: bool) -> Call[list[dict[str, Any]]]:
    """What the repository holds."""
    return _post("/v2/repository/index", {"ready": ready}, _json)


def load(model: str) -> Call[None]:
    """(Re)load a model from the repository."""
    return _post(f"/v2/repository/models/{quote(model, safe='')}/load", {}, _nothing)


def unload(model: str) -> Call[None]:
    """Drain and close a model."""
    return _post(f"/v2/repository/models/{quote(model, safe='')}/unload", {}, _nothing)


def status() -> Call[list[dict[str, Any]]]:
    """Every version as Penstock's control plane sees it."""
    return _get("/penstock/models", lambda answer: _list(_object(answer), "models"))


def bill(
    by: str | Sequence[str],
    since: str | float,
    until: str | float,
    model: str | None,
    tenant: str | None,
) -> Call[dict[str, Any]]:
    """Who used what between two moments, and what it cost."""
    keys = by if isinstance(by, str) else ",".join(by)
    asked = {"by": keys, "since": since, "until": until or None, "model": model, "tenant": tenant}
    given = urlencode({name: value for name, value in asked.items() if value is not None})
    return _get(f"/penstock/bill?{given}", _object)


def _rollout(model: str, tail: str = "", **asked: str) -> str:
    query = urlencode({name: value for name, value in asked.items() if value})
    return f"/penstock/rollouts/{quote(model, safe='')}{tail}{'?' if query else ''}{query}"


def rollouts() -> Call[list[dict[str, Any]]]:
    """How every rollout stands: those that run, then those that have ended."""
    return _get("/penstock/rollouts", lambda answer: _list(_object(answer), "rollouts"))


def rollout(model: str) -> Call[dict[str, Any]]:
    """How a model's present or last rollout stands."""
    return _get(_rollout(model), _object)


def scales() -> Call[list[dict[str, Any]]]:
    """How many instances every model has and should have."""
    return _get("/penstock/scale", lambda answer: _list(_object(answer), "models"))


def scale(model: str, limit: int) -> Call[dict[str, Any]]:
    """The same of one model, with its last decisions."""
    return _get(f"/penstock/scale/{quote(model, safe='')}?limit={limit}", _object)


def start_rollout(
    model: str, version: str, why: str, force: bool, terms: Mapping[str, Any]
) -> Call[dict[str, Any]]:
    """Bring a version in; ``terms`` go over those in the model's ``[rollout]``."""
    return _post(_rollout(model), {"version": version, "why": why, "force": force, **terms}, _object)


def rollout_command(model: str, verb: str, why: str) -> Call[dict[str, Any]]:
    """Pause, resume, promote or roll back."""
    return _post(_rollout(model, f"/{quote(verb, safe='')}"), {"why": why}, _object)


def rollout_history(model: str, limit: int) -> Call[list[dict[str, Any]]]:
    """The audit log, of one model or of all."""
    path = _rollout(model, "/history") if model else "/penstock/audit"
    return _get(f"{path}?limit={limit}", lambda answer: _list(_object(answer), "changes"))


def bad_versions() -> Call[list[dict[str, Any]]]:
    """Versions that were taken back, of all models."""
    return _get("/penstock/rollouts", lambda answer: _list(_object(answer), "bad"))


def verdict(model: str, version: str) -> Call[dict[str, Any]]:
    """What a rollout has found out of a version."""
    return _get(_rollout(model, "/verdict", version=version), _object)


def feedback(labels: Sequence[Mapping[str, Any]]) -> Call[dict[str, int]]:
    """What came true of requests."""
    return _post("/v1/feedback", {"labels": list(labels)}, _object)


def label(id: str, outcome: Any, correct: bool | None, model: str) -> dict[str, Any]:  # noqa: A002
    """What came true of one request."""
    given = {"id": id, "outcome": outcome, "correct": correct, "model": model or None}
    return {name: value for name, value in given.items() if value is not None}


def samples(model: str, version: str) -> Call[list[Tensors]]:
    """The inputs of the last requests that a model has kept, one entry for each group of shapes."""
    tail = f"?version={quote(version, safe='')}" if version else ""
    return Call(
        method="GET",
        path=f"/penstock/models/{quote(model, safe='')}/samples{tail}",
        read=_groups,
        headers={"Accept-Encoding": "identity"},
    )


def infer(
    model: str,
    version: str,
    inputs: Tensors,
    *,
    outputs: Sequence[str],
    id: str,  # noqa: A002
    parameters: Parameters,
    timeout: float | None,
    priority: int,
    binary: bool,
) -> Call[Result]:
    """One inference; a time-out also goes to the server, in microseconds."""
    parameters = dict(parameters)
    if timeout is not None:
        parameters["timeout"] = int(timeout * 1e6)
    if priority:
        parameters["priority"] = priority
    headers, body = encode(inputs, outputs=outputs, id=id, parameters=parameters, binary=binary)
    return infer_body(model, version, headers, body, timeout)


def infer_body(
    model: str, version: str, headers: Headers, body: bytes, timeout: float | None = None
) -> Call[Result]:
    """One inference from a ready body, such as a saved request."""
    # Decompressing would cost more than it saves on anything but a slow network.
    return Call(
        method="POST",
        path=f"{_model(model, version)}/infer",
        read=_result,
        headers={"Accept-Encoding": "identity", **headers},
        body=body,
        timeout=timeout,
    )


def check(answer: Answer) -> None:
    """Raises ServerError with the server's sentence unless the answer is a good one."""
    if answer.status >= 300:
        raise ServerError(sentence(answer.status, answer.body), answer.status)


def sentence(status: int, body: bytes) -> str:
    """What an answer that is no success says: V2's ``error``, or what text there is."""
    try:
        return str(orjson.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = " ".join(body[:200].decode(errors="replace").split())
        return f"HTTP {status}{': ' + text if text else ''}"


def _json(answer: Answer) -> Any:
    check(answer)
    try:
        return orjson.loads(answer.body)
    except ValueError:
        raise ServerError(
            "the answer is not JSON; is this the address of an Open Inference Protocol server?", answer.status
        ) from None


def _object(answer: Answer) -> dict[str, Any]:
    value = _json(answer)
    if not isinstance(value, dict):
        raise ServerError(
            f"the answer is {type(value).__name__} where V2 has an object; "
            "is this the address of an Open Inference Protocol server?",
            answer.status,
        )
    return value


def _list(value: dict[str, Any], key: str) -> list[dict[str, Any]]:
    if not isinstance(value.get(key), list):
        raise ServerError(f"the answer has no list {key!r}; it has {', '.join(value) or 'nothing'}", 200)
    found: list[dict[str, Any]] = value[key]
    return found


def _nothing(answer: Answer) -> None:
    check(answer)


def _yes(answer: Answer) -> bool:
    """True for 200; False for the codes by which servers say *not ready* (Triton: 400)."""
    if answer.status not in (400, 503):
        check(answer)
    return answer.status == 200


def _groups(answer: Answer) -> list[Tensors]:
    groups: dict[str, dict[str, Array]] = {}
    for key, array in _result(answer).items():
        number, _, name = key.partition("/")
        groups.setdefault(number, {})[name] = array
    return list(groups.values())


def _result(answer: Answer) -> Result:
    check(answer)
    return decode(answer.headers, answer.body)
