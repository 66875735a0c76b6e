"""From a request's headers to its principal. For a key that is remembered this is one hash and one look-up."""

import hmac
from collections.abc import Awaitable, Collection, Sequence
from hashlib import sha256
from typing import assert_never

from msgspec import structs

from wayport.access import refusals
from wayport.access.cache import PrincipalCache
from wayport.access.credential import Header, find_key
from wayport.access.keyless import KEYLESS, guard
from wayport.access.principal import AskedFor, Principal
from wayport.access.refusals import Compat
from wayport.core.errors import WayportError
from wayport.core.secret import Secret


class Authenticator:
    """Knows the master keys itself; every other key is the control process's to know."""

    def __init__(
        self,
        cache: PrincipalCache,
        *,
        master_keys: Sequence[Secret] = (),
        keyless: bool = False,
        compat: Compat = "wayport",
        header_names: Sequence[str] = (),
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._cache = cache
        self._keyless = keyless
        self._compat = compat
        self._header_names = tuple(name.lower().encode() for name in header_names)
        self._allowed_origins = frozenset(origin.encode() for origin in allowed_origins)
        self._masters = tuple(_master(key, compat) for key in master_keys)
        self._nobody = KEYLESS

    def ask_about(self, asks: tuple[AskedFor, ...]) -> None:
        """Whose limits may bind calls of the master key, and of nobody's, too: of keys the control process says it."""
        self._masters = tuple((digest, structs.replace(principal, asks=asks)) for digest, principal in self._masters)
        self._nobody = structs.replace(KEYLESS, asks=asks)

    def authenticate(
        self, header: Header, *, query: bytes = b"", has_body: bool = True
    ) -> Principal | Awaitable[Principal]:
        """The principal, at once if it is remembered. Raises `Unauthenticated`; awaiting also raises `Unavailable`.

        `query`: the raw query string on routes where the key may stand in it. `has_body`: whether a body is expected,
        which must then be JSON in keyless mode.
        """
        if self._keyless:
            guard(header, has_body=has_body, allowed_origins=self._allowed_origins)
            return self._nobody
        key = find_key(header, own_names=self._header_names, query=query)
        if key is None:
            raise refusals.no_key(self._compat)
        key_hash = sha256(key).hexdigest()
        if (known := self.known(key_hash, self._cache.steady_s())) is not None:
            return known
        if not key.startswith(b"sk-"):
            raise refusals.malformed_key(self._compat, key)
        return self._ask(key, key_hash)

    def named(self, header: Header) -> str | None:
        """Who says to call with this head, for `known`: the key's sha-256. None: `authenticate` says what is wrong with it."""
        if self._keyless:
            try:
                guard(header, has_body=True, allowed_origins=self._allowed_origins)
            except WayportError:
                return None
            return ""
        key = find_key(header, own_names=self._header_names)
        return None if key is None else sha256(key).hexdigest()

    def known(self, name: str, now_s: float) -> Principal | None:
        """The principal of that name, if it may be used without asking."""
        if self._keyless:
            return self._nobody
        return self._cache.fresh(name, now_s) or self._master(name)

    def _master(self, key_hash: str) -> Principal | None:
        found = None
        for digest, principal in self._masters:
            if hmac.compare_digest(digest, key_hash):
                found = principal
        return found

    async def _ask(self, key: bytes, key_hash: str) -> Principal:
        answer = await self._cache.find(key_hash)
        if isinstance(answer, Principal):
            return answer
        match answer:
            case "unknown":
                raise refusals.unknown_key(self._compat, key, key_hash)
            case "expired":
                raise refusals.expired_key(self._compat, key)
            case "blocked":
                raise refusals.blocked_key(self._compat, key, by=self._cache.blocked_by(key_hash))
            case _:
                assert_never(answer)


def _master(key: Secret, compat: Compat) -> tuple[str, Principal]:
    digest = sha256(key.reveal().encode("utf-8", "surrogatepass")).hexdigest()
    principal = Principal(
        kind="master",
        key_hash=digest,
        key_alias="master",
        # The name under which LiteLLM's logs and metrics list the master key's calls.
        user_id="default_user_id" if compat == "litellm" else None,
        role="proxy_admin",
    )
    return digest, principal
