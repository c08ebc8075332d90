import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def collect():
    """Triton's HTTP clients join a pool when they are collected, which fails in any thread but their own."""
    yield
    gc.collect()
