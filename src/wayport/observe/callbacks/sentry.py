"""Sentry: an event per failed call, through its envelope endpoint; no SDK is needed. `SENTRY_DSN`, also over http."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from wayport import __version__
from wayport.core.record import CallRecord
from wayport.core.secret import Secret
from wayport.observe.callbacks import http as outgoing
from wayport.observe.payload import error_information, succeeded, trace_id


class DsnMistake(ValueError):
    """The DSN is none."""


class Sentry:
    def __init__(self, *, dsn: Secret, environment: str = "", http: httpx.AsyncClient | None = None) -> None:
        """Raises `DsnMistake`."""
        self.name = "sentry"
        self._url, key = address_of(dsn.reveal())
        self._environment = environment or "production"
        auth = f"Sentry sentry_version=7, sentry_client=wayport/{__version__}, sentry_key={key}"
        self._http = http or outgoing.client(**{"x-sentry-auth": auth})

    async def deliver(self, records: Sequence[CallRecord]) -> None:
        for record in records:
            if not succeeded(record):
                body = envelope_of(record, environment=self._environment)
                headers = {"content-type": "application/x-sentry-envelope"}
                await outgoing.post(self._http, self._url, body, headers=headers)

    async def close(self) -> None:
        await self._http.aclose()


def address_of(dsn: str) -> tuple[str, str]:
    """The envelope endpoint and the public key of a DSN. Raises `DsnMistake`."""
    parts = urlsplit(dsn)
    path, _, project = parts.path.rpartition("/")
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username or not project:
        raise DsnMistake("SENTRY_DSN must be https://KEY@HOST/PROJECT")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{path}/api/{project}/envelope/", parts.username


def envelope_of(record: CallRecord, *, environment: str) -> bytes:
    event = event_of(record, environment=environment)
    encoded = msgspec.json.encode(event)
    head = msgspec.json.encode({"event_id": event["event_id"], "sent_at": event["timestamp"]})
    item = msgspec.json.encode({"type": "event", "length": len(encoded), "content_type": "application/json"})
    return b"\n".join((head, item, encoded, b""))


def event_of(record: CallRecord, *, environment: str) -> dict[str, Any]:
    error = error_information(record)
    model = record.model or record.model_asked
    kind = error["error_class"] or record.status
    return {
        # The same for the same call: should it come twice, Sentry keeps one.
        "event_id": uuid.uuid5(uuid.NAMESPACE_OID, record.call_id).hex,
        "timestamp": _iso(record.ended_s),
        "platform": "python",
        "logger": "wayport",
        "level": "error" if record.http_status >= 500 or record.status == "cut" else "warning",
        "environment": environment,
        "release": f"wayport@{__version__}",
        "server_name": record.node,
        "transaction": record.route,
        "fingerprint": ["wayport", kind, record.provider, model],
        "exception": {"values": [{"type": kind, "value": error["error_message"], "module": record.provider}]},
        "tags": {
            "model": model,
            "provider": record.provider,
            "deployment": record.deployment,
            "http_status": str(record.http_status),
            "outcome": record.status,
            "team_id": record.team_id or "",
        },
        "user": {"id": record.end_user or record.user_id or record.key_hash},
        "contexts": {"trace": {"trace_id": trace_id(record)[:32], "span_id": record.call_id.replace("-", "")[-16:]}},
        "extra": {
            "call_id": record.call_id,
            "key_alias": record.key_alias,
            "attempts": msgspec.to_builtins(record.attempts),
            "duration_ms": (record.ended_s - record.started_s) * 1000,
        },
    }


def _iso(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
