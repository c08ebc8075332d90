"""A server in a process of its own, as ``penstock serve`` starts it, and what a test asks of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import httpx

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds that a condition may take before the test fails; a busy machine is slow, a right answer is not."""
PLAIN = False
"""There is no TLS, for which httpx would read certificates at each call for 20 to 100 ms."""


def until(condition, what, seconds=PATIENCE, every=0.01):
    """The first true value of ``condition()``; fails when there is none in time."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds:g} s for {what}"
        time.sleep(every)
    return value


def environment(python_path=str(ROOT), **settings):
    """Ours without settings of penstock that a developer may have, and with ``settings``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    clean["PYTHONPATH"] = python_path  # engines of the tests' own
    return clean | {f"PENSTOCK_{name.upper()}": str(value) for name, value in settings.items()}


class Process:
    """``settings`` are environment variables without their prefix, in lower case."""

    def __init__(self, repository, *flags, ports=(0, 0), stderr=subprocess.PIPE, **settings):
        listen = ["--http-port", str(ports[0]), "--grpc-port", str(ports[1]), "--log-format", "json"]
        self.lines = []
        self.http_port = self.grpc_port = 0
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "penstock", "serve", str(repository), *listen, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
            env=environment(**settings), start_new_session=True,
        )  # fmt: skip
        self.pid = self.process.pid
        self._reader = None
        if stderr == subprocess.PIPE:
            self._reader = Thread(target=self._read, daemon=True)
            self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"message": line.decode(errors="replace").rstrip()})

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def http(self):
        """As tritonclient names an address."""
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self):
        return f"127.0.0.1:{self.grpc_port}"

    def wait_ready(self):
        """Until it has said where it listens."""

        def said():
            assert self.process.poll() is None, f"the server ended: {self.log()}"
            return next((line for line in list(self.lines) if line["message"] == "ready"), None)

        try:
            line = until(said, "the server to be ready")
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self.log()}") from None
        self.http_port, self.grpc_port = line["http_port"], line["grpc_port"]
        return self

    def log(self, pattern=""):
        """Messages that match."""
        return [line["message"] for line in list(self.lines) if re.search(pattern, line["message"])]

    def rss(self):
        """Resident memory in bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path, **kwargs):
        return httpx.get(self.url + path, timeout=30, verify=PLAIN, **kwargs)

    def post(self, path, **kwargs):
        return httpx.post(self.url + path, timeout=60, verify=PLAIN, **kwargs)

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def ended(self, seconds=PATIENCE):
        """Its exit code, once it has ended and all that it said has been read."""
        code = self.process.wait(seconds)
        if self._reader is not None:
            self._reader.join(10)
        return code

    def stop(self):
        """Ask it to end; its exit code."""
        self.terminate()
        return self.ended()

    def close(self):
        """Leave nothing behind, whatever the test did."""
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
        if self.process.stderr is not None:
            self.process.stderr.close()


@contextmanager
def serving(repository, *flags, **settings):
    """A server that is ready; killed at the end of the block, if it still runs."""
    process = Process(repository, *flags, **settings)
    try:
        yield process.wait_ready()
    finally:
        process.close()


def refused(repository, *flags, **settings):
    """The exit code and the words of a server that must not come up."""
    process = Process(repository, *flags, **settings)
    try:
        return process.ended(), " ".join(process.log())
    finally:
        process.close()
