"""Upstreams are told of a call's trace where the operator wants it: the parent they are named is a span that is exported."""

from collections.abc import Mapping

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Upstream, json_answer
from tests.pipeline.test_chat import ASK, WHOLE, openai_at

from wayport.core.record import CallRecord
from wayport.observe.callbacks.otel import spans_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CLIENT = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "baggage": "customer=7"}
OTEL = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9/otlp"}
BUSY = json_answer({"error": {"message": "busy"}}, status=503, headers={"retry-after": "0"})


async def _told(
    config: str, environ: Mapping[str, str], sent: Mapping[str, str], *, fails: int = 0
) -> tuple[list[Mapping[str, str]], CallRecord]:
    """The headers of each request upstream, and the call's record."""
    async with Upstream([*[BUSY] * fails, json_answer(WHOLE)]) as upstream:
        written = openai_at(upstream, config).replace("num_retries: 0", "num_retries: 2")
        async with gateway(written, environ) as wayport:
            assert (await wayport.ask(ASK, headers=dict(sent))).status_code == 200
        return [request.headers for request in upstream.requests], wayport.records[0]


def _parent(headers: Mapping[str, str]) -> tuple[str, str, str]:
    version, trace, span, flags = headers["traceparent"].split("-")
    assert version == "00"
    return trace, span, flags


async def test_with_tracing_on_each_attempt_names_its_own_exported_span() -> None:
    requests, record = await _told("callbacks: [otel]", OTEL, {}, fails=1)
    attempts = spans_of(record)[1:]
    assert [_parent(each) for each in requests] == [(span["traceId"], span["spanId"], "01") for span in attempts]
    assert len({span["spanId"] for span in attempts}) == 2
    assert "tracestate" not in requests[0]


async def test_the_clients_trace_goes_on_through_us() -> None:
    (headers,), record = await _told("callbacks: [otel]", OTEL, CLIENT)
    call, attempt = spans_of(record)
    assert (call["traceId"], call["parentSpanId"]) == (TRACE, PARENT)
    assert _parent(headers) == (TRACE, attempt["spanId"], "01")
    assert headers["tracestate"] == "vendor=1"
    assert "baggage" not in headers


async def test_a_trace_that_is_not_exported_says_so() -> None:
    config = 'callbacks: [{name: otel, params: {sample: "0"}}]'
    (headers,), _ = await _told(config, OTEL, CLIENT)
    assert _parent(headers)[2] == "00"


@pytest.mark.parametrize(
    ("config", "environ"),
    [
        pytest.param("", {}, id="no tracing"),
        pytest.param("callbacks: [otel]", {}, id="the callback has no endpoint and is off"),
        pytest.param("callbacks: [otel]\ntracing: {propagate: never}", OTEL, id="switched off"),
    ],
)
async def test_otherwise_a_provider_learns_nothing_of_traces(config: str, environ: Mapping[str, str]) -> None:
    (headers,), _ = await _told(config, environ, CLIENT)
    assert not {"traceparent", "tracestate", "baggage"} & set(headers)


async def test_without_spans_of_ours_the_clients_context_goes_on_as_it_came() -> None:
    (headers,), _ = await _told("tracing: {propagate: client}", {}, CLIENT)
    assert (headers["traceparent"], headers["tracestate"]) == (CLIENT["traceparent"], CLIENT["tracestate"])


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"traceparent": "nonsense"},
        {"traceparent": f"00-{'0' * 32}-{PARENT}-01", "tracestate": "a=1"},
        {"traceparent": f"ff-{TRACE}-{PARENT}-01"},
    ],
)
async def test_what_is_no_context_goes_nowhere(sent: Mapping[str, str]) -> None:
    (headers,), record = await _told("tracing: {propagate: client}", {}, sent)
    assert not {"traceparent", "tracestate"} & set(headers)
    assert record.parent_span_id is None


async def test_a_configured_header_wins() -> None:
    config = "callbacks: [otel]\n"
    async with Upstream([json_answer(WHOLE)]) as upstream:
        written = openai_at(upstream, config).replace("sk-upstream-secret", "k, headers: {Traceparent: mine}")
        async with gateway(written, OTEL) as wayport:
            await wayport.ask(ASK)
        assert upstream.requests[0].headers["traceparent"] == "mine"
