"""A grid's intensity is found in what servers say, and nothing else is taken for one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from penstock.core.errors import BadSetting
from penstock.metering import intensity
from penstock.metering.intensity import ask, header, told

BRITISH = {
    "data": [
        {"from": "2026-01-20T12:00Z", "intensity": {"forecast": 266, "actual": None, "index": "moderate"}}
    ]
}


@pytest.mark.parametrize(
    ("answer", "field", "expected"),
    [
        (344, "", 344),
        ({"zone": "DE", "carbonIntensity": 302, "emissionFactorType": "lifecycle"}, "", 302),
        (BRITISH, "", 266),
        ({"data": [{"intensity": {"forecast": 266, "actual": 263}}]}, "", 263),
        ({"a": {"b": [{"c": 1}, {"c": "12.5"}]}}, "a.b.1.c", 12.5),
        ({"history": [1, 2, 3]}, "history.-1", 3),
        ([{"value": 12}], "", 12),
        ({"value": 0}, "", 0),
    ],
)
def test_the_number_is_found_by_its_path_or_its_usual_names(answer: Any, field: str, expected: float) -> None:
    assert told(json.dumps(answer).encode(), field) == expected


def test_a_plain_number_is_enough() -> None:
    assert told(b"344.1\n", "") == 344.1


@pytest.mark.parametrize(
    ("body", "field", "reason"),
    [
        (b"<html>", "", "neither JSON nor a number"),
        (b"", "", "neither JSON nor a number"),
        (b'{"price": 3}', "", "carbonIntensity"),
        (b'{"price": 3}', "price.0.x", "price.0.x"),
        (b'{"value": [1, 2]}', "", "none of"),
        (b'{"value": true}', "", "none of"),
        (b'{"value": null}', "value", "no number"),
        (b'{"value": "NaN"}', "value", "no number"),
        (b'{"value": [1]}', "value.7", "no number"),
        (b"-1", "", "no intensity"),
        (b"344000", "", "no intensity"),
    ],
)
def test_what_is_no_intensity_is_not_taken_for_one(body: bytes, field: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        told(body, field)


def test_a_header_is_a_name_and_a_value() -> None:
    assert header("auth-token: a:b c") == {"auth-token": "a:b c"}
    assert header("") == {}


@pytest.mark.parametrize(
    "text", ["secret", ": secret", "auth-token:", "auth-token: secret\nx: y", "tokén: x"]
)
def test_what_is_no_header_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(BadSetting) as refused:
        header(text)
    assert "secret" not in str(refused.value)


@contextmanager
def server(status: int, *chunks: bytes, seen: list[str] | None = None) -> Iterator[str]:
    """Answers every question so."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if seen is not None:
                seen.append(self.headers.get("auth-token", ""))
            self.send_response(status)
            self.send_header("location", "/elsewhere")
            self.end_headers()
            for chunk in chunks:
                try:
                    self.wfile.write(chunk)
                except OSError:
                    return

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answers) as host:
        thread = Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{host.server_port}/now"
        finally:
            host.shutdown()
            thread.join()


def test_a_server_is_asked_with_the_header() -> None:
    seen: list[str] = []
    with server(200, b'{"carbonIntensity": 302}', seen=seen) as url:
        assert ask(url, {"auth-token": "abc"}, "") == 302
    assert seen == ["abc"]


@pytest.mark.parametrize("status", [302, 401, 500])
def test_no_answer_but_a_good_one_is_read_and_no_redirect_followed(status: int) -> None:
    seen: list[str] = []
    with server(status, b"344", seen=seen) as url, pytest.raises(ValueError, match=f"status {status}"):
        ask(url, {"auth-token": "abc"}, "")
    assert seen == ["abc"]


def test_an_answer_without_end_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "LARGEST", 1000)
    with server(200, *[b" " * 500] * 100) as url, pytest.raises(ValueError, match="1000 bytes"):
        ask(url, {}, "")


def test_an_answer_that_takes_too_long_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "DEADLINE", 5.0)
    times = iter([0.0, 6.0])
    monkeypatch.setattr(intensity, "monotonic", lambda: next(times))
    with server(200, b"34", b"4") as url, pytest.raises(ValueError, match="over 5 s"):
        ask(url, {}, "")
