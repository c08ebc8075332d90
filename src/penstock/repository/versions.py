"""Which versions of a model are wanted, and in which order versions come."""

import re
from collections.abc import Iterable

from penstock.core.errors import BadSetting

_POLICIES = "have 'latest', 'latest N', 'all', or a list of versions"


def natural(version: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key by which numbers inside a text compare as numbers: 9 < 10, v2 < v10."""
    parts = re.split(r"([0-9]+)", version)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), version


def wanted(versions: Iterable[str], policy: str | tuple[str, ...]) -> list[str]:
    """The versions that a policy asks for among those that are there, oldest first.

    Raises BadSetting for a policy that is none.
    """
    ordered = sorted(versions, key=natural)
    if not isinstance(policy, str):
        return [version for version in ordered if version in policy]
    return ordered if policy == "all" else ordered[-_latest(policy) :]


def absent(versions: Iterable[str], policy: str | tuple[str, ...]) -> str:
    """A sentence about the versions that a list asks for and that are not there; empty if none."""
    have = sorted(versions, key=natural)
    missing = [] if isinstance(policy, str) else [version for version in policy if version not in have]
    if not missing:
        return ""
    return f"versions: {', '.join(missing)} asked for but not found; have {', '.join(have) or 'none'}"


def check(policy: str | tuple[str, ...]) -> None:
    """Raises BadSetting for a policy that is none, or that serves nothing."""
    if not policy:
        raise BadSetting(f"versions: nothing is asked for; {_POLICIES}")
    wanted((), policy)


def _latest(policy: str) -> int:
    match = re.fullmatch(r"latest(?:\s+([1-9][0-9]{0,8}))?", policy.strip())
    if match is None:
        raise BadSetting(f"versions: no policy {policy!r}; {_POLICIES}")
    return int(match[1] or 1)
