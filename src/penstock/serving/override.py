"""Settings that come with a load request, in place of the repository's."""

import logging
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from penstock.core.errors import BadSetting, Unsupported
from penstock.core.spec import ModelSpec
from penstock.repository.version import lay
from penstock.repository.watch import Load

log = logging.getLogger("penstock.serving")


def override(model: str, parameters: Mapping[str, Any]) -> ModelSpec | None:
    """The spec in a load request's ``config`` parameter (Triton's ModelConfig as a JSON string)."""
    files = [key for key in parameters if key.startswith("file:")]
    if files:
        raise Unsupported(f"parameter {files[0]!r} is not offered; put the file in the repository")
    config = parameters.get("config")
    if config is None:
        return None
    from penstock.repository import triton

    spec, warnings = triton.from_json(config)
    for warning in warnings:
        log.warning("model %s: %s", model, warning)
    return replace(spec, name=model)


def instead(order: Load, spec: ModelSpec | None) -> Load:
    """The order under another spec of its model; what the version says for itself lies over that, too."""
    if spec is None:
        return order
    try:
        return replace(order, spec=lay(spec, order.own, order.path.parent))
    except BadSetting as error:
        return replace(order, error=str(error))
