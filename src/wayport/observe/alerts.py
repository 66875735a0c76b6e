"""What needs a person: found in records as they pass, and in what is looked at from time to time.

Each kind of alert about each subject is told once in `repeat_s`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any, TypeVar

from msgspec import Struct

from wayport.config.observing import AlertSettings
from wayport.core.clock import Clock
from wayport.core.money import usd_text
from wayport.core.record import CallRecord
from wayport.observe.vitals import Vitals

_Name = TypeVar("_Name", str, tuple[str, str, str])

WINDOW_S = 300.0
_SLOT_S = 10.0
_MOST_NAMES = 1_000
"""models and deployments that are told apart within a slot: clients may ask for any name"""
_LEAST_HOURS = 12
"""an hour is unusual only beside so many others"""
_LEAST_NANO_USD = 1_000_000_000
"""below a dollar an hour nothing is unusual"""


class Alert(Struct, frozen=True, kw_only=True):
    kind: str
    """`budget`, `soft_budget`, `error_rate`, `slow_deployment`, `breaker_open`, `unpriced_model`, `journal`, `anomaly`,
    `key_rotated`"""
    subject: str
    """whom it is about: a model, a deployment, `key:…`"""
    message: str
    details: dict[str, Any] = {}
    at_s: float = 0.0


class Holding(Struct, frozen=True, kw_only=True):
    """A budget and what is spent of it."""

    holder: str
    """`key:…`, `team:…`"""
    shown: str
    spent_nano_usd: int
    budget_nano_usd: int
    period: str = ""
    """`30d`; empty: for good"""
    soft: bool = False
    """it only warns"""
    ends_s: float = inf
    """of its present window, seconds since the epoch"""


class Hours(Struct, frozen=True, kw_only=True):
    """What somebody did by the hour: the present one, and those before it in which there was anything."""

    subject: str
    now: Mapping[str, int]
    """`spend_nano_usd`, `calls`, `failures`"""
    before: Sequence[Mapping[str, int]]


class _Sum:
    """What calls came to, of one model or deployment within one slot of time."""

    __slots__ = ("calls", "failed", "took_s")

    def __init__(self) -> None:
        self.calls = 0
        self.failed = 0
        self.took_s = 0.0

    def add(self, other: "_Sum") -> None:
        self.calls += other.calls
        self.failed += other.failed
        self.took_s += other.took_s


class _Slot:
    """Ten seconds: what is kept does not grow with the number of calls."""

    __slots__ = ("deployments", "models")

    def __init__(self) -> None:
        self.models: dict[str, _Sum] = {}
        self.deployments: dict[tuple[str, str, str], _Sum] = {}
        """those that went well, by deployment, provider and model"""


class Alerts:
    def __init__(self, settings: AlertSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._told: dict[tuple[str, str], float] = {}
        self._waiting: list[Alert] = []
        self._lost: dict[int, int] = {}
        """by process of a worker"""

    def take(self) -> list[Alert]:
        """What is to be told now."""
        found, self._waiting = self._waiting, []
        return found

    def add(self, record: CallRecord) -> None:
        """Looks at a call. A client that left says nothing of the model."""
        if record.status != "cancelled":
            self._count(record)
        if record.cost_nano_usd is None and record.usage is not None and record.status == "success":
            model = f"{record.provider}/{record.upstream_model}"
            self._tell(
                "unpriced_model",
                model,
                f"{model} has no price: its calls are counted at $0. Give it one in the configuration.",
                call_id=record.call_id,
            )

    def _count(self, record: CallRecord) -> None:
        slot_s = int(record.ended_s // _SLOT_S)
        slot = self._slots.get(slot_s)
        if slot is None:
            self._forget()
            if record.ended_s < self._clock.now_s() - WINDOW_S:
                return
            slot = self._slots[slot_s] = _Slot()
        took_s = record.ended_s - record.started_s
        failed = record.status != "success" and record.http_status >= 429
        _count(slot.models, record.model or record.model_asked, took_s, failed=failed)
        if record.deployment and not failed:
            where = (record.deployment, record.provider, record.model or record.model_asked)
            _count(slot.deployments, where, took_s, failed=False)

    def _forget(self) -> None:
        oldest = (self._clock.now_s() - WINDOW_S) // _SLOT_S
        for slot_s in [each for each in self._slots if each < oldest]:
            del self._slots[slot_s]

    def key_rotated(self, name: str) -> None:
        """A key was replaced by itself."""
        text = (
            f"The key {name} was replaced as it asked for; GET /key/rotated tells the new one to who has the old one."
        )
        self._tell("key_rotated", name, text)

    def look_at_rates(self) -> None:
        """Error rates of models and mean durations of deployments, over five minutes."""
        self._forget()
        by_model: dict[str, _Sum] = {}
        by_deployment: dict[tuple[str, str, str], _Sum] = {}
        for slot in self._slots.values():
            for name, seen in slot.models.items():
                by_model.setdefault(name, _Sum()).add(seen)
            for where, seen in slot.deployments.items():
                by_deployment.setdefault(where, _Sum()).add(seen)
        settings = self._settings
        for model, found in by_model.items():
            if found.calls >= settings.least_calls and found.failed / found.calls >= settings.error_rate:
                text = f"{found.failed} of {found.calls} calls of {model} failed within five minutes."
                self._tell("error_rate", model, text, failed=found.failed, calls=found.calls)
        for (deployment, provider, model), found in by_deployment.items():
            mean_s = found.took_s / found.calls
            if found.calls >= settings.least_calls and mean_s >= settings.slow_s:
                text = f"{model} at {provider} takes {mean_s:.1f} s on average ({found.calls} calls in five minutes)."
                self._tell("slow_deployment", deployment, text, model=model, provider=provider, mean_s=round(mean_s, 2))

    def look_at_workers(self, vitals: Iterable[Vitals]) -> None:
        lost, more = 0, False
        for each in vitals:
            lost += each.lost
            more = more or each.lost > self._lost.get(each.pid, 0)
            self._lost[each.pid] = each.lost
            for deployment, state in each.breakers.items():
                if state == "open":
                    text = f"Deployment {deployment} is left alone: it keeps failing."
                    self._tell("breaker_open", deployment, text, worker=each.worker)
        if more:
            self._tell("journal", "lost", f"{lost} calls could not be journaled; their cost is not counted.", lost=lost)

    def look_at_journal(self, backlog_bytes: int, error: str | None) -> None:
        if backlog_bytes >= self._settings.backlog_bytes:
            text = f"{backlog_bytes / 1024**2:.0f} MB of calls wait for the database."
            self._tell("journal", "backlog", text, backlog_bytes=backlog_bytes, error=error)

    def look_at_budgets(self, holdings: Iterable[Holding]) -> None:
        for held in holdings:
            if held.budget_nano_usd <= 0:
                continue
            share = held.spent_nano_usd / held.budget_nano_usd
            shares = (1.0,) if held.soft else self._settings.budget_shares
            crossed = [limit for limit in shares if share >= limit]
            if crossed:
                spent, budget = usd_text(held.spent_nano_usd), usd_text(held.budget_nano_usd)
                self._tell(
                    "soft_budget" if held.soft else "budget",
                    f"{held.holder}/{held.period}@{crossed[-1]:g}",
                    f"{held.shown} has spent ${spent} of ${budget} ({share:.0%}){f' within {held.period}' if held.period else ''}.",
                    holder=held.holder,
                    spend=spent,
                    max_budget=budget,
                )

    def look_at_hours(self, all_hours: Iterable[Hours]) -> None:
        """Spend, calls or errors above so many times the mean of the hours in which there were any."""
        factor = self._settings.anomaly_factor
        for hours in all_hours:
            if len(hours.before) < _LEAST_HOURS:
                continue
            for measure, least in (
                ("spend_nano_usd", _LEAST_NANO_USD),
                ("calls", self._settings.least_calls),
                ("failures", self._settings.least_calls),
            ):
                now = hours.now.get(measure, 0)
                usual = sum(hour.get(measure, 0) for hour in hours.before) / len(hours.before)
                if now >= least and now > factor * usual:
                    word, shown, before = _shown(measure, now, usual)
                    text = f"{hours.subject}: {shown} {word} in the last hour; usual are {before}."
                    self._tell("anomaly", f"{hours.subject}/{word}", text, measure=word, now=shown, usual=before)

    def _tell(self, kind: str, subject: str, message: str, **details: Any) -> None:
        now_s = self._clock.now_s()
        if now_s < self._told.get((kind, subject), float("-inf")) + self._settings.repeat_s:
            return
        if len(self._told) >= 10_000:
            for old in list(islice(self._told, 5_000)):
                del self._told[old]
        self._told[kind, subject] = now_s
        self._waiting.append(Alert(kind=kind, subject=subject, message=message, details=details, at_s=now_s))


def _count(sums: dict[_Name, _Sum], name: _Name, took_s: float, *, failed: bool) -> None:
    found = sums.get(name)
    if found is None:
        if len(sums) >= _MOST_NAMES:
            return
        found = sums[name] = _Sum()
    found.calls += 1
    found.failed += failed
    found.took_s += took_s


def _shown(measure: str, now: int, usual: float) -> tuple[str, str, str]:
    if measure == "spend_nano_usd":
        return "dollars", f"{now / 1e9:.2f}", f"{usual / 1e9:.2f}"
    return measure, str(now), f"{usual:.1f}"
