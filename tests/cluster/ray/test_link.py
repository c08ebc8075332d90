"""A cluster that cannot be joined says why, and what would be right."""

import ctypes
import logging
import os
import signal
import socket
import sys

import pytest

from penstock.cluster.ray.link import Link, explained, knock, load, stops_left_alone
from penstock.cluster.ray.sentinel import Sentinel
from penstock.core.errors import BadSetting
from penstock.settings import load as settings


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadSetting, match=r"cluster\.address needs Ray: pip install 'penstock\[ray\]'"):
        Link("local", 10.0).open()


def test_ray_calls_nobody_and_leaves_our_log_alone(monkeypatch):
    pytest.importorskip("ray")
    factory, hook = logging.getLogRecordFactory(), sys.excepthook
    load()
    own = logging.getLogger("ray")
    assert (own.handlers, own.propagate) == ([], True)
    assert (logging.getLogRecordFactory(), sys.excepthook) == (factory, hook)


def test_stops_stay_ours_though_a_library_takes_them():
    libc = ctypes.CDLL(None)
    handler = signal.getsignal(signal.SIGTERM)
    heard = []
    signal.signal(signal.SIGTERM, lambda *_: heard.append("ours"))
    try:
        with stops_left_alone():
            libc.signal(int(signal.SIGTERM), 1)  # SIG_IGN, behind Python's back
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard == ["ours"]
    finally:
        signal.signal(signal.SIGTERM, handler)


@pytest.mark.parametrize(("before", "usual"), [("", "6379, the head's"), ("ray://", "10001, the client")])
def test_where_nobody_listens_it_says_so_at_once(before, usual):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(BadSetting, match=f"no Ray cluster at cluster.address, .*refused.*{usual}"):
        knock(f"{before}127.0.0.1:{port}", 5.0)


def test_who_listens_and_is_no_ray_is_waited_for_no_longer_than_that():
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        link = Link(f"127.0.0.1:{mute.getsockname()[1]}", 0.5)
        with pytest.raises(BadSetting, match=r"did not let us in within cluster\.connect_s, 0\.5 s"):
            link.open()
        link.close()  # has nothing to wait for


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("Version mismatch: The cluster was started with Ray 2.0"), "they must be the same"),
        (ConnectionError("Could not find any running Ray instance"), "no Ray runs on this machine"),
        (OSError("no way"), "cannot be joined: no way"),
    ],
)
def test_what_ray_says_is_led_by_what_can_be_done(error, said):
    assert said in explained("auto", error)


def test_a_cluster_that_may_want_a_token_is_told_of(monkeypatch):
    refused = ConnectionError("Failed to connect to Ray cluster at 10.0.0.7:6379")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert "joined with RAY_AUTH_MODE=token" in explained("10.0.0.7:6379", refused)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert "RAY_AUTH_MODE" not in explained("10.0.0.7:6379", refused)


@pytest.mark.parametrize("address", ["local", "auto", "10.0.0.7:6379", "ray://head:10001", "[::1]:6379"])
def test_addresses_that_can_be(address):
    assert settings(None, {}, {"cluster.address": address}).cluster.address == address


@pytest.mark.parametrize("address", ["head", "ray://head", "http://head:10001x", "head:0", "head:99999"])
def test_addresses_that_cannot_be(address):
    with pytest.raises(BadSetting, match=r"cluster\.address is .* it must be local, auto, HOST:PORT"):
        settings(None, {}, {"cluster.address": address})


def test_a_sentinel_is_readable_once_it_was_told_and_is_closed_once(readable):
    sentinel = Sentinel()
    assert not readable(sentinel.fd)
    sentinel.tell()
    sentinel.tell()
    assert readable(sentinel.fd)
    sentinel.close()
    sentinel.close()


@pytest.fixture
def readable():
    import select

    return lambda fd: bool(select.select([fd], [], [], 0)[0])
