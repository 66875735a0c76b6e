"""Who is told of one team's calls: LiteLLM's routes and shapes. What a callback is given is stored sealed and shown masked."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, ValidationError, field_validator

from wayport.access.callbacks_store import Change, TeamCallback, TeamCallbacks, Told
from wayport.access.principal import Principal
from wayport.access.roles import Standing
from wayport.access.rows import Conflict
from wayport.access.teams import Team
from wayport.control.admin import changes
from wayport.control.admin.fields import Given, Id
from wayport.control.admin.parts import Parts
from wayport.control.admin.stores import name_of
from wayport.control.admin.team_fields import no_such_team
from wayport.control.admin.team_members import led, shown_team
from wayport.core.errors import BadRequest, PermissionDenied, RouteNotFound, WayportError
from wayport.observe.callbacks.registry import TEAM_KINDS, Off, make_for_team
from wayport.storage.cipher import NotReadable

_TABLE = "teams"
_LOGGING = "logging"
"""of a team's metadata: LiteLLM's place for its callbacks"""
_MASK = "***"


class CallbackIn(BaseModel):
    callback_name: Id = Field(description="`langfuse`, `otel`, `sentry`, `webhook` or `generic_api`.")
    callback_type: Told = "success_and_failure"
    callback_vars: dict[Id, Annotated[str, Field(max_length=10_000)]] = Field(
        description="`langfuse_public_key`, `langfuse_secret_key` …"
    )

    @field_validator("callback_type", mode="before")
    @classmethod
    def _told(cls, value: object) -> object:
        return "success_and_failure" if value is None else value

    @field_validator("callback_vars", mode="before")
    @classmethod
    def _texts(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {name: str(item) if isinstance(item, int | float) else item for name, item in value.items()}


def routes(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["teams"])
    anyone = Annotated[Principal, Depends(parts.callers.anyone)]
    admin = Annotated[Principal, Depends(parts.callers.admin)]
    stores = parts.stores

    @router.post("/team/{team_id:path}/callback", summary="Tell somebody of a team's calls")
    async def add(team_id: str, body: CallbackIn, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        try:
            team = await led(standing, team_id, parts, f"/team/{team_id}/callback")
        except RouteNotFound as error:
            if parts.compat == "litellm":
                # Its status here, and only here.
                raise BadRequest(error.message, param="team_id") from None
            raise
        wanted = await _checked(body, standing, parts)

        def change(before: TeamCallbacks) -> TeamCallbacks:
            _may_speak(before, standing)
            return TeamCallbacks(callbacks=_with(before.callbacks, wanted, team.id))

        after = await _altered(team, change, caller, parts)
        data = await shown_team(team, parts)
        return {"status": "success", "data": {**data, "metadata": {**data["metadata"], _LOGGING: _masked(after)}}}

    @router.get("/team/{team_id:path}/callback", summary="Who is told of a team's calls; secrets are masked")
    async def look(team_id: str, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        team = await _seen(standing, team_id, parts)
        found = await _of(team.id, parts)
        states = parts.observing.teams.states(team.id) if parts.observing is not None else []
        masked = _masked(found)
        return {
            "status": "success",
            "data": {
                "team_id": team.id,
                **_names(found),
                "callback_vars": {name: value for each in masked for name, value in each["callback_vars"].items()},
                "logging": masked,
                "logging_disabled": found.silent,
                "states": [
                    {"callback_name": state.name, "status": state.status, "delivered": state.delivered,
                     "dropped": state.dropped, "failures": state.failures, "error": state.error}
                    for state in states
                ],
            },
        }  # fmt: skip

    @router.delete("/team/{team_id:path}/callback/{callback_name}", summary="Tell somebody no more of a team's calls")
    async def remove(team_id: str, callback_name: str, caller: anyone) -> dict[str, Any]:
        standing = await stores.standing(caller)
        team = await led(standing, team_id, parts, f"/team/{team_id}/callback/{callback_name}")

        def change(before: TeamCallbacks) -> TeamCallbacks:
            left = tuple(each for each in before.callbacks if each.callback_name != callback_name)
            if len(left) == len(before.callbacks):
                raise RouteNotFound(
                    f"callback_name = {callback_name} is not registered for team_id = {team.id}.",
                    param="callback_name",
                    code="callback_not_found",
                )
            return TeamCallbacks(callbacks=left, silent=before.silent)

        after = await _altered(team, change, caller, parts)
        return {
            "status": "success",
            "message": f"Callback {callback_name} removed for team {team.id}",
            "data": {"team_id": team.id, **_names(after)},
        }

    @router.post("/team/{team_id:path}/disable_logging", summary="Tell nobody of a team's calls")
    async def disable(team_id: str, caller: admin) -> dict[str, Any]:
        team = await led(await stores.standing(caller), team_id, parts, f"/team/{team_id}/disable_logging")
        after = await _altered(team, lambda _: TeamCallbacks(silent=True), caller, parts)
        return {
            "status": "success",
            "message": f"Logging disabled for team {team.id}",
            "data": {"team_id": team.id, **_names(after)},
        }

    return router


# ------------------------------------------------------------------------------------------- in a team's metadata
async def take_logging(given: Given, standing: Standing, parts: Parts) -> list[TeamCallback] | None:
    """Takes LiteLLM's `logging` out of the metadata of a request: there it would be stored unsealed.

    None: it says nothing of callbacks. Raises what `POST /team/{team_id}/callback` does.
    """
    metadata = given.get("metadata")
    if parts.compat != "litellm" or not isinstance(metadata, dict) or _LOGGING not in metadata:
        return None
    given["metadata"] = {name: value for name, value in metadata.items() if name != _LOGGING}
    told = metadata[_LOGGING]
    try:
        bodies = [CallbackIn.model_validate(each) for each in told or ()]
    except (ValidationError, TypeError):
        raise BadRequest(
            "`metadata.logging` is a list of {callback_name, callback_type, callback_vars}.", param="metadata.logging"
        ) from None
    return [await _checked(body, standing, parts) for body in bodies]


async def put_logging(
    team: Team, wanted: Sequence[TeamCallback], standing: Standing, caller: Principal, parts: Parts
) -> None:
    """These and no others are told of the team's calls."""

    def change(before: TeamCallbacks) -> TeamCallbacks:
        _may_speak(before, standing)
        callbacks: tuple[TeamCallback, ...] = ()
        for each in wanted:
            callbacks = _with(callbacks, each, team.id)
        return TeamCallbacks(callbacks=callbacks)

    await _altered(team, change, caller, parts)


async def forget_teams(team_ids: Sequence[str], parts: Parts) -> None:
    if await parts.team_callbacks.delete(team_ids):
        await parts.callbacks_changed()


# ------------------------------------------------------------------------------------------------------------ checks
async def _checked(body: CallbackIn, standing: Standing, parts: Parts) -> TeamCallback:
    """The callback, if there is such a one, it can be made of this, and the caller may have it made."""
    name, given = body.callback_name, body.callback_vars
    if (variables := TEAM_KINDS.get(name)) is None:
        raise BadRequest(
            f"{name!r} is no callback that a team can have; there are {', '.join(sorted(TEAM_KINDS))}.",
            param="callback_name",
        )
    if parts.observing is not None and parts.observing.teams.full:
        raise BadRequest("There are as many callbacks of teams as a node keeps.", param="callback_name")
    for variable, value in given.items():
        field = f"callback_vars.{variable}"
        if (known := variables.get(variable)) is None:
            raise BadRequest(
                f"Invalid callback variable: {variable}. {name} takes {', '.join(variables)}.", param=field
            )
        if value.startswith("os.environ/"):
            raise BadRequest(f"`{field}`: give the value; variables of the environment are not read here.", param=field)
        if value == _MASK:
            raise BadRequest(f"`{field}` is masked; give the value.", param=field)
        if not value or any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
            raise BadRequest(f"`{field}` is empty, or holds what no value may hold.", param=field)
        if known.address:
            if not standing.manages_all:
                raise PermissionDenied(
                    f"Where calls are told of is for an administrator to say: leave out `{variable}`.",
                    param=field,
                    code="field_not_allowed",
                )
            _check_address(value, field)
    try:
        made = make_for_team(name, given, variable=parts.models.settings().variable, clock=parts.clock)
    except (Off, UnicodeError) as off:
        raise BadRequest(f"This callback cannot run: {off}.", param="callback_vars") from None
    await made.close()
    return TeamCallback(callback_name=name, callback_type=body.callback_type, callback_vars=given)


def _check_address(value: str, field: str) -> None:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadRequest(f"`{field}` must be an address that begins with http:// or https://.", param=field)


def _may_speak(before: TeamCallbacks, standing: Standing) -> None:
    if before.silent and not standing.manages_all:
        raise PermissionDenied(
            "An administrator has switched off that anybody is told of this team's calls.", code="logging_disabled"
        )


def _with(before: tuple[TeamCallback, ...], wanted: TeamCallback, team_id: str) -> tuple[TeamCallback, ...]:
    """With one more; one of the same name is told of more, and what is said anew holds."""
    same = next((each for each in before if each.callback_name == wanted.callback_name), None)
    if same is None:
        return (*before, wanted)
    if set(wanted.outcomes) <= set(same.outcomes):
        raise BadRequest(
            f"callback_name = {wanted.callback_name} already exists for team_id = {team_id} and event = "
            f"{wanted.callback_type}; delete it first.",
            param="callback_name",
        )
    both = TeamCallback(
        callback_name=same.callback_name,
        callback_type="success_and_failure",
        callback_vars={**same.callback_vars, **wanted.callback_vars},
    )
    return tuple(both if each is same else each for each in before)


# ------------------------------------------------------------------------------------------------- reading and writing
async def _seen(standing: Standing, team_id: str, parts: Parts) -> Team:
    """The team, if the caller leads it or sees everything."""
    if not standing.sees_all:
        return await led(standing, team_id, parts, f"/team/{team_id}/callback")
    if (team := await parts.stores.teams.find(team_id)) is None:
        raise no_such_team(team_id)
    return team


async def _of(team_id: str, parts: Parts) -> TeamCallbacks:
    try:
        return await parts.team_callbacks.of_team(team_id)
    except NotReadable as error:
        raise _unreadable(error) from error


async def _altered(team: Team, change: Change, caller: Principal, parts: Parts) -> TeamCallbacks:
    try:
        before, after = await parts.team_callbacks.alter(team.id, change, by=name_of(caller))
    except NotReadable as error:
        raise _unreadable(error) from error
    await parts.callbacks_changed()
    await changes.note(parts, caller, "updated", _TABLE, team.id, before=_line(before), after=_line(after))
    return after


def _unreadable(error: NotReadable) -> WayportError:
    return Conflict(f"The team's callbacks cannot be read: {error}.", code="not_readable")


def _line(callbacks: TeamCallbacks) -> dict[str, Any]:
    """For the audit log."""
    return {"logging": _masked(callbacks), "logging_disabled": callbacks.silent}


def _masked(callbacks: TeamCallbacks) -> list[dict[str, Any]]:
    return [
        {
            "callback_name": each.callback_name,
            "callback_type": each.callback_type,
            "callback_vars": {
                name: _MASK
                if (known := TEAM_KINDS.get(each.callback_name, {}).get(name)) is None or known.secret
                else value
                for name, value in each.callback_vars.items()
            },
        }
        for each in callbacks.callbacks
    ]


def _names(callbacks: TeamCallbacks) -> dict[str, list[str]]:
    return {
        "success_callbacks": [each.callback_name for each in callbacks.callbacks if "success" in each.outcomes],
        "failure_callbacks": [each.callback_name for each in callbacks.callbacks if "failure" in each.outcomes],
    }
