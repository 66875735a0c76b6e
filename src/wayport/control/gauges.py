"""What is true at the moment when metrics are asked for, as gauges: workers, deployments, callbacks, limits, budgets, people."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import inf

from wayport.control.facts import Place
from wayport.control.holdings import Counts, Names
from wayport.ledger.drain import DrainState
from wayport.observe.alerts import Holding
from wayport.observe.callbacks.base import CallbackState
from wayport.observe.metrics import NONE, Gauge
from wayport.observe.vitals import Vitals
from wayport.storage.counters import Entry

_BREAKERS = {"closed": 0, "half_open": 1, "open": 2}


def of_workers(vitals: Sequence[Vitals], deployments: Sequence[Place]) -> Iterator[Gauge]:
    worst: dict[str, str] = {}
    for each in vitals:
        labels = {"worker": str(each.worker)}
        for name, help_text, value in (
            ("wayport_calls_in_flight", "Calls that a worker is busy with.", each.calls_in_flight),
            ("wayport_calls_waiting", "Calls that wait for a place at a deployment.", each.calls_waiting),
            ("wayport_connections", "Open connections of clients.", each.connections),
            ("wayport_request_bytes_in_flight", "Bytes of requests that are held.", each.request_bytes),
            ("wayport_event_loop_lag_seconds", "How late the event loop was, at most, in a second.", each.loop_lag_s),
            ("wayport_spool_full", "Whether the journal has reached its limit.", int(each.spool_full)),
        ):
            yield Gauge(name, help_text, labels, value)
        for name, help_text, value in (
            (
                "wayport_refused_overload_total",
                "Calls turned away at the limit of calls in flight.",
                each.refused_overload,
            ),
            ("wayport_refused_early_total", "Calls refused before it was known whose they are.", each.refused_early),
            ("wayport_journaled_total", "Calls written to the journal.", each.journaled),
            ("wayport_lost_records_total", "Calls that could not be journaled.", each.lost),
            ("wayport_lost_usd_total", "Dollars of calls that could not be journaled.", each.lost_nano_usd / 1e9),
        ):
            yield Gauge(name, help_text, labels, value, kind="counter")
        for deployment, state in each.breakers.items():
            if _BREAKERS.get(state, 0) > _BREAKERS.get(worst.get(deployment, "closed"), 0):
                worst[deployment] = state
    for place in deployments:
        state = worst.get(place.id, "closed")
        labels = {"deployment": place.id, "provider": place.provider, "upstream_model": place.upstream_model}
        yield Gauge("wayport_breaker_state", "0 closed, 1 half open, 2 open: left alone.", labels, _BREAKERS[state])
        named = _litellms_place(place)
        yield Gauge("litellm_deployment_state", "0 healthy, 1 partial outage, 2 outage.", named, _BREAKERS[state])
        for limit, most in (("rpm", place.rpm), ("tpm", place.tpm)):
            if most is not None:
                grouped = {"model_group": place.model, **named}
                yield Gauge(f"litellm_deployment_{limit}_limit", f"The deployment's {limit}.", grouped, most)
    yield from _cooled(vitals, {place.id: place for place in deployments})


def _litellms_place(place: Place) -> dict[str, str]:
    return {
        "litellm_model_name": place.upstream_model,
        "model_id": place.id,
        "api_base": NONE,
        "api_provider": place.provider,
    }


def _cooled(vitals: Sequence[Vitals], places: Mapping[str, Place]) -> Iterator[Gauge]:
    times: Counter[tuple[str, str]] = Counter()
    for each in vitals:
        for deployment, by_status in each.cooled.items():
            for status, count in by_status.items():
                times[deployment, status] += count
    for (deployment, status), count in times.items():
        place = places.get(deployment)
        if place is not None:
            labels = {**_litellms_place(place), "exception_status": status if status != "0" else NONE}
            text = "Times that a deployment began to be left alone."
            yield Gauge("litellm_deployment_cooled_down_total", text, labels, count, kind="counter")


def of_journal(state: DrainState, backlog_bytes: int) -> Iterator[Gauge]:
    yield Gauge("wayport_journal_backlog_bytes", "Bytes of calls that wait for the database.", {}, backlog_bytes)
    for name, help_text, value in (
        ("records", "Calls read from the journal.", state.records),
        ("rejected", "Calls that no database takes; kept in rejected.jsonl.", state.rejected),
        ("damaged", "Damaged frames and segments of the journal.", state.damaged),
        ("abandoned", "Calls of dead processes, charged at their reservation.", state.abandoned),
    ):
        yield Gauge(f"wayport_journal_{name}_total", help_text, {}, value, kind="counter")


def of_callbacks(states: Iterable[CallbackState]) -> Iterator[Gauge]:
    """A team's own have its id as `team`."""
    failures: Counter[str] = Counter()
    for state in states:
        failures[state.name] += state.failures
        labels = {"callback": state.name, "team": state.team_id or ""}
        up = 1 if state.status == "healthy" else 0
        yield Gauge("wayport_callback_up", "Whether a callback takes calls.", labels, up)
        yield Gauge(
            "wayport_callback_backlog_bytes", "Bytes of calls that it was not told of.", labels, state.backlog_bytes
        )
        for name, help_text, value in (
            ("wayport_callback_delivered_total", "Calls that a callback was told of.", state.delivered),
            ("wayport_callback_dropped_total", "Calls that a callback was never told of.", state.dropped),
            ("wayport_callback_failures_total", "Tries that came to nothing.", state.failures),
        ):
            yield Gauge(name, help_text, labels, value, kind="counter")
    for name, count in failures.items():
        yield Gauge(
            "litellm_callback_logging_failures_metric_total",
            "Tries that came to nothing.",
            {"callback_name": name},
            count,
            kind="counter",
        )


# ------------------------------------------------------------------------------------------------------------- budgets
def _named(one: str, other: str) -> Callable[[str, str], dict[str, str]]:
    return lambda holder, shown: {one: holder, other: shown if shown != holder else NONE}


_BUDGETS: Mapping[str, tuple[str, Callable[[str, str], dict[str, str]]]] = {
    "key": ("api_key", _named("hashed_api_key", "api_key_alias")),
    "team": ("team", _named("team", "team_alias")),
    "user": ("user", lambda holder, _: {"user": holder}),
    "project": ("project", _named("project_id", "project_alias")),
    "organization": ("org", _named("org_id", "org_alias")),
    "end_user": ("customer", lambda holder, _: {"end_user": holder}),
}


def of_budgets(held: Iterable[Holding], *, now_s: float, end_users: bool) -> Iterator[Gauge]:
    """`end_users`: whether they are told apart."""
    told: set[tuple[str, str]] = set()
    for each in held:
        scope, _, holder = each.holder.partition(":")
        # Several budgets of one holder: the first is the one that LiteLLM's dashboards know.
        if each.soft or scope not in _BUDGETS or (scope, holder) in told or (scope == "end_user" and not end_users):
            continue
        told.add((scope, holder))
        name, labels_of = _BUDGETS[scope]
        labels = labels_of(holder, each.shown)
        left = (each.budget_nano_usd - each.spent_nano_usd) / 1e9
        yield Gauge(f"litellm_remaining_{name}_budget_metric", "Dollars left of a budget.", labels, left)
        yield Gauge(f"litellm_{name}_max_budget_metric", "Dollars of a budget.", labels, each.budget_nano_usd / 1e9)
        if each.ends_s != inf:
            hours = max(0.0, each.ends_s - now_s) / 3600
            text = "Hours until a budget begins anew."
            yield Gauge(f"litellm_{name}_budget_remaining_hours_metric", text, labels, round(hours, 3))


# -------------------------------------------------------------------------------------------------------------- limits
def of_rates(entries: Iterable[Entry], *, names: Names, now_s: float) -> Iterator[Gauge]:
    """Limits of requests and tokens of keys, teams and projects whose window runs on this node."""
    for entry in entries:
        if entry.kind not in ("requests", "tokens") or now_s >= entry.ends_s:
            continue
        whose, _, rest = entry.counter.partition("|")
        scope, _, holder = whose.partition(":")
        _, _, model = rest.partition("|")
        yield from _rate(scope, holder, model, entry, names)


def _rate(scope: str, holder: str, model: str, entry: Entry, names: Names) -> Iterator[Gauge]:
    used = entry.carried + sum(part.held - part.free for part in entry.parts.values())
    key = {"hashed_api_key": holder, "api_key_alias": names.keys.get(holder, NONE)}
    if scope == "key" and model:
        labels = {**key, "model": model, "model_id": NONE}
        text = f"What is left of a key's {entry.kind} for a model in the present window."
        name = f"litellm_remaining_api_key_{entry.kind}_for_model"
        yield Gauge(name, text, labels, max(0, entry.limit - used))
        return
    holders = {
        "key": ("api_key", key),
        "team": ("team", {"team": holder, "team_alias": names.teams.get(holder, NONE)}),
        "project": ("project_model", {"project_id": holder, "project_alias": NONE, "requested_model": model}),
    }
    if scope not in holders or bool(model) != (scope == "project"):
        return
    name, labels = holders[scope]
    labels = {**labels, "rate_limit_type": entry.kind}
    yield Gauge(f"litellm_{name}_rate_limit_allowed_metric", "A limit per window.", labels, entry.limit)
    yield Gauge(f"litellm_{name}_rate_limit_used_metric", "What is used of it in the present window.", labels, used)


# -------------------------------------------------------------------------------------------------------------- people
def of_counts(counts: Counts, names: Names) -> Iterator[Gauge]:
    yield Gauge("litellm_total_users", "Users that exist.", {}, counts.users)
    yield Gauge("litellm_active_users", "Users who called within 24 hours.", {}, counts.active_users)
    yield Gauge("litellm_teams_count", "Teams that exist.", {}, counts.teams)
    for team, count in counts.members.items():
        labels = {"team": team, "team_alias": names.teams.get(team, NONE)}
        yield Gauge("litellm_team_members_metric", "Members of a team.", labels, count)
