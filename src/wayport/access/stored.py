"""From limits as they are stored (terms.py) to what binds calls (principal.py)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wayport.access.budgets import window_at
from wayport.access.gauges import Everybody
from wayport.access.principal import Budget, Holder, Limits, Rate, Scope, rates_of
from wayport.core.money import nano_from_usd


def holder_of(
    scope: Scope,
    holder_id: str,
    limits: Mapping[str, Any],
    *,
    name: str | None = None,
    calendar: bool = False,
    models: tuple[str, ...] = (),
    blocked: bool = False,
    region: str | None = None,
) -> Holder | None:
    """None: nothing binds it."""
    budgets = _budgets(limits, calendar=calendar)
    rates = _rates(limits)
    parallel = limits.get("max_parallel_requests")
    if not (budgets or rates or models or blocked or region or parallel is not None):
        return None
    return Holder(
        scope=scope, id=holder_id, name=name, budgets=budgets, rates=rates, max_parallel=parallel, models=models,
        blocked=blocked, region=region,
    )  # fmt: skip


def everybody_of(limits: Mapping[str, Mapping[str, Any]], *, calendar: bool = False) -> Everybody:
    """`limits`: by model; under the empty name those of the whole gateway."""
    found = (holder_of("model" if name else "gateway", name, told, calendar=calendar) for name, told in limits.items())
    return Everybody(holder for holder in found if holder is not None)


def begins_anew_s(limits: Mapping[str, Any], now_s: float, *, calendar: bool = False) -> float | None:
    """When the budget begins anew; None: there is none, or it is for good."""
    duration = limits.get("budget_duration")
    if duration is None:
        return None
    budget = Budget(
        duration=duration, anchor_s=limits.get("anchor_s", 0.0), calendar=limits.get("calendar_aligned", calendar)
    )
    return window_at(budget, now_s).end_s


def plain_limits(limits: Mapping[str, Any]) -> Limits:
    return Limits(
        max_budget_nano_usd=_nano(limits.get("max_budget")),
        soft_budget_nano_usd=_nano(limits.get("soft_budget")),
        budget_duration=limits.get("budget_duration"),
        rpm=limits.get("rpm_limit"),
        tpm=limits.get("tpm_limit"),
        max_parallel=limits.get("max_parallel_requests"),
    )


def _budgets(limits: Mapping[str, Any], *, calendar: bool) -> tuple[Budget, ...]:
    calendar = limits.get("calendar_aligned", calendar)
    # A budget for good counts all that was ever spent, unless it was reset.
    periodic_s, for_good_s = limits.get("anchor_s", 0.0), limits.get("reset_s", 0.0)
    found = []
    most, soft = _nano(limits.get("max_budget")), _nano(limits.get("soft_budget"))
    if most is not None or soft is not None:
        until_s = _moment(limits.get("temp_budget_expiry"))
        found.append(
            Budget(
                max_nano_usd=most,
                soft_nano_usd=soft,
                duration=limits.get("budget_duration"),
                anchor_s=periodic_s if limits.get("budget_duration") else for_good_s,
                calendar=calendar,
                increase_nano_usd=(_nano(limits.get("temp_budget_increase")) or 0) if until_s is not None else 0,
                increase_until_s=until_s,
            )
        )
    windows: list[tuple[str | None, Any]] = [(None, window) for window in limits.get("budget_limits") or ()]
    windows += sorted((limits.get("model_max_budget") or {}).items())
    for model, window in windows:
        told = window if isinstance(window, dict) else {"max_budget": window}
        most = _nano(_first(told, "max_budget", "budget_limit"))
        if most is None:
            continue
        duration = _first(told, "budget_duration", "time_period")
        anchor_s = periodic_s if duration else for_good_s
        found.append(Budget(max_nano_usd=most, duration=duration, anchor_s=anchor_s, calendar=calendar, model=model))
    return tuple(found)


def _rates(limits: Mapping[str, Any]) -> tuple[Rate, ...]:
    found = list(
        rates_of(
            rpm=limits.get("rpm_limit"),
            tpm=limits.get("tpm_limit"),
            rpd=limits.get("rpd_limit"),
            tpd=limits.get("tpd_limit"),
        )
    )
    for model, most in (limits.get("model_rpm_limit") or {}).items():
        found += rates_of(rpm=most, model=model)
    for model, most in (limits.get("model_tpm_limit") or {}).items():
        found += rates_of(tpm=most, model=model)
    return tuple(found)


def _first(told: Mapping[str, Any], *names: str) -> Any:
    return next((told[name] for name in names if told.get(name) is not None), None)


def _nano(usd: Any) -> int | None:
    return None if usd is None else nano_from_usd(usd)


def _moment(text: Any) -> float | None:
    if not isinstance(text, str):
        return None
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
