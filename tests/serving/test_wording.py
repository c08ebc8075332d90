"""The log's words for a version that serves."""

import pytest

from penstock.core.spec import ModelSpec, Signature
from penstock.core.types import ModelState
from penstock.serving.wording import how


@pytest.mark.parametrize(
    ("isolation", "instances", "threads", "said"),
    [
        ("inline", 1, 1, "in the loop on cpu"),
        ("thread", 2, 1, "2 instances × 1 thread on cpu"),
        ("process", 1, 4, "1 process × 4 threads on cpu"),
    ],
)
def test_numbers_agree_with_their_nouns(isolation: str, instances: int, threads: int, said: str) -> None:
    state = ModelState(
        name="m",
        version="1",
        state="READY",
        spec=ModelSpec(name="m"),
        signature=Signature((), ()),
        isolation=isolation,
        device="cpu",
        instances=instances,
        threads=threads,
        batched=True,
        run_ms=0.25,
    )
    assert how(state, 8) == f"{said}, batches to 8, 0.250 ms a row"
