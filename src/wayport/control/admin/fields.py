"""Fields that several requests of the admin API share, and how a request becomes a change of stored rows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from wayport.access.allow import covers
from wayport.access.duration import after
from wayport.access.rows import Managed, Patch
from wayport.access.stored import begins_anew_s
from wayport.access.terms import BUDGETS, LIMITS
from wayport.control.admin.words import iso
from wayport.core.errors import BadRequest
from wayport.core.money import nano_from_usd

_MOST = 2**53
_FAR_S = 86_400.0 * 366 * 100


def _duration(value: str) -> str:
    try:
        moment_s = after(0.0, value)
    except BadRequest as error:
        raise ValueError(error.message) from None
    if moment_s > _FAR_S:
        raise ValueError("is longer than a hundred years")
    return value.strip()


def _moment(value: str) -> str:
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        raise ValueError("write 2026-11-20T15:30:00Z") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=_MOST)]
Duration = Annotated[str, AfterValidator(_duration)]
Moment = Annotated[str, AfterValidator(_moment)]
Id = Annotated[str, Field(min_length=1, max_length=255)]
Name = Annotated[str, Field(max_length=255)]
Words = list[Annotated[str, Field(max_length=1000)]]
Given = dict[str, Any]


class Window(BaseModel):
    """So much money in each such time."""

    model_config = ConfigDict(extra="forbid")

    max_budget: Usd
    budget_duration: Duration | None = None


class ModelBudget(BaseModel):
    model_config = ConfigDict(extra="allow")

    max_budget: Usd | None = None
    budget_limit: Usd | None = Field(default=None, description="The same as `max_budget`.")
    budget_duration: Duration | None = None
    time_period: Duration | None = Field(default=None, description="The same as `budget_duration`.")


class Request(BaseModel):
    """Fields that are not listed are kept and given back."""

    model_config = ConfigDict(extra="allow")

    def given(self) -> Given:
        """What the caller named, whatever its value."""
        return self.model_dump(exclude_unset=True, mode="json")


class Bounded(Request):
    """What something may use at most; null: no limit of this kind."""

    max_budget: Usd | None = Field(default=None, description="US dollars.")
    soft_budget: Usd | None = Field(default=None, description="US dollars; only warns.")
    budget_duration: Duration | None = Field(default=None, description="`30d`: after this the budget begins anew.")
    budget_limits: list[Window] | None = Field(default=None, description="Several budgets at once; each binds.")
    calendar_aligned: bool | None = Field(default=None, description="Periods begin with the day, week or month (UTC).")
    tpm_limit: Count | None = Field(default=None, description="Tokens per minute.")
    rpm_limit: Count | None = Field(default=None, description="Requests per minute.")
    tpd_limit: Count | None = Field(default=None, description="Tokens per day.")
    rpd_limit: Count | None = Field(default=None, description="Requests per day.")
    max_parallel_requests: Count | None = Field(default=None, description="Requests at the same time.")
    model_max_budget: dict[Name, ModelBudget | Usd] | None = Field(default=None, description="Budgets per model.")
    model_rpm_limit: dict[Name, Count] | None = Field(default=None, description="Requests per minute, per model.")
    model_tpm_limit: dict[Name, Count] | None = Field(default=None, description="Tokens per minute, per model.")
    temp_budget_increase: Usd | None = Field(
        default=None, description="On top of `max_budget` until `temp_budget_expiry`."
    )
    temp_budget_expiry: Moment | None = None


class ResetSpend(BaseModel):
    reset_to: Usd = 0.0


# Nobody must seem to be bounded by something that nothing enforces yet.
NOT_ENFORCED = frozenset(
    {"budget_fallbacks", "enforced_params", "guardrails", "mcp_rpm_limit", "object_permission", "tag_rpm_limit"}
)
_OURS = frozenset({"anchor_s", "reset_s", "spend_before_nano_usd", "counted_as"})


def patch_of(
    given: Mapping[str, Any], columns: Mapping[str, str], now_s: float, *, before: Mapping[str, Any] | None = None
) -> Patch:
    """A request as a change. `columns`: field to column; limits go to `limits`, everything else to `settings`.

    `before`: the limits as they are, for a change. Raises `BadRequest` for what nothing enforces.
    """
    inside: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if name in NOT_ENFORCED and value not in (None, [], {}):
            raise BadRequest(
                f"`{name}`: this version does not enforce it, so it takes no word of it.",
                param=name,
                code="unsupported",
            )
        if name in columns:
            inside[columns[name]] = value
        elif name in LIMITS and name not in _OURS:
            limits[name] = None if value in ([], {}) else value
        elif name not in _OURS:
            settings[name] = value
    if BUDGETS & limits.keys() and (before is None or _begins(before, limits)):
        limits["anchor_s"] = now_s
    return Patch(columns=inside, limits=limits, settings=settings)


def _begins(before: Mapping[str, Any], limits: Mapping[str, Any]) -> bool:
    """Whether a period begins with this change: there was no budget, or it had another length."""
    if "anchor_s" not in before:
        return True
    return "budget_duration" in limits and limits["budget_duration"] != before.get("budget_duration")


_SHOWN = (
    "max_budget", "soft_budget", "budget_duration", "budget_limits", "tpm_limit", "rpm_limit", "tpd_limit",
    "max_parallel_requests",
)  # fmt: skip


def show_limits(limits: Mapping[str, Any], now_s: float, *, calendar: bool) -> dict[str, Any]:
    """The limits as clients read them: those that people ask for are always there."""
    shown: dict[str, Any] = dict.fromkeys(_SHOWN)
    shown |= {name: value for name, value in limits.items() if name not in _OURS}
    shown["model_max_budget"] = limits.get("model_max_budget") or {}
    shown["budget_reset_at"] = iso(begins_anew_s(limits, now_s, calendar=calendar))
    return shown


class Above(Protocol):
    """What stands above something else, and bounds it."""

    @property
    def id(self) -> str: ...
    @property
    def models(self) -> Sequence[str]: ...
    @property
    def limits(self) -> Mapping[str, Any]: ...


_AT_MOST = ("max_budget", "tpm_limit", "rpm_limit")
_ALL_OF_ABOVE = frozenset({"all-team-models", "all-org-models", "all-proxy-models", "no-default-models"})
"""names of LiteLLM's for what the list above says, whatever that is"""


def check_within(
    given: Given, what: str, above: Above, whose: str, *, known: Callable[[str], bool] = lambda _: True
) -> None:
    """What is promised more than what stands above it has would be refused call by call: say so at once. `known`: whether a
    name is a model's; others may stand for several.
    """
    sure = all(known(name) for name in above.models)
    for model in (given.get("models") or ()) if sure else ():
        if above.models and model not in _ALL_OF_ABOVE and not covers(above.models, model):
            raise BadRequest(
                f"Model '{model}' not in {whose}'s allowed models. {whose.capitalize()} allowed models={list(above.models)}. "
                f"{whose.capitalize()}: {above.id}",
                param="models",
            )
    for name in _AT_MOST:
        most, told = above.limits.get(name), given.get(name)
        if most is not None and told is not None and told > most:
            raise BadRequest(
                f"{what} {name} ({told}) exceeds {whose}'s {name} ({most}). {whose.capitalize()}: {above.id}",
                param=name,
            )


def with_tags(kept: Given, given: Given, before: Managed | None) -> None:
    """Tags of teams and projects stand in their metadata."""
    if "tags" in given:
        metadata = kept.get("metadata")
        known = metadata if metadata is not None else (before.metadata if before is not None else {})
        kept["metadata"] = {**known, "tags": given["tags"] or []}


def merge_patched(before: Any, patch: Any) -> Any:
    """RFC 7386: what the patch names is replaced, objects are merged, null removes."""
    if not isinstance(patch, dict):
        return patch
    known = before if isinstance(before, dict) else {}
    changed = {name: merge_patched(known.get(name), value) for name, value in patch.items() if value is not None}
    return {name: value for name, value in known.items() if name not in patch} | changed


def show_row(row: Managed) -> dict[str, Any]:
    """What every managed row says of itself."""
    return {
        **row.settings,
        "metadata": row.metadata,
        "blocked": row.blocked,
        "created_at": iso(row.created_s),
        "created_by": row.created_by,
        "updated_at": iso(row.updated_s),
        "updated_by": row.updated_by,
    }


def spend_as(told_usd: float, spent_nano_usd: int, now_s: float) -> dict[str, Any]:
    """What to store so that the spend counts as `told_usd` from now on, and budgets begin anew."""
    return {"spend_before_nano_usd": spent_nano_usd - nano_from_usd(told_usd), "anchor_s": now_s, "reset_s": now_s}
