"""A real Prometheus for tests, and what Grafana would make of a dashboard's expressions."""

import json
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import httpx
import yaml

from tests.e2e.process import until

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/penstock.rules.yml"
TESTS = ROOT / "deploy/prometheus/penstock.rules.test.yml"
CONFIG = ROOT / "deploy/prometheus/prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/penstock.json"

NAME = re.compile(r"(?<![\w:])(?:penstock|nv_inference|process)_\w*[a-z](?![\w:*])")
"""A metric in an expression; a recorded one has colons in it."""


def promtool():
    """Its path, or None."""
    return shutil.which("promtool")


def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels():
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def filled(expression, rate="15s", window="15s"):
    """With the variables as Grafana fills them in when everything is chosen."""
    filled = expression.replace("$__rate_interval", rate).replace("$window", window)
    return re.sub(r"\$\w+", ".*", filled)


class Prometheus:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path, **params):
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=params, timeout=30)
        assert answer.status_code == 200, f"{params}: {answer.text}"
        return answer.json()["data"]

    def query(self, expression):
        """Labels and value of each series; fails where Prometheus does not understand it."""
        found = self.ask("query", query=expression)
        assert found["resultType"] in ("vector", "scalar"), found
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]


def _free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def _configure(folder, target, key):
    """The example's own configuration and rules, in a hurry."""
    config = yaml.safe_load(CONFIG.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    (folder / "penstock.rules.yml").write_text(RULES.read_text().replace("interval: 1m", "interval: 1s"))
    (folder / "penstock.key").write_text(key)


@contextmanager
def watching(folder, target, key):
    """Prometheus, scraping ``target`` every second with ``key``, until the block ends."""
    _configure(folder, target, key)
    port = _free_port()
    command = [
        shutil.which("prometheus"), "--config.file", folder / "prometheus.yml",
        "--storage.tsdb.path", folder / "data", "--web.listen-address", f"127.0.0.1:{port}",
        "--log.level", "warn",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:

            def ready():
                assert process.poll() is None, (folder / "log").read_text()
                try:
                    return httpx.get(f"http://127.0.0.1:{port}/-/ready").status_code == 200
                except httpx.TransportError:
                    return False

            until(ready, "Prometheus")
            yield Prometheus(port)
        finally:
            process.kill()
