"""ONNX Runtime's session options, from a model's settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.core.errors import BadSetting, one_line, words
from penstock.core.machine import cores
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec, Scalar

if TYPE_CHECKING:
    from onnxruntime import SessionOptions

CONFIG = {"session.intra_op.allow_spinning": "0"}
"""Idle pool threads sleep: by default they spin, and eat the event loop's share of the cores."""
FATAL = 4
"""The log severity below which ONNX Runtime is silent."""


def session_options(ort: Any, spec: ModelSpec) -> "SessionOptions":
    """One compute pool, sequential and silent, unless the settings say otherwise.

    Raises BadSetting that names the nearest known option, or what its value may be.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = spec.instances.threads or len(cores())
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    for name, value in (CONFIG | dict(spec.onnx.session)).items():
        if "." in name:
            options.add_session_config_entry(name, _text(value))
        else:
            _set(options, name, value)
    return options


def _set(options: "SessionOptions", name: str, value: Scalar) -> None:
    kind = type(options)
    known = [key for key in dir(kind) if isinstance(getattr(kind, key), property)]
    if name not in known:
        raise BadSetting(f"onnx.session: no option {name!r}; {nearest(name, known)}")
    try:
        setattr(options, name, _value(getattr(options, name), value))
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise BadSetting(f"onnx.session.{name} cannot be {value!r}: {said(error)}") from error


def _value(now: Any, value: Scalar) -> Any:
    """Options that are enumerations may be named, e.g. ``ORT_ENABLE_BASIC``."""
    members = getattr(type(now), "__members__", None)
    if members is None:
        return value
    if value not in members:
        raise ValueError(f"have {', '.join(members)}")
    return members[value]


def _text(value: Scalar) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def said(error: BaseException, path: Path | None = None) -> str:
    """ONNX Runtime's message in one line, without its code: ``[ONNXRuntimeError] : 7 : NAME : …``.

    Of ``path`` its name alone, before a long one could take the place of the reason.
    """
    text = one_line(Exception(words(error).replace(str(path), path.name)) if path is not None else error)
    return text.split(" : ", 3)[-1] if text.startswith("[ONNXRuntimeError]") else text
