"""Prometheus: counters and histograms made of records, under LiteLLM's names and ours. Off the hot path.

What must stay true: there are at most `max_series` series. What comes beyond is counted with every label `other`, so sums
stay right and memory bounded.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from wayport.core.money import NANO_PER_USD
from wayport.core.record import AttemptRecord, CallRecord
from wayport.observe.metric_names import COUNTERS, HISTOGRAMS, Counter, Histogram, exception_class

NONE = "None"
"""what LiteLLM's dashboards expect where a label has no value"""
OTHER = "other"


class Gauge(Struct, frozen=True):
    """A value of this moment, asked for when it is scraped."""

    name: str
    help: str
    labels: Mapping[str, str]
    value: float
    kind: str = "gauge"


class Rules(Struct, frozen=True, kw_only=True):
    max_series: int = 10_000
    end_user: bool = False
    client_ip: bool = False
    user_agent: bool = False


class _Sum:
    """The value of a counter's series."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0


class _Buckets:
    __slots__ = ("counts", "total")

    def __init__(self, size: int) -> None:
        self.counts = [0] * (size + 1)
        self.total = 0.0


_OF_CALLS = [counter for counter in COUNTERS if counter.of_calls]
_OF_ATTEMPTS = [counter for counter in COUNTERS if counter.of_attempt is not None]
_ALIKE = 2_000
_ATTEMPTS = 256


class _Alike:
    """The series of records whose labels are the same, each looked up once; None: not yet, or it is `other`."""

    __slots__ = ("attempts", "counters", "histograms", "labels")

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.labels = labels
        self.counters: list[_Sum | None] = [None] * len(_OF_CALLS)
        self.histograms: list[_Buckets | None] = [None] * len(HISTOGRAMS)
        self.attempts: dict[tuple[object, ...], tuple[Mapping[str, str], list[_Sum | None]]] = {}


Gauges = Callable[[], Iterable[Gauge]]


class Metrics:
    """Add records; `render` gives the text of `/metrics`."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._counters: dict[str, dict[tuple[str, ...], _Sum]] = {counter.name: {} for counter in COUNTERS}
        self._histograms: dict[str, dict[tuple[str, ...], _Buckets]] = {h.name: {} for h in HISTOGRAMS}
        self._alike: dict[tuple[object, ...], _Alike] = {}
        self._series = 0
        self._teams: Mapping[str, str] = {}
        self._emails: Mapping[str, str] = {}
        self.overflowed = 0
        """values that were counted as `other`"""
        self.left_out = 0
        """gauges beyond `max_series`, when it was last rendered"""

    @property
    def series(self) -> int:
        return self._series

    def name(self, *, teams: Mapping[str, str], emails: Mapping[str, str]) -> None:
        """What people call teams and users, for the labels `team_alias` and `user_email`."""
        self._teams, self._emails = teams, emails
        self._alike.clear()

    def add(self, record: CallRecord) -> None:
        key = _likeness(record, self._rules)
        alike = self._alike.get(key) or self._learn(key, record)
        for index, counter in enumerate(_OF_CALLS):
            amount = counter.amount(record)
            if amount:
                self._count(counter, alike.labels, amount, known=alike.counters, index=index)
        buckets = alike.histograms
        for index, histogram in enumerate(HISTOGRAMS):
            value = histogram.value(record)
            if value is not None:
                found = buckets[index] or self._buckets(histogram, alike.labels, buckets, index)
                found.counts[bisect_left(histogram.buckets, value)] += 1
                found.total += value
        self._attempts(record, alike)

    def _learn(self, key: tuple[object, ...], record: CallRecord) -> _Alike:
        labels = labels_of(record, self._rules)
        labels["team_alias"] = self._teams.get(record.team_id or "", NONE)
        labels["user_email"] = self._emails.get(record.user_id or "", NONE)
        if len(self._alike) >= _ALIKE:
            self._alike.clear()
        alike = self._alike[key] = _Alike(labels)
        return alike

    def _attempts(self, record: CallRecord, alike: _Alike) -> None:
        """What each attempt says of its deployment."""
        for number, attempt in enumerate(record.attempts):
            key = (
                attempt.deployment,
                attempt.provider,
                attempt.model,
                attempt.error_class,
                attempt.status,
                attempt.reason,
            )
            found = alike.attempts.get(key)
            if found is None:
                if len(alike.attempts) >= _ATTEMPTS:
                    alike.attempts.clear()
                found = alike.attempts[key] = _of_attempt(alike.labels, attempt), [None] * len(_OF_ATTEMPTS)
            labels, known = found
            for index, counter in enumerate(_OF_ATTEMPTS):
                assert counter.of_attempt is not None
                if amount := counter.of_attempt(record, attempt, number):
                    self._count(counter, labels, amount, known=known, index=index)

    def _count(
        self, counter: Counter, labels: Mapping[str, str], amount: float, *, known: list[_Sum | None], index: int
    ) -> None:
        found = known[index]
        if found is None:
            series = self._counters[counter.name]
            key, own = self._key(counter.labels, labels, series)
            found = series.get(key)
            if found is None:
                found = series[key] = _Sum()
            if own:
                known[index] = found
        found.value += amount

    def _buckets(
        self, histogram: Histogram, labels: Mapping[str, str], known: list[_Buckets | None], index: int
    ) -> _Buckets:
        series = self._histograms[histogram.name]
        key, own = self._key(histogram.labels, labels, series)
        found = series.get(key)
        if found is None:
            found = series[key] = _Buckets(len(histogram.buckets))
        if own:
            known[index] = found
        return found

    def _key(
        self, names: Sequence[str], labels: Mapping[str, str], series: Mapping[tuple[str, ...], object]
    ) -> tuple[tuple[str, ...], bool]:
        """That of a series, and whether it is its own or that of all `other`s."""
        key = tuple([labels.get(name, NONE) for name in names])
        if key in series:
            return key, True
        admitted = self._admit(key, series)
        return admitted, admitted is key

    def _admit(self, key: tuple[str, ...], known: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
        if self._series < self._rules.max_series:
            self._series += 1
            return key
        self.overflowed += 1
        other = (OTHER,) * len(key)
        if other not in known:
            self._series += 1
        return other

    def render(self, gauges: Iterable[Gauge] = ()) -> bytes:
        lines: list[str] = []
        for counter in COUNTERS:
            if values := self._counters[counter.name]:
                name = f"{counter.name.removesuffix('_total')}_total"
                lines += _head(name, counter.help, "counter")
                lines += [
                    f"{name}{_labels(counter.labels, key)} {_number(found.value)}" for key, found in values.items()
                ]
        for histogram in HISTOGRAMS:
            if found := self._histograms[histogram.name]:
                lines += _head(histogram.name, histogram.help, "histogram")
                for key, buckets in found.items():
                    lines += _histogram(histogram, key, buckets)
        lines += _gauges([*self._shown(gauges), *self._own()])
        lines.append("")
        return "\n".join(lines).encode()

    def _shown(self, gauges: Iterable[Gauge]) -> list[Gauge]:
        """As many as there may be series: there can be a budget for each of a million keys."""
        found = list(gauges)
        self.left_out = max(0, len(found) - self._rules.max_series)
        return found[: self._rules.max_series]

    def _capture_rates(self) -> Iterable[Gauge]:
        """Of the calls that went well, the share whose cost is known, by provider."""
        calls: dict[str, float] = defaultdict(float)
        for (_, _, provider, status, _), found in self._counters["wayport_calls_total"].items():
            if status == "success":
                calls[provider] += found.value
        unpriced: dict[str, float] = defaultdict(float)
        for (_, provider), found in self._counters["wayport_unpriced_calls_total"].items():
            unpriced[provider] += found.value
        for provider, count in calls.items():
            known = max(0.0, 1 - unpriced[provider] / count)
            text = "Share of the calls whose cost is known."
            yield Gauge("litellm_spend_capture_rate", text, {"api_provider": provider}, known)

    def _own(self) -> Iterable[Gauge]:
        yield from self._capture_rates()
        yield Gauge("wayport_metrics_series", "Series that are kept.", {}, self._series)
        yield Gauge("wayport_metrics_left_out", "Gauges beyond `max_series`, which are not shown.", {}, self.left_out)
        yield Gauge(
            "wayport_metrics_overflow_total",
            "Values counted under `other`, because there were too many series.",
            {},
            self.overflowed,
            kind="counter",
        )


def _likeness(record: CallRecord, rules: Rules) -> tuple[object, ...]:
    """All that `labels_of` looks at."""
    return (
        record.key_hash,
        record.key_alias,
        record.team_id,
        record.user_id,
        record.model_asked,
        record.model,
        record.upstream_model,
        record.deployment,
        record.provider,
        record.route,
        record.operation,
        record.http_status,
        record.status,
        record.error_class,
        record.service_tier,
        record.stream,
        record.usage_source,
        record.end_user if rules.end_user else None,
        record.client_address if rules.client_ip else None,
        record.agent if rules.user_agent else None,
    )


def _of_attempt(labels: Mapping[str, str], attempt: AttemptRecord) -> Mapping[str, str]:
    return {
        **labels,
        "deployment": attempt.deployment,
        "provider": attempt.provider,
        "model_id": attempt.deployment,
        "api_provider": attempt.provider,
        "litellm_model_name": attempt.model,
        "exception_class": exception_class(attempt.error_class, attempt.provider) or NONE,
        "exception_status": str(attempt.status or NONE),
        "reason": attempt.reason or "first",
        "outcome": "failure" if attempt.error_class is not None else "success",
    }


def labels_of(record: CallRecord, rules: Rules) -> dict[str, str]:
    """Every label that a record gives a value."""
    upstream = record.upstream_model or record.model_asked
    failed = record.status != "success"
    return {
        "end_user": (record.end_user or NONE) if rules.end_user else NONE,
        "hashed_api_key": record.key_hash or NONE,
        "api_key_alias": record.key_alias or NONE,
        "model": upstream or NONE,
        "requested_model": record.model_asked or NONE,
        "model_group": record.model or record.model_asked or NONE,
        "litellm_model_name": upstream or NONE,
        "model_id": record.deployment or NONE,
        "api_provider": record.provider or NONE,
        "team": record.team_id or NONE,
        "user": record.user_id or NONE,
        "route": record.route or NONE,
        "status_code": str(record.http_status),
        "exception_status": str(record.http_status) if failed else NONE,
        "exception_class": exception_class(record.error_class, record.provider) or NONE,
        "service_tier": record.service_tier or NONE,
        "client_ip": (record.client_address or NONE) if rules.client_ip else NONE,
        "user_agent": (record.agent or NONE) if rules.user_agent else NONE,
        "fallback_model": record.model or NONE,
        "operation": record.operation,
        "provider": record.provider or NONE,
        "deployment": record.deployment or NONE,
        "status": record.status,
        "stream": "true" if record.stream else "false",
        "error_class": record.error_class or NONE,
        "usage_source": record.usage_source,
        "public_model": record.model or record.model_asked or NONE,
    }


def _histogram(histogram: Histogram, key: tuple[str, ...], buckets: _Buckets) -> list[str]:
    lines: list[str] = []
    count = 0
    for edge, hits in zip((*histogram.edges, "+Inf"), buckets.counts, strict=True):
        count += hits
        lines.append(f"{histogram.name}_bucket{_labels((*histogram.labels, 'le'), (*key, edge))} {_number(count)}")
    labels = _labels(histogram.labels, key)
    lines += [
        f"{histogram.name}_count{labels} {_number(count)}",
        f"{histogram.name}_sum{labels} {_number(buckets.total)}",
    ]
    return lines


def _gauges(gauges: Sequence[Gauge]) -> list[str]:
    """One head for each name, however the values came."""
    by_name: dict[str, list[Gauge]] = {}
    for gauge in gauges:
        by_name.setdefault(gauge.name, []).append(gauge)
    lines: list[str] = []
    for name, found in by_name.items():
        lines += _head(name, found[0].help, found[0].kind)
        lines += [f"{name}{_labels(tuple(g.labels), tuple(g.labels.values()))} {_number(g.value)}" for g in found]
    return lines


def _head(name: str, text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _labels(names: Sequence[str], values: Sequence[str]) -> str:
    if not names:
        return ""
    # In the order of Prometheus' own client, for those who compare lines.
    pairs = sorted(zip(names, values, strict=True))
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(float(value))


def dollars(nano_usd: int) -> float:
    return nano_usd / NANO_PER_USD
