"""Our forecaster as an autoscaling policy of Ray Serve: ``penstock.cluster.ray.serve_policy:Forecast``.

Ray Serve tells a policy how many requests run and wait, and not how many come.
So what comes is what was worked off, running requests over the seconds that one runs, and what the queue
grew by; exact is what replicas count themselves, under ``COUNT`` in their ``record_autoscaling_stats``.
Ray pickles all that is defined in this file, which it cannot do with structs.
"""

import logging
from pathlib import Path
from time import time
from typing import Any

import msgspec
from msgspec.structs import replace

from penstock.cluster.ray.serve_state import Starting, State
from penstock.core.errors import BadSetting
from penstock.scaling.decide import Memory, decide
from penstock.scaling.series import Series
from penstock.scaling.types import Seen, Terms

log = logging.getLogger("ray.serve")

COUNT = "requests"
"""The metric of a deployment's own that counts all requests since the replica's start."""
STATE = "penstock"
_SAVE = 600.0
"""Seconds between two writings of the history."""


class Forecast:
    """A policy class; ``policy_kwargs`` are the constructor's arguments.

    Bounds are the deployment's ``min_replicas`` and ``max_replicas``.
    The hold before there are fewer replicas is ours, so ``upscale_delay_s`` and ``downscale_delay_s`` of the
    deployment should be 0.
    """

    def __init__(
        self,
        run_s: float,
        target_s: float,
        carries: float = 0.0,
        startup_s: float = 30.0,
        history: str = "",
        **terms: Any,
    ) -> None:
        """``run_s``: seconds that a request runs; ``target_s``: those in which it is to be answered.

        ``carries``: requests/s of one replica; 0 takes ``target_ongoing_requests / run_s``.
        ``startup_s`` holds until a replica's start has been seen.
        ``history``: a file in which the series outlives the controller; empty: none.
        ``terms``: those of ``penstock.scaling.types.Terms`` but for the bounds.
        Raises BadSetting for what cannot be.
        """
        if not 0 < run_s < target_s:
            raise BadSetting(f"run_s is {run_s:g} and target_s {target_s:g}; it must be 0 < run_s < target_s")
        try:
            self._terms = msgspec.convert({"feedback": False} | terms, Terms)
        except msgspec.ValidationError as error:
            raise BadSetting(f"policy_kwargs: {error}") from None
        unknown = terms.keys() - set(Terms.__struct_fields__)
        if unknown or terms.keys() & {"least", "most"}:
            wrong = min(unknown or {"least", "most"} & terms.keys())
            raise BadSetting(f"policy_kwargs: no {wrong!r}; bounds are min_replicas and max_replicas")
        self._run_s, self._wait_s = run_s, target_s - run_s
        self._carries, self._startup_s = carries, startup_s
        self._history = Path(history) if history else None

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """Replicas wanted, and what to remember; Ray Serve calls it several times a second."""
        now = float(context.current_time or time())
        state = context.policy_state.get(STATE) or State(self._restored(), Memory(), Starting(), now)
        self._feed(state, now, context)
        state.starting = state.starting.seen(now, context.current_num_replicas, context.target_num_replicas)
        if state.decision is None or now - state.decided >= self._terms.tick_s:
            self._decide(state, now, context)
        assert state.decision is not None  # noqa: S101 - made just now, if not before
        return state.decision.instances, {**context.policy_state, STATE: state}

    def _decide(self, state: State, now: float, context: Any) -> None:
        seen = Seen(
            now=now,
            series=state.series,
            waiting=state.waiting,
            ready=context.current_num_replicas,
            starting=max(0, context.target_num_replicas - context.current_num_replicas),
            carries=self._carries or context.config.get_target_ongoing_requests() / self._run_s,
            wait_s=self._wait_s,
            startup_s=state.starting.seconds(self._startup_s),
        )
        least, most = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        terms = replace(self._terms, least=least, most=most)
        before = state.decision
        state.decision, state.memory = decide(seen, state.memory, terms)
        state.decided = now
        if before is None or before.instances != state.decision.instances:
            log.info("%s: %s", context.deployment_name, state.decision.line())
        if self._history is not None and now - state.saved >= _SAVE:
            state.saved = now
            _save(self._history, state.series)

    def _feed(self, state: State, now: float, context: Any) -> None:
        """What came since the last call, once a second."""
        passed = now - state.at
        if passed < 1.0:
            return
        waiting = float(context.total_queued_requests or 0.0)
        own = (context.raw_metrics or {}).get(COUNT)
        if own is None:
            came = context.total_running_requests / self._run_s * passed + waiting - state.waiting
        else:
            counted = {str(replica): float(points[-1].value) for replica, points in own.items() if points}
            fresh = sum(max(0.0, count - state.counted.get(key, 0.0)) for key, count in counted.items())
            if counted != state.counted:
                state.counted, state.spread = counted, state.spread.came(now, fresh)
            came, state.spread = state.spread.give(passed)
        state.series.add(now, max(0.0, came))
        state.at, state.waiting = now, waiting

    def _restored(self) -> Series:
        series = Series()
        if self._history is not None and self._history.is_file():
            try:
                rows = msgspec.json.decode(self._history.read_bytes(), type=list[tuple[int, int, float]])
                series.restore(rows)
            except (OSError, ValueError) as error:
                log.warning("the history in %s cannot be read, and begins anew: %s", self._history, error)
                return Series()
        return series


def _save(file: Path, series: Series) -> None:
    """Whole, or not at all."""
    part = file.with_name(f"{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(msgspec.json.encode(series.buckets(0.0)))
        part.replace(file)
    except OSError as error:
        log.warning("the history cannot be kept in %s: %s", file, error.strerror or error)
