"""What the operator's configuration gives keys, users and teams that say nothing of it, and the most that keys may have."""

from collections.abc import Mapping
from typing import Any

from wayport.access.duration import after
from wayport.control.admin.fields import Given
from wayport.control.admin.key_fields import FOR_GOOD, GenerateKey
from wayport.control.admin.parts import Parts
from wayport.core.errors import BadRequest

_DURATIONS = ("duration", "budget_duration")


def for_new_key(body: GenerateKey, parts: Parts) -> GenerateKey:
    """Raises `BadRequest` for more than keys may have."""
    management = parts.models.settings().management
    given = _filled(body.given(), management.for_keys)
    return GenerateKey.model_validate(_bounded(given, management.most_for_keys, filling=True))


def for_changed_key(given: Given, parts: Parts) -> Given:
    """The same for a change: what it does not name stays. Null means: as much as keys may have."""
    return _bounded(given, parts.models.settings().management.most_for_keys, filling=False)


def for_new_user(given: Given, parts: Parts) -> Given:
    management = parts.models.settings().management
    if given.get("user_role") != "proxy_admin":
        given = _filled(given, management.for_users)
    if given.get("user_role") == "internal_user":
        given = _filled(given, management.for_internal_users)
    return given


def for_new_team(given: Given, parts: Parts) -> Given:
    return _filled(given, parts.models.settings().management.for_teams)


def _filled(given: Given, defaults: Mapping[str, Any]) -> Given:
    # A budget for good is said by null.
    kept = {name for name, value in given.items() if value not in (None, [], {}) or name == "budget_duration"}
    return {**given, **{name: value for name, value in defaults.items() if name not in kept}}


def _bounded(given: Given, most: Mapping[str, Any], *, filling: bool) -> Given:
    found = dict(given)
    for name, bound in most.items():
        value = given.get(name)
        if value is None:
            if filling or name in given:
                found[name] = bound
        elif _over(name, value, bound):
            raise BadRequest(
                f"{name} is over max limit set in config - user_value={value}; max_value={bound}", param=name
            )
    return found


def _over(name: str, value: Any, bound: Any) -> bool:
    if name not in _DURATIONS:
        return bool(value > bound)
    return value == FOR_GOOD or after(0.0, value, param=name) > after(0.0, bound)
