"""The client for ordinary code: every call blocks until its answer is there."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from penstock.client import calls, wire
from penstock.client.calls import Call
from penstock.client.codec import Result, complete, is_complete
from penstock.client.errors import ServerError
from penstock.core.types import NO_PARAMETERS, Parameters, Tensors

T = TypeVar("T")


class Client:
    """Talks to one server over kept-alive connections; may be shared between threads.

    ``timeout`` is in seconds.
    ``verify`` is for https: True, the path of a PEM file to trust, an SSLContext, or False.
    Every method raises ServerError: with the server's sentence, or with ``status`` 0 for no answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        timeout: float | None = 30.0,
        verify: wire.Verify = True,
    ) -> None:
        self.url = wire.address(url)
        self._datatypes: dict[tuple[str, str], dict[str, str]] = {}
        options = wire.options(self.url, api_key, timeout, verify)
        transport = httpx.HTTPTransport(**wire.transport(self.url, verify))
        self._http = httpx.Client(transport=transport, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """One call and what its answer means."""
        timeout = httpx.USE_CLIENT_DEFAULT if call.timeout is None else call.timeout
        try:
            response = self._http.request(
                call.method, call.path, content=call.body, headers=dict(call.headers), timeout=timeout
            )
        except httpx.HTTPError as error:
            raise wire.explain(error, self.url) from error
        return call.read(wire.answer(response))

    def infer(
        self,
        model: str,
        inputs: Any,
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        id: str = "",  # noqa: A002
        timeout: float | None = None,
        priority: int = 0,
        parameters: Parameters = NO_PARAMETERS,
        binary: bool = True,
    ) -> Result:
        """Outputs by name for ``inputs``: arrays by name, or one array for a model with one input.

        Arrays are sent with the dtype that they have; lists and numbers take the model's.
        ``timeout`` in seconds also tells the server when to give up; ``priority`` 1 is most urgent.
        ``binary`` off sends and asks for JSON.
        """
        tensors = inputs if is_complete(inputs) else complete(model, inputs, self._wanted(model, version))
        try:
            return self.send(
                calls.infer(
                    model,
                    version,
                    tensors,
                    outputs=outputs,
                    id=id,
                    parameters=parameters,
                    timeout=timeout,
                    priority=priority,
                    binary=binary,
                )
            )
        except ServerError:
            # The model may have changed its inputs since; ask again next time.
            self._datatypes.pop((model, version), None)
            raise

    def _wanted(self, model: str, version: str) -> dict[str, str]:
        key = (model, version)
        if key not in self._datatypes:
            self._datatypes[key] = wire.datatypes(self.metadata(model, version))
        return self._datatypes[key]

    def live(self) -> bool:
        """Whether the server runs."""
        return self._asked(calls.live())

    def ready(self, model: str = "", version: str = "") -> bool:
        """Whether the server, or one model, can answer now."""
        return self._asked(calls.ready(model, version))

    def _asked(self, call: Call[bool]) -> bool:
        """No answer is a no."""
        try:
            return self.send(call)
        except ServerError as error:
            if error.status:
                raise
            return False

    def server(self) -> dict[str, Any]:
        """The server's name, version and extensions."""
        return self.send(calls.server())

    def metadata(self, model: str, version: str = "") -> dict[str, Any]:
        """The model's versions, platform, inputs and outputs."""
        return self.send(calls.metadata(model, version))

    def config(self, model: str, version: str = "") -> dict[str, Any]:
        """The model's configuration in Triton's form."""
        return self.send(calls.config(model, version))

    def statistics(self, model: str = "", version: str = "") -> list[dict[str, Any]]:
        """Counts and durations (nanoseconds) of what is loaded, by model and version."""
        return self.send(calls.statistics(model, version))

    def index(self, *, ready: bool = False) -> list[dict[str, Any]]:
        """What the repository holds, or only what is ready."""
        return self.send(calls.index(ready))

    def status(self) -> list[dict[str, Any]]:
        """Every version as Penstock's control plane sees it; other servers do not have this."""
        return self.send(calls.status())

    def bill(
        self,
        by: str | Sequence[str] = ("model", "version"),
        since: str | float = "24h",
        until: str | float = "",
        *,
        model: str | None = None,
        tenant: str | None = None,
    ) -> dict[str, Any]:
        """Who used what, and what it cost in money and energy; other servers do not have this.

        ``by`` takes ``model``, ``version``, ``tenant`` and ``site``.
        ``since`` and ``until`` are how long ago (``90m``, ``24h``, ``7d``), a date, or seconds since the
        epoch.
        ``model`` and ``tenant`` leave out the lines of others; the tenant ``""`` is who names none.
        The guide on the meter names the fields; what is not known is not there.
        """
        return self.send(calls.bill(by, since, until, model, tenant))

    def scales(self) -> list[dict[str, Any]]:
        """How many instances every model has and should have, and what one of them carries."""
        return self.send(calls.scales())

    def scale(self, model: str, limit: int = 20) -> dict[str, Any]:
        """The same of one model, with its last ``decisions``, the newest first."""
        return self.send(calls.scale(model, limit))

    def rollouts(self) -> list[dict[str, Any]]:
        """How every rollout stands: those that run, then those that have ended, the newest first."""
        return self.send(calls.rollouts())

    def rollout(self, model: str) -> dict[str, Any]:
        """How the model's present or last rollout stands."""
        return self.send(calls.rollout(model))

    def start_rollout(
        self, model: str, version: str, *, why: str = "", force: bool = False, **terms: Any
    ) -> dict[str, Any]:
        """Bring a version in by evidence; returns how the rollout stands.

        ``terms`` are those of ``[rollout]`` in model.toml, over which they go: ``plan``, ``steps``,
        ``guards``, ``hold_s`` …
        ``force`` takes a version that is marked bad.
        """
        return self.send(calls.start_rollout(model, version, why, force, terms))

    def rollout_command(self, model: str, verb: str, why: str = "") -> dict[str, Any]:
        """``pause``, ``resume``, ``promote`` or ``rollback``; returns how the rollout stands then."""
        return self.send(calls.rollout_command(model, verb, why))

    def rollout_history(self, model: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """Who changed what of rollouts, when and why, the newest first; of one model or of all."""
        return self.send(calls.rollout_history(model, limit))

    def bad_versions(self) -> list[dict[str, Any]]:
        """Versions that were taken back, and are not rolled out again by themselves."""
        return self.send(calls.bad_versions())

    def verdict(self, model: str, version: str = "") -> dict[str, Any]:
        """``pass``, ``fail`` or ``not yet`` on a version, by what its rollout has found out."""
        return self.send(calls.verdict(model, version))

    def feedback(
        self,
        id: str,  # noqa: A002
        outcome: Any = None,
        *,
        correct: bool | None = None,
        model: str = "",
    ) -> dict[str, int]:
        """What came true of the request ``id``, or whether its answer was right.

        Tells how many labels were ``counted``, and how many are of ``unknown`` requests.
        """
        return self.send(calls.feedback([calls.label(id, outcome, correct, model)]))

    def feedback_batch(self, labels: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """The same for up to 10,000 requests: ``[{"id": "42", "outcome": 7}, …]``."""
        return self.send(calls.feedback(labels))

    def samples(self, model: str, version: str = "") -> list[Tensors]:
        """The inputs of the last requests that the model has kept, where its ``[record]`` says so.

        One entry for each group of requests of the same datatypes and trailing shapes, rows on axis 0.
        """
        return self.send(calls.samples(model, version))

    def load(self, model: str) -> None:
        """(Re)load a model from the repository; returns when it serves."""
        self.send(calls.load(model))

    def unload(self, model: str) -> None:
        """Drain and close a model; returns when its memory is free."""
        self.send(calls.unload(model))
