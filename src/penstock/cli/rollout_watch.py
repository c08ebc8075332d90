"""Looking on at a rollout until it ends."""

from collections.abc import Callable
from time import sleep, time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import orjson
import typer

from penstock.cli import rollout_table
from penstock.cli.rollout import read
from penstock.client import Client, ServerError
from penstock.rollout.words import Status

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

EVERY = 1.0
"""Seconds between two looks."""
MISSED = 60
"""Looks without an answer after which it is given up: the server may be starting again."""
SELDOM = 30
"""Looks between two lines that differ in what it waits for alone: estimates change with every look."""
INTERRUPTED = 130
"""The exit code of what Ctrl-C ended."""


class Screen(Protocol):
    """Shows a rollout as it comes, raw and read."""

    def __call__(self, raw: dict[str, Any], status: Status) -> None: ...


def follow(
    client: Client,
    model: str,
    id: str = "",  # noqa: A002
    *,
    json: bool = False,
    pause: Callable[[], object] | None = None,
) -> int:
    """The exit code: 0 promoted, 1 taken back, 130 left running by Ctrl-C.

    ``id`` is that of the rollout; the model's present or last one if not given.
    """
    from rich.console import Console

    console = Console(highlight=False)
    pause = pause or (lambda: sleep(EVERY))
    try:
        if json:
            return _end(watch(lambda: ask(client, model, id), JsonLines(), pause))
        if not console.is_terminal:
            end = watch(lambda: ask(client, model, id), Lines(console), pause)
        else:
            with Live(console) as live:
                end = watch(lambda: ask(client, model, id), live, pause)
        rollout_table.show(end, console, time())
        return _end(end)
    except KeyboardInterrupt:
        typer.echo(f"the rollout goes on; `penstock rollout watch {model}` shows it again", err=True)
        return INTERRUPTED


def _end(status: Status) -> int:
    return 0 if status.phase == "promoted" else 1


def ask(client: Client, model: str, id: str = "") -> dict[str, Any]:  # noqa: A002
    """The model's rollout; the one with this id, though another may have begun since."""
    found = client.rollout(model)
    if id and found["id"] != id:
        found = next((each for each in client.rollouts() if each["id"] == id), found)
    return found


def watch(fetch: Callable[[], dict[str, Any]], show: Screen, pause: Callable[[], object]) -> Status:
    """Look, show and wait until the rollout that was there first has ended; that is how it ended.

    Raises ServerError where nobody has answered for MISSED times.
    """
    missed, seen = 0, False
    while True:
        try:
            raw = fetch()
        except ServerError as error:
            missed += 1
            if error.status or not seen or missed >= MISSED:
                raise
        else:
            missed, seen, status = 0, True, read(raw)
            show(raw, status)
            if status.phase in rollout_table.ENDS:
                return status
        pause()


class JsonLines:
    """A line of JSON whenever something has changed."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def __call__(self, raw: dict[str, Any], status: Status) -> None:
        if raw != self._last:
            typer.echo(orjson.dumps(raw))
        self._last = raw


class Lines:
    """A line whenever phase or weight have changed, and now and then what it waits for."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._at = ""
        self._said = ""
        self._looks = 0
        """Since the last line."""

    def __call__(self, raw: dict[str, Any], status: Status) -> None:
        at = f"{status.phase.replace('-', ' ')} at {status.weight:g} %"
        self._looks += 1
        if at != self._at or (status.says != self._said and self._looks >= SELDOM):
            self._console.print(f"{at}: {status.says}" if status.says else at, markup=False, soft_wrap=True)
            self._at, self._said, self._looks = at, status.says, 0


class Live:
    """The whole of it on a terminal, drawn anew with every look."""

    def __init__(self, console: "Console") -> None:
        from rich.live import Live as RichLive

        self._status: Status | None = None
        self._live = RichLive(self, console=console, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def __call__(self, raw: dict[str, Any], status: Status) -> None:
        self._status = status
        self._live.refresh()

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        if self._status is not None:
            yield from rollout_table.parts(self._status, console, time())
            yield "[dim]Ctrl-C leaves it running.[/]"
