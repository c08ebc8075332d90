"""KServe's Python client, unmodified, over both of its transports."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kserve_calls.py")
ADDED = [[2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0]]


@pytest.fixture(scope="module")
def calls(server):
    command = [sys.executable, str(SCRIPT), server.url, server.grpc]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(params=["http", "grpc"])
def got(request, calls):
    return calls[request.param]


def test_probes(got):
    assert (got["live"], got["ready"], got["model_ready"], got["nobody_ready"]) == (True, True, True, False)


@pytest.mark.parametrize("form", ["binary", "json"])
def test_an_answer(got, form):
    assert got[form]["id"] == "7"
    assert got[form]["outputs"] == {"y": ADDED}
    # Over HTTP, KServe's client does not read the version.
    assert got[form]["model"] in (["adding", "v2"], ["adding", None])


def test_halves_come_back_in_binary(got):
    assert got["fp16"]["outputs"] == {"y": [[0.5, -2.0]]}


def test_concurrent_callers_each_get_their_own_answer(got):
    assert got["many"] == [n + 2 for n in range(64)]


def test_errors_say_what_was_wrong(got):
    unknown, wrong = got["unknown"], got["wrong"]
    assert (unknown[0], wrong[0]) in [(404, 400), ("NOT_FOUND", "INVALID_ARGUMENT")]
    assert "no model 'nobody'" in unknown[1]
    assert "takes 'x'" in wrong[1]
