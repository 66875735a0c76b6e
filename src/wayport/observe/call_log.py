"""One structured line per call, written in batches by the control process. No bodies, no secrets."""

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec

from wayport.core.money import usd_text
from wayport.core.record import CallRecord

_FLUSH_S = 0.25
_WELL = frozenset({"success", "cancelled"})
_MOST = 2_000
"""lines kept while the output is blocked; more are dropped and counted"""
_ENOUGH = 500
"""so many are written without waiting for the quarter of a second to pass"""
_PATIENCE_S = 2.0
"""how long the reading of calls waits for the output"""

log = logging.getLogger("wayport.observe")

_encode = msgspec.json.Encoder().encode


class Line(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a log line says of a call. Costs in US dollars, as decimal text; times in milliseconds."""

    time: str
    level: str
    event: str
    call_id: str
    status: str
    http_status: int
    operation: str
    model: str
    provider: str
    upstream_model: str
    deployment: str
    stream: bool = False
    attempts: int
    duration_ms: float
    overhead_ms: float
    key: str | None = None
    client: str
    first_token_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usage_source: str = ""
    cost_usd: str | None
    """null: nobody knows what the model costs, or nothing was used"""
    error_class: str | None = None
    error: str | None = None
    dropped_params: list[str] | None = None


@lru_cache(2)
def _second(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")


def line_of(record: CallRecord) -> Line:
    ended_s = record.ended_s
    usage = record.usage
    second = int(ended_s)
    cost = record.cost_nano_usd
    return Line(
        time=f"{_second(second)}.{int((ended_s - second) * 1000):03d}Z",
        level="info" if record.status in _WELL else "warning",
        event="call",
        call_id=record.call_id,
        status=record.status,
        http_status=record.http_status,
        operation=record.operation,
        model=record.model_asked,
        provider=record.provider,
        upstream_model=record.upstream_model,
        deployment=record.deployment,
        stream=record.stream,
        attempts=len(record.attempts),
        duration_ms=round((ended_s - record.started_s) * 1000, 1),
        overhead_ms=round(record.overhead_ms, 2),
        key=record.key_alias or (record.key_hash[:12] if record.key_hash else None),
        client=record.client_address,
        first_token_ms=round(record.first_token_ms, 1) if record.first_token_ms is not None else None,
        input_tokens=usage.input_tokens if usage is not None else None,
        output_tokens=usage.output_tokens if usage is not None else None,
        usage_source=record.usage_source if usage is not None else "",
        cost_usd=usd_text(cost) if cost is not None else None,
        error_class=record.error_class,
        error=record.error,
        dropped_params=record.dropped_params or None,
    )


def as_json(record: CallRecord) -> bytes:
    """The line, newline included. A call that went well is written from a part that is the same for all of its kind."""
    usage = record.usage
    if record.status != "success" or usage is None or record.dropped_params or record.first_token_ms is not None:
        return _encode(line_of(record)) + b"\n"
    ended_s = record.ended_s
    second = int(ended_s)
    cost = record.cost_nano_usd
    return b'{"time":"%b.%03dZ","call_id":"%b",%b"attempts":%d,"duration_ms":%.1f,"overhead_ms":%.2f,%b,%b}\n' % (
        _second(second).encode(),
        int((ended_s - second) * 1000),
        record.call_id.encode(),
        _kind(
            record.http_status,
            record.operation,
            record.model_asked,
            record.provider,
            record.upstream_model,
            record.deployment,
            record.key_alias or (record.key_hash[:12] if record.key_hash else None),
            record.client_address,
            record.stream,
        ),
        len(record.attempts),
        (ended_s - record.started_s) * 1000,
        record.overhead_ms,
        b'"input_tokens":%d,"output_tokens":%d,"usage_source":"%b"'
        % (usage.input_tokens, usage.output_tokens, record.usage_source.encode()),
        b'"cost_usd":null' if cost is None else b'"cost_usd":"%b"' % usd_text(cost).encode(),
    )


@lru_cache(4096)
def _kind(  # noqa: PLR0917 (positional: half the price of a cache look-up)
    http_status: int,
    operation: str,
    model: str,
    provider: str,
    upstream_model: str,
    deployment: str,
    key: str | None,
    client: str,
    stream: bool,  # noqa: FBT001 (as above)
) -> bytes:
    """What the lines of all calls of one kind share, as the inside of an object with a comma at its end."""
    shared: dict[str, object] = {
        "level": "info",
        "event": "call",
        "status": "success",
        "http_status": http_status,
        "operation": operation,
        "model": model,
        "provider": provider,
        "upstream_model": upstream_model,
        "deployment": deployment,
        "client": client,
    }
    if stream:
        shared["stream"] = True
    if key is not None:
        shared["key"] = key
    return _encode(shared)[1:-1] + b","


def as_console(line: Line) -> bytes:
    """For people: time, outcome, what, how long; then the rest that is worth a look."""
    tokens = f" {line.input_tokens}→{line.output_tokens} tokens" if line.input_tokens is not None else ""
    unpriced = " unpriced" if line.input_tokens is not None else ""
    cost = f" ${line.cost_usd}" if line.cost_usd is not None else unpriced
    error = f" {line.error_class}: {line.error}" if line.error_class is not None else ""
    stream = " stream" if line.stream else ""
    provider = f" → {line.provider}/{line.upstream_model}" if line.provider else ""
    return (
        f"{line.time} {line.http_status} {line.operation}{stream} {line.model}{provider} "
        f"{line.duration_ms} ms{tokens}{cost} {line.call_id}{error}\n"
    ).encode()


def _to_stdout(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


class CallLog:
    """Lines wait in `add`, which blocks nobody; `run` writes them, in a thread, since whoever reads the output may be slow."""

    def __init__(
        self, *, style: Literal["json", "console"] = "json", write: Callable[[bytes], object] | None = None
    ) -> None:
        self._style = style
        self._write = write or _to_stdout
        self._waiting: list[CallRecord] = []
        self._unpriced: set[tuple[str, str]] = set()
        self._untold = 0
        self._enough = asyncio.Event()
        self._written = asyncio.Event()
        self._stuck = False
        self.dropped = 0
        """lines that were never written, because nobody took those before them"""

    def add(self, record: CallRecord) -> None:
        if len(self._waiting) >= _MOST:
            self.dropped += 1
            self._untold += 1
        else:
            self._waiting.append(record)
            if len(self._waiting) >= _ENOUGH:
                self._enough.set()

    async def room(self) -> None:
        """Returns when more may be added. Nobody waits for an output that nobody takes: then lines are dropped."""
        if len(self._waiting) < _MOST // 2 or self._stuck:
            return
        self._written.clear()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._written.wait()
        except TimeoutError:
            self._stuck = True

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_FLUSH_S):
                    await self._enough.wait()
            await self.flush()

    async def flush(self) -> None:
        """Writes what is waiting in one go."""
        # Taken here and not in the thread: nothing may be added to what is being written.
        waiting, self._waiting = self._waiting, []
        self._enough.clear()
        untold, self._untold = self._untold, 0
        if not waiting:
            return
        try:
            await asyncio.to_thread(self._put, waiting, untold)
        except (OSError, ValueError) as error:
            # A full disk behind the output, or nobody at its other end: later lines may find it well again.
            self.dropped += len(waiting)
            self._untold += len(waiting) + untold
            log.warning("log lines are lost", extra={"lines": len(waiting), "error": str(error)})
        self._stuck = False
        self._written.set()

    def _put(self, records: Sequence[CallRecord], untold: int) -> None:
        if self._style == "json":
            lines = [as_json(record) for record in records]
        else:
            lines = [as_console(line_of(record)) for record in records]
        lines += [_encode(warning) + b"\n" for record in records if (warning := self._warning(record)) is not None]
        if untold:
            lines.append(_encode({"event": "log_lines_dropped", "level": "warning", "count": untold}) + b"\n")
        self._write(b"".join(lines))

    def _warning(self, record: CallRecord) -> dict[str, str] | None:
        """That a model has no price: once for each, when it is first called."""
        if record.cost_nano_usd is not None or record.usage is None or not record.provider:
            return None
        model = (record.provider, record.upstream_model)
        if model in self._unpriced or len(self._unpriced) >= _MOST:
            return None
        self._unpriced.add(model)
        return {
            "event": "unpriced_model",
            "level": "warning",
            "provider": record.provider,
            "model": record.upstream_model,
            "message": "Calls of this model have no cost: nobody knows its price. Give `prices` in the configuration.",
        }
