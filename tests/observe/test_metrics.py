"""Metrics: sums right, LiteLLM's names and labels, never more series than allowed, readable by Prometheus's own parser."""

from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tests.fakes.records import call_record

from wayport.core.record import AttemptRecord, CallRecord
from wayport.observe.metric_names import COUNTERS, HISTOGRAMS, LATENCY_EDGES
from wayport.observe.metrics import Gauge, Metrics, Rules


def _samples(metrics: Metrics, *gauges: Gauge) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(metrics.render(gauges).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def _failed() -> CallRecord:
    record = call_record(cost_nano_usd=None)
    record.status, record.http_status, record.error_class, record.usage = "failure", 502, "server", None
    attempt = AttemptRecord(deployment="d1", provider="p1", model="m1", status=500, error_class="server")
    record.attempts = [
        attempt,
        AttemptRecord(deployment="d2", provider="p2", model="m2", reason="fallback", error_class="server"),
    ]
    return record


def test_a_call_is_counted_under_litellms_names() -> None:
    metrics = Metrics(Rules())
    metrics.add(call_record(cost_nano_usd=1_500_000_000))
    samples = _samples(metrics)
    (spend,) = samples["litellm_spend_metric_total"]
    assert spend.value == 1.5
    assert spend.labels == {
        "end_user": "None",
        "hashed_api_key": "a" * 64,
        "api_key_alias": "ci",
        "model": "gpt-4o-2024-08-06",
        "team": "team-1",
        "team_alias": "None",
        "user": "alice",
        "user_email": "None",
        "client_ip": "None",
        "user_agent": "None",
        "requested_model": "gpt",
        "model_id": "0123456789abcdef",
        "api_provider": "openai",
        "service_tier": "None",
    }
    values = {name: samples[name][0].value for name in samples if name.endswith("_tokens_metric_total")}
    assert values == {
        "litellm_total_tokens_metric_total": 120,
        "litellm_input_tokens_metric_total": 100,
        "litellm_output_tokens_metric_total": 20,
        "litellm_input_cached_tokens_metric_total": 40,
        "litellm_output_reasoning_tokens_metric_total": 5,
        "litellm_provider_cache_read_input_tokens_metric_total": 40,
    }
    assert samples["litellm_deployment_success_responses_total"][0].value == 1
    assert "litellm_proxy_failed_requests_metric_total" not in samples


def test_a_failure_is_counted_with_its_attempts() -> None:
    metrics = Metrics(Rules())
    metrics.add(_failed())
    samples = _samples(metrics)
    (failed,) = samples["litellm_proxy_failed_requests_metric_total"]
    assert (failed.labels["exception_status"], failed.labels["exception_class"]) == (
        "502",
        "Openai.InternalServerError",
    )
    assert {s.labels["model_id"] for s in samples["litellm_deployment_failure_responses_total"]} == {"d1", "d2"}
    assert samples["litellm_deployment_failed_fallbacks_total"][0].value == 1
    outcomes = {(s.labels["deployment"], s.labels["reason"]): s.value for s in samples["wayport_attempts_total"]}
    assert outcomes == {("d1", "first"): 1, ("d2", "fallback"): 1}


def test_lines_are_written_as_by_prometheus_own_client() -> None:
    metrics = Metrics(Rules())
    metrics.add(call_record())
    gauge = Gauge("litellm_remaining_team_budget_metric", "x", {"team_alias": "Blue", "team": "t"}, 9.5)
    lines = metrics.render([gauge]).decode().splitlines()
    assert 'litellm_remaining_team_budget_metric{team="t",team_alias="Blue"} 9.5' in lines
    (line,) = (line for line in lines if line.startswith("litellm_requests_metric_total{"))
    names = [pair.partition("=")[0] for pair in line[line.index("{") + 1 : line.index("}")].split(",")]
    assert (names, line.rpartition(" ")[2]) == (sorted(names), "1.0")


def test_histograms_have_litellms_buckets_and_add_up() -> None:
    metrics = Metrics(Rules())
    for seconds in (0.004, 0.3, 700):
        record = call_record()
        record.ended_s = record.started_s + seconds
        metrics.add(record)
    samples = _samples(metrics)
    buckets = {s.labels["le"]: s.value for s in samples["litellm_request_total_latency_metric_bucket"]}
    assert list(buckets) == [*LATENCY_EDGES, "+Inf"]
    assert (buckets["0.005"], buckets["0.25"], buckets["0.5"], buckets["600.0"], buckets["+Inf"]) == (1, 1, 2, 2, 3)
    assert samples["litellm_request_total_latency_metric_count"][0].value == 3
    assert round(samples["litellm_request_total_latency_metric_sum"][0].value, 3) == 700.304


def test_series_are_bounded_and_sums_stay_right() -> None:
    metrics = Metrics(Rules(max_series=200))
    for number in range(500):
        metrics.add(call_record(key_hash=f"{number:064}", cost_nano_usd=1_000_000_000))
    samples = _samples(metrics)
    assert sum(s.value for s in samples["litellm_spend_metric_total"]) == 500
    assert any(s.labels["hashed_api_key"] == "other" for s in samples["litellm_spend_metric_total"])
    assert metrics.series <= 200 + len(COUNTERS) + len(HISTOGRAMS)
    assert samples["wayport_metrics_overflow_total"][0].value > 0


def test_people_are_told_apart_only_on_request() -> None:
    record = call_record()
    record.client_address = "192.0.2.1"
    quiet, open_ = Metrics(Rules()), Metrics(Rules(end_user=True, client_ip=True, user_agent=True))
    for metrics in (quiet, open_):
        metrics.add(record)
    label = "litellm_requests_metric_total"
    assert {_samples(quiet)[label][0].labels[n] for n in ("end_user", "client_ip", "user_agent")} == {"None"}
    shown = _samples(open_)[label][0].labels
    assert (shown["end_user"], shown["client_ip"], shown["user_agent"]) == (
        "customer-9",
        "192.0.2.1",
        "OpenAI/Python 3.51.0",
    )


def test_labels_are_escaped_and_gauges_grouped() -> None:
    metrics = Metrics(Rules())
    record = call_record()
    record.key_alias = 'a"b\\c\nd'
    metrics.add(record)
    gauges = [Gauge("x_up", "Up.", {"n": "1"}, 1), Gauge("y", "Y.", {}, 0.5), Gauge("x_up", "Up.", {"n": "2"}, 0)]
    samples = _samples(metrics, *gauges)
    assert samples["litellm_spend_metric_total"][0].labels["api_key_alias"] == 'a"b\\c\nd'
    assert [s.value for s in samples["x_up"]] == [1, 0]
    assert metrics.render(gauges).count(b"# TYPE x_up gauge") == 1


def test_gauges_have_an_end_too_and_what_is_left_out_is_told() -> None:
    metrics = Metrics(Rules(max_series=3))
    samples = _samples(metrics, *(Gauge("budget", "Left.", {"key": str(n)}, n) for n in range(5)))
    assert [sample.labels["key"] for sample in samples["budget"]] == ["0", "1", "2"]
    assert samples["wayport_metrics_left_out"][0].value == 2


@pytest.mark.parametrize(
    "other",
    [
        {"key_hash": "x"}, {"key_alias": "x"}, {"team_id": "x"}, {"user_id": "x"}, {"model_asked": "x"}, {"model": "x"},
        {"upstream_model": "x"}, {"deployment": "x"}, {"provider": "x"}, {"route": "x"}, {"operation": "embeddings"},
        {"http_status": 500}, {"status": "failure"}, {"error_class": "timeout"}, {"service_tier": "x"}, {"stream": True},
        {"usage_source": "estimated"}, {"end_user": "x"}, {"client_address": "x"}, {"agent": "x"}, {"attempts": []},
        {"attempts": [AttemptRecord(deployment="x", provider="y", model="z", reason="fallback", status=503, error_class="server")]},
    ],
    ids=lambda other: next(iter(other)),
)  # fmt: skip
def test_records_that_differ_in_any_label_are_told_apart(other: dict[str, Any]) -> None:
    first = call_record()
    second = msgspec.structs.replace(first, **other)
    rules = Rules(end_user=True, client_ip=True, user_agent=True)
    together, apart = Metrics(rules), Metrics(rules)
    for each in (first, second, first):
        together.add(each)
        apart.add(each)
        # It looks every series up anew.
        apart.name(teams={}, emails={})
    assert together.render() == apart.render()


def test_what_is_kept_of_alike_records_is_bounded() -> None:
    metrics = Metrics(Rules(max_series=10))
    record = call_record()
    for number in range(2_000):
        record.attempts = [AttemptRecord(deployment=f"d{number}", provider="p", model="m")]
        metrics.add(record)
    (alike,) = metrics._alike.values()
    assert len(alike.attempts) <= 256
