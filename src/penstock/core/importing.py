"""Objects by import string: how engines, policies and a user's own classes are found."""

from importlib import import_module
from typing import Any

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest


def find(name: str, known: dict[str, str], what: str) -> Any:
    """The object behind a known name or a user's own ``"module:attribute"``.

    Raises BadSetting that says which names there are, or why the import failed.
    """
    path = known.get(name, name)
    if ":" not in path:
        raise BadSetting(f"no {what} {name!r}; {nearest(name, list(known))} (your own: 'module:Class')")
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise BadSetting(f"{what} {name!r} cannot be imported: {error}") from error
