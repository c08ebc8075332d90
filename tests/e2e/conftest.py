import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def collect():
    """Triton's HTTP clients join a pool when they are collected, which fails in any thread but their own."""
    yield
    gc.collect()


@pytest.fixture
def house(tmp_path):
    """A model of digits whose version 1 serves, and a place for more."""
    from tests.e2e.rollouts import House

    return House(tmp_path / "models", tmp_path / "state")
