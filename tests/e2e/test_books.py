"""What queries cost, from the request to the bill: the books close, over doors, tenants, restarts, deaths."""

import time

import httpx
import numpy as np
import pytest

from benchmarks import fixtures
from penstock import Client
from tests.e2e import models
from tests.e2e.process import until

BODY = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 32], "data": [0.5] * 32}]}
ONES = np.ones((1, 4), np.int32)
INFER = "/v2/models/tiny/infer"
TERMS = {"price_per_hour": 3.6, "meter_share": 1, "meter_every_s": 0.2, "meter_tenant_header": "x-tenant"}


@pytest.fixture
def terms(tmp_path):
    return TERMS | {"meter_file": tmp_path / "books.db"}


def ask(server, count, **headers):
    for _ in range(count):
        server.post(INFER, json=BODY, headers=headers).raise_for_status()


def tensor():
    from tritonclient.grpc import InferInput

    made = InferInput("x", [1, 32], "FP32")
    made.set_data_from_numpy(np.full((1, 32), 0.5, np.float32))
    return made


def over_grpc(server, count, tenant):
    from tritonclient.grpc import InferenceServerClient

    with InferenceServerClient(server.grpc) as client:
        for _ in range(count):
            client.infer("tiny", [tensor()], headers={"x-tenant": tenant})


def bill(server, by="", **more):
    answer = server.get("/penstock/bill", params={"by": by, "since": "1h", **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_key(found, key):
    return {line[key]: line for line in found["lines"]}


def test_every_bill_adds_up_to_what_the_machine_cost(repository, serve, terms):
    fixtures.write(repository, "add_sub", "1", models.add_sub())
    began = time.time()
    server = serve(repository, **terms)
    ready = time.time()
    ask(server, 40)
    ask(server, 20, **{"x-tenant": "shop"})
    with Client(server.url) as client:
        for _ in range(5):
            client.infer("add_sub", {"a": ONES, "b": ONES})
    over_grpc(server, 10, "shop")
    time.sleep(1.0)
    for by in ("", "model", "tenant", "model,version,tenant,site"):
        asked = time.time()
        found = bill(server, by)
        seconds = found["machine"]["seconds"]
        assert sum(line["queries"] for line in found["lines"]) == 75
        money = sum(line["cost"] for line in found["lines"])
        assert money == pytest.approx(seconds * 0.001, rel=0.01)
        joules = sum(line["energy_j"] for line in found["lines"])
        assert joules == pytest.approx(found["machine"]["energy_j"], rel=0.01)
        idle = found["idle"]["cost_marginal"]
        marginal = sum(line["cost_marginal"] for line in found["lines"])
        assert marginal + idle == pytest.approx(found["machine"]["cost"], rel=0.01)
        assert 0.99 * (asked - ready) < seconds < time.time() - began
    tenants = by_key(bill(server, "tenant"), "tenant")
    assert {name: line["queries"] for name, line in tenants.items()} == {"": 45, "shop": 30}
    assert tenants["shop"]["received_bytes"] > 30 * 32
    assert tenants["shop"]["sent_bytes"] > 30 * 10


def test_what_was_used_outlives_the_server_and_its_death(repository, serve, start, terms):
    first = start(repository, **terms).wait_ready()
    ask(first, 30)
    assert bill(first)["lines"][0]["queries"] == 30
    first.process.kill()
    first.ended()
    second = serve(repository, **terms)
    ask(second, 12)
    (line,) = bill(second)["lines"]
    assert line["queries"] == 42
    assert second.stop() == 0
    third = serve(repository, **terms)
    (line,) = bill(third)["lines"]
    assert line["queries"] == 42


def test_a_reply_says_what_it_cost_when_it_is_asked(repository, serve, terms):
    server = serve(repository, **terms, carbon_intensity=100)
    ask(server, 5)
    until(lambda: "penstock_cost" in told(server), "a tariff")
    said = told(server)
    assert said["penstock_currency"] == "USD"
    assert 0 < said["penstock_cost_marginal"] < said["penstock_cost"]
    assert said["penstock_energy_method"] == "estimate"
    assert said["penstock_energy_low_j"] <= said["penstock_energy_j"] <= said["penstock_energy_high_j"]
    assert said["penstock_carbon_g"] == pytest.approx(said["penstock_energy_j"] / 3.6e6 * 100)
    assert "queue_us" not in said
    assert "parameters" not in server.post(INFER, json=BODY).json()


def test_a_reply_over_grpc_says_it_too(repository, serve, terms):
    from tritonclient.grpc import InferenceServerClient

    server = serve(repository, **terms, carbon_intensity=100)
    ask(server, 5)
    until(lambda: "penstock_cost" in told(server), "a tariff")
    with InferenceServerClient(server.grpc) as client:
        said = client.infer("tiny", [tensor()], parameters={"cost": True}).get_response().parameters
        assert not client.infer("tiny", [tensor()]).get_response().parameters
    assert set(said) == set(told(server))
    assert said["penstock_currency"].string_param == "USD"
    assert 0 < said["penstock_cost_marginal"].double_param < said["penstock_cost"].double_param
    assert said["penstock_energy_method"].string_param == "estimate"
    joules = [said[f"penstock_energy_{bound}j"].double_param for bound in ("low_", "", "high_")]
    assert joules == sorted(joules)
    assert said["penstock_carbon_g"].double_param == pytest.approx(joules[1] / 3.6e6 * 100)


def told(server):
    answer = server.post(INFER, json={**BODY, "parameters": {"cost": True}})
    return answer.raise_for_status().json()["parameters"]


def test_without_a_price_there_is_no_money_and_without_a_probe_no_energy(repository, serve, terms):
    del terms["price_per_hour"]
    server = serve(repository, **terms, price_instance="none", energy_probe="none")
    ask(server, 3)
    (line,) = bill(server)["lines"]
    assert line["queries"] == 3
    assert line["cpu_s"] > 0
    assert not [name for name in line if name.startswith(("cost", "energy", "carbon"))]
    assert set(told(server)) == {"penstock_cpu_s"}
    assert "penstock_cost_total{" not in server.get("/metrics").text


def test_steps_of_a_pipeline_are_charged_to_the_pipeline(repository, serve, terms):
    (repository / "pipe").mkdir()
    (repository / "pipe/pipeline.toml").write_text("[[step]]\nmodel = 'tiny'\n")
    server = serve(repository, **terms)
    for _ in range(7):
        server.post("/v2/models/pipe/infer", json=BODY).raise_for_status()
    lines = by_key(bill(server, "model"), "model")
    assert list(lines) == ["pipe"]
    assert lines["pipe"]["queries"] == 7
    assert lines["pipe"]["cpu_s"] > 0


def test_two_servers_over_one_file_both_serve_and_one_of_them_keeps_it(repository, serve, terms):
    first = serve(repository, **terms)
    second = serve(repository, **terms)
    assert second.log("another server")
    ask(first, 2)
    ask(second, 3)
    assert bill(first)["lines"][0]["queries"] == 2
    assert bill(second)["lines"][0]["queries"] == 3


def test_books_that_cannot_be_written_lose_nothing_and_stop_nobody(repository, serve, terms, tmp_path):
    (tmp_path / "books.db").write_bytes(b"garbage " * 1000)
    server = serve(repository, **terms)
    ask(server, 4)
    assert bill(server)["lines"][0]["queries"] == 4
    assert list(tmp_path.glob("books.db.corrupt-*"))


def test_terms_that_cannot_hold_stop_the_start(repository, start, terms):
    wrong = start(repository, **terms | {"energy_probe": "rapl"}, carbon_country="Atlantis")
    assert wrong.ended() == 2
    assert wrong.log("carbon.country|energy.probe")


def test_a_budget_that_is_spent_is_429_and_says_when_to_come_back(repository, serve, terms):
    server = serve(repository, **terms, budgets="{shop = {queries_per_hour = 10}}")
    ask(server, 10, **{"x-tenant": "shop"})
    refused = httpx.post(server.url + INFER, json=BODY, headers={"x-tenant": "shop"})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 3660
    assert "shop" in refused.json()["error"]
    ask(server, 1, **{"x-tenant": "search"})
    assert server.log("80 %")
