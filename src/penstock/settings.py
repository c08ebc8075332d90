"""Every setting, declared once: TOML file, then environment, then flags."""

import ipaddress
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from msgspec import Meta, Struct, field

from penstock.core import resources
from penstock.core.errors import BadSetting
from penstock.core.schema import convert, nearest
from penstock.core.sizes import size
from penstock.core.spec import Duration, ModelSpec, Positive, Seconds
from penstock.core.tenants import check, check_header
from penstock.core.terms import NO_FILE, Budgets, Carbon, EnergyTerms, Keys, KeyTerms, Metering, Price, Role

MIB = 1024 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """What one client may cost: bytes and seconds, none of which can be exceeded."""

    max_body_bytes: Positive = 64 * MIB
    """After decompression, too."""
    max_header_bytes: Positive = 64 * 1024
    max_connections: Positive = 4096
    """Of HTTP; as many gRPC calls may be in flight."""
    header_timeout_s: Seconds = 10.0
    """From the first byte of a request to the end of its headers."""
    body_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 75.0
    """Between two requests on one connection."""
    write_timeout_s: Seconds = 30.0
    compress_min_bytes: Positive = 1024
    """Smaller answers are never compressed."""


class Server(Limits, frozen=True, kw_only=True):
    """``[server]``: where it listens, and what it lets nobody exceed."""

    host: str = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """0 takes any free port."""
    grpc_port: Annotated[int, Meta(ge=-1, le=65535)] = 8001
    """0 takes any free port, -1 turns gRPC off."""
    insecure: bool = False
    """Listen beyond this machine without API keys."""
    tls_cert: str = ""
    """PEM file with the certificate chain, for both ports; needs ``tls_key``."""
    tls_key: str = ""
    drain_s: Duration = 30.0
    """How long requests that were accepted may take after SIGTERM."""
    lame_duck_s: Duration = 0.5
    """How long idle connections stay open after SIGTERM, for requests already on their way."""


class Log(Struct, frozen=True, kw_only=True):
    """``[log]``."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    access: bool = False
    """One line a request; costs some 20 µs each."""


class Watch(Struct, frozen=True, kw_only=True):
    """``[watch]``: how changes in the repository are found."""

    enabled: bool = True
    poll_s: Seconds = 1.0
    settle_s: Duration = 1.0
    """Files must be unchanged for so long before they are loaded."""


class Memory(Struct, frozen=True, kw_only=True):
    """``[memory]``: how much of it models may take; what does not fit is loaded when it is asked for."""

    limit: int | str = 0
    """``8 GiB``, ``500 MB`` or bytes, for all models together; 0: no limit."""
    keep: tuple[str, ...] = ()
    """Models that are never unloaded to make room."""
    stay_s: Duration = 10.0
    """A model that was loaded stays for so long, or ten times what loading it took if that is less."""


class Scaling(Struct, frozen=True, kw_only=True):
    """``[scaling]``: how the instances of models with ``instances.min`` or ``max`` follow the traffic."""

    enabled: bool = True
    """False: they stay as many as they are loaded with."""
    every_s: Annotated[float, Meta(ge=1, le=60)] = 10.0
    """Seconds between two decisions upon a model."""


class Cluster(Struct, frozen=True, kw_only=True):
    """``[cluster]``: other machines that run models, through Ray."""

    address: str = ""
    """``local``, ``auto``, ``HOST:PORT`` of a Ray cluster, or ``ray://HOST:PORT``; empty: none."""
    connect_s: Seconds = 60.0
    """How long to wait for the cluster at the start."""


class Trace(Struct, frozen=True, kw_only=True):
    """``[trace]``: OpenTelemetry."""

    otlp: str = ""
    """URL that takes OTLP over HTTP; empty: no traces."""


class Settings(Struct, frozen=True, kw_only=True):
    """All of ``penstock.toml``."""

    repository: str = ""
    """Folder of models, or one model file."""
    server: Server = field(default_factory=Server)
    keys: Keys = {}
    """Role by the SHA-256 (hex) of an API key, or ``{ role = "infer", tenant = "NAME" }``."""
    log: Log = field(default_factory=Log)
    watch: Watch = field(default_factory=Watch)
    memory: Memory = field(default_factory=Memory)
    scaling: Scaling = field(default_factory=Scaling)
    cluster: Cluster = field(default_factory=Cluster)
    trace: Trace = field(default_factory=Trace)
    meter: Metering = field(default_factory=Metering)
    price: Price = field(default_factory=Price)
    energy: EnergyTerms = field(default_factory=EnergyTerms)
    carbon: Carbon = field(default_factory=Carbon)
    budgets: Budgets = {}
    """By tenant; ``"*"`` is for each that has none of its own."""
    model: ModelSpec = field(default_factory=ModelSpec)
    """Defaults under every model's own settings."""


PREFIX = "PENSTOCK_"
CONFIG = "PENSTOCK_CONFIG"
CLIENT = {"PENSTOCK_API_KEY", "PENSTOCK_URL"}
"""What only clients read; a server started in the same environment leaves them alone."""

_SERVICE_LINK = re.compile(
    r"PENSTOCK\w*_(?:(?:SERVICE_HOST|SERVICE_PORT\w*|PORT_\d+_(?:TCP|UDP|SCTP)\w*)=.*|PORT=(?:tcp|udp|sctp)://.*)"
)
"""What Kubernetes puts into every container for a Service whose name begins with ``penstock``."""


def load(config: Path | None, environ: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """The settings in force; ``flags`` are dotted keys, and a flag that is None was not given.

    Without ``config``, PENSTOCK_CONFIG may name the file.
    Raises BadSetting naming the file, variable or flag, the key, and what would be right.
    """
    if config is None and environ.get(CONFIG):
        config = Path(environ[CONFIG])
    values = _from_file(config) if config is not None else {}
    for source, key, value in (*_from_environ(environ), *_from_flags(flags)):
        convert(_nested(key, value), Settings, source)
        _put(values, key, value)
    return _checked(convert(values, Settings, "settings"))


_PATHS = (("", "repository"), ("server", "tls_cert"), ("server", "tls_key"), ("meter", "file"))
"""Settings that a file gives relative to itself."""


def _from_file(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{file}: {error}") from None
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadSetting(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}") from None
    convert(values, Settings, str(file))
    for section, key in _PATHS:
        table = values.get(section, {}) if section else values
        if table.get(key) and table[key] != NO_FILE:
            table[key] = str(file.parent / Path(table[key]).expanduser())
    return values


def known(into: type[Struct] = Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting as its dotted key and its type."""
    for each in msgspec.structs.fields(into):
        if isinstance(each.type, type) and issubclass(each.type, Struct):
            yield from known(each.type, f"{prefix}{each.name}.")
        elif prefix + each.name not in _OF_ONE_MODEL:
            yield prefix + each.name, each.type


_OF_ONE_MODEL = ("model.name", "model.steps", "model.give")


def variable(key: str) -> str:
    """The environment variable of a dotted key."""
    return PREFIX + key.replace(".", "_").upper()


def _from_environ(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    table = {variable(key): (key, kind) for key, kind in known()}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == CONFIG or name in CLIENT:
            continue
        if _SERVICE_LINK.fullmatch(f"{name}={environ[name]}"):
            continue
        if name.startswith(variable("keys") + "_"):
            hashed = name.removeprefix(variable("keys") + "_").lower()
            yield name, f"keys.{hashed}", _parsed(name, environ[name], Role | KeyTerms)
        elif name in table:
            key, kind = table[name]
            yield name, key, _parsed(name, environ[name], kind)
        else:
            raise BadSetting(f"environment: no variable {name}; {nearest(name, list(table))}")


def _parsed(name: str, text: str, kind: Any) -> Any:
    """The text as the setting's type: plain for texts, numbers and booleans, TOML for the rest."""
    if get_origin(kind) in (Union, UnionType) and get_args(kind)[1:] == (type(None),):
        kind = get_args(kind)[0]
    base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if base in (int, float, bool):
        try:
            return msgspec.convert(text.strip(), base, strict=False)
        except msgspec.ValidationError:
            raise BadSetting(f"{name}: expected {_WORDS[base]}, got {text!r}") from None
    if base is str or get_origin(base) is Literal or not text.lstrip().startswith(("[", "{")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise BadSetting(f"{name}: not a TOML value: {error}, got {text!r}") from None


_WORDS = {int: "a whole number", float: "a number", bool: "true or false"}


def _from_flags(flags: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    for key, value in flags.items():
        if value is not None:
            yield f"--{key.removeprefix('server.').replace('.', '-').replace('_', '-')}", key, value


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[last] = value


def _checked(settings: Settings) -> Settings:
    server = settings.server
    if settings.model.name:
        raise BadSetting("model.name: defaults for every model cannot name one; remove it")
    if settings.model.steps or settings.model.give:
        raise BadSetting("model.steps: defaults for every model cannot be a pipeline; use pipeline.toml")
    if server.http_port and server.http_port == server.grpc_port:
        raise BadSetting(
            f"server.http_port and server.grpc_port are both {server.http_port}; they must be different"
        )
    if bool(server.tls_cert) != bool(server.tls_key):
        raise BadSetting("server.tls_cert and server.tls_key: one alone is of no use; give both or neither")
    for key, path in (("server.tls_cert", server.tls_cert), ("server.tls_key", server.tls_key)):
        if path and not Path(path).is_file():
            raise BadSetting(f"{key}: no file {path}; it must be a PEM file")
    for hashed in settings.keys:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", hashed):
            raise BadSetting(
                f"keys: {hashed[:4]!r}… is not the SHA-256 of a key (64 hex digits); "
                "'penstock key' prints a key with the line for the settings"
            )
    _check_tenants(settings)
    _check_cluster(settings.cluster.address)
    resources.check(settings.model.instances.resources, "model.instances.resources")
    limit = size(settings.memory.limit, "memory.limit")
    return msgspec.structs.replace(
        settings,
        keys={key.lower(): role for key, role in settings.keys.items()},
        memory=msgspec.structs.replace(settings.memory, limit=limit),
    )


def _check_cluster(address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address in ("", "local", "auto") or (host and port.isdecimal() and 0 < int(port) < 65536):
        return
    raise BadSetting(
        f"cluster.address is {address!r}; it must be local, auto, HOST:PORT of a Ray cluster's head "
        "(6379 is usual), or ray://HOST:PORT of its client server (10001 is usual)"
    )


def _check_tenants(settings: Settings) -> None:
    for hashed, terms in settings.keys.items():
        if isinstance(terms, KeyTerms) and terms.tenant:
            check(terms.tenant, f"keys.{hashed[:4]}….tenant")
    for tenant in settings.budgets:
        check(tenant, "budgets")
    check_header(settings.meter.tenant_header, "meter.tenant_header")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address; names other than localhost count as reachable."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(settings: Settings) -> None:
    """Raises BadSetting when others could reach the server and nothing says who may use it."""
    server = settings.server
    if is_loopback(server.host) or settings.keys or server.insecure:
        return
    raise BadSetting(
        f"server.host is {server.host!r}, which other machines can reach, and there are no API keys; "
        "put what 'penstock key' prints under [keys] in the settings, listen on 127.0.0.1, "
        "or accept it with --insecure"
    )
