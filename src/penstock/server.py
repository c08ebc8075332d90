"""The composition root: settings in, a running server out; it alone knows everyone."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import socket
import ssl
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from penstock import __version__
from penstock.core.errors import BadSetting, Forbidden
from penstock.core.ports import Handler
from penstock.core.sizes import size
from penstock.dashboard import routes as page
from penstock.dashboard.feed import Feed
from penstock.dashboard.history import History
from penstock.dashboard.stream import Hub
from penstock.dashboard.words import Hello, May
from penstock.doors import access, billing
from penstock.doors import rollouts as rolling
from penstock.doors import scaling as growing
from penstock.doors.admin import make_app
from penstock.doors.auth import Keys, key_of
from penstock.doors.extensions import NAME
from penstock.doors.http import HttpDoor
from penstock.metering import prometheus, trace
from penstock.metering.budget import Budgets
from penstock.metering.ledger import Ledger
from penstock.metering.meter import Meter
from penstock.metering.shelf import open_shelf
from penstock.metering.survey import Terms, survey, tell
from penstock.repository.local import LocalStore
from penstock.rollout.columns import Rates
from penstock.rollout.controller import Controller
from penstock.rollout.desk import Desk
from penstock.rollout.store import open_state
from penstock.scaling.controller import Controller as Scaling
from penstock.scaling.desk import Desk as Scales
from penstock.scaling.store import open_store
from penstock.serving import budgeted
from penstock.serving.catalog import Catalog
from penstock.serving.gateway import Gateway
from penstock.serving.lifecycle import Lifecycle
from penstock.serving.memory import Rules
from penstock.settings import Cluster as Joining
from penstock.settings import Memory, Settings, check_exposure, is_loopback
from penstock.settings import Server as Listening

if TYPE_CHECKING:
    from penstock.cluster.ray.place import Cluster as RayCluster
    from penstock.doors.v2_grpc import Door as V2Door

log = logging.getLogger("penstock.server")

_SWITCH = 0.001
_EXPIRY, _IDLE = 0.02, 0.05
"""Seconds between looks for requests whose deadline has passed, and while nobody waits.

A look that finds nothing to do costs some 0.1 ms of a processor that has to be woken for it.
"""

_LAST_ENTRY = 5.0
"""Seconds that the books may take to close; a disk that hangs keeps nobody."""


class Server:
    """``start`` brings it up, ``stop`` takes it down and loses nothing that was accepted."""

    def __init__(self, settings: Settings) -> None:
        """Raises BadSetting where the settings cannot be served."""
        check_exposure(settings)
        self.settings = settings
        self.http_port = 0
        self.grpc_port = -1
        self.stuck = False
        """A thread that waits for a disk was left behind; the process cannot end by itself."""
        self.ledger = Ledger()
        self._keys = Keys(settings.keys)
        self._handed_on: frozenset[str] = frozenset()
        self.budgets = Budgets(settings.budgets, settings.price.currency)
        for tenant in self._keys.tenants:
            self.budgets.of(tenant)  # before a header's names take all purses
        self.meter = Meter(self.ledger, self.budgets, settings.meter.every_s)
        self.catalog = Catalog()
        store = LocalStore(Path(settings.repository), settings.model)
        watch = settings.watch
        self._cluster = _cluster(settings.cluster)
        self.models = Lifecycle(
            store,
            self.catalog,
            self.ledger,
            poll=watch.poll_s,
            settle=watch.settle_s,
            rules=_rules(settings.memory),
            place=self._cluster,
        )
        self.rollouts = Controller(self.catalog, self.models, self.ledger, self._rates, self._hand_on)
        self._desk = Desk(self.rollouts)
        self.scaling = Scaling(self.catalog, self.models, self.ledger, settings.scaling.every_s)
        self._scales = Scales(self.scaling, self.catalog, self.models)
        gateway = Gateway(self.catalog, self.ledger.refused, self.models.cold)
        answering = budgeted.wrap(gateway, self.budgets, self.ledger.refused)
        self._traced = trace.wrap(answering, settings.trace.otlp)
        self.handler: Handler = access.wrap(self._traced, settings.log.access)
        self.ledger.accounts.expect(self._keys.tenants | settings.budgets.keys())
        self._started = time()
        feed = Feed(
            self.ledger,
            self.models,
            self.meter.totals,
            source=self._price_from,
            standings=self.budgets.status,
            rollouts=self._desk.shown,
            scaling=self._scales.moving,
        )
        self._hub = Hub(feed)
        self._http = HttpDoor(
            self.handler,
            self._app(),
            self.models.cold.signature,
            self._keys,
            settings.server,
            self.meter,
            settings.meter.tenant_header,
            alone=is_loopback(settings.server.host) and not self._keys and not settings.server.insecure,
        )
        self._grpc: V2Door | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def _app(self) -> Starlette:
        history = History(self.ledger.events, self.models, self.meter.past)
        return make_app(
            self.models,
            self._metrics,
            [
                *page.routes(self._hub, history, self._greet, self._may),
                *billing.routes(self.meter.bill, self._price_from),
                *rolling.routes(self._desk, self._keys.who, self._tenant),
                *growing.routes(self._scales),
            ],
        )

    async def start(self) -> None:
        """Load what the repository holds, then listen; raises BadSetting where that is not possible."""
        await self._start_meter()
        try:
            await self._start()
        except BaseException:
            await self._stop_loops()
            await self._leave_cluster()
            await self._stop_meter()
            raise

    async def _start(self) -> None:
        listening = self.settings.server
        if self._cluster is not None:
            await asyncio.to_thread(self._cluster.join)
        state = await asyncio.to_thread(open_state, self.settings.meter, self.settings.repository)
        await self.rollouts.open(state)
        store = await asyncio.to_thread(open_store, self.settings.meter, self.settings.repository)
        self.scaling.open(store)
        await self.models.start(watching=self.settings.watch.enabled)
        self.rollouts.run()
        if self.settings.scaling.enabled:
            self.scaling.run()
        self._expire()
        try:
            self.http_port = await self._http.start(listening.host, listening.http_port, _tls(listening))
        except OSError as error:
            raise BadSetting(
                f"HTTP cannot listen on {listening.host}:{listening.http_port}: {_why(error)}"
            ) from None
        if listening.grpc_port >= 0:
            await self._start_grpc(listening)
        # What start-up made lives as long as the process: the collector need not look at it again,
        # nor look so often at requests, which free themselves.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        # A thread that has finished a batch waits at most so long for the loop to let it say so.
        sys.setswitchinterval(_SWITCH)

    async def _start_meter(self) -> None:
        settings = self.settings
        terms = Terms(
            meter=settings.meter, price=settings.price, energy=settings.energy, carbon=settings.carbon
        )
        equipment = await asyncio.to_thread(survey, terms)
        tell(equipment, settings.budgets)
        shelf = await asyncio.to_thread(open_shelf, settings.meter, settings.repository)
        await self.meter.start(equipment, shelf)

    async def _metrics(self, accept: str) -> tuple[bytes, str]:
        states, standings = self.models.states(), self.budgets.status()
        found = prometheus.snapshot(self.ledger, states, self.meter, standings, self._scales.list())
        return await asyncio.to_thread(prometheus.encode, found, accept)

    def _price_from(self) -> str:
        return self.meter.equipment.price_from

    def _greet(self, may: May) -> Hello:
        return Hello(
            name=NAME,
            version=__version__,
            site=self.settings.meter.site,
            started=self._started,
            now=time(),
            currency=self.meter.equipment.currency,
            may=may,
        )

    def _may(self, headers: Mapping[str, str]) -> May:
        """Of a key that the door has let in."""
        if not self._keys:
            return "all"
        try:
            self._keys.require(key_of(headers.get("authorization"), headers.get("x-api-key")), "admin")
        except Forbidden:
            return "infer"
        return "admin"

    def _tenant(self, headers: Mapping[str, str]) -> str:
        return self._keys.tenant(headers, self.settings.meter.tenant_header)

    def _rates(self) -> Rates:
        return Rates.by(self.meter.tariff.marginal)

    def _hand_on(self, headers: frozenset[str]) -> None:
        self._handed_on = headers
        self._http.hand_on(headers)
        if self._grpc is not None:
            self._grpc.hand_on(headers)

    async def _start_grpc(self, listening: Listening) -> None:
        from penstock.doors import v2_grpc

        options = v2_grpc.Options(
            max_bytes=listening.max_body_bytes,
            max_calls=listening.max_connections,
            certificate=_pem(listening.tls_cert),
            key=_pem(listening.tls_key),
            tenant_header=self.settings.meter.tenant_header,
        )
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        address = f"{host}:{listening.grpc_port}"
        self._grpc = await v2_grpc.start(
            [address], self.handler, self.models, self._keys, options, self.meter
        )
        self.grpc_port = self._grpc.port
        self._grpc.hand_on(self._handed_on)

    async def stop(self) -> None:
        """Stop accepting, answer everything accepted (for ``drain_s`` at most), close the models."""
        listening = self.settings.server
        self.models.lame()
        await self._hub.close()
        stopping: list[Awaitable[None]] = [self._http.drain(listening.lame_duck_s, listening.drain_s)]
        if self._grpc is not None:
            stopping.append(self._grpc.stop(listening.drain_s))
        await asyncio.gather(*stopping)
        await self._stop_loops()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(listening.drain_s):
                await self.models.close()
        if self._expiry is not None:
            self._expiry.cancel()
        await self._leave_cluster()
        await self._stop_meter()
        await asyncio.to_thread(trace.shutdown, self._traced)

    async def _stop_loops(self) -> None:
        await asyncio.gather(self.scaling.stop(), self.rollouts.stop())

    async def _leave_cluster(self) -> None:
        if self._cluster is not None:
            await asyncio.to_thread(self._cluster.leave)

    async def _stop_meter(self) -> None:
        try:
            async with asyncio.timeout(_LAST_ENTRY):
                await self.meter.stop()
        except TimeoutError:
            self.stuck = True
            log.error(
                "the books did not close in %g s; what was used since the last entry is lost", _LAST_ENTRY
            )

    def _expire(self) -> None:
        busy = True
        try:
            now = monotonic()
            self.rollouts.hurry(now)
            busy = self.models.expire(now)
        finally:
            self._expiry = asyncio.get_running_loop().call_later(_EXPIRY if busy else _IDLE, self._expire)


def _rules(memory: Memory) -> Rules:
    return Rules(limit=size(memory.limit, "memory.limit"), keep=memory.keep, stay=memory.stay_s)


def _cluster(terms: Joining) -> "RayCluster | None":
    if not terms.address:
        return None
    from penstock.cluster.ray.place import Cluster

    return Cluster(terms.address, terms.connect_s)


def _why(error: OSError) -> str:
    """What the system says, and the flag that helps."""
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}; --host must be an address or name of this machine"
    said = os.strerror(error.errno).lower() if error.errno else str(error)
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{said}; --host must be an address of this machine"
    return f"{said}; choose another with --http-port (0 takes any free one)"


def _pem(path: str) -> bytes | None:
    return Path(path).read_bytes() if path else None


def _tls(listening: Listening) -> ssl.SSLContext | None:
    if not listening.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(listening.tls_cert, listening.tls_key)
    except (ssl.SSLError, OSError) as error:
        raise BadSetting(f"server.tls_cert and server.tls_key do not make a certificate: {error}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
