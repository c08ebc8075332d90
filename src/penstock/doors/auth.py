"""Who may do what: API keys, known only by their SHA-256, each with one role and perhaps a tenant."""

import hashlib
import hmac
from collections.abc import Mapping

from penstock.core.errors import Forbidden, Unauthenticated
from penstock.core.tenants import cleaned
from penstock.core.terms import Keys as Terms
from penstock.core.terms import KeyTerms, Role


def digest(key: str) -> str:
    """The hash under which a key stands in the settings (hex SHA-256; keys are random, not passwords)."""
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """Roles and tenants by key hash; an ``admin`` key may also infer.

    No keys at all: everybody may do everything.
    """

    def __init__(self, keys: Terms) -> None:
        self._terms = {
            hash_.lower(): terms if isinstance(terms, KeyTerms) else KeyTerms(role=terms)
            for hash_, terms in keys.items()
        }

    def __bool__(self) -> bool:
        return bool(self._terms)

    @property
    def tenants(self) -> set[str]:
        """All that the keys name."""
        return {terms.tenant for terms in self._terms.values()}

    def require(self, key: str | None, role: Role) -> str:
        """Whose key it is, if anybody's; raises Unauthenticated or Forbidden unless ``key`` has ``role``."""
        if not self._terms:
            return ""
        if not key:
            raise Unauthenticated(
                "an API key is needed: send 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            )
        hashed = digest(key)
        held = next((t for h, t in self._terms.items() if hmac.compare_digest(h, hashed)), None)
        if held is None:
            raise Unauthenticated("this API key is not known here")
        if role == "admin" and held.role != "admin":
            raise Forbidden("this API key has the role 'infer'; 'admin' is needed for this")
        return held.tenant

    def tenant(self, headers: Mapping[str, str], named: str = "") -> str:
        """Whose requests are those of who sends such headers: by key, else by the header ``named``."""
        key = key_of(headers.get("authorization"), headers.get("x-api-key"))
        held = self._terms.get(digest(key)) if key else None
        if held is not None and held.tenant:
            return held.tenant
        return cleaned(headers.get(named, "")) if named else ""

    def who(self, headers: Mapping[str, str]) -> str:
        """Who sent a request that the door has let in, for an audit log: a tenant, a role or ``anyone``."""
        key = key_of(headers.get("authorization"), headers.get("x-api-key"))
        if not self._terms or not key:
            return "anyone"
        held = self._terms.get(digest(key))
        return (held.tenant or held.role) if held else "anyone"


def key_of(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key in the two headers (or gRPC metadata entries) that may carry one."""
    if x_api_key:
        return x_api_key.strip()
    if authorization and authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return None
