"""Each engine in turn, with a model of its own: here, and in a process."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.core.ports import Session
from penstock.engines import ENGINES
from penstock.workers.worker import Worker
from tests.contract import cases
from tests.contract.inputs import question


@pytest.fixture(scope="module", params=sorted(ENGINES))
def name(request: pytest.FixtureRequest) -> str:
    """The engine."""
    found: str = request.param
    return found


@pytest.fixture(scope="module")
def file(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its model, which tests leave as it is."""
    return cases.model(name, tmp_path_factory.mktemp(name) / "model")


@pytest.fixture(scope="module")
def here(name: str, file: Path) -> Iterator[Session]:
    """A session in this process."""
    session = cases.opened(name, file)
    yield session
    session.close()


@pytest.fixture(scope="module")
def started(name: str, file: Path) -> Iterator[tuple[Worker, float]]:
    """A session in a process of its own, and the seconds from nothing to its first answer."""
    begin = time.monotonic()
    worker = Worker(name, cases.spec_of(name, file), file.parent, f"{name}-1-0")
    try:
        worker.run(question(worker))
        yield worker, time.monotonic() - begin
    finally:
        worker.close()


@pytest.fixture(scope="module", params=["here", "process"])
def session(request: pytest.FixtureRequest, name: str) -> Session:
    """The one and the other."""
    if request.param == "here":
        found: Session = request.getfixturevalue("here")
        return found
    worker: Worker = request.getfixturevalue("started")[0]
    return worker
