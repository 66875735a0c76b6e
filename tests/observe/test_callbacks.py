"""What each callback sends, to a loopback receiver; and how deliveries behave when the other side does not."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw
from tests.fakes.manual_clock import ManualClock
from tests.fakes.receiver import receiver
from tests.fakes.records import call_record

from wayport.core.record import CallRecord
from wayport.core.secret import Secret
from wayport.core.trace import trace_of
from wayport.observe.callbacks.base import Delivery, Refused, Undelivered
from wayport.observe.callbacks.file import File
from wayport.observe.callbacks.langfuse import Langfuse
from wayport.observe.callbacks.otel import Otel, sampled
from wayport.observe.callbacks.registry import Off, Wish, make
from wayport.observe.callbacks.sentry import Sentry, address_of
from wayport.observe.callbacks.webhook import Webhook
from wayport.observe.payload import Payload, payload_of

GOLDEN = Path(__file__).parent.parent / "golden" / "callbacks"
SECRET = "sk-live-0123456789abcdef"


def _record(*, failed: bool = False) -> CallRecord:
    record = call_record(call_id="01a1f7a8-a76c-7000-a94f-44ea8f0cb0e3", cost_nano_usd=1_234_567)
    record.metadata = b'{"generation_name":"answer","token":"%s"}' % SECRET.encode()
    record.session_id = "session-1"
    record.trace_id, record.parent_span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    record.upstream_id = "chatcmpl-1"
    record.cost_parts = {"input": 234_567, "output": 1_000_000}
    if failed:
        record.status, record.http_status, record.error_class = "failure", 502, "server"
        record.error = f"the upstream said: wrong key {SECRET}"
        record.usage = None
    return record


def _same_as_golden(name: str, found: Any) -> None:
    """Golden files are what the vendors' documentation describes; a difference is shown in full."""
    assert json.loads(json.dumps(found)) == json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("failed", [False, True])
def test_the_payload_has_every_documented_field_and_no_secret(failed: bool) -> None:
    payload = payload_of(_record(failed=failed))
    assert set(payload) == set(Payload.__annotations__)
    assert SECRET not in json.dumps(payload)
    assert payload["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert payload["status"] == ("failure" if failed else "success")
    assert payload["cost_breakdown"]["output_cost"] == 0.001
    _same_as_golden("payload_failure" if failed else "payload_success", payload)


async def test_langfuse_gets_a_trace_and_a_generation() -> None:
    async with receiver() as hook:
        hook.answers = [(207, b'{"successes": [], "errors": []}')]
        callback = Langfuse(host=hook.url, public_key="pk-lf-1", secret_key=Secret("sk-lf-2"))
        await callback.deliver([_record()])
        await callback.close()
    (request,) = hook.requests
    assert request.path == "/api/public/ingestion"
    assert request.headers["authorization"] == "Basic cGstbGYtMTpzay1sZi0y"
    _same_as_golden("langfuse", request.json["batch"])


async def test_langfuses_refusals_are_dropped_and_its_absence_is_not() -> None:
    async with receiver() as hook:
        hook.answers = [(207, b'{"errors": [{"status": 400, "message": "no"}]}'), (500, b""), (429, b""), (400, b"bad")]
        callback = Langfuse(host=hook.url, public_key="a", secret_key=Secret("b"))
        for expected in (Refused, Undelivered, Undelivered, Refused):
            with pytest.raises(expected):
                await callback.deliver([_record()])
        await callback.close()


async def test_sentry_gets_failures_only_in_envelopes() -> None:
    async with receiver() as hook:
        callback = Sentry(dsn=Secret(f"http://public@127.0.0.1:{hook.port}/path/7"))
        await callback.deliver([_record(), _record(failed=True)])
        await callback.close()
    (request,) = hook.requests
    assert request.path == "/path/api/7/envelope/"
    assert "sentry_key=public" in request.headers["x-sentry-auth"]
    head, item, event = (json.loads(line) for line in request.body.splitlines())
    assert item["length"] == len(request.body.splitlines()[2])
    assert head["event_id"] == event["event_id"]
    assert SECRET.encode() not in request.body
    _same_as_golden("sentry", {**event, "release": "-"})


@pytest.mark.parametrize("dsn", ["", "http://127.0.0.1/1", "ftp://k@h/1", "https://k@h/"])
def test_a_wrong_dsn_is_none(dsn: str) -> None:
    with pytest.raises(ValueError, match="SENTRY_DSN"):
        address_of(dsn)


async def test_otel_gets_spans_of_the_clients_trace() -> None:
    async with receiver() as hook:
        callback = Otel(endpoint=f"{hook.url}/v1/traces", headers={"x-key": "k"}, service="gate")
        await callback.deliver([_record(failed=True)])
        await callback.close()
    (request,) = hook.requests
    assert (request.path, request.headers["x-key"]) == ("/v1/traces", "k")
    spans = request.json["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert [span["traceId"] for span in spans] == ["0af7651916cd43dd8448eb211c80319c"] * 2
    assert (spans[0]["parentSpanId"], spans[1]["parentSpanId"]) == ("b7ad6b7169203331", spans[0]["spanId"])
    assert SECRET.encode() not in request.body
    _same_as_golden("otel", spans)


def test_traces_are_sampled_whole() -> None:
    records = [call_record() for _ in range(2_000)]
    for record in records:
        record.trace_id = hashlib.sha256(record.call_id.encode()).hexdigest()[:32]
    assert 300 < sum(sampled(record, 0.2) for record in records) < 500
    assert all(sampled(record, 1.0) for record in records)
    odd = call_record()
    odd.trace_id = "not a w3c trace"
    assert len(trace_of(odd.trace_id, odd.call_id)) == 32


@pytest.mark.parametrize("form", ["json_array", "ndjson", "single"])
async def test_webhooks_are_signed(form: Any) -> None:
    async with receiver() as hook:
        callback = Webhook(url=f"{hook.url}/x", clock=ManualClock(), secret=Secret("s"), form=form)
        await callback.deliver([_record(), _record(failed=True)])
        await callback.close()
    assert len(hook.requests) == (2 if form == "single" else 1)
    for request in hook.requests:
        timestamp = request.headers["x-wayport-timestamp"]
        digest = hmac.new(b"s", timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-wayport-signature"] == f"sha256={digest}"
    if form == "ndjson":
        assert [json.loads(line)["status"] for line in hook.requests[0].body.splitlines()] == ["success", "failure"]


async def test_a_file_gets_a_line_per_call(tmp_path: Path) -> None:
    callback = File(tmp_path / "logs" / "calls.jsonl")
    await callback.deliver([_record()])
    await callback.deliver([_record(failed=True)])
    lines = (tmp_path / "logs" / "calls.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["success", "failure"]


async def test_callables_of_the_operator(tmp_path: Path) -> None:
    (tmp_path / "my_callbacks_of_a_test.py").write_text(
        "seen = []\n"
        "def sync(payloads): seen.extend(p['litellm_call_id'] for p in payloads)\n"
        "async def later(payloads): sync(payloads)\n"
        "class Logger:\n"
        "    async def async_log_success_event(self, kwargs, response, start, end):\n"
        "        seen.append(kwargs['standard_logging_object']['status'])\n"
        "    async_log_failure_event = async_log_success_event\n"
        "logger = Logger()\n"
    )
    for name in ("sync", "later", "logger"):
        await make(_wish(f"my_callbacks_of_a_test.{name}", folder=tmp_path)).deliver([_record(failed=True)])
    import my_callbacks_of_a_test as module  # type: ignore[import-not-found]  # written just above

    assert module.seen == [_record().call_id, _record().call_id, "failure"]


def _wish(name: str, variables: dict[str, str] | None = None, folder: Path | None = None, **params: Any) -> Wish:
    raws = {key: Raw(json.dumps(value).encode()) for key, value in params.items()}
    return Wish(
        name=name, params=raws, variable=lambda n: (variables or {}).get(n, ""), clock=ManualClock(), folder=folder
    )


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("langfuse", "LANGFUSE_PUBLIC_KEY"),
        ("sentry", "SENTRY_DSN"),
        ("otel", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("webhook", "url"),
        ("file", "path"),
        ("nobody", "no such callback"),
        ("no_such_module.callback", "cannot be imported"),
    ],
)
def test_what_is_missing_turns_a_callback_off(name: str, missing: str) -> None:
    with pytest.raises(Off, match=missing):
        make(_wish(name))


async def test_variables_turn_them_on() -> None:
    variables = {
        "LANGFUSE_PUBLIC_KEY": "pk",
        "LANGFUSE_SECRET_KEY": "sk",
        "SENTRY_DSN": "http://k@127.0.0.1/1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    for name in ("langfuse", "sentry", "otel"):
        callback = make(_wish(name, variables))
        assert callback.name == name
        await callback.close()


class _Source:
    """A spool of a test."""

    def __init__(self, records: Sequence[CallRecord]) -> None:
        self.records = list(records)
        self.reading = 0
        self.position = 0
        self.dropped = 0

    def read(self, limit: int) -> list[CallRecord]:
        found = self.records[self.reading : self.reading + limit]
        self.reading += len(found)
        return found

    def acknowledge(self) -> None:
        self.position = self.reading

    def backlog_bytes(self) -> int:
        return len(self.records) - self.position

    def catch_up(self) -> int:
        return 0


class _Callback:
    name = "test"

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.got: list[str] = []

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.got += [record.status for record in records]

    async def close(self) -> None:
        """Nothing is open."""


async def _deliver(callback: _Callback, source: _Source, **more: Any) -> tuple[Delivery, list[float]]:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    delivery = Delivery(callback, source, on=more.get("on", ("success", "failure")), clock=ManualClock(), sleep=sleep)
    while await delivery.step():
        pass
    return delivery, slept


async def test_a_batch_is_tried_until_it_is_taken() -> None:
    callback = _Callback(Undelivered("away"), Undelivered("busy", retry_after_s=7), OSError("no"))
    source = _Source([_record()])
    delivery, slept = await _deliver(callback, source)
    assert callback.got == ["success"]
    assert slept == [1.0, 7, 4.0]
    assert (delivery.state.delivered, delivery.state.failures, delivery.state.status) == (1, 3, "healthy")


async def test_what_is_refused_or_breaks_is_dropped_and_counted() -> None:
    callback = _Callback(Refused("never"), KeyError("a mistake"))
    source = _Source([_record() for _ in range(250)])
    delivery, slept = await _deliver(callback, source)
    state = delivery.state
    assert (len(callback.got), state.delivered, state.dropped, slept) == (50, 50, 200, [])
    assert source.position == 250


async def test_only_the_outcomes_that_were_asked_for() -> None:
    source = _Source([_record(), _record(failed=True)])
    callback = _Callback()
    await _deliver(callback, source, on=("failure",))
    assert callback.got == ["failure"]


async def test_a_dead_one_loses_the_oldest_while_it_is_dead() -> None:
    """The disk has an end; who waits until the other side is back finds it full."""
    source = _Source([_record() for _ in range(300)])

    def catch_up() -> int:
        passed = len(source.read(50)) if source.reading < 250 else 0
        source.dropped += passed
        return passed

    source.catch_up = catch_up  # type: ignore[method-assign]  # a spool that is over its limit
    callback = _Callback(*[Undelivered("away")] * 3)
    delivery, _ = await _deliver(callback, source)
    assert (delivery.state.dropped, delivery.state.delivered) == (150, 150)


async def test_nobody_is_told_of_what_is_silent() -> None:
    source = _Source([_record(), _record(failed=True)])
    callback = _Callback()
    delivery = Delivery(
        callback, source, on=("success", "failure"), clock=ManualClock(), silent=lambda r: r.status == "failure"
    )
    assert await delivery.step() == 2
    assert (callback.got, source.position) == (["success"], 2)


async def test_nothing_is_acknowledged_before_it_is_delivered() -> None:
    source = _Source([_record()])
    callback = _Callback()
    seen: list[int] = []

    async def deliver(records: Sequence[CallRecord]) -> None:
        seen.append(source.position)

    callback.deliver = deliver  # type: ignore[method-assign]  # looks from inside the delivery
    await _deliver(callback, source)
    assert (seen, source.position) == ([0], 1)
