"""What is said of a key in requests, and how a key is shown."""

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from wayport.access.duration import after
from wayport.access.keys import Key, KeyFields
from wayport.access.principal import Role
from wayport.access.rotation import next_rotation_s
from wayport.config.fields import network
from wayport.control.admin.fields import (
    Bounded,
    Duration,
    Given,
    Id,
    Name,
    Usd,
    Words,
    patch_of,
    show_limits,
)
from wayport.control.admin.words import iso, usd

ROUTES_OF_TYPE = {
    "default": (),
    "llm_api": ("llm_api_routes",),
    "management": ("management_routes",),
    "read_only": ("info_routes",),
}

COLUMNS = {
    "key_alias": "key_alias",
    "user_id": "user_id",
    "team_id": "team_id",
    "organization_id": "organization_id",
    "project_id": "project_id",
    "role": "role",
    "models": "models",
    "allowed_routes": "routes",
    "tags": "tags",
    "metadata": "metadata",
    "expires_s": "expires_s",
    "rotates_s": "rotates_s",
    "blocked": "blocked",
}
"""fields with a column of their own"""

_ROTATION = frozenset({"auto_rotate", "rotation_interval", "grace_period"})

# They do something at once and are not kept.
_PASSING = ("key", "key_type", "duration", "send_invite_email", "new_key")
FOR_GOOD = "-1"

KeyType = Literal["default", "llm_api", "management", "read_only"]


class KeyWishes(Bounded):
    """What a key is for. Fields that are not listed are kept and given back."""

    key_alias: Name | None = Field(default=None, description="A name for people; given once.")
    duration: Name | None = Field(
        default=None, description="When the key expires: `30d`, `12h`, `1mo`. Never, if not given."
    )
    models: Words | None = Field(
        default=None, description="Models that it may use: names, access groups, `*`. None: all."
    )
    user_id: Id | None = None
    team_id: Id | None = None
    organization_id: Id | None = None
    project_id: Id | None = Field(default=None, description="A project of its team.")
    tags: Words | None = None
    metadata: dict[str, Any] | None = None
    aliases: dict[Name, Name] | None = Field(default=None, description="Names that its calls may say for other models.")
    allowed_routes: Words | None = Field(
        default=None, description="Paths, `/x/*` patterns or groups as `llm_api_routes`."
    )
    allowed_ips: Words | None = Field(
        default=None, description="Addresses and networks it may be used from. None: any."
    )
    key_type: KeyType | None = None
    role: Role | None = Field(default=None, description="What the key may do here: `proxy_admin` may do everything.")
    blocked: bool | None = None
    budget_id: Id | None = Field(default=None, description="A budget by name, for what is not said here.")
    access_group_ids: Words | None = None
    auto_rotate: bool | None = Field(default=None, description="Whether the key is replaced by itself.")
    rotation_interval: Duration | None = Field(default=None, description="After this it is replaced: `30d`.")
    grace_period: Duration | None = Field(
        default=None, description="How long a key that was replaced is good for: `24h`."
    )
    permissions: dict[str, Any] | None = None
    config: dict[str, Any] | None = None

    @field_validator("allowed_ips")
    @classmethod
    def _are_networks(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else [network(item) for item in value]


class GenerateKey(KeyWishes):
    key: str | None = Field(default=None, description="A key of your own choice; it must begin with `sk-`.")


class UpdateKey(KeyWishes):
    key: Id = Field(description="The key or its hash.")
    spend: Usd | None = Field(default=None, description="Correct what it has spent.")


class RegenerateKey(KeyWishes):
    key: Id | None = Field(default=None, description="The key or its hash; without it, the key of this call.")
    new_key: str | None = Field(default=None, description="A key of your own choice.")
    new_master_key: str | None = None


class BulkUpdate(BaseModel):
    keys: list[UpdateKey] = Field(max_length=500)


class KeysAsked(BaseModel):
    keys: list[Id] = Field(default=[], max_length=1000)
    key_aliases: list[Id] = Field(default=[], max_length=1000)


class DeleteKeys(BaseModel):
    keys: list[Id] = Field(default=[], max_length=1000, description="Keys, or their hashes.")
    key_aliases: list[Id] = Field(default=[], max_length=1000)


class BlockKey(BaseModel):
    key: Id


def given_of(given: Given, now_s: float, *, before: Key | None = None) -> Given:
    """What is to be stored of it: durations as moments, the type as its routes. `before`: the key as it is."""
    found = {name: value for name, value in given.items() if name not in _PASSING}
    if "duration" in given:
        duration = given["duration"]
        found["expires_s"] = None if duration in (None, "", FOR_GOOD) else after(now_s, duration)
    if _ROTATION & given.keys():
        known, due_s = (before.settings, before.rotates_s) if before is not None else ({}, None)
        found["rotates_s"] = next_rotation_s(found, known, now_s, due_s=due_s)
    if given.get("key_type") and not found.get("allowed_routes"):
        found["allowed_routes"] = list(ROUTES_OF_TYPE[given["key_type"]])
    if found.get("key_alias") == "":
        found["key_alias"] = None
    return found


def fields_of(body: GenerateKey, now_s: float) -> KeyFields:
    given = {name: value for name, value in body.given().items() if value is not None}
    given.pop("spend", None)
    patch = patch_of(given_of(given, now_s), COLUMNS, now_s)
    columns = {name: value for name, value in patch.columns.items() if value is not None}
    for name in ("models", "routes", "tags"):
        if name in columns:
            columns[name] = tuple(columns[name])
    return KeyFields(
        **columns,
        limits={name: value for name, value in patch.limits.items() if value is not None},
        settings={name: value for name, value in patch.settings.items() if value is not None},
    )


def shape(key: Key, now_s: float, *, calendar: bool) -> dict[str, Any]:
    """A key as LiteLLM's clients read it."""
    return {
        "aliases": {},
        "config": {},
        "permissions": {},
        "model_spend": {},
        "litellm_budget_table": None,
        "budget_id": None,
        "object_permission": None,
        "allowed_ips": [],
        "auto_rotate": False,
        "rotation_interval": None,
        "rotation_count": 0,
        "last_rotation_at": None,
        **{name: value for name, value in key.settings.items() if name != "counted_as"},
        **show_limits(key.limits, now_s, calendar=calendar),
        "token": key.key_hash,
        "key_name": key.key_name,
        "key_alias": key.key_alias,
        "spend": usd(key.shown_nano_usd),
        "expires": iso(key.expires_s),
        "key_rotation_at": iso(key.rotates_s),
        "models": list(key.models),
        "user_id": key.user_id,
        "team_id": key.team_id,
        "organization_id": key.organization_id,
        "project_id": key.project_id,
        "role": key.role,
        "allowed_routes": list(key.routes),
        "tags": list(key.tags),
        "metadata": key.metadata,
        "blocked": key.blocked,
        "created_at": iso(key.created_s),
        "created_by": key.created_by,
        "updated_at": iso(key.updated_s),
        "updated_by": key.updated_by,
    }
