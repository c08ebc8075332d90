"""``penstock serve``: run the server until it is told to stop."""

import asyncio
import logging
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from penstock.cli.shell import program
from penstock.core.errors import BadSetting

if TYPE_CHECKING:
    from penstock.core.types import ModelState
    from penstock.server import Server
    from penstock.settings import Settings

log = logging.getLogger("penstock.server")

Flag = typer.Option


def command(
    path: Annotated[
        str | None, typer.Argument(metavar="PATH", help="A repository folder, or one model file.")
    ] = None,
    host: Annotated[str | None, Flag(help="Address to listen on. [default: 127.0.0.1]")] = None,
    http_port: Annotated[int | None, Flag(help="0 takes any free port. [default: 8000]")] = None,
    grpc_port: Annotated[int | None, Flag(help="0: any free port, -1: no gRPC. [default: 8001]")] = None,
    config: Annotated[Path | None, Flag(metavar="FILE", help="Settings in TOML (penstock.toml).")] = None,
    log_format: Annotated[str | None, Flag(metavar="text|json", help="[default: text]")] = None,
    log_level: Annotated[str | None, Flag(metavar="debug|info|warning|error", help="[default: info]")] = None,
    memory_limit: Annotated[
        str | None,
        Flag(metavar="SIZE", help="Memory for all models, e.g. 8GiB; others are loaded when asked for."),
    ] = None,
    cluster: Annotated[
        str | None,
        Flag(
            metavar="ADDRESS", help="Run models on a Ray cluster: local, auto, HOST:PORT or ray://HOST:PORT."
        ),
    ] = None,
    price_per_hour: Annotated[
        float | None, Flag(metavar="AMOUNT", help="What the machine costs, so that queries have a price.")
    ] = None,
    tls_cert: Annotated[
        str | None, Flag(metavar="FILE", help="PEM certificate chain, for both ports.")
    ] = None,
    tls_key: Annotated[str | None, Flag(metavar="FILE", help="PEM private key.")] = None,
    insecure: Annotated[
        bool | None, Flag("--insecure", help="Listen beyond this machine without API keys.")
    ] = None,
) -> None:
    """Serve a model, or a folder of models, over HTTP and gRPC.

    Every setting may also stand in a TOML file (--config) or in the environment (PENSTOCK_…).
    """
    _keep_standard_streams()
    _use_one_heap()
    from penstock.metering import logs
    from penstock.settings import load

    flags = {
        "repository": path,
        "server.host": host,
        "server.http_port": http_port,
        "server.grpc_port": grpc_port,
        "server.tls_cert": tls_cert,
        "server.tls_key": tls_key,
        "server.insecure": insecure or None,
        "memory.limit": memory_limit,
        "cluster.address": cluster,
        "price.per_hour": price_per_hour,
        "log.format": log_format,
        "log.level": log_level,
    }
    settings = load(config, os.environ, flags)
    if not settings.repository:
        raise BadSetting("what is to be served? give PATH: a repository folder, or one model file")
    logs.setup(settings.log.format, settings.log.level.upper(), access=settings.log.access)
    _run(settings)


def _keep_standard_streams() -> None:
    """Where a daemon's parent closed one, a socket would get its number, and what is printed with it."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w"))


def _use_one_heap() -> None:
    """Of the heaps that glibc keeps for threads, only the first gives back all that a model leaves free.

    With several, up to half of a 50 MB model stayed resident after it was unloaded.
    """
    import ctypes

    arena_max = -8  # M_ARENA_MAX, malloc.h
    try:
        ctypes.CDLL(None).mallopt(arena_max, 1)
    except (AttributeError, OSError):
        pass  # another C library


def _say(text: str) -> None:
    """On standard output; that its reader has gone is no reason to stop."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or what is still buffered fails at exit


def _run(settings: "Settings") -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: "Settings") -> None:
    """Until SIGTERM or SIGINT; a second one ends the process at once."""
    from penstock.server import Server

    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    server = Server(settings)
    if not await _started(server, stop):
        log.info("stopped before it was ready; nothing had been accepted")
        logging.shutdown()
        os._exit(0)  # what loads in a thread cannot be told to stop, and processes end with this one
    if settings.log.format == "text":
        _say(_welcome(server))
    log.info("ready", extra={"http_port": server.http_port, "grpc_port": server.grpc_port})
    await stop.wait()
    log.info("stopping: everything accepted is answered first")
    await server.stop()
    log.info("stopped")
    if server.stuck:
        logging.shutdown()
        os._exit(0)


async def _started(server: "Server", stop: asyncio.Event, every: float = 10.0) -> bool:
    """Whether it serves, and was not told to stop before; tells ``every`` so many seconds what it waits for.

    Raises what the start raises.
    """
    log.info("loading the models of %s", server.settings.repository)
    starting, told = asyncio.create_task(server.start()), asyncio.create_task(stop.wait())
    begun = time.monotonic()
    while not (starting.done() or stop.is_set()):
        done, _ = await asyncio.wait((starting, told), timeout=every, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            loading = [state.name for state in server.models.states() if state.state == "LOADING"]
            what = f"loading {', '.join(loading)}" if loading else "starting"
            log.info("still %s after %.0f s", what, time.monotonic() - begun)
    told.cancel()
    if not starting.done() and not server.http_port:
        return False
    await starting
    return True


def _welcome(server: "Server") -> str:
    """Where it listens, what it serves, and what to try next."""
    settings = server.settings
    host = settings.server.host if settings.server.host not in ("0.0.0.0", "::") else "127.0.0.1"
    url = f"{'https' if settings.server.tls_cert else 'http'}://{host}:{server.http_port}"
    states = server.models.states()
    lines = ["", f"  Penstock serves {settings.repository}", f"    HTTP  {url}", f"    page  {url}/"]
    if server.grpc_port >= 0:
        lines.append(f"    gRPC  {host}:{server.grpc_port}")
    lines += ["", "  Models"]
    lines += [_line(state) for state in states]
    working = [state for state in states if state.live and state.platform]
    shown = next((state for state in working if not state.reason), next(iter(working), None))
    if shown is not None:
        lines += ["", "  Try next", *_examples(url, shown, Path(settings.repository))]
    return "\n".join([*lines, ""])


def _line(state: "ModelState") -> str:
    how = f"{state.state}, live" if state.live else state.state
    return f"    {state.name:<20} {state.version:<6} {how:<12} {state.reason}".rstrip()


def _examples(url: str, state: "ModelState", repository: Path) -> list[str]:
    saved = sorted((repository / state.name / "requests").glob("*.json"))
    body = f"@{shlex.quote(str(saved[0]))}" if saved else _body(state)
    arrays = ", ".join(f"{spec.name!r}: {_zeros(spec)}" for spec in state.signature.inputs)
    ask = f"penstock.Client('{url}').infer('{state.name}', {{{arrays}}})"
    return [
        f"    curl -s {url}/v2/models/{quote(state.name)}/infer -d {body}",
        f'    {program("python")} -c "import numpy as np, penstock; print(dict({ask}))"',
        f"    {program('penstock')} models --url {url}",
        f"    {program('penstock')} bench {url} {shlex.quote(state.name)}",
        f"    {program('penstock')} bill --url {url}",
    ]


def _shape(spec: Any) -> list[int]:
    return [size if size >= 0 else 1 for size in spec.shape]


_DTYPES = {"FP32": "float32", "FP64": "float64", "FP16": "float16", "BOOL": "bool"}


def _zeros(spec: Any) -> str:
    if spec.datatype == "BYTES":
        return f"np.full({_shape(spec)}, b'text', object)"
    return f"np.zeros({_shape(spec)}, '{_DTYPES.get(spec.datatype, spec.datatype.lower())}')"


def _body(state: "ModelState") -> str:
    """A request of zeros, or the way to one where it would fill the screen."""
    from math import prod

    import orjson

    inputs = []
    for spec in state.signature.inputs:
        shape = _shape(spec)
        if prod(shape) > 64 or spec.datatype in ("FP16", "BF16"):
            return "@request.json"
        zero: Any = {"BYTES": "text", "BOOL": False}.get(spec.datatype, 0)
        inputs.append(
            {"name": spec.name, "shape": shape, "datatype": spec.datatype, "data": [zero] * prod(shape)}
        )
    return f"'{orjson.dumps({'inputs': inputs}).decode()}'"
