"""A pipeline from its settings to serving: its models' facts → a plan → live."""

from collections.abc import Callable
from time import perf_counter

from msgspec.structs import replace

from penstock.core.errors import BadSetting, LoadFailed
from penstock.core.ports import Handler, Recorder
from penstock.core.spec import ModelSpec
from penstock.core.types import ModelState
from penstock.serving.catalog import Live
from penstock.serving.check import Check
from penstock.serving.pipeline.draft import make
from penstock.serving.pipeline.executor import Pipeline, Serving
from penstock.serving.pipeline.plan import Part
from penstock.serving.recording import wrap

PLATFORM = "penstock_pipeline"

Find = Callable[[str, str], ModelState | None]
"""What serves of a model, or of a version of it if one is named; None if nothing does."""


def bring_up(
    spec: ModelSpec, version: str, recorder: Recorder, handler: Handler, find: Find, serving: Serving
) -> Live:
    """Ready to serve; ``handler`` answers for the steps.

    Raises LoadFailed with the reason.
    """
    start = perf_counter()
    facts = parts(spec, find)
    try:
        plan = make(spec, facts)
    except BadSetting as error:
        raise LoadFailed(str(error)) from None
    steps = tuple(node.step for node in plan.nodes)
    state = ModelState(
        name=spec.name,
        version=version,
        state="READY",
        spec=replace(spec, steps=steps),
        platform=PLATFORM,
        signature=plan.signature,
        batched=plan.batched,
        load_seconds=perf_counter() - start,
    )
    check = Check(spec.name, plan.signature, batched=plan.rows, max_rows=spec.batching.max_rows)
    pipeline = Pipeline(spec, version, plan, facts, handler, serving, recorder)
    return Live(state, wrap(pipeline, spec.record), check, _nothing)


def _nothing() -> None:
    """A pipeline takes no memory that it could give back."""


def parts(spec: ModelSpec, find: Find) -> list[Part]:
    """The facts of every step's model; raises LoadFailed for the first that does not serve."""
    found: list[Part] = []
    for step in spec.steps:
        state = find(step.model, step.version)
        if state is None:
            which = f" version {step.version!r}" if step.version else ""
            raise LoadFailed(
                f"step {step.name or step.model!r} needs model {step.model!r}{which}, which is not serving; "
                "it is tried again when that is"
            )
        found.append(Part(state.signature, state.batched, state.spec.queue.max_priority))
    return found
