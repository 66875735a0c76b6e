"""Keys: make, look at, list, change, replace, delete. LiteLLM's routes and shapes."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from wayport.access.keys import Key, KeyFilter, hash_of
from wayport.access.principal import Principal
from wayport.access.rotation import rotated
from wayport.access.rows import Patch
from wayport.control.admin import key_rules as rules
from wayport.control.admin.budgets import show_budget
from wayport.control.admin.defaults import for_changed_key, for_new_key
from wayport.control.admin.fields import ResetSpend, patch_of, spend_as
from wayport.control.admin.key_fields import (
    COLUMNS,
    BlockKey,
    BulkUpdate,
    DeleteKeys,
    GenerateKey,
    KeysAsked,
    RegenerateKey,
    UpdateKey,
    fields_of,
    given_of,
    shape,
)
from wayport.control.admin.parts import Parts, sees_all
from wayport.control.admin.stores import name_of
from wayport.control.admin.words import iso
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound
from wayport.core.secret import Secret

_Sort = Literal["created_at", "updated_at", "expires", "key_alias", "user_id", "team_id", "token", "spend"]
_TABLE = "keys"


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["keys"])
    _making(router, parts)
    _looking(router, parts)
    _changing(router, parts)
    _replacing(router, parts)
    return router


def _making(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def make(body: GenerateKey, caller: Principal, route: str) -> dict[str, Any]:
        standing = await stores.standing(caller)
        body = for_new_key(body, parts)
        fields = fields_of(body, parts.clock.now_s())
        fields = await rules.owner_of_new(standing, fields, parts, route)
        chosen = Secret(body.key) if body.key is not None else None
        secret, made = await parts.keys.create(fields, key=chosen, by=name_of(caller))
        # Somebody may have tried this key before it existed.
        parts.invalidate([made.key_hash])
        await stores.audit.note(caller, "created", _TABLE, made.key_hash, after=made)
        return _shown(made, parts) | {
            "key": secret.reveal(),
            "token_id": made.key_hash,
            "key_type": body.key_type,
        }

    @router.post("/key/generate", summary="Make a key; it is shown this once")
    async def generate(caller: anyone, body: GenerateKey | None = None) -> dict[str, Any]:
        return await make(body or GenerateKey(), caller, "/key/generate")

    @router.post("/key/service-account/generate", summary="Make a key that belongs to a team and to no user")
    async def generate_for_service(body: GenerateKey, caller: anyone) -> dict[str, Any]:
        if not body.team_id:
            raise BadRequest("`team_id` is missing: a service account's key belongs to a team.", param="team_id")
        body.user_id = None
        return await make(body, caller, "/key/service-account/generate")


def _looking(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    @router.get("/key/info", summary="What a key may do and what it has spent")
    async def info(
        caller: anyone,
        key: Annotated[str | None, Query(description="The key or its hash; without it, the key of this call.")] = None,
    ) -> dict[str, Any]:
        wanted = hash_of(key) if key else caller.key_hash
        if wanted is None:
            raise rules.no_such_key(["of this call"])
        found = await rules.seen(await stores.standing(caller), wanted, parts, name=key or wanted)
        known = _info(found, caller, parts)
        await _with_budgets([known], parts)
        return {"key": key or found.key_hash, "info": known}

    @router.post("/v2/key/info", summary="The same of several keys; those that do not exist are left out")
    async def infos(body: KeysAsked, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        by_alias = await parts.keys.hashes_of(body.key_aliases)
        hashes = [hash_of(key) for key in body.keys] + list(by_alias.values())
        shown = [
            _info(found, caller, parts)
            for found in await parts.keys.those(hashes)
            if standing.sees_key(found, await stores.team_of(found.team_id))
        ]
        await _with_budgets(shown, parts)
        return {"key": [*body.keys, *body.key_aliases], "info": shown}

    @router.get("/key/list", summary="Keys, newest first")
    async def list_keys(  # noqa: PLR0917 (FastAPI reads its parameters from here)
        caller: anyone,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        size: Annotated[int, Query(ge=1, le=1000)] = 10,
        user_id: str | None = None,
        team_id: str | None = None,
        organization_id: str | None = None,
        project_id: str | None = None,
        key_hash: str | None = None,
        key_alias: str | None = None,
        return_full_object: bool = False,  # noqa: FBT001, FBT002 (as above)
        include_team_keys: bool = False,  # noqa: FBT001, FBT002 (as above)
        sort_by: _Sort = "created_at",
        sort_order: Literal["asc", "desc"] = "desc",
        expand: Annotated[list[str] | None, Query(description="`user`: with each key its user.")] = None,
    ) -> dict[str, Any]:
        standing = await stores.standing(caller)
        wanted = KeyFilter(
            key_hash=hash_of(key_hash) if key_hash else None,
            key_alias=key_alias or None,
            user_id=user_id or None,
            team_id=team_id or None,
            organization_id=organization_id or None,
            project_id=project_id or None,
        )
        wanted = await rules.listed(standing, wanted, parts, with_teams=include_team_keys)
        found = await parts.keys.page(
            wanted, offset=(page - 1) * size, limit=size, sort=sort_by, ascending=sort_order == "asc"
        )
        keys: list[Any] = [key.key_hash for key in found.keys]
        if return_full_object or expand:
            keys = [_info(key, caller, parts) for key in found.keys]
        if expand and "user" in expand:
            await rules.with_users(keys, parts)
        return {
            "keys": keys,
            "total_count": found.total,
            "current_page": page,
            "total_pages": -(-found.total // size),
        }

    @router.get("/key/aliases", summary="Names of keys")
    async def aliases(
        caller: anyone,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        size: Annotated[int, Query(ge=1, le=1000)] = 50,
        search: str | None = None,
        team_id: str | None = None,
    ) -> dict[str, Any]:
        standing = await stores.standing(caller)
        wanted = await rules.listed(standing, KeyFilter(team_id=team_id or None), parts, with_teams=True)
        found, total = await parts.keys.aliases(wanted, search=search, offset=(page - 1) * size, limit=size)
        return {
            "aliases": found,
            "total_count": total,
            "current_page": page,
            "total_pages": -(-total // size),
            "size": size,
        }

    @router.get(
        "/key/rotated", summary="The key in place of one that was replaced by itself, told to who has the old one"
    )
    async def rotated_key(caller: anyone) -> dict[str, Any]:
        found = await parts.rotations.new_key_of(caller.key_hash or "")
        if found is None:
            raise RouteNotFound("This key was not replaced by itself lately.", code="key_not_rotated")
        secret, until_s = found
        key = secret.reveal()
        return {"key": key, "token": hash_of(key), "old_key_valid_until": iso(until_s)}

    @router.post("/key/health", summary="Whether the key of this call works, and what it says of callbacks")
    async def health(caller: anyone) -> dict[str, Any]:
        key = await parts.keys.find(caller.key_hash) if caller.key_hash is not None else None
        logging = _logging_of(key)
        return {"key": "healthy" if logging is None else "unhealthy", "logging_callbacks": logging}


def _changing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def change(given: dict[str, Any], caller: Principal, route: str = "/key/update") -> Key:
        name = given.pop("key")
        standing = await stores.standing(caller)
        found = await rules.changeable(standing, hash_of(name), parts, route, name=name)
        given = given_of(for_changed_key(given, parts), parts.clock.now_s(), before=found)
        await rules.check_change(standing, found, given, parts)
        spent = given.pop("spend", None)
        patch = patch_of(given, COLUMNS, parts.clock.now_s(), before=found.limits)
        if spent is not None:
            patch.limits.update(spend_as(spent, found.spend_nano_usd, parts.clock.now_s()))
        changed = await parts.keys.change(found.key_hash, patch, by=name_of(caller))
        if changed is None:
            raise rules.no_such_key([name])
        parts.invalidate(await stores.hashes_of([found.key_hash]))
        await stores.audit.note(caller, "updated", _TABLE, found.key_hash, before=changed[0], after=changed[1])
        return changed[1]

    @router.post("/key/update", summary="Change a key: only named fields change, null clears one")
    async def update(body: UpdateKey, caller: anyone) -> dict[str, Any]:
        after = await change(body.given(), caller)
        return {**_info(after, caller, parts), "key": body.key}

    @router.post("/key/bulk_update", summary="Change several keys; each for itself")
    async def bulk_update(body: BulkUpdate, caller: anyone) -> dict[str, Any]:
        done: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for each in body.keys:
            try:
                after = await change(each.given(), caller)
            except (BadRequest, PermissionDenied, RouteNotFound) as error:
                failed.append({"key": each.key, "key_info": None, "failed_reason": error.message})
            else:
                done.append({"key": each.key, "key_info": _info(after, caller, parts)})
        return {"total_requested": len(body.keys), "successful_updates": done, "failed_updates": failed}

    async def block(name: str, caller: Principal, *, blocked: bool) -> dict[str, Any]:
        route = "/key/block" if blocked else "/key/unblock"
        found = await rules.changeable(await stores.standing(caller), hash_of(name), parts, route, name=name, lead=True)
        changed = await parts.keys.change(found.key_hash, Patch(columns={"blocked": blocked}), by=name_of(caller))
        if changed is None:
            raise rules.no_such_key([name])
        parts.invalidate(await stores.hashes_of([found.key_hash]))
        action: Literal["blocked", "unblocked"] = "blocked" if blocked else "unblocked"
        await stores.audit.note(caller, action, _TABLE, found.key_hash, before=changed[0], after=changed[1])
        return _shown(changed[1], parts)

    @router.post("/key/block", summary="Refuse a key from now on")
    async def block_key(body: BlockKey, caller: anyone) -> dict[str, Any]:
        return await block(body.key, caller, blocked=True)

    @router.post("/key/unblock", summary="Accept a key again")
    async def unblock_key(body: BlockKey, caller: anyone) -> dict[str, Any]:
        return await block(body.key, caller, blocked=False)

    @router.post("/key/delete", summary="Delete keys: all of them or, if one does not exist, none")
    async def delete(body: DeleteKeys, caller: anyone) -> dict[str, Any]:
        if not body.keys and not body.key_aliases:
            raise BadRequest("Name what to delete: `keys` or `key_aliases`.", param="keys")
        standing = await stores.standing(caller)
        by_alias = await parts.keys.hashes_of(body.key_aliases)
        missing = [alias for alias in body.key_aliases if alias not in by_alias]
        if missing:
            raise rules.no_such_key(missing) if standing.sees_all else rules.not_yours()
        given = {hash_of(key): key for key in body.keys} | {found: alias for alias, found in by_alias.items()}
        before = [
            await rules.changeable(standing, wanted, parts, "/key/delete", name=given[wanted]) for wanted in given
        ]
        old = await stores.hashes_of(list(given))
        missing = await parts.keys.delete(list(given))
        if missing:
            raise rules.no_such_key([given[found] for found in missing])
        parts.invalidate(old)
        for key in before:
            await stores.audit.note(caller, "deleted", _TABLE, key.key_hash, before=key)
        return {"deleted_keys": [*body.keys, *by_alias.values()]}


def _replacing(router: APIRouter, parts: Parts) -> None:
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    stores = parts.stores

    async def regenerate(name: str, body: RegenerateKey, caller: Principal) -> dict[str, Any]:
        standing = await stores.standing(caller)
        found = await rules.changeable(standing, hash_of(name), parts, "/key/regenerate", name=name)
        now_s = parts.clock.now_s()
        told = for_changed_key(body.given(), parts)
        grace_s = rules.grace_s(told.pop("grace_period", None), now_s)
        given = given_of(told, now_s, before=found)
        given.pop("spend", None)
        if given.pop("new_master_key", None) is not None:
            raise BadRequest("The master key is configured, not stored: change it there.", param="new_master_key")
        await rules.check_change(standing, found, given, parts)
        old = await stores.hashes_of([found.key_hash])
        patch = patch_of(given, COLUMNS, now_s, before=found.limits)
        again = rotated(found, now_s)
        patch.columns.setdefault("rotates_s", again.columns["rotates_s"])
        patch.settings.update(again.settings)
        replaced = await parts.keys.replace(
            found.key_hash,
            patch,
            key=Secret(body.new_key) if body.new_key is not None else None,
            grace_s=grace_s,
            by=name_of(caller),
        )
        if replaced is None:
            raise rules.no_such_key([name])
        secret, before, after = replaced
        parts.invalidate([*old, after.key_hash])
        await stores.audit.note(caller, "rotated", _TABLE, after.key_hash, before=before, after=after)
        return _shown(after, parts) | {"key": secret.reveal(), "token_id": after.key_hash}

    @router.post("/key/regenerate", summary="A new key in place of one; the old one may be good for a while more")
    async def regenerate_named(body: RegenerateKey, caller: anyone) -> dict[str, Any]:
        name = body.key or caller.key_hash
        if name is None:
            raise BadRequest("`key` is missing: name the key to replace.", param="key")
        return await regenerate(name, body, caller)

    @router.post("/key/{key:path}/regenerate", summary="The same, with the key in the path")
    async def regenerate_in_path(key: str, caller: anyone, body: RegenerateKey | None = None) -> dict[str, Any]:
        return await regenerate(key, body or RegenerateKey(), caller)

    @router.post("/key/{key:path}/reset_spend", summary="Count a key's spend from here on")
    async def reset_spend(key: str, caller: anyone, body: ResetSpend | None = None) -> dict[str, Any]:
        standing = await stores.standing(caller)
        found = await rules.changeable(standing, hash_of(key), parts, "/key/reset_spend", name=key, lead=True)
        previous = shape(found, parts.clock.now_s(), calendar=parts.calendar)
        limits = spend_as((body or ResetSpend()).reset_to, found.spend_nano_usd, parts.clock.now_s())
        changed = await parts.keys.change(found.key_hash, Patch(limits=limits), by=name_of(caller))
        if changed is None:
            raise rules.no_such_key([key])
        parts.invalidate(await stores.hashes_of([found.key_hash]))
        await stores.audit.note(caller, "updated", _TABLE, found.key_hash, before=changed[0], after=changed[1])
        now = _shown(changed[1], parts)
        return {
            "key_hash": found.key_hash,
            "spend": now["spend"],
            "previous_spend": previous["spend"],
            "max_budget": now["max_budget"],
            "budget_reset_at": now["budget_reset_at"],
        }


def _shown(key: Key, parts: Parts) -> dict[str, Any]:
    return shape(key, parts.clock.now_s(), calendar=parts.calendar)


def _logging_of(key: Key | None) -> dict[str, Any] | None:
    """A key's own callbacks, which LiteLLM's clients write into its metadata: nothing is sent to them. None: it has none."""
    told = key.metadata.get("logging") if key is not None else None
    names = [each.get("callback_name") for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    if not names:
        return None
    details = "Callbacks of single keys are not called here: name them in the configuration, for all calls."
    return {"callbacks": names, "status": "unhealthy", "details": details}


async def _with_budgets(shown: list[dict[str, Any]], parts: Parts) -> None:
    """Puts into each shown key the budget that it has by name."""
    ids = {key["budget_id"] for key in shown if key["budget_id"] is not None}
    found = {row.id: show_budget(row, parts) for row in await parts.stores.budgets.those(sorted(ids))} if ids else {}
    for key in shown:
        key["litellm_budget_table"] = found.get(key["budget_id"])


def _info(key: Key, caller: Principal, parts: Parts) -> dict[str, Any]:
    known = _shown(key, parts)
    if not sees_all(caller):
        del known["token"]
    return known
