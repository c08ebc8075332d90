"""Who makes a gRPC call: let in by the key, and charged to a tenant."""

from collections.abc import Iterable

from penstock.core.tenants import cleaned, mark
from penstock.core.terms import Role
from penstock.doors.auth import Keys, key_of

_TAGS = ("traceparent", "tracestate")


class Desk:
    """Reads the metadata of calls; ``tenant_header`` names the tenant where the key does not."""

    def __init__(self, keys: Keys, tenant_header: str = "") -> None:
        self._keys = keys
        self._header = tenant_header.lower()
        self._wanted: frozenset[str] = frozenset()

    def hand_on(self, headers: frozenset[str]) -> None:
        """Marks of metadata of these names (lower case) become tags ``header:name`` from now on."""
        self._wanted = headers

    def admit(self, metadata: Iterable[tuple[str, str | bytes]], role: Role | None) -> dict[str, str]:
        """The caller's tags; raises Unauthenticated or Forbidden unless the key has ``role``."""
        said = {name: value if isinstance(value, str) else "" for name, value in metadata}
        tenant = ""
        if role is not None:
            tenant = self._keys.require(key_of(said.get("authorization"), said.get("x-api-key")), role)
        tags = {name: said[name] for name in _TAGS if name in said}
        for name in self._wanted & said.keys():
            tags[f"header:{name}"] = mark(said[name])
        if self._header and not tenant:
            tenant = cleaned(said.get(self._header, ""))
        return tags | {"tenant": tenant} if tenant else tags
