"""What binds a key: every limit on it and above it, with its use."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends

from wayport.access.keys import hash_of
from wayport.access.principal import Principal
from wayport.control.admin.parts import Parts, sees_all
from wayport.control.admin.words import iso
from wayport.core.errors import RouteNotFound
from wayport.core.money import NANO_PER_USD

_IN_USD = ("limit", "used", "reserved", "leased", "left")


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/budget", tags=["budgets"])
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]

    @router.get("/effective", summary="Every limit that binds a key, its use, and which one binds")
    async def effective(caller: anyone, key: str | None = None) -> dict[str, Any]:
        """`key`: itself or its hash; without it the caller's own. Others' keys are for administrators."""
        wanted = hash_of(key) if key else caller.key_hash or ""
        found = None
        if parts.effective is not None and key is None and caller.kind != "key":
            found = await parts.effective.for_calls_of(caller)
        elif parts.effective is not None and (sees_all(caller) or wanted == caller.key_hash):
            found = await parts.effective.of(wanted)
        if found is None:
            # A key that exists and is not the caller's looks like one that does not.
            raise RouteNotFound("There is no such key here.", code="key_not_found")
        lines = [_shown(msgspec.to_builtins(line)) for line in found]
        return {"key": wanted, "limits": lines, "binding": [line for line in lines if line["binds"]]}

    return router


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    if line["kind"] == "money":
        line |= {name: line[name] / NANO_PER_USD for name in _IN_USD}
    ends_s = line.pop("ends_s")
    return line | {"resets_at": iso(ends_s) if ends_s is not None else None}
