"""Logging: lines of JSON or text that never make the event loop wait for whoever reads them."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Literal, TextIO, TypeAlias

from penstock.metering.outlet import Outlet, writer

Format: TypeAlias = Literal["text", "json"]

ACCESS = logging.getLogger("penstock.access")
"""One line a request when switched on; failures of ours (5xx) always."""
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
_SECRET = re.compile(
    r"(^|[_-])(api_?key|key|token|secret|password|authorization|cookie|credentials?)$", re.IGNORECASE
)
_IN_TEXT = re.compile(r"(\bbearer\s+|\bx-api-key['\"]?\s*[:=]\s*['\"]?)[^\s'\",;]+", re.IGNORECASE)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[1;31m"}


def setup(
    format: Format = "text",  # noqa: A002 - the setting's own name
    level: str = "INFO",
    stream: TextIO | None = None,
    access: bool = False,
) -> None:
    """Send all logging to ``stream`` (standard error), replacing what an earlier call set up.

    ``access`` logs one line per request, which costs some 20 µs each; without it only 5xx are logged.
    """
    root = logging.getLogger()
    for old in _outlets():
        root.removeHandler(old)
        old.close()
    stream = stream or sys.stderr
    outlet = Outlet(writer(stream))
    outlet.setFormatter(JsonLines() if format == "json" else TextLines(colour=stream.isatty()))
    root.addHandler(outlet)
    root.setLevel(level)
    ACCESS.setLevel(logging.INFO if access else logging.ERROR)


def dropped() -> int:
    """Lines lost since ``setup`` because their reader was too slow or has gone."""
    return sum(outlet.lost for outlet in _outlets())


def _outlets() -> list[Outlet]:
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, Outlet)]


def access(
    model: str, version: str, request_id: str, status: int, seconds: float, error: BaseException | None = None
) -> None:
    """Log one request; ``status`` is the HTTP one, also for errors of other doors."""
    level = logging.ERROR if status >= 500 else logging.INFO
    if not ACCESS.isEnabledFor(level):
        return
    fields = {
        "model": model,
        "version": version,
        "request_id": request_id,
        "status": status,
        "seconds": round(seconds, 6),
    }
    ACCESS.log(level, "%d %s%s", status, model, f": {error}" if error else "", extra=fields)


class JsonLines(logging.Formatter):
    """One JSON object a line: ts (RFC 3339, UTC), level, logger, message, and the extra fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": _timestamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _masked(record.getMessage()),
        }
        for name, value in _extra(record).items():
            line.setdefault(name, _plain(value))
        trace = _trace(self, record)
        if trace:
            line["exception"] = trace
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Time, level, logger, message and ``name=value`` for people; control characters are escaped."""

    def __init__(self, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items() if value != "")
        level = f"{record.levelname:7}"
        if self._colour and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}\033[0m"
        text = f"{_masked(record.getMessage())}{fields}".translate(_CONTROL)
        trace = "".join(
            f"\n  {line.translate(_CONTROL)}" for line in _trace(self, record).split("\n") if line
        )
        return f"{_timestamp(record)} {level} {record.name}: {text}{trace}"


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as ``extra``; secrets, known by their names, are masked."""
    return {
        name: "***" if _SECRET.search(name) else value
        for name, value in vars(record).items()
        if name not in _STANDARD
    }


def _masked(text: str) -> str:
    return _IN_TEXT.sub(r"\1***", text)


def _plain(value: Any) -> Any:
    """JSON has no NaN."""
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return _masked(formatter.formatException(record.exc_info)) if record.exc_info else ""
