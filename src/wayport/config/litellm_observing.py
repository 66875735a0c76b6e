"""How LiteLLM's file writes metrics, kept prompts, retention and alerts."""

import re
from typing import cast

from wayport.config.fields import Fields
from wayport.config.observing import (
    AlertKind,
    AlertSettings,
    AlertTarget,
    BodiesSettings,
    MetricsSettings,
    RetentionSettings,
)

_DAY_S = 86_400
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": _DAY_S, "w": 7 * _DAY_S, "mo": 30 * _DAY_S}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(mo|s|m|h|d|w)")


def litellms(
    library: Fields, general: Fields
) -> tuple[MetricsSettings, BodiesSettings, RetentionSettings, AlertSettings]:
    """What `litellm_settings` and `general_settings` say of it."""
    metrics = MetricsSettings(require_key=bool(library.flag("require_auth_for_metrics_endpoint")))
    bodies = BodiesSettings(store=bool(general.flag("store_prompts_in_spend_logs")))
    kept_s = _seconds(general, "maximum_spend_logs_retention_period")
    retention = RetentionSettings(
        calls_days=kept_s / _DAY_S if kept_s else None,
        every_s=_seconds(general, "maximum_spend_logs_retention_interval") or 3600.0,
        batch=general.whole("maximum_spend_logs_cleanup_batch_size", least=1, most=100_000) or 1_000,
    )
    return metrics, bodies, retention, _alerts(general)


def _alerts(general: Fields) -> AlertSettings:
    targets: list[AlertTarget] = []
    for kind in general.words("alerting"):
        if kind in ("slack", "webhook", "email"):
            targets.append(AlertTarget(kind=cast("AlertKind", kind)))
        else:
            general.reading.warn((*general.path, "alerting"), f"`{kind}` is no alert target of ours; it is ignored")
    slow_s = general.number("alerting_threshold")
    return AlertSettings(targets=tuple(targets), slow_s=slow_s or AlertSettings().slow_s)


def _seconds(section: Fields, key: str) -> float | None:
    text = section.text(key)
    if text is None:
        return None
    if (match := _DURATION.fullmatch(text)) is None:
        section.wrong(key, "must be a duration, as 30d")
        return None
    return float(match[1]) * _UNITS_S[match[2]]
