"""Budgets over a real server: 429 with Retry-After for one tenant, and nothing for the others."""

import httpx
import numpy as np
import pytest
import tritonclient.grpc

from penstock.client import ServerError
from penstock.doors.auth import digest
from penstock.testing import running
from tests.e2e.process import serving as serving_process

KEYS = {
    digest("a"): {"role": "infer", "tenant": "team-a"},
    digest("b"): {"role": "admin", "tenant": "team-b"},
}
PIPELINE = """
[[step]]
model = "echo"
outputs = { y = "h" }
[[step]]
name = "again"
model = "echo"
inputs = { x = "h" }
"""
BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture
def folder(tmp_path):
    for name, file, text in (
        ("echo", "model.toml", 'engine = "echo"\nfile = "model.echo"\n'),
        ("echo", "1/model.echo", "nothing"),
        ("twice", "pipeline.toml", PIPELINE),
    ):
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def serving(folder, budgets, **settings):
    return running(folder, budgets=budgets, meter__file="none", watch__enabled=False, **settings)


def asking(client):
    """``ask(headers)``: the answer of one request on a connection that is kept."""
    session = httpx.Client(base_url=client.url)
    return session, lambda model="echo", **headers: session.post(
        f"/v2/models/{model}/infer", json=BODY, headers=headers
    )


def test_a_tenant_over_its_budget_hears_429_and_when_to_come_back(folder):
    budgets = {"team-a": {"queries_per_hour": 3}}
    with serving(folder, budgets, keys=KEYS) as client:
        session, ask = asking(client)
        with session:
            told = [ask(**{"x-api-key": "a"}) for _ in range(5)]
            assert [each.status_code for each in told] == [200, 200, 200, 429, 429]
            assert 3600 <= int(told[3].headers["retry-after"]) <= 3660
            assert (
                told[3]
                .json()["error"]
                .startswith(
                    "tenant 'team-a' has used 3 of 3 queries in an hour, by budgets.team-a.queries_per_hour; "
                    "try again in 36"
                )
            )
            assert ask(**{"x-api-key": "b"}).status_code == 200
            metrics = session.get("/metrics", headers={"x-api-key": "b"}).text
    assert 'reason="budget"' in metrics


def test_a_header_names_tenants_where_the_settings_say_so(folder):
    budgets = {"*": {"queries_per_hour": 1}}
    with serving(folder, budgets, meter__tenant_header="X-Tenant") as client:
        session, ask = asking(client)
        with session:
            told = [ask(**{"x-tenant": name}).status_code for name in ("a", "b", "a", "c", "b")]
            assert told == [200, 200, 429, 200, 429]
            assert [ask().status_code, ask().status_code] == [200, 429]


def test_a_pipelines_steps_are_one_query(folder):
    with serving(folder, {"*": {"queries_per_hour": 2}}) as client:
        x = np.ones((1, 2), np.float32)
        for _ in range(2):
            assert client.infer("twice", {"x": x})["y"].tolist() == x.tolist()
        with pytest.raises(ServerError, match="requests without a tenant have used 2 of 2") as caught:
            client.infer("twice", {"x": x})
    assert caught.value.status == 429


def test_both_doors_take_from_one_budget_and_the_log_warns(folder):
    """As a user would set it: by the environment, over HTTP and gRPC, in a process of its own."""
    settings = {
        f"keys_{digest('a')}": '{ role = "infer", tenant = "team-a" }',
        "budgets": '{ "*" = { queries_per_hour = 4, warn = 0.5 } }',
        "meter_file": "none",
    }
    tensor = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 2), np.float32))
    with serving_process(folder, **settings) as server:
        with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
            for _ in range(2):
                client.infer("echo", [tensor], headers={"x-api-key": "a"})
                told = httpx.post(
                    f"{server.url}/v2/models/echo/infer", json=BODY, headers={"x-api-key": "a"}, timeout=30
                )
                assert told.status_code == 200
            with pytest.raises(tritonclient.grpc.InferenceServerException) as caught:
                client.infer("echo", [tensor], headers={"x-api-key": "a", "tenant": "b"})
        assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        assert "tenant 'team-a' has used 4 of 4 queries" in caught.value.message()
        warned = [line for line in server.lines if line.get("logger") == "penstock.budgets"]
    assert [(line["tenant"], line["budget"], line["share"]) for line in warned] == [
        ("team-a", 'budgets."*".queries_per_hour', 0.5)
    ]


def test_tenants_of_the_settings_are_told_apart_however_many_names_came_before(folder, monkeypatch):
    monkeypatch.setattr("penstock.metering.accounts.MOST_TENANTS", 2)
    with serving(
        folder, {"team-c": {}}, keys=KEYS | {digest("n"): "infer"}, meter__tenant_header="X-T"
    ) as client:
        session, ask = asking(client)
        with session:
            for name in ("one", "two", "three"):
                assert ask(**{"x-api-key": "n", "x-t": name}).status_code == 200
            for headers in ({"x-api-key": "a"}, {"x-api-key": "n", "x-t": "team-c"}):
                assert ask(**headers).status_code == 200
            bill = session.get("/penstock/bill?by=tenant", headers={"x-api-key": "b"}).json()
    assert {line["tenant"] for line in bill["lines"]} == {"one", "two", "(others)", "team-a", "team-c"}
