"""What the log says of a version that serves."""

from penstock.core.types import ModelState


def how(state: ModelState, cap: int) -> str:
    """Where it runs, how it batches and how fast it is; of a pipeline its steps."""
    if state.spec.steps:
        return f"a pipeline of {', '.join(step.name for step in state.spec.steps)}"
    batches = f"batches to {cap}" if state.batched else "unbatched"
    return f"{_where(state)}, {batches}, {state.run_ms:.3f} ms a row"


def _where(state: ModelState) -> str:
    if state.isolation == "inline":
        return f"in the loop on {state.device}"
    words = {"process": ("process", "processes"), "ray": ("Ray actor", "Ray actors")}
    one, several = words.get(state.isolation, ("instance", "instances"))
    kind = one if state.instances == 1 else several
    threads = "thread" if state.threads == 1 else "threads"
    return f"{state.instances} {kind} × {state.threads} {threads} on {state.device}"
