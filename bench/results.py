"""What was measured, round by round, and what follows from it: medians, spread, bars."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple

Rounds = dict[str, list[float]]
"""figure to its value in each round"""


class Figure(NamedTuple):
    median: float
    least: float
    most: float


@dataclass
class Results:
    machine: dict[str, str | int | float] = field(default_factory=dict)
    run: dict[str, str | int | float | bool | list[str]] = field(default_factory=dict)
    """how it was measured"""
    measures: dict[str, dict[str, Rounds]] = field(default_factory=dict)
    """measure to target to figures"""
    not_measured: dict[str, str] = field(default_factory=dict)
    """what is missing, and why"""
    checks: dict[str, str] = field(default_factory=dict)
    """whether what should be on really worked during the run"""

    def add(self, measure: str, target: str, **figures: float) -> None:
        rounds = self.measures.setdefault(measure, {}).setdefault(target, {})
        for name, value in figures.items():
            rounds.setdefault(name, []).append(round(value, 4))

    def find(self, measure: str, target: str, figure: str) -> Figure | None:
        values = self.measures.get(measure, {}).get(target, {}).get(figure)
        if not values:
            return None
        return Figure(median(values), min(values), max(values))

    def median(self, measure: str, target: str, figure: str) -> float | None:
        found = self.find(measure, target, figure)
        return found.median if found is not None else None

    def ratio(self, measure: str, figure: str, *, of: str = "wayport", to: str = "nginx") -> float | None:
        """Of the medians."""
        upper, lower = self.median(measure, of, figure), self.median(measure, to, figure)
        return upper / lower if upper is not None and lower else None

    def most_of(self, figure: str, *, target: str, measures: tuple[str, ...]) -> float | None:
        """The largest median among several measures."""
        found = [value for each in measures if (value := self.median(each, target, figure)) is not None]
        return max(found, default=None)


Verdict = Literal["pass", "FAIL", "not measured"]


class Bar(NamedTuple):
    what: str
    value: Callable[[Results], float | None]
    limit: float
    at_most: bool
    unit: str

    def verdict(self, results: Results) -> Verdict:
        value = self.value(results)
        if value is None:
            return "not measured"
        well = value <= self.limit if self.at_most else value >= self.limit
        return "pass" if well else "FAIL"


def _median(measure: str, figure: str) -> Callable[[Results], float | None]:
    return lambda results: results.median(measure, "wayport", figure)


def _ratio(measure: str, figure: str, to: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(measure, figure, to=to)


MEMORY_STATES = ("memory: idle", "memory: after the calls", "memory: streams open")
"""what the memory bars are about; streams over TLS are reported beside them"""


def _memory(role: str) -> Callable[[Results], float | None]:
    return lambda results: results.most_of("rss_mb", target=f"wayport {role}", measures=MEMORY_STATES)


def _two_workers(results: Results) -> float | None:
    """What two workers carry to what one does, by the CPU time that a call takes with two of them and with one."""
    share = results.ratio("workers", "cpu_us", of="wayport", to="wayport, two workers")
    return None if share is None else 2 * share


BARS = (
    Bar("CPU per call, to nginx's", _ratio("calls", "cpu_us", "nginx"), 3.2, at_most=True, unit="×"),
    Bar("requests/s, to nginx's", _ratio("calls", "calls_per_s", "nginx"), 0.30, at_most=False, unit="×"),
    Bar("requests/s, to LiteLLM's", _ratio("calls", "calls_per_s", "litellm"), 100, at_most=False, unit="×"),
    Bar("requests/s, to TensorZero's", _ratio("calls", "calls_per_s", "tensorzero"), 2, at_most=False, unit="×"),
    Bar("requests/s, to Ferro's", _ratio("calls", "calls_per_s", "ferro"), 2, at_most=False, unit="×"),
    Bar("CPU per streamed event, to nginx's", _ratio("streams", "cpu_us", "nginx"), 1.6, at_most=True, unit="×"),
    Bar("added time to first token, median", _median("first token", "added_p50_us"), 1000, at_most=True, unit=" µs"),
    Bar("translated calls/s on one core", _median("translated calls", "calls_per_s"), 8000, at_most=False, unit="/s"),
    Bar("CPU per translated event", _median("translated streams", "cpu_us"), 60, at_most=True, unit=" µs"),
    Bar("two workers to one, a core each", _two_workers, 1.8, at_most=False, unit="×"),
    Bar("memory of a data worker (largest RSS)", _memory("worker"), 50, at_most=True, unit=" MB"),
    Bar("memory of the control process (largest RSS)", _memory("control"), 120, at_most=True, unit=" MB"),
    Bar("start to first answer", _median("cold start", "first_answer_s"), 0.5, at_most=True, unit=" s"),
)  # fmt: skip


def as_json(results: Results) -> Mapping[str, object]:
    return {
        "machine": results.machine,
        "run": results.run,
        "checks": results.checks,
        "measures": results.measures,
        "not_measured": results.not_measured,
        "bars": [
            {"what": bar.what, "value": bar.value(results), "limit": bar.limit, "verdict": bar.verdict(results)}
            for bar in BARS
        ],
    }
