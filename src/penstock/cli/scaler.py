"""``penstock scaler``: KEDA's external scaler, until it is told to stop."""

import asyncio
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.options import read, secret
from penstock.core.errors import BadSetting

if TYPE_CHECKING:
    from penstock.cluster.scaler.desk import Access
    from penstock.cluster.scaler.door import Listen

log = logging.getLogger("penstock.scaler")

Option = typer.Option


def command(
    host: Annotated[str, Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Option(help="0 takes any free port.", min=0, max=65535)] = 6000,
    tls_cert: Annotated[str, Option(metavar="FILE", help="PEM certificate chain.")] = "",
    tls_key: Annotated[str, Option(metavar="FILE", help="PEM private key.")] = "",
    client_ca: Annotated[
        str, Option(metavar="FILE", help="PEM of the authority whose certificates KEDA must show.")
    ] = "",
    key: Annotated[
        str, Option(metavar="KEY", envvar="PENSTOCK_API_KEY", help="API key of the replicas, or @FILE.")
    ] = "",
    prometheus_token: Annotated[
        str, Option(metavar="TOKEN", help="Bearer token for Prometheus, or @FILE.")
    ] = "",
    ca: Annotated[
        str, Option(metavar="FILE", help="PEM file to trust, where replicas or Prometheus speak https.")
    ] = "",
    most: Annotated[int, Option(metavar="N", help="Triggers that may be watched at once.", min=1)] = 64,
    log_format: Annotated[str, Option(metavar="text|json")] = "text",
    log_level: Annotated[str, Option(metavar="debug|info|warning|error")] = "info",
) -> None:
    """Tell KEDA how many replicas the forecast wants.

    What is to be scaled, and where its requests are counted, is said by each ScaledObject's metadata.
    """
    from penstock.cluster.scaler.desk import Access
    from penstock.cluster.scaler.door import Listen
    from penstock.metering import logs

    if bool(tls_cert) != bool(tls_key):
        raise BadSetting("--tls-cert and --tls-key: one alone is of no use; give both or neither")
    if client_ca and not tls_cert:
        raise BadSetting("--client-ca is for TLS; give --tls-cert and --tls-key, too")
    if ca and not Path(ca).is_file():
        raise BadSetting(f"--ca: no file {ca}; it must be a PEM file")
    for name, value, known in (
        ("--log-format", log_format, ("text", "json")),
        ("--log-level", log_level, ("debug", "info", "warning", "error")),
    ):
        if value not in known:
            raise BadSetting(f"{name}: cannot be {value!r}; have {', '.join(known)}")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would say each scrape
    logs.setup("json" if log_format == "json" else "text", log_level.upper())
    access = Access(key=secret(key), prometheus_token=secret(prometheus_token), ca=ca)
    listen = Listen(
        host=host,
        port=port,
        certificate=read(tls_cert) if tls_cert else None,
        key=read(tls_key) if tls_key else None,
        client_ca=read(client_ca) if client_ca else None,
    )
    asyncio.run(_serve(access, listen, most))


async def _serve(access: "Access", listen: "Listen", most: int) -> None:
    from penstock.cluster.scaler.desk import Desk
    from penstock.cluster.scaler.door import start

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    door = await start(Desk(access, most), listen)
    log.info("ready", extra={"port": door.port})
    await stop.wait()
    await door.stop()
    log.info("stopped")
