"""The load generator, against a server that stalls, refuses and hangs up."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from penstock.cli.load import Plan, run
from penstock.cli.measure import percentile
from penstock.cli.payload import http_request, random_bodies
from penstock.core.errors import Unavailable
from tests.cli.certificate import make
from tests.cli.v2_server import METADATA, V2Server, error, ok

INFER = "/v2/models/double/infer"


def plan(server: V2Server, **changes: Any) -> Plan:
    url = urlsplit(server.url)
    bodies = random_bodies(METADATA["double"], 1, {}, True, 0)
    requests = tuple(http_request(url, INFER, "", *body) for body in bodies)
    values = {"connections": 1, "warmup": 0.0, "duration": 0.2, "patience": 1.0} | changes
    return Plan(host="127.0.0.1", port=server.port, requests=requests, **values)


def test_a_closed_loop_keeps_every_connection_asking() -> None:
    with V2Server() as server:
        samples = run(plan(server, connections=4))
    assert samples.errors == {}
    assert 0 <= server.infers - samples.completed <= 4
    assert len(samples.latencies) == server.infers
    assert (samples.latencies > 0).all()


def test_an_open_loop_asks_as_often_as_planned() -> None:
    with V2Server() as server:
        samples = run(plan(server, connections=8, rate=500, warmup=0.1, duration=0.4))
    assert len(samples.late) == len(samples.latencies)
    assert 130 < len(samples.latencies) < 270
    assert server.infers > len(samples.latencies)


def test_a_stall_shows_in_the_open_loop_at_its_size() -> None:
    with V2Server(stall=0.3, stall_after=50) as server:
        opened = run(plan(server, rate=200, duration=1.0))
    with V2Server(stall=0.3, stall_after=50) as server:
        closed = run(plan(server, duration=1.0))
    p90, p99 = percentile(opened.latencies, 90), percentile(opened.latencies, 99)
    # Some 60 of 200 arrivals fall into the stall and wait for what is left of it.
    assert p90 is not None
    assert p99 is not None
    assert 0.1 < p90 < p99
    assert 0.25 < p99 < 0.6
    # The closed loop asks once in that time (a few times, where the machine stalls as well), which is why
    # its p99 must not be taken for a caller's.
    assert 1 <= (closed.latencies > 0.25).sum() <= 3
    p99 = percentile(closed.latencies, 99)
    assert p99 is not None
    assert p99 < 0.1


def test_what_is_not_answered_at_the_end_is_counted_with_its_age() -> None:
    with V2Server(stall=0.7, stall_after=1) as server:
        opened = run(plan(server, rate=100, duration=0.3, patience=0.05))
    assert len(opened.latencies) == 0
    assert 12 < len(opened.unanswered) < 60
    assert 0.3 < opened.unanswered.max() < 0.6


def test_errors_are_counted_by_status_and_not_as_latencies() -> None:
    with V2Server(routes={INFER: error(503, "busy")}) as server:
        samples = run(plan(server))
    assert list(samples.errors) == ["503"]
    assert samples.errors["503"] == len(server.seen)
    assert (samples.completed, len(samples.latencies)) == (0, 0)
    assert samples.messages["503"] == b'{"error": "busy"}'


def test_a_lost_connection_is_an_error_and_is_opened_again() -> None:
    with V2Server(close_every=3) as server:
        closed = run(plan(server, connections=2))
        opened = run(plan(server, connections=2, rate=300))
    for samples in (closed, opened):
        assert list(samples.errors) == ["connection lost"]
        assert samples.errors["connection lost"] >= 3
        assert samples.completed > 6


def test_connection_close_is_no_error() -> None:
    status, headers, body = ok({})
    with V2Server(routes={INFER: (status, headers | {"Connection": "close"}, body)}) as server:
        samples = run(plan(server))
    assert samples.errors == {}
    assert samples.completed > 3


def test_an_answer_that_is_not_http_is_a_lost_connection() -> None:
    with V2Server(routes={INFER: (200, {"Broken\x00": ""}, b"")}) as server:
        samples = run(plan(server))
    assert list(samples.errors) == ["connection lost"]


def test_nobody_there_is_said_at_once() -> None:
    with V2Server() as server:
        gone = plan(server)
    with pytest.raises(Unavailable, match=r"connection 1 of 1 to 127.0.0.1:.* failed"):
        run(gone)


def test_https_works(tmp_path: Path) -> None:
    context, pem = make(tmp_path)
    with V2Server(tls=context) as server:
        samples = run(plan(server, tls=True, ca=pem, connections=2))
    assert samples.completed > 10
    assert np.isfinite(samples.latencies).all()
