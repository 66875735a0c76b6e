"""Langfuse: a trace and a generation per call, through its ingestion API; no SDK is needed.

`LANGFUSE_PUBLIC_KEY`, `LANGFUSE_SECRET_KEY`, `LANGFUSE_HOST`. The events' ids are made of the call's, so a batch that comes
twice changes nothing.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec

from wayport.core.money import NANO_PER_USD
from wayport.core.record import CallRecord
from wayport.core.secret import Secret
from wayport.observe.callbacks import http as outgoing
from wayport.observe.callbacks.base import Refused
from wayport.observe.payload import error_information, metadata_of, succeeded, trace_id

DEFAULT_HOST = "https://cloud.langfuse.com"


class Langfuse:
    def __init__(
        self, *, host: str, public_key: str, secret_key: Secret, http: httpx.AsyncClient | None = None
    ) -> None:
        self.name = "langfuse"
        self._url = f"{(host or DEFAULT_HOST).rstrip('/')}/api/public/ingestion"
        credential = base64.b64encode(f"{public_key}:{secret_key.reveal()}".encode()).decode()
        self._http = http or outgoing.client(authorization=f"Basic {credential}")

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        batch = [event for record in records for event in events_of(record)]
        body = msgspec.json.encode({"batch": batch, "metadata": {"sdk_name": "wayport", "batch_size": len(batch)}})
        headers = {"content-type": "application/json"}
        answer = await outgoing.post(self._http, self._url, body, headers=headers)
        refused = _refusals(answer)
        if refused:
            raise Refused(f"{len(refused)} of {len(batch)} events: {refused[0]}")

    async def close(self) -> None:
        await self._http.aclose()


def events_of(record: CallRecord) -> list[dict[str, Any]]:
    metadata = metadata_of(record)
    given: dict[str, Any] = metadata if isinstance(metadata, dict) else {}
    trace = trace_id(record)
    name = str(given.get("trace_name") or given.get("generation_name") or record.operation)
    timestamp = _iso(record.started_s)
    return [
        {
            "id": f"{record.call_id}-trace",
            "type": "trace-create",
            "timestamp": timestamp,
            "body": {
                "id": trace,
                "timestamp": timestamp,
                "name": name,
                "userId": record.end_user or record.user_id,
                "sessionId": record.session_id,
                "tags": record.tags,
                "metadata": {**given, "team_id": record.team_id, "key_alias": record.key_alias, "route": record.route},
            },
        },
        {
            "id": f"{record.call_id}-generation",
            "type": "generation-create",
            "timestamp": timestamp,
            "body": _generation(record, trace, str(given.get("generation_name") or record.operation)),
        },
    ]


def _generation(record: CallRecord, trace: str, name: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": record.call_id,
        "traceId": trace,
        "name": name,
        "startTime": _iso(record.started_s),
        "endTime": _iso(record.ended_s),
        "model": record.upstream_model or record.model_asked,
        "modelParameters": {"stream": str(record.stream).lower()},
        "level": "DEFAULT" if succeeded(record) else "ERROR",
        "metadata": {
            "call_id": record.call_id,
            "model_group": record.model,
            "provider": record.provider,
            "deployment": record.deployment,
            "attempts": len(record.attempts),
            "usage_source": record.usage_source,
        },
    }
    if record.first_token_ms is not None:
        body["completionStartTime"] = _iso(record.started_s + record.first_token_ms / 1000)
    if not succeeded(record):
        body["statusMessage"] = error_information(record)["error_message"]
    if record.parent_span_id is not None:
        body["parentObservationId"] = record.parent_span_id
    usage = record.usage
    if usage is not None:
        body["usageDetails"] = {
            "input": usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
            "output": usage.output_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "total": usage.total_tokens,
        }
    if record.cost_nano_usd is not None:
        body["costDetails"] = {"total": (record.cost_nano_usd + record.wasted_nano_usd) / NANO_PER_USD}
    return body


def _refusals(answer: httpx.Response) -> list[str]:
    """Langfuse answers 207 and says of each event whether it took it."""
    try:
        told = answer.json()
    except ValueError:
        return []
    errors = told.get("errors") if isinstance(told, dict) else None
    return [str(error.get("message") or error.get("status"))[:200] for error in errors or [] if isinstance(error, dict)]


def _iso(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
