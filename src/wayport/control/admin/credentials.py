"""Credentials of providers, by name: stored sealed, shown masked."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from wayport.access.models_store import StoredCredential
from wayport.access.principal import Principal
from wayport.config.litellm_models import known_keys
from wayport.control.admin import changes
from wayport.control.admin.fields import Id
from wayport.control.admin.models import hide
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.core.errors import RouteNotFound, WayportError
from wayport.storage.cipher import NotReadable

_TABLE = "credentials"
_OF_CREDENTIALS = frozenset({"api_key", "api_base", "base_url", "api_version"})
"""of a deployment's parameters, beside the settings of providers: what it is called with, and where"""


class CredentialIn(BaseModel):
    credential_name: Id
    credential_values: dict[str, Any] = Field(description="`api_key`, `api_base` …")
    credential_info: dict[str, Any] = {}


class CredentialChange(BaseModel):
    credential_values: dict[str, Any] | None = None
    credential_info: dict[str, Any] | None = None


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/credentials", tags=["credentials"])
    _changing(router, parts)
    _looking(router, parts)
    return router


def _shown(row: StoredCredential, parts: Parts) -> dict[str, Any]:
    try:
        values = hide(parts.models.credentials.values_of(row))
    except NotReadable as error:
        values = {"unreadable": str(error)}
    return {"credential_name": row.id, "credential_values": values, "credential_info": row.info}


async def _found(parts: Parts, name: str) -> StoredCredential:
    row = await parts.models.credentials.find(name)
    if row is None:
        raise no_such_credential(name)
    return row


def _changing(router: APIRouter, parts: Parts) -> None:
    admin = Annotated[Principal, Depends(parts.callers.admin)]

    @router.post("", summary="Store a credential")
    async def new(body: CredentialIn, caller: admin) -> dict[str, Any]:
        store = parts.models.credentials
        name = body.credential_name
        patch = store.patch(name, values=body.credential_values, info=body.credential_info)
        row = await store.add(name, patch, by=name_of(caller))
        await parts.models.changed()
        await changes.note(parts, caller, "created", _TABLE, name, after=_shown(row, parts))
        return {"success": True, "message": "Credential created successfully"}

    @router.patch("/{credential_name:path}", summary="Change a credential: only named values change, null clears one")
    async def update(credential_name: str, body: CredentialChange, caller: admin) -> dict[str, Any]:
        store = parts.models.credentials
        row = await _found(parts, credential_name)
        values = {**store.values_of(row), **(body.credential_values or {})}
        info = {**row.info, **(body.credential_info or {})}
        patch = store.patch(
            row.id,
            values={name: value for name, value in values.items() if value is not None},
            info={name: value for name, value in info.items() if value is not None},
        )
        changed = await store.change(row.id, patch, by=name_of(caller))
        if changed is None:
            raise no_such_credential(credential_name)
        await parts.models.changed()
        before, after = (_shown(each, parts) for each in changed)
        await changes.note(parts, caller, "updated", _TABLE, row.id, before=before, after=after)
        return {"success": True, "message": "Credential updated successfully"}

    @router.delete("/{credential_name:path}", summary="Delete a credential")
    async def delete(credential_name: str, caller: admin) -> dict[str, Any]:
        row = await _found(parts, credential_name)
        await parts.models.credentials.delete([row.id])
        await parts.models.changed()
        await changes.note(parts, caller, "deleted", _TABLE, row.id, before=_shown(row, parts))
        return {"success": True, "message": "Credential deleted successfully"}


def _looking(router: APIRouter, parts: Parts) -> None:
    reader = Annotated[Principal, Depends(parts.callers.reader)]

    @router.get("", summary="Credentials, masked")
    async def list_all(_: reader) -> dict[str, Any]:
        rows, _total = await parts.models.credentials.page()
        return {"success": True, "credentials": [_shown(row, parts) for row in rows]}

    @router.get("/by_name/{credential_name:path}", summary="One credential, masked")
    async def one(credential_name: str, _: reader) -> dict[str, Any]:
        return _shown(await _found(parts, credential_name), parts)

    @router.get("/by_model/{model_id}", summary="What a stored deployment is called with, masked")
    async def of_model(model_id: str, _: reader) -> dict[str, Any]:
        row = await parts.models.store.find(model_id)
        if row is None:
            raise RouteNotFound(f"There is no model {model_id}.", param="model_id", code="model_not_found")
        try:
            params = parts.models.store.params_of(row)
        except NotReadable as error:
            params = {"api_key": f"unreadable: {error}"}
        named = params.get("litellm_credential_name")
        if named is not None and (stored := await parts.models.credentials.find(str(named))) is not None:
            return _shown(stored, parts)
        wanted = _OF_CREDENTIALS | known_keys("settings")
        own = {name: value for name, value in params.items() if name in wanted and value is not None}
        return {
            "credential_name": f"{row.name}-credential-{row.id}",
            "credential_values": hide(own),
            "credential_info": {"custom_llm_provider": params.get("custom_llm_provider")},
        }


def no_such_credential(name: str) -> WayportError:
    return RouteNotFound(f"There is no credential {name}.", param="credential_name", code="credential_not_found")
