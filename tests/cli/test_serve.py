"""``penstock serve``: the words of a start."""

import asyncio
import logging
from pathlib import Path

import pytest

from penstock.cli.serve import _started
from penstock.server import Server
from penstock.settings import load

SLOW = """
import time
from typing import Annotated
from penstock import FP32


class Model:
    def setup(self):
        time.sleep(0.5)

    def predict(self, x: Annotated[FP32, -1]) -> Annotated[FP32, -1]:
        return x
"""


def test_a_long_start_says_what_it_waits_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "slow/1").mkdir(parents=True)
    (tmp_path / "slow/1/model.py").write_text(SLOW)
    (tmp_path / "slow/model.toml").write_text("isolation = 'thread'")
    flags = {"repository": str(tmp_path), "server.http_port": 0, "server.grpc_port": -1}

    async def start() -> None:
        server = Server(load(None, {}, flags))
        try:
            assert await _started(server, asyncio.Event(), every=0.2)
        finally:
            await server.stop()

    with caplog.at_level(logging.INFO, "penstock.server"):
        asyncio.run(start())
    said = [record.getMessage() for record in caplog.records if record.name == "penstock.server"]
    assert said[:2] == [f"loading the models of {tmp_path}", "still loading slow after 0 s"]
