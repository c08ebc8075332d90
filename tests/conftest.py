"""Servers for tests: in a process of their own, and inside the test."""

import sys
from contextlib import ExitStack

import pytest

from benchmarks import fixtures
from tests.e2e import models
from tests.e2e.process import Process, serving

sys.modules.setdefault("openvino_telemetry", None)  # by which OpenVINO would fork us and call Google


TOGETHER = ("tests/cluster/ray/",)
"""Folders whose files share what takes long to make: they run in one process."""


def pytest_xdist_make_scheduler(config, log):
    """Several processes (``-n``): the tests of one file, or of such a folder, stay in one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::", 1)[0]
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

    return ByFile(config, log)


@pytest.fixture(autouse=True, scope="session")
def state(tmp_path_factory):
    """Servers keep their books in the user's state folder; those of tests are not to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def serve():
    """``serve(repository, *flags, **settings)`` starts a server process and waits until it is ready."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(serving(*args, **kwargs))


@pytest.fixture
def start():
    """``start(...)`` starts a server process and waits for nothing."""
    with ExitStack() as stack:

        def started(*args, **kwargs):
            process = Process(*args, **kwargs)
            stack.callback(process.close)
            return process

        yield started


@pytest.fixture
def inside():
    """``inside(repository, **settings)`` serves in a thread of the test; the answer is a client of it."""
    from penstock.testing import running

    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(running(*args, **kwargs))


@pytest.fixture
def repository(tmp_path):
    """A repository with TINY as ``tiny``."""
    fixtures.write(tmp_path / "models", "tiny", "1", fixtures.tiny())
    return tmp_path / "models"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One process that serves a model of every kind, for tests that change nothing in it."""
    folder = tmp_path_factory.mktemp("server") / "models"
    models.datatypes(folder)
    fixtures.write(folder, "tiny", "1", fixtures.tiny())
    fixtures.write(folder, "add_sub", "1", models.add_sub())
    fixtures.write(folder, "adding", "1", models.adding(1))
    fixtures.write(folder, "adding", "v2", models.adding(2))
    (folder / "adding" / "model.toml").write_text('versions = "all"\n')
    with serving(folder) as process:
        yield process
