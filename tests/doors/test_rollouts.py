"""Rollouts over HTTP."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace

from penstock.core.spec import Rollout
from penstock.core.terms import KeyTerms
from penstock.doors.admin import make_app
from penstock.doors.auth import Keys, digest
from penstock.doors.rollouts import routes
from penstock.rollout.port import MOST_LABELS, VERBS
from penstock.rollout.words import Bad, Change, Status
from tests.doors.house import TwoModels, get, house, http
from tests.rollout.memory import NOW, RUNNING, MemoryRollouts

URL = "/penstock/rollouts"
ROLES = {
    digest("user"): "infer",
    digest("boss"): "admin",
    digest("ours"): KeyTerms(role="admin", tenant="team-a"),
}


@pytest.fixture
def rollouts():
    return MemoryRollouts(RUNNING)


def ask(rollouts, method: str, path: str, body: Any = None) -> httpx.Response:
    async def asked() -> httpx.Response:
        app = make_app(TwoModels(), lambda accept: (b"", ""), routes(rollouts, Keys({}).who))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://penstock") as client:
            if isinstance(body, bytes):
                return await client.request(method, path, content=body)
            return await client.request(method, path, json=body)

    return asyncio.run(asked())


# -- how they stand ------------------------------------------------------------------------------------


def test_the_list_has_every_rollout_and_the_versions_marked_bad(rollouts):
    rollouts.marked.append(Bad("digits", "4", NOW, "p99: slow"))
    found = ask(rollouts, "GET", URL)
    assert found.status_code == 200
    assert [msgspec.convert(each, Status) for each in found.json()["rollouts"]] == [RUNNING]
    assert found.json()["bad"] == [{"model": "digits", "version": "4", "at": NOW, "why": "p99: slow"}]


def test_one_is_its_status_as_it_is(rollouts):
    found = ask(rollouts, "GET", f"{URL}/digits")
    assert msgspec.convert(found.json(), Status) == RUNNING
    assert found.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nope", "no model 'nope'; have digits, plain"),
        ("/plain", "plain has had no rollout; `penstock rollout start plain VERSION` begins one"),
        ("/nope/history", "no model 'nope'; have digits, plain"),
        ("/nope/verdict?version=2", "no model 'nope'; have digits, plain"),
        ("/plain/verdict", "plain has had no rollout"),
    ],
)
def test_what_is_not_there_is_404(rollouts, path, sentence):
    found = ask(rollouts, "GET", URL + path)
    assert (found.status_code, found.json()["error"].startswith(sentence)) == (404, True), found.json()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("?model=x", "no parameter 'model'; it takes none"),
        ("/digits?model=x", "no parameter 'model'; it takes none"),
        ("/digits/history?limt=3", "no parameter 'limt'; did you mean 'limit'?"),
        ("/digits/history?limit=0", "limit: cannot be '0'; have 1 to 1000"),
        ("/digits/history?limit=many", "limit: cannot be 'many'; have 1 to 1000"),
        ("/digits/verdict?ver=2", "no parameter 'ver'; did you mean 'version'?"),
        ("/digits/verdict?go=on", "go: cannot be 'on'; have fail, not-fail, pass"),
    ],
)
def test_a_wrong_parameter_is_400_and_says_what_would_be_right(rollouts, path, sentence):
    found = ask(rollouts, "GET", URL + path)
    assert (found.status_code, found.json()["error"]) == (400, sentence)


# -- commands ------------------------------------------------------------------------------------------


def test_a_rollout_begins_with_the_models_terms_under_those_given(rollouts):
    rollouts.base = Rollout(plan="canary", steps=(1, 50), guards={"p99": 1.5, "cost": False})
    body = {"version": "5", "guards": {"p99": 1.2}, "hold_s": 300, "why": "it is better", "force": True}
    found = ask(rollouts, "POST", f"{URL}/digits", body)
    assert found.status_code == 200
    assert msgspec.convert(found.json(), Status).candidate == "5"
    whole = Rollout(plan="canary", steps=(1, 50), guards={"p99": 1.2, "cost": False}, hold_s=300)
    assert rollouts.started == [("digits", "5", whole, "anyone", "it is better", True)]


def test_a_version_alone_is_enough(rollouts):
    assert ask(rollouts, "POST", f"{URL}/digits", {"version": "5"}).status_code == 200
    assert rollouts.started == [("digits", "5", Rollout(plan="canary"), "anyone", "", False)]


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 400, 'which version is to come in? {"version": "2"} names it'),
        ({"version": 5}, 400, "'version' must be a text, got 5; have \"5\""),
        ({"version": "5", "why": ["x"]}, 400, "'why' must be a text, got ['x']"),
        ({"version": "5", "force": "yes"}, 400, "'force' must be true or false, got 'yes'"),
        ({"version": "5", "step": [1]}, 400, "rollout: no setting 'step'; did you mean 'steps'?"),
        ({"version": "5", "steps": [5, 1]}, 400, "rollout: steps cannot be '5,1'; they must rise: 1,5"),
        ({"version": "5", "guards": {"p9": 2}}, 400, "no guard 'p9'; did you mean 'p99'?"),
        ({"version": "A"}, 404, "digits has no version 'A'"),
        ({"version": "4"}, 400, "version 4 is marked bad; --force brings it in all the same"),
        (b"[1]", 400, "the body must be a JSON object or empty"),
        (b"{", 400, "the body must be a JSON object or empty"),
    ],
)
def test_a_rollout_that_cannot_begin_says_why(rollouts, body, status, sentence):
    rollouts.marked.append(Bad("digits", "4", NOW, "p99: slow"))
    found = ask(rollouts, "POST", f"{URL}/digits", body)
    assert (found.status_code, found.json()["error"].startswith(sentence)) == (status, True), found.json()
    assert rollouts.started == []


@pytest.mark.parametrize(
    ("verb", "phase"),
    [("pause", "paused"), ("resume", "running"), ("promote", "promoted"), ("rollback", "rolled-back")],
)
def test_a_command_changes_it_and_is_in_the_audit_log(rollouts, verb, phase):
    found = ask(rollouts, "POST", f"{URL}/digits/{verb}", {"why": "told so"})
    assert (found.status_code, found.json()["phase"]) == (200, phase)
    assert rollouts.changes == [Change(NOW, "digits", "r-7", "anyone", verb, "told so")]


def test_all_commands_are_tried():
    assert set(VERBS) == {"pause", "resume", "promote", "rollback"}


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("digits/promte", {}, 404, "no command 'promte' for a rollout; did you mean 'promote'?"),
        ("digits/history", {}, 404, "no command 'history' for a rollout; have pause, promote,"),
        ("digits/promote", {"wy": "x"}, 400, "no field 'wy'; did you mean 'why'?"),
        ("digits/promote", {"why": 1}, 400, "'why' must be a text, got 1"),
        ("plain/promote", {}, 404, "plain has had no rollout"),
        ("nope/promote", {}, 404, "no model 'nope'"),
    ],
)
def test_a_command_that_cannot_be_carried_out_says_why(rollouts, path, body, status, sentence):
    found = ask(rollouts, "POST", f"{URL}/{path}", body)
    assert (found.status_code, found.json()["error"].startswith(sentence)) == (status, True), found.json()
    assert rollouts.changes == []


def test_what_has_ended_takes_no_command(rollouts):
    assert ask(rollouts, "POST", f"{URL}/digits/rollback").status_code == 200
    found = ask(rollouts, "POST", f"{URL}/digits/promote")
    assert (found.status_code, found.json()["error"]) == (
        400,
        "the rollout of digits has ended: it was rolled-back",
    )


def test_a_command_is_no_reading(rollouts):
    found = ask(rollouts, "GET", f"{URL}/digits/promote")
    assert (found.status_code, found.headers["allow"]) == (405, "POST")


# -- the audit log -------------------------------------------------------------------------------------


def test_the_audit_log_is_there_by_model_and_whole(rollouts):
    for verb in ("pause", "resume"):
        ask(rollouts, "POST", f"{URL}/digits/{verb}", {"why": verb})
    ask(rollouts, "POST", f"{URL}/plain", {"version": "2"})

    def whats(path):
        return [each["what"] for each in ask(rollouts, "GET", path).json()["changes"]]

    assert whats("/penstock/audit") == ["start", "resume", "pause"]
    assert whats("/penstock/audit?limit=1") == ["start"]
    assert whats("/penstock/audit?model=digits") == ["resume", "pause"]
    assert whats(f"{URL}/digits/history") == ["resume", "pause"]
    assert whats(f"{URL}/digits/history?limit=1") == ["resume"]
    assert whats(f"{URL}/plain/history") == ["start"]


# -- the verdict ---------------------------------------------------------------------------------------


def test_a_verdict_that_is_read_is_200_whatever_it_says(rollouts):
    for phase, word, value in (
        ("running", "not yet", 0),
        ("promoted", "pass", 1),
        ("rolled-back", "fail", -1),
    ):
        rollouts.statuses = [replace(RUNNING, phase=phase)]
        found = ask(rollouts, "GET", f"{URL}/digits/verdict?version=3")
        assert found.status_code == 200
        assert (found.json()["verdict"], found.json()["value"]) == (word, value)


def flagger(phase="Progressing"):
    return {
        "name": "digits-app",
        "namespace": "test",
        "phase": phase,
        "checksum": "5cc4b84d6d",
        "metadata": {"test": "all"},
    }


@pytest.mark.parametrize(
    ("go", "statuses"),
    [("", (409, 200, 409)), ("?go=not-fail", (200, 200, 409)), ("?go=fail", (409, 409, 200))],
)
def test_a_webhook_is_answered_by_the_status(rollouts, go, statuses):
    for phase, status in zip(("running", "promoted", "rolled-back"), statuses, strict=True):
        rollouts.statuses = [replace(RUNNING, phase=phase)]
        found = ask(rollouts, "POST", f"{URL}/digits/verdict{go}", flagger())
        assert found.status_code == status
        assert found.json()["says"] == RUNNING.says
        if go:
            assert ask(rollouts, "GET", f"{URL}/digits/verdict{go}").status_code == status


@pytest.mark.parametrize("phase", ["Initialized", "Waiting", "WaitingPromotion", "Succeeded", "Failed", ""])
def test_no_phase_lets_a_webhook_through(rollouts, phase):
    """A hook before a run is sent with the phase in which the last one ended."""
    assert ask(rollouts, "POST", f"{URL}/digits/verdict", flagger(phase)).status_code == 409


def test_a_webhook_has_an_object_or_nothing(rollouts):
    assert ask(rollouts, "POST", f"{URL}/digits/verdict", b"").status_code == 409
    assert ask(rollouts, "POST", f"{URL}/digits/verdict", b"no").status_code == 400


def test_a_version_may_be_asked_for_before_its_rollout(rollouts):
    found = ask(rollouts, "GET", f"{URL}/plain/verdict?version=2")
    assert (found.status_code, found.json()["verdict"]) == (200, "not yet")
    rollouts.marked.append(Bad("plain", "2", NOW, "p99: slow"))
    found = ask(rollouts, "GET", f"{URL}/plain/verdict?version=2")
    assert (found.json()["verdict"], found.json()["says"]) == ("fail", "version 2 was taken back: p99: slow")


# -- feedback ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [{"outcome": 7}, {"outcome": "cat"}, {"outcome": [1, 0.5]}, {"correct": False}]
)
def test_one_label_is_taken(rollouts, said):
    found = ask(rollouts, "POST", "/v1/feedback", {"id": "42", **said})
    assert (found.status_code, found.json()) == (200, {"counted": 1, "unknown": 0})
    label = rollouts.labels[0]
    outcome = said.get("outcome")
    expected = tuple(outcome) if isinstance(outcome, list) else outcome
    assert (label.id, label.outcome, label.correct) == ("42", expected, said.get("correct"))


def test_many_labels_are_taken_at_once(rollouts):
    given = [{"id": f"{'?' * (at == 1)}{at}", "correct": True, "model": "digits"} for at in range(3)]
    found = ask(rollouts, "POST", "/v1/feedback", {"labels": given})
    assert found.json() == {"counted": 2, "unknown": 1}
    assert [label.model for label in rollouts.labels] == ["digits"] * 3
    assert ask(rollouts, "POST", "/v1/feedback", {"labels": []}).json() == {"counted": 0, "unknown": 0}


EXAMPLE = '; have {"id": "42", "outcome": 7}, {"id": "42", "correct": true}, or {"labels": [...]}'


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"id": "42"}, "feedback: needs 'outcome' or 'correct', one of both"),
        ({"id": "42", "outcome": 1, "correct": True}, "feedback: needs 'outcome' or 'correct', one of both"),
        ({"outcome": 1}, "feedback: 'id' must be that of the request"),
        ({"labels": [{"id": "1", "correct": True}, {"id": "2"}]}, "feedback: labels[1]: needs 'outcome' or"),
        ({"labels": [{"id": ""}]}, "feedback: labels[0]: 'id' must be that of the request"),
        ({"labels": [], "id": "42"}, "feedback: either one label or 'labels', not both"),
        ({"labels": [{"outcome": 1}]}, "feedback: Object missing required field `id` - at `$.labels[0]`"),
        ({"id": 42, "correct": True}, "feedback: Expected `str`, got `int` - at `$.id`"),
        ({"id": "42", "outcome": {}}, "feedback: Expected `"),
        ({"id": "42", "outcom": 1}, "feedback: Object contains unknown field `outcom`"),
        (b"", "feedback: Input data was truncated"),
        (b"[]", "feedback: Expected `object`, got `array`"),
        (b"\xff", "feedback: "),
    ],
)
def test_feedback_that_says_nothing_is_told_what_would(rollouts, body, sentence):
    found = ask(rollouts, "POST", "/v1/feedback", body)
    assert found.status_code == 400
    assert found.json()["error"].startswith(sentence), found.json()
    assert found.json()["error"].endswith(EXAMPLE)
    assert rollouts.labels == []


def test_feedback_has_a_limit(rollouts):
    labels = [{"id": "1", "correct": True}] * (MOST_LABELS + 1)
    found = ask(rollouts, "POST", "/v1/feedback", {"labels": labels})
    assert (found.status_code, found.json()["error"]) == (
        400,
        "feedback: 10001 labels at once; send at most 10000",
    )


# -- who may -------------------------------------------------------------------------------------------

READING = [
    get(URL),
    get(f"{URL}/digits"),
    get(f"{URL}/digits/history"),
    get("/penstock/audit"),
    get(f"{URL}/digits/verdict"),
    http("POST", f"{URL}/digits/verdict?go=not-fail"),
    http("POST", "/v1/feedback", b'{"id": "1", "correct": true}'),
]
CHANGING = [
    http("POST", f"{URL}/digits", b'{"version": "5"}'),
    http("POST", f"{URL}/%64igits", b'{"version": "5"}'),
    *[http("POST", f"{URL}/digits/{verb}") for verb in ("pause", "resume", "promote")],
    http("POST", f"http://test{URL}/digits/rollback"),
    http("POST", f"{URL}/verdict", b'{"version": "5"}'),
]


def first_line(request: bytes) -> str:
    return request.split(b"\r\n")[0].decode()


def with_key(request: bytes, key: str) -> bytes:
    return request.replace(b"Host: test\r\n", f"Host: test\r\nX-API-Key: {key}\r\n".encode(), 1)


@pytest.fixture(scope="module")
def locked():
    kept = MemoryRollouts(RUNNING)
    with house(ROLES, extra=routes(kept, Keys(ROLES).who)) as found:
        found.rollouts = kept
        yield found


@pytest.mark.parametrize("request_", READING + CHANGING, ids=first_line)
def test_without_a_key_nothing_is_told_or_taken(locked, request_):
    with locked.caller() as caller:
        assert caller.ask(request_).status == 401


@pytest.mark.parametrize("request_", READING, ids=first_line)
def test_a_key_that_infers_reads_judges_and_gives_feedback(locked, request_):
    with locked.caller() as caller:
        assert caller.ask(with_key(request_, "user")).status == 200


@pytest.mark.parametrize("request_", CHANGING, ids=first_line)
def test_a_key_that_infers_changes_nothing(locked, request_):
    with locked.caller() as caller:
        answer = caller.ask(with_key(request_, "user"))
        assert (answer.status, "'admin' is needed" in answer.error) == (403, True)


def test_the_audit_log_names_the_tenant_or_the_role():
    kept = MemoryRollouts(RUNNING)
    with house(ROLES, extra=routes(kept, Keys(ROLES).who)) as door, door.caller() as caller:
        for key, verb in (("ours", "pause"), ("boss", "resume")):
            assert caller.ask(with_key(http("POST", f"{URL}/digits/{verb}"), key)).status == 200
        authorized = http("POST", f"{URL}/digits", b'{"version": "5"}', "Authorization: Bearer ours\r\n")
        assert caller.ask(authorized).status == 200
    assert [change.by for change in kept.changes] == ["team-a", "admin", "team-a"]


def test_where_there_are_no_keys_it_was_anyone():
    assert Keys({}).who({}) == Keys({}).who({"x-api-key": "boss"}) == "anyone"
    assert Keys(ROLES).who({}) == Keys(ROLES).who({"x-api-key": "nobody"}) == "anyone"
