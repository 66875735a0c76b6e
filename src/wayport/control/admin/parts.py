"""What the admin routers are built from, and who may call them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from fastapi import Request

from wayport.access import refusals
from wayport.access.allow import allow_address, allow_route
from wayport.access.authenticate import Authenticator
from wayport.access.callbacks_store import TeamCallbackStore
from wayport.access.keys import Keys
from wayport.access.principal import Principal
from wayport.access.refusals import Compat
from wayport.access.rotation import Rotations
from wayport.control.admin.model_parts import ModelParts
from wayport.control.admin.stores import Stores
from wayport.control.effective import Effective
from wayport.control.observing import Observing
from wayport.control.protocol import Hello
from wayport.core.clock import Clock
from wayport.core.price import Price
from wayport.ledger.drain import Drain
from wayport.storage.database import Database

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Callers:
    """Dependencies that say who calls. The worker relays requests with their headers as they came; it decides nothing."""

    def __init__(self, authenticator: Authenticator, *, compat: Compat) -> None:
        self._authenticator = authenticator
        self._compat: Compat = compat

    async def anyone(self, request: Request) -> Principal:
        """Any valid key. Raises `Unauthenticated`, `PermissionDenied`, `Unavailable`."""
        headers = dict(request.scope["headers"])
        # The worker has named this socket as the host; what the client had called is beside it.
        headers[b"host"] = headers.get(b"x-forwarded-host", b"")
        found = self._authenticator.authenticate(headers.get, has_body=request.method in _WITH_BODY)
        principal = found if isinstance(found, Principal) else await found
        allow_route(principal, request.url.path, compat=self._compat)
        allow_address(principal, headers.get(b"x-forwarded-for", b"").decode("latin-1"), compat=self._compat)
        return principal

    async def admin(self, request: Request) -> Principal:
        """The master key, or a key of an administrator."""
        principal = await self.anyone(request)
        if principal.role != "proxy_admin":
            raise refusals.admins_only(self._compat, request.url.path)
        return principal

    async def reader(self, request: Request) -> Principal:
        """Whoever may see everything: an administrator, or one who may only look."""
        principal = await self.anyone(request)
        if not sees_all(principal):
            raise refusals.admins_only(self._compat, request.url.path)
        return principal


def sees_all(principal: Principal) -> bool:
    return principal.role in {"proxy_admin", "proxy_admin_viewer"}


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Built by main.py; each router takes what it needs."""

    callers: Callers
    database: Database
    keys: Keys
    stores: Stores
    rotations: Rotations
    models: ModelParts
    team_callbacks: TeamCallbackStore
    callbacks_changed: Callable[[], Awaitable[None]]
    """callbacks of teams have changed, here; every other node is told"""
    drain: Drain
    clock: Clock
    compat: Compat
    invalidate: Callable[[Sequence[str] | None], None]
    """tells every worker that these keys have changed"""
    invalidate_holders: Callable[[Sequence[str]], None] = lambda _: None
    """tells every worker that the limits of these end users and tags (`end_user:ann`, `tag:x`) have changed"""
    workers: Callable[[], Sequence[Hello]]
    """those that are connected"""
    reload: Callable[[], Awaitable[str | None]]
    """loads the configuration again; returns why it was not taken"""
    price_of: Callable[[str], Price | None] = lambda _: None
    """what a call of this model costs, by the routing facts in force"""
    effective: Effective | None = None
    """what binds a key"""
    observing: Observing | None = None
    """metrics, live tail and callbacks"""

    @property
    def calendar(self) -> bool:
        """Whether budgets follow the calendar unless they say otherwise, as LiteLLM's do."""
        return self.compat == "litellm"
