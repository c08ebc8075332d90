"""A session in a child process answers like one in ours, and its death is an error, not ours."""

import asyncio
import errno
import gc
import logging
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from penstock.core.errors import BadSetting, InstanceLost, InvalidRequest, LoadFailed
from penstock.core.spec import Instances, ModelSpec
from penstock.scheduling import batch
from penstock.workers.process import environment
from penstock.workers.worker import SLOTS, Worker
from tests.workers import breaker

ENGINE = "tests.workers.breaker:BreakerEngine"
ROOT = Path(__file__).parents[2]


def start(engine=ENGINE, start_s=30.0, **parameters):
    spec = ModelSpec(name="m", parameters=parameters, instances=Instances(threads=1, start_s=start_s))
    return Worker(engine, spec, Path("/nowhere/model.x"), "m-1-0")


@pytest.fixture(scope="module")
def shared():
    worker = start()
    yield worker
    worker.close()


@pytest.fixture
def own():
    worker = start()
    yield worker
    worker.close()


def rows(*firsts, second=0.0):
    return {"x": np.array([[first, second] for first in firsts], np.float32)}


def test_it_answers_as_the_session_would(shared):
    assert shared.run(rows(1, 2))["y"].tolist() == [[2, 1], [3, 1]]
    assert (shared.platform, shared.threads, shared.device) == ("breaker", 1, "cpu")
    assert shared.signature == breaker.Breaker.signature


def test_a_batch_is_joined_where_the_process_sees_it(shared):
    ran = batch.run(shared, [rows(1), rows(2, 3), rows(4)], [1, 2, 1], ())
    assert [answer["y"][:, 0].tolist() for answer in ran.answers] == [[2], [3, 4], [5]]
    assert (ran.whole, ran.lost) == (True, None)


def test_memory_grows_with_batches_and_answers(shared):
    for count in (1, 1000, 100_000, 3):
        x = np.random.default_rng(count).random((count, 2), np.float32)
        assert (shared.run({"x": x})["y"] == x + 1).all()


def test_answers_that_are_kept_are_not_written_over(shared):
    kept = [shared.run(rows(breaker.LARGE, second=i))["y"] for i in range(3 * SLOTS)]
    assert [float(answer[0, 0]) for answer in kept] == list(range(3 * SLOTS))
    assert all((answer == answer[0, 0]).all() for answer in kept)
    views = [answer[:, 5:9] for answer in kept]
    del kept
    for _ in range(SLOTS):
        shared.run(rows(breaker.LARGE, second=77))
    assert [float(one[0, 0]) for one in views] == list(range(3 * SLOTS))


def test_inputs_that_a_model_keeps_are_not_written_over(own):
    own.run(rows(breaker.KEEP, second=1))
    with pytest.raises(RuntimeError, match="kept nevertheless"):
        own.run(rows(breaker.KEEP, second=-2))
    own.run(rows(5, 6, 7))
    assert own.run(rows(breaker.KEEP, second=3))["y"][:, 1].tolist() == [1, -2, 3]


def test_memory_for_requests_is_used_again_where_the_model_keeps_nothing(own):
    own.run(rows(1))
    segment = own._requests
    for wish in (1, breaker.RAISE, breaker.LARGE, breaker.REFUSE, 1):
        try:
            own.run(rows(wish))
        except (RuntimeError, InvalidRequest):
            pass
    assert own._requests is segment


def test_slots_are_free_again_when_their_answers_are_gone(own):
    for _ in range(5 * SLOTS):
        own.run(rows(breaker.LARGE))
    gc.collect()
    assert [slot.segment is not None for slot in own._slots] == [True, *[False] * SLOTS]


def test_an_answer_that_cannot_grow_is_an_error_and_later_ones_are_not_read_from_elsewhere(own):
    """Its process had no descriptor for a larger segment; the server then read the empty new one."""
    assert own.run(rows(breaker.LARGE, second=5))["y"].min() == 5
    own.run(rows(breaker.USE_UP))
    with pytest.raises(RuntimeError, match="no descriptor came along"):
        own.run(rows(breaker.LARGE, breaker.LARGE, second=6))
    with pytest.raises(RuntimeError, match="Too many open files"):
        own.run(rows(breaker.LARGE, second=7))


def test_a_server_without_descriptors_refuses_an_answer_and_stays_in_step(own):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert own.run(rows(1))["y"][0, 0] == 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) - 1, limits[1]))
    try:
        with pytest.raises(RuntimeError, match="the server has no memory for an answer of"):
            own.run(rows(breaker.LARGE))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    x = np.random.default_rng(0).random((100_000, 2), np.float32)
    assert (own.run({"x": x})["y"] == x + 1).all()
    assert own.run(rows(breaker.LARGE, second=3))["y"].min() == 3


def test_errors_keep_their_class_or_their_words(shared):
    with pytest.raises(InvalidRequest, match="not this row"):
        shared.run(rows(breaker.REFUSE))
    with pytest.raises(RuntimeError, match="an odd row"):
        shared.run(rows(breaker.RAISE))
    assert shared.run(rows(1))["y"].tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("which", "kind", "words"),
    [
        (0, InvalidRequest, "^not a picture$"),
        (1, RuntimeError, r"^no file caf\\udce9$"),
        (2, InvalidRequest, r"^no file caf\\udce9$"),
        (3, InvalidRequest, "^x{2000,10000}$"),
        (4, RuntimeError, "^Wordless$"),
        (5, RuntimeError, "^bye$"),
        (6, RuntimeError, "^CancelledError$"),
        (7, RuntimeError, "^GeneratorExit$"),
    ],
)
def test_whatever_a_model_raises_is_an_answer_and_ends_nothing(shared, which, kind, words):
    pid = shared._process.pid
    with pytest.raises(kind, match=words):
        shared.run(rows(breaker.ODD, second=which))
    assert shared.run(rows(1))["y"].tolist() == [[2, 1]]
    assert shared._process.pid == pid


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (breaker.NAMELESS, "the name of output 0 is a int; it must be a str"),
        (breaker.COMPLEX, "output 'y': dtype complex64 has no V2 datatype"),
    ],
)
def test_an_answer_that_cannot_be_told_is_the_fault_of_the_model(shared, wish, words):
    with pytest.raises(RuntimeError, match=words):
        shared.run(rows(wish))
    assert shared.run(rows(1))["y"].tolist() == [[2, 1]]


def test_only_the_guilty_request_of_a_batch_fails(shared):
    ran = batch.run(shared, [rows(1), rows(breaker.RAISE), rows(4)], [1, 1, 1], ())
    assert [ran.answers[0]["y"][0, 0], str(ran.answers[1]), ran.answers[2]["y"][0, 0]] == [
        2.0,
        "the model failed on this request: an odd row",
        5.0,
    ]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (breaker.SEGFAULT, r"signal 11 \(SIGSEGV\): Fatal Python error: Segmentation fault"),
        (breaker.EXIT, "exit status 3"),
    ],
)
def test_a_death_is_an_error_that_says_how_and_a_restart_heals_it(own, wish, words):
    with pytest.raises(InstanceLost, match=words):
        own.run(rows(wish))
    with pytest.raises(InstanceLost):
        own.run(rows(1))
    warmed = []
    own.warm_up = warmed.append
    own.restart()
    assert warmed == [own]
    assert own.run(rows(1))["y"].tolist() == [[2, 1]]


def test_an_endless_loop_is_ended_from_another_thread(own):
    threading.Timer(0.2, own.kill).start()
    with pytest.raises(InstanceLost, match="signal 9"):
        own.run(rows(breaker.LOOP))
    own.restart()
    assert own.run(rows(1))["y"].tolist() == [[2, 1]]


def members(group):
    """Processes of a group that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = path.read_text().rsplit(")", 1)[1].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(pgrp) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def assert_gone(group):
    end = time.monotonic() + 10
    while members(group) and time.monotonic() < end:
        time.sleep(0.01)
    left = members(group)
    for pid in left:
        os.kill(pid, 9)
    assert left == []


def test_what_a_process_has_forked_neither_keeps_it_alive_nor_outlives_it(own):
    own.run(rows(breaker.FORK))
    assert len(members(own._process.pid)) == 2
    threading.Timer(0.2, own.kill).start()
    with pytest.raises(InstanceLost):
        own.run(rows(breaker.LOOP))
    assert_gone(own._process.pid)


def test_what_a_process_has_forked_ends_when_it_crashes(own):
    with pytest.raises(InstanceLost, match="SIGSEGV"):
        own.run(rows(breaker.FORK, breaker.SEGFAULT))
    assert_gone(own._process.pid)


def test_what_a_process_has_forked_ends_when_it_is_closed(own):
    own.run(rows(breaker.FORK))
    own.close()
    assert_gone(own._process.pid)


def test_the_sentinel_tells_a_loop_of_a_death(own):
    async def told():
        dead = asyncio.Event()
        asyncio.get_running_loop().add_reader(own.sentinel, dead.set)
        own.kill()
        await asyncio.wait_for(dead.wait(), 10)
        asyncio.get_running_loop().remove_reader(own.sentinel)

    asyncio.run(told())


@pytest.mark.parametrize(
    ("parameters", "kind", "words"),
    [
        ({"open": "refuse"}, LoadFailed, "it is not for you"),
        ({"open": "raise"}, RuntimeError, "odd weights"),
        ({"open": "exit"}, LoadFailed, "the process that loads it ended: exit status 3"),
        ({"open": "hang", "start_s": 0.5}, LoadFailed, "ended: it stopped answering and was ended"),
    ],
)
def test_a_model_that_does_not_load_says_why_and_leaves_no_process(parameters, kind, words):
    before = threading.active_count()
    with pytest.raises(kind, match=words):
        start(**parameters)
    end = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_an_unknown_engine_is_named():
    with pytest.raises(BadSetting, match="no engine 'onx'; did you mean 'onnx'"):
        start(engine="onx")


def test_restarts_leak_neither_descriptors_nor_threads(own):
    def held():
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    def once():
        own.restart()
        own.run(rows(breaker.LARGE))

    once()
    time.sleep(0.2)  # what the first process said is read in a thread
    before = held()
    for _ in range(5):
        once()
    end = time.monotonic() + 10
    while held() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert held() <= before


def test_a_start_for_which_there_are_no_descriptors_leaks_none(own):
    def held():
        return len(list(Path("/proc/self/fd").iterdir()))

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    own._end()
    gc.collect()
    before, refused = held(), 0
    for spare in range(12):
        resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1 + spare, limits[1]))
        try:
            own.restart()
        except OSError:
            refused += 1
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            own._end()
        assert held() <= before + 1  # the end of its output is read in a thread
    assert refused > 4
    own.restart()
    assert own.run(rows(1))["y"].tolist() == [[2, 1]]


def test_where_processes_have_no_descriptors_a_pipe_tells_of_a_death(monkeypatch):
    def unknown(pid):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", unknown, raising=False)
    worker = start()
    worker.kill()
    assert select.select([worker.sentinel], [], [], 10)[0] == [worker.sentinel]
    worker.close()


def test_what_the_model_prints_is_logged_under_its_name(own, caplog):
    with caplog.at_level(logging.INFO, "penstock.model"):
        own.run(rows(breaker.PRINT))
        end = time.monotonic() + 10
        while "hello" not in caplog.text and time.monotonic() < end:
            time.sleep(0.01)
    assert "m-1-0: hello from the model" in caplog.text


def test_a_closed_worker_says_so_and_its_process_is_gone():
    worker = start()
    worker.close()
    with pytest.raises(RuntimeError, match="closed"):
        worker.run(rows(1))
    with pytest.raises(InstanceLost, match="closed"):
        worker.restart()
    with pytest.raises(ProcessLookupError):
        os.kill(worker._process.pid, 0)


def test_closing_while_it_loads_ends_the_load(own):
    """As when a version is unloaded while its process comes back."""
    own._ask = replace(own._ask, spec=replace(own._ask.spec, parameters={"open": "hang"}))
    raised = []

    def restart():
        try:
            own.restart()
        except (InstanceLost, LoadFailed) as error:
            raised.append(error)

    for pause in (0.0, 0.0, 0.005, 0.01, 0.5):
        own._closed = False
        thread = threading.Thread(target=restart)
        thread.start()
        time.sleep(pause)
        own.close()
        thread.join(3)
        assert not thread.is_alive()
        with pytest.raises(ProcessLookupError):
            os.kill(own._process.pid, 0)
    assert len(raised) == 5


def test_a_restart_that_hangs_at_the_warm_up_is_ended():
    worker = start(start_s=1.0)
    worker.warm_up = lambda worker: worker.run(rows(breaker.LOOP))
    began = time.monotonic()
    with pytest.raises(InstanceLost, match="signal 9"):
        worker.restart()
    assert time.monotonic() - began < 10
    worker.close()


def test_paths_that_are_no_text_are_left_out(monkeypatch):
    monkeypatch.setattr(sys, "path", [Path("/not/text"), *sys.path])
    worker = start()
    assert worker.run(rows(1))["y"].tolist() == [[2, 1]]
    worker.close()


def test_it_tells_its_memory(shared):
    assert 5 * 2**20 < shared.resident() < 2**30


def test_neither_a_worker_in_an_endless_loop_nor_what_it_has_forked_outlives_its_server():
    code = (
        "import numpy as np, os, threading, time, sys\n"
        "from tests.workers.test_worker import start, rows, breaker\n"
        "worker = start()\n"
        "print(worker._process.pid, flush=True)\n"
        "wish = rows(breaker.FORK, breaker.LOOP)\n"
        "threading.Thread(target=worker.run, args=(wish,), daemon=True).start()\n"
        "time.sleep(60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT)
    group = int(server.stdout.readline())
    end = time.monotonic() + 10
    while len(members(group)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    server.kill()
    server.wait()
    server.stdout.close()
    assert_gone(group)


def test_threads_are_told_to_libraries_unless_the_user_says_otherwise():
    ours = {"OMP_NUM_THREADS": "7", "HOME": "/"}
    theirs = environment(ours, 2)
    assert (theirs["OMP_NUM_THREADS"], theirs["MKL_NUM_THREADS"], theirs["HOME"]) == ("7", "2", "/")
    assert theirs["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_supervisor_that_signals_every_process_leaves_workers_to_their_server(own, number):
    os.kill(own._process.pid, number)
    time.sleep(0.05)
    assert own.run(rows(1))["y"].tolist() == [[2, 1]]
