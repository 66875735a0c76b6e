"""OpenTelemetry: a span per call and one per attempt, in the GenAI semantic conventions, as OTLP over HTTP with JSON.

`OTEL_EXPORTER_OTLP_ENDPOINT` (or `_TRACES_ENDPOINT`, or LiteLLM's `OTEL_ENDPOINT`), `_HEADERS`, `OTEL_SERVICE_NAME`,
`OTEL_TRACES_SAMPLER_ARG`. Made of the record, off the way of the call. Span ids are made of the call's id, so a batch that
comes twice is the same spans.
"""

from collections.abc import Sequence
from typing import Any

import httpx
import msgspec

from wayport import __version__
from wayport.core.money import NANO_PER_USD
from wayport.core.record import AttemptRecord, CallRecord
from wayport.core.secret import mask
from wayport.core.trace import in_share, span_of_attempt, span_of_call, trace_of
from wayport.observe.callbacks import http as outgoing
from wayport.observe.payload import error_information, metadata_of, succeeded

_SERVER, _CLIENT = 2, 3
_OK, _ERROR = 1, 2


class Otel:
    def __init__(
        self,
        *,
        endpoint: str,
        headers: dict[str, str],
        service: str = "",
        share: float = 1.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """`endpoint`: the whole address that takes traces. `share`: of the traces, how many are told."""
        self.name = "otel"
        self._url = endpoint
        self._service = service or "wayport"
        self._share = share
        self._http = http or outgoing.client(**headers)

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        chosen = [record for record in records if sampled(record, self._share)]
        if chosen:
            body = msgspec.json.encode(request_of(chosen, service=self._service))
            await outgoing.post(self._http, self._url, body, headers={"content-type": "application/json"})

    async def close(self) -> None:
        await self._http.aclose()


def sampled(record: CallRecord, share: float) -> bool:
    return in_share(trace_of(record.trace_id, record.call_id), share)


def request_of(records: Sequence[CallRecord], *, service: str) -> dict[str, Any]:
    """The body of an ExportTraceServiceRequest."""
    resource = {"service.name": service, "service.version": __version__, "service.instance.id": records[0].node}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeSpans": [
                    {
                        "scope": {"name": "wayport", "version": __version__},
                        "spans": [span for record in records for span in spans_of(record)],
                    }
                ],
            }
        ]
    }


def spans_of(record: CallRecord) -> list[dict[str, Any]]:
    trace, span = trace_of(record.trace_id, record.call_id), span_of_call(record.call_id)
    failed = not succeeded(record)
    status: dict[str, Any] = {"code": _ERROR if failed else _OK}
    if failed:
        status["message"] = error_information(record)["error_message"]
    call = {
        "traceId": trace,
        "spanId": span,
        "name": f"{record.operation} {record.model_asked}".strip(),
        "kind": _SERVER,
        "startTimeUnixNano": _nano(record.started_s),
        "endTimeUnixNano": _nano(record.ended_s),
        "attributes": _attributes(attributes_of(record)),
        "status": status,
    }
    if record.parent_span_id is not None:
        call["parentSpanId"] = record.parent_span_id
    if record.first_token_ms is not None:
        at_s = record.started_s + record.first_token_ms / 1000
        call["events"] = [{"timeUnixNano": _nano(at_s), "name": "gen_ai.first_token"}]
    return [call, *(_attempt(record, attempt, n, trace, span) for n, attempt in enumerate(record.attempts))]


def attributes_of(record: CallRecord) -> dict[str, Any]:
    usage = record.usage
    found: dict[str, Any] = {
        "gen_ai.operation.name": record.operation,
        "gen_ai.provider.name": record.provider,
        "gen_ai.system": record.provider,
        "gen_ai.request.model": record.model_asked,
        "gen_ai.response.model": record.upstream_model,
        "gen_ai.response.id": record.upstream_id,
        "gen_ai.response.finish_reasons": [record.finish] if record.finish else None,
        "gen_ai.conversation.id": record.session_id,
        "http.route": record.route,
        "http.response.status_code": record.http_status,
        "client.address": record.client_address,
        "user_agent.original": record.agent,
        "user.id": record.user_id,
        "wayport.call_id": record.call_id,
        "wayport.model": record.model,
        "wayport.deployment": record.deployment,
        "wayport.team.id": record.team_id,
        "wayport.key.alias": record.key_alias,
        "wayport.key.hash": record.key_hash,
        "wayport.end_user": record.end_user,
        "wayport.tags": record.tags or None,
        "wayport.stream": record.stream,
        "wayport.outcome": record.status,
        "wayport.overhead_ms": record.overhead_ms,
    }
    if usage is not None:
        found |= {
            "gen_ai.usage.input_tokens": usage.input_tokens,
            "gen_ai.usage.output_tokens": usage.output_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cache_read_tokens,
            "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        }
    if record.first_token_ms is not None:
        found["gen_ai.server.time_to_first_token"] = record.first_token_ms / 1000
    if record.cost_nano_usd is not None:
        found["gen_ai.usage.cost"] = (record.cost_nano_usd + record.wasted_nano_usd) / NANO_PER_USD
    if record.error_class is not None:
        found["error.type"] = record.error_class
    stated = metadata_of(record)
    if isinstance(stated, dict):
        found |= {f"wayport.metadata.{k}": v for k, v in stated.items() if isinstance(v, str | int | float | bool)}
    return found


def _attempt(record: CallRecord, attempt: AttemptRecord, number: int, trace: str, parent: str) -> dict[str, Any]:
    start_s = record.started_s + attempt.started_ms / 1000
    failed = attempt.error_class is not None
    status: dict[str, Any] = {"code": _ERROR if failed else _OK}
    if failed:
        status["message"] = mask(attempt.error or "")
    return {
        "traceId": trace,
        "spanId": span_of_attempt(record.call_id, number),
        "parentSpanId": parent,
        "name": f"attempt {attempt.provider}/{attempt.model}",
        "kind": _CLIENT,
        "startTimeUnixNano": _nano(start_s),
        "endTimeUnixNano": _nano(start_s + attempt.duration_ms / 1000),
        "attributes": _attributes(
            {
                "gen_ai.provider.name": attempt.provider,
                "gen_ai.request.model": attempt.model,
                "wayport.deployment": attempt.deployment,
                "wayport.attempt.number": number + 1,
                "wayport.attempt.reason": attempt.reason,
                "wayport.attempt.wait_ms": attempt.wait_ms,
                "http.response.status_code": attempt.status or None,
                "error.type": attempt.error_class,
            }
        ),
        "status": status,
    }


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in values.items() if value not in (None, "")]


def _value(value: Any) -> dict[str, Any]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            # 64-bit integers are strings in the JSON of protocol buffers.
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [_value(item) for item in value]}}
        case _:
            return {"stringValue": str(value)}


def _nano(moment_s: float) -> str:
    return str(round(moment_s * 1_000_000) * 1_000)
