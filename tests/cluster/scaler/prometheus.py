"""A real Prometheus that scrapes some replicas every second."""

import shutil
import socket
import subprocess
from contextlib import contextmanager

import httpx
import yaml

from tests.e2e.process import until


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def scraping(folder, *targets):
    """Its URL, and the process."""
    job = {"job_name": "penstock", "static_configs": [{"targets": list(targets)}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        shutil.which("prometheus"), "--config.file", folder / "prometheus.yml",
        "--storage.tsdb.path", folder / "data", "--web.listen-address", f"127.0.0.1:{port}",
        "--log.level", "error",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        url = f"http://127.0.0.1:{port}"

        def ready():
            assert process.poll() is None, (folder / "log").read_text()
            try:
                return httpx.get(f"{url}/-/ready").status_code == 200
            except httpx.TransportError:
                return False

        try:
            until(ready, "Prometheus")
            yield url, process
        finally:
            process.kill()
