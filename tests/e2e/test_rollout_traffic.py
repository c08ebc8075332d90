"""Who is answered by which version while one is on trial: by weight, by caller, by name."""

import http.client
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
import httpx
import pytest
from tritonclient.grpc import service_pb2_grpc

from tests.e2e.digit_nets import net
from tests.e2e.process import until
from tests.e2e.rollouts import BLIND, INFER, Load, body, command, message, running, start, status

AB = {"plan": "ab", "mirror": 0} | BLIND
USERS = [f"user-{number}" for number in range(40)]


@pytest.fixture
def server(house):
    house.put("2", net(64))
    with house.serving(meter_tenant_header="x-tenant") as process:
        yield process


def shares(server, count, path=INFER, callers=4):
    """How many of so many requests, over connections that are kept, each version answered."""

    def ask(count):
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        asked = json.dumps({key: value for key, value in body(0).items() if key != "id"})
        versions = Counter()
        for _ in range(count):
            connection.request("POST", path, asked)
            answer = connection.getresponse().read()
            versions["2" if b'"model_version":"2"' in answer else "1"] += b'"outputs"' in answer
        connection.close()
        return versions

    with ThreadPoolExecutor(callers) as pool:
        return sum(pool.map(ask, [count // callers] * callers), Counter())


def test_weights_hold_within_a_percent_and_versions_in_the_path_stand_outside(server):
    for weight, count in ((7, 10_000), (50, 2000), (93, 2000)):
        start(server, "2", steps=[weight], force=True, **AB)
        running(server)
        found = shares(server, count)
        assert found.total() == count
        assert found["2"] / count == pytest.approx(weight / 100, abs=0.01)
        now = status(server)
        assert (now["answered_stable"], now["answered_candidate"]) == (found["1"], found["2"])
        for version in "12":
            pinned = shares(server, 40, f"/v2/models/digits/versions/{version}/infer")
            assert pinned == {version: 40}
        after = status(server)
        assert (after["answered_stable"], after["answered_candidate"]) == (found["1"], found["2"])
        command(server, "rollback")


class Asker:
    """One request for each of many callers, over either door; which version answered."""

    def __init__(self, server, client, stub):
        self.server, self._client, self._stub = server, client, stub

    def http(self, headers=None, **more):
        answer = self._client.post(INFER, json=body(0, **more), headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()["model_version"]

    def grpc(self, metadata=None, parameters=None, **more):
        asked = message()
        asked.id = more.get("id", "")
        for name, value in (parameters or {}).items():
            asked.parameters[name].string_param = value
        return self._stub.ModelInfer(asked, metadata=list((metadata or {}).items()), timeout=60).model_version


@pytest.fixture
def asker(server):
    with (
        httpx.Client(base_url=server.url, timeout=60) as client,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        yield Asker(server, client, service_pb2_grpc.GRPCInferenceServiceStub(channel))


def test_a_caller_stays_on_one_version_over_both_doors(asker):
    """By a header, the tenant, a parameter or the id; nobody moves back when the new version gets more."""
    kinds = {
        "header:X-User": lambda user: ({"headers": {"X-User": user}}, {"metadata": {"x-user": user}}),
        "tenant": lambda user: ({"headers": {"X-Tenant": user}}, {"metadata": {"x-tenant": user}}),
        "parameter:user": lambda user: ({"parameters": {"user": user}},) * 2,
        "id": lambda user: ({"id": user},) * 2,
    }
    for sticky, told in kinds.items():
        start(asker.server, "2", force=True, sticky=sticky, **AB)
        running(asker.server)
        first, again, over_grpc = {}, {}, {}
        for user in USERS:
            first[user] = asker.http(**told(user)[0])
            over_grpc[user] = asker.grpc(**told(user)[1])
        for user in USERS:
            again[user] = asker.http(**told(user)[0])
        assert first == again == over_grpc, sticky
        assert set(first.values()) == {"1", "2"}, sticky
        command(asker.server, "rollback")


def test_nobody_moves_back_when_the_new_version_gets_more(asker):
    start(asker.server, "2", steps=[20, 50, 80, 100], hold_s=0.6, sticky="header:x-user", mirror=0, **BLIND)
    seen = {user: [] for user in USERS}
    while not status(asker.server)["ended"]:
        for user in USERS:
            seen[user].append(asker.http({"x-user": user}))
    for user, versions in seen.items():
        assert versions == sorted(versions), user
    assert "1" in {versions[0] for versions in seen.values()}
    assert {versions[-1] for versions in seen.values()} == {"2"}


def test_twenty_rollbacks_in_a_row_fail_nobody_and_take_less_than_a_second(server):
    with Load(server, 2, over_grpc=1) as load:
        for _ in range(20):
            start(server, "2", force=True, **AB)
            running(server)
            before = len(load.answered("2"))
            until(lambda n=before: len(load.answered("2")) > n, "an answer of the new version")
            told = time.time()
            assert command(server, "rollback")["phase"] == "rolled-back"
            answered = len(load.answered("1"))
            until(lambda n=answered: len(load.answered("1")) > n + 10, "answers of the old version")
            assert load.answered("2")[-1] - told < 1.0
    assert load.failures == []
    assert min(len(caller.versions) for caller in load.callers) > 20
