"""``penstock bench``: load a model over HTTP and say how fast it answers."""

import ipaddress
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import orjson
import typer
from msgspec import Struct, structs

from penstock.cli.load import Plan
from penstock.cli.measure import Row, Samples, ServerSide, server_side, summarize
from penstock.cli.options import Ca, Key, Version, connect, read, secret
from penstock.cli.payload import http_request, parse_dims, random_bodies
from penstock.client import Client, ServerError
from penstock.client.calls import infer_body, sentence
from penstock.core.errors import BadSetting, Unavailable

CLOSED = "1,8,32"
Levels = list[tuple[Literal["concurrency", "rate"], float]]


class Target(Struct, frozen=True):
    """What is asked, of whom."""

    url: str
    model: str
    version: str
    rows: int
    """Rows in each request."""
    body: str
    """``binary``, ``json`` or the name of a saved request."""
    body_bytes: int


def command(
    url: Annotated[str, typer.Argument(help="Where the server listens, e.g. http://127.0.0.1:8000.")],
    model: Annotated[str, typer.Argument(help="The model's name.")],
    concurrency: Annotated[
        str,
        typer.Option(metavar="N,N…", help=f"Closed loop: connections that ask without pause. [{CLOSED}]"),
    ] = "",
    rate: Annotated[
        str, typer.Option(metavar="R,R…", help="Open loop: requests a second, arriving at random.")
    ] = "",
    connections: Annotated[int, typer.Option(help="Open loop: requests on their way at most.", min=1)] = 128,
    duration: Annotated[float, typer.Option(help="Seconds measured at each level.", min=0.1)] = 10.0,
    warmup: Annotated[float, typer.Option(help="Seconds before that, not measured.", min=0.0)] = 1.0,
    rows: Annotated[int, typer.Option(help="Rows in each request.", min=1)] = 1,
    dim: Annotated[
        list[str], typer.Option(metavar="NAME=SIZE", help="Size of an input's open dimensions.")
    ] = [],  # noqa: B006 - typer reads it
    binary: Annotated[bool, typer.Option("--binary/--json-body", help="How tensors travel.")] = True,
    request: Annotated[str, typer.Option(metavar="FILE", help="A saved V2 request (JSON) to repeat.")] = "",
    version: Version = "",
    json: Annotated[
        str, typer.Option("--json", metavar="FILE", help="Write the figures; - for stdout.")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of the random inputs and arrivals.")] = 0,
    key: Key = "",
    ca: Ca = "",
) -> None:
    """Load a model, and show requests/s and latency percentiles.

    Closed loop (--concurrency) asks how much a server can do; a slow answer slows the asking, too.
    Open loop (--rate) asks how long callers wait when they come by themselves: latency counts from
    the moment at which a request should have been sent, and one that is never answered counts as well.
    """
    levels = plan_levels(concurrency, rate)
    with connect(url, key, ca) as client:
        check_server(client)
        if request:
            bodies = saved(request)
        else:
            bodies = random_bodies(client.metadata(model, version), rows, parse_dims(dim), binary, seed)
        # The first answer is asked for here, so that a wrong request is one sentence and not a table.
        ask = infer_body(model, version, *bodies[0])
        client.send(ask)
        target = Target(
            client.url,
            model,
            version,
            rows_of(bodies[0], rows),
            Path(request).name if request else ("binary" if binary else "json"),
            len(bodies[0][1]),
        )
        parts = urlsplit(client.url)
        base = Plan(
            host=parts.hostname or "",
            port=parts.port or (443 if parts.scheme == "https" else 80),
            requests=tuple(http_request(parts, ask.path, secret(key), *body) for body in bodies),
            connections=connections,
            warmup=warmup,
            duration=duration,
            seed=seed,
            tls=parts.scheme == "https",
            ca=ca,
        )
        measured = measure(client, target, base, levels)
    from penstock.cli.report import show

    show(target, measured, json)
    if not any(row.requests_per_s for row in measured):
        raise Unavailable(f"{target.url} gave not one good answer under load")


def plan_levels(concurrency: str, rate: str) -> Levels:
    """Every level to run, closed loops first. Raises BadSetting."""
    if not concurrency and not rate:
        concurrency = CLOSED
    levels: Levels = [("concurrency", n) for n in numbers("--concurrency", concurrency)]
    for _, level in levels:
        if level != int(level):
            raise BadSetting(f"--concurrency {level:g} must be a whole number")
    return levels + [("rate", r) for r in numbers("--rate", rate)]


def numbers(option: str, text: str) -> list[float]:
    """Positive numbers between commas. Raises BadSetting."""
    try:
        found = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        found = [0.0]
    if any(not 0 < number < 1e7 for number in found):
        raise BadSetting(f"{option} {text!r} must be numbers above 0 with commas between, as in 1,8,32")
    return found


def check_server(client: Client) -> None:
    """Raises Unavailable unless a V2 server answers; warns where the network will be measured too."""
    try:
        answered = client.server()
    except ServerError as error:
        if error.status in (0, 401, 403):
            raise
        answered = {}
    if "name" not in answered:
        raise Unavailable(f"{client.url} answers, but not as an Open Inference Protocol (V2) server does")
    if not is_local(urlsplit(client.url).hostname or ""):
        typer.secho(
            f"warning: {client.url} is not on this machine: the network is part of what is measured, "
            "and whoever owns that server should know of the load",
            fg="yellow",
            err=True,
        )


def is_local(host: str) -> bool:
    """Whether a host is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def saved(path: str) -> list[tuple[dict[str, str], bytes]]:
    """A saved request as the only body. Raises BadSetting unless it is a V2 request in JSON."""
    body = read(path)
    try:
        orjson.loads(body)["inputs"][0]["shape"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise BadSetting(f"{path!r} is no V2 infer request in JSON; it needs 'inputs' with shapes") from None
    return [({"Content-Type": "application/json"}, body)]


def rows_of(body: tuple[dict[str, str], bytes], rows: int) -> int:
    """Rows in a request: those of its first input."""
    headers, raw = body
    size = int(headers.get("Inference-Header-Content-Length", len(raw)))
    shape = orjson.loads(raw[:size])["inputs"][0]["shape"]
    return int(shape[0]) if shape else rows


def measure(client: Client, target: Target, base: Plan, levels: Levels) -> list[Row]:
    """Every level, one after the other, with a progress bar on a terminal."""
    from penstock.cli.child import run_in_child
    from penstock.cli.report import progress

    measured: list[Row] = []
    with progress(len(levels) * (base.warmup + base.duration)) as tick:
        for mode, level in levels:
            if mode == "rate":
                plan = structs.replace(base, rate=level)
            else:
                plan = structs.replace(base, connections=int(level))
            before = statistics(client, target)
            samples = run_in_child(plan, partial(tick, f"{mode} {level:g}"))
            row = summarize(mode, level, samples, target.rows, between(before, statistics(client, target)))
            measured.append(row)
            explain(samples)
    return measured


def statistics(client: Client, target: Target) -> list[dict[str, Any]] | None:
    """The server's own counts, where it keeps any."""
    try:
        return client.statistics(target.model, target.version)
    except ServerError:
        return None


def between(
    before: Sequence[dict[str, Any]] | None, after: Sequence[dict[str, Any]] | None
) -> ServerSide | None:
    """The server's means between two readings, if there are both."""
    return None if before is None or after is None else server_side(before, after)


def explain(samples: Samples) -> None:
    """One sentence for each kind of error, from the server's own mouth."""
    for kind, count in samples.errors.items():
        body = samples.messages[kind]
        said = f": {sentence(int(kind), body)}" if kind.isdecimal() else ""
        typer.secho(f"{count} × {kind}{said}", fg="red", err=True)
