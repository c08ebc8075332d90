"""Rollouts over HTTP: how they stand, commands, the audit log, feedback, and a verdict for others."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from penstock.core.errors import InvalidRequest, NotFound, UnknownModel, UnknownPath
from penstock.core.schema import nearest
from penstock.doors.body import json_object
from penstock.doors.verdict import Answer, go_of, goes, judge, unknown
from penstock.rollout.port import MOST_LABELS, VERBS, Label, Outcome, Rollouts
from penstock.rollout.terms import terms

Who: TypeAlias = Callable[[Mapping[str, str]], str]
"""Who sent the request with these headers, as the audit log names him."""

ALL = "/penstock/rollouts"
ONE = ALL + "/{model}"
AUDIT = "/penstock/audit"
FEEDBACK = "/v1/feedback"
MOST_CHANGES = 1000
_FRESH = {"cache-control": "no-store"}


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One label, or many."""

    id: str = ""
    model: str = ""
    outcome: Outcome | None = None
    correct: bool | None = None
    labels: tuple[Label, ...] | None = None


def _nobody(headers: Mapping[str, str]) -> str:
    return ""


def routes(rollouts: Rollouts, who: Who, tenant: Who = _nobody) -> list[Route]:
    """For ``make_app``; ``tenant`` is whose requests whoever sends such headers may tell of."""
    door = _Door(rollouts, who, tenant)
    table: list[tuple[str, str, Any]] = [
        ("GET", ALL, door.list),
        ("GET", AUDIT, door.audit),
        ("GET", ONE, door.get),
        ("POST", ONE, door.start),
        ("GET", ONE + "/history", door.audit),
        ("GET", ONE + "/verdict", door.verdict),
        ("POST", ONE + "/verdict", door.verdict),
        ("POST", ONE + "/{verb}", door.command),
        ("POST", FEEDBACK, door.feedback),
    ]
    return [Route(path, endpoint, methods=[method]) for method, path, endpoint in table]


class _Door:
    def __init__(self, rollouts: Rollouts, who: Who, tenant: Who) -> None:
        self._rollouts = rollouts
        self._who = who
        self._tenant = tenant

    async def list(self, request: Request) -> Response:
        _check(request.query_params)
        return _json({"rollouts": self._rollouts.list(), "bad": self._rollouts.bad("")})

    async def get(self, request: Request) -> Response:
        _check(request.query_params)
        return _json(self._rollouts.get(request.path_params["model"]))

    async def start(self, request: Request) -> Response:
        model, body = request.path_params["model"], await json_object(request)
        version, why = _text(body, "version"), _text(body, "why")
        if not version:
            raise InvalidRequest('which version is to come in? {"version": "2"} names it')
        force = body.pop("force", False)
        if not isinstance(force, bool):
            raise InvalidRequest(f"'force' must be true or false, got {force!r}")
        whole = terms(body, self._rollouts.terms(model))
        by = self._who(request.headers)
        return _json(await self._rollouts.start(model, version, whole, by, why, force))

    async def command(self, request: Request) -> Response:
        model, wanted = request.path_params["model"], request.path_params["verb"]
        verb = next((each for each in VERBS if each == wanted), None)
        if verb is None:
            raise UnknownPath(f"no command {wanted!r} for a rollout; {nearest(wanted, list(VERBS))}")
        body = await json_object(request)
        why = _text(body, "why")
        _only(body, ("why",))
        return _json(await self._rollouts.command(model, verb, self._who(request.headers), why))

    async def audit(self, request: Request) -> Response:
        _check(request.query_params, ("model", "limit") if request.url.path == AUDIT else ("limit",))
        model = request.path_params.get("model", request.query_params.get("model", ""))
        limit = _limit(request.query_params.get("limit", "100"))
        return _json({"changes": await self._rollouts.history(model, limit)})

    async def verdict(self, request: Request) -> Response:
        """Anything but a plain GET is answered by its status too."""
        query = request.query_params
        _check(query, ("version", "go"))
        found = self._judged(request.path_params["model"], query.get("version", ""))
        if request.method != "POST" and "go" not in query:
            return _json(found)
        await json_object(request)  # Flagger's, which says nothing that would change the answer
        return _json(found, goes(found.verdict, go_of(query.get("go", "pass"))))

    def _judged(self, model: str, version: str) -> Answer:
        """A version that is asked for by name may yet have its rollout to come."""
        try:
            status = self._rollouts.get(model)
        except UnknownModel:
            raise
        except NotFound:
            if not version:
                raise
            return unknown(model, version, self._rollouts.bad(model))
        return judge(status, version, self._rollouts.bad(model))

    async def feedback(self, request: Request) -> Response:
        try:
            body = msgspec.json.decode(await request.body(), type=Feedback)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest(f"feedback: {error}; {_EXAMPLE}") from None
        return _json(await self._rollouts.feedback(labels(body), self._tenant(request.headers)))


def labels(body: Feedback) -> tuple[Label, ...]:
    """Raises InvalidRequest for those that say nothing, or too much, or are too many."""
    if body.labels is None:
        given: tuple[Label, ...] = (Label(body.id, body.model, body.outcome, body.correct),)
    elif (body.id, body.model, body.outcome, body.correct) != ("", "", None, None):
        raise InvalidRequest(f"feedback: either one label or 'labels', not both; {_EXAMPLE}")
    else:
        given = body.labels
    if len(given) > MOST_LABELS:
        raise InvalidRequest(f"feedback: {len(given)} labels at once; send at most {MOST_LABELS}")
    for at, label in enumerate(given):
        where = "feedback" if body.labels is None else f"feedback: labels[{at}]"
        if not label.id:
            raise InvalidRequest(f"{where}: 'id' must be that of the request; {_EXAMPLE}")
        if (label.outcome is None) == (label.correct is None):
            raise InvalidRequest(f"{where}: needs 'outcome' or 'correct', one of both; {_EXAMPLE}")
    return given


_EXAMPLE = 'have {"id": "42", "outcome": 7}, {"id": "42", "correct": true}, or {"labels": [...]}'


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, _FRESH, "application/json")


def _text(body: dict[str, Any], name: str) -> str:
    """Taken out of the body; raises InvalidRequest for what is no text."""
    value = body.pop(name, None)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f'{name!r} must be a text, got {value!r}; have "{value}"')
    return value or ""


def _only(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for name in body:
        raise InvalidRequest(f"no field {name!r}; {nearest(name, list(known))}")


def _check(query: Mapping[str, str], known: tuple[str, ...] = ()) -> None:
    for name in query:
        if name not in known:
            have = nearest(name, list(known)) if known else "it takes none"
            raise InvalidRequest(f"no parameter {name!r}; {have}")


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MOST_CHANGES:
        raise InvalidRequest(f"limit: cannot be {text[:20]!r}; have 1 to {MOST_CHANGES}")
    return int(text)
