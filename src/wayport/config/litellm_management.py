"""What LiteLLM's configuration says of the keys, users and teams that are made over HTTP: what they get, and bounds of keys."""

import re
from typing import Any

from wayport.config.fields import Fields
from wayport.config.settings import ManagementSettings

_DURATION = re.compile(r"\d{1,6}(s|m|h|d|w|mo)")
_MOST_USD = 1e9
_BOUNDS = ("max_budget", "budget_duration", "duration", "max_parallel_requests", "tpm_limit", "rpm_limit")
_ROLES = ("proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer")


def managed(library: Fields, general: Fields) -> ManagementSettings:
    keys = library.mapping("default_key_generate_params")
    users = library.mapping("default_internal_user_params")
    teams = library.mapping("default_team_params")
    for_keys = _bounds(keys) | _texts(keys, "user_id", "team_id") | _words(keys, "models")
    if (metadata := keys.any("metadata")) is not None:
        for_keys["metadata"] = dict(keys.mapping("metadata").values) if isinstance(metadata, dict) else {}
    for_users = _bounds(users) | _texts(users, "user_alias") | _words(users, "models") | _role(users)
    if teams_of_users := _teams(users):
        for_users["teams"] = teams_of_users
    for_teams = _bounds(teams) | _texts(teams, "organization_id") | _words(teams, "models", "team_member_permissions")
    old = library.entries("default_team_settings")
    if "max_budget" not in for_teams:
        # As it was written before `default_team_params`.
        for_teams |= next((_bounds(entry, "max_budget") for entry in old), {})
    for entry in old:
        entry.any("team_id", "max_budget")
    found = ManagementSettings(
        for_keys=for_keys,
        most_for_keys=_bounds(library.mapping("upperbound_key_generate_params")),
        for_users=for_users,
        for_internal_users=_renamed(library),
        for_teams=for_teams,
        creator_joins=not general.flag("disable_auto_add_proxy_admin_to_teams"),
    )
    for section in (keys, users, teams, *old):
        for name in section.unread():
            section.reading.warn((*section.path, name), "accepted, not used")
    return found


def _bounds(section: Fields, *only: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in only or _BOUNDS:
        value: float | int | str | None
        if name == "max_budget":
            value = section.number(name)
            if value is not None and value > _MOST_USD:
                section.wrong(name, f"must be at most {_MOST_USD:g}")
        elif name.endswith("duration"):
            value = section.text(name)
            if value is not None and not _DURATION.fullmatch(value):
                section.wrong(name, "must be a number and s, m, h, d, w or mo: `30d`")
        else:
            value = section.whole(name)
        if value is not None:
            found[name] = value
    return found


def _texts(section: Fields, *names: str) -> dict[str, Any]:
    return {name: value for name in names if (value := section.text(name)) is not None}


def _words(section: Fields, *names: str) -> dict[str, Any]:
    return {name: list(value) for name in names if (value := section.words(name))}


def _role(users: Fields) -> dict[str, Any]:
    role = users.text("user_role")
    if role is not None and role not in _ROLES:
        users.wrong("user_role", f"must be one of: {', '.join(_ROLES)}")
    return {"user_role": role} if role is not None else {}


def _teams(users: Fields) -> list[dict[str, Any]]:
    told = users.any("teams")
    if isinstance(told, list) and all(isinstance(each, str) for each in told):
        return [{"team_id": team_id} for team_id in told]
    found = []
    for team in users.entries("teams"):
        team_id, role = team.text("team_id"), team.text("user_role")
        budget = team.number("max_budget_in_team")
        if team_id is None:
            team.wrong("team_id", "is missing")
        if role not in {None, "user", "admin"}:
            team.wrong("user_role", "must be user or admin")
        found.append(
            {"team_id": team_id or ""}
            | ({"user_role": role} if role is not None else {})
            | ({"max_budget_in_team": budget} if budget is not None else {})
        )
    return found


def _renamed(library: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (most := library.number("max_internal_user_budget")) is not None:
        found["max_budget"] = most
    duration = library.text("internal_user_budget_duration")
    if duration is not None and not _DURATION.fullmatch(duration):
        library.wrong("internal_user_budget_duration", "must be a number and s, m, h, d, w or mo: `30d`")
    elif duration is not None:
        found["budget_duration"] = duration
    return found
