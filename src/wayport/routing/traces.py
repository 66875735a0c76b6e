"""How the latest calls were routed, for those who ask. Bounded, per worker; what is older stands in the request log."""

from collections import deque
from collections.abc import Callable

import msgspec
from msgspec import Struct, field

from wayport.core.record import AttemptRecord, CallRecord, Decision

_MOST = 512

_decode = msgspec.msgpack.Decoder(CallRecord).decode


class Trace(Struct, kw_only=True, omit_defaults=True):
    """One call as `GET /v1/calls/{id}/explain` shows it."""

    call_id: str
    model_asked: str
    model: str = ""
    deployment: str = ""
    provider: str = ""
    status: str = "running"
    http_status: int = 0
    stream: bool = False
    decisions: list[Decision] = field(default_factory=list)
    attempts: list[AttemptRecord] = field(default_factory=list)
    dropped_params: list[str] = field(default_factory=list)
    first_token_ms: float | None = None
    duration_ms: float | None = None
    overhead_ms: float | None = None
    error: str | None = None
    explanation: list[str] = field(default_factory=list)


class Traces:
    """A sink of records, the youngest of which it keeps."""

    def __init__(self) -> None:
        self._records: deque[CallRecord | bytes] = deque(maxlen=_MOST)
        # The queue's own method: keeping a record is what happens with every call, and looking for one is rare.
        self.add: Callable[[CallRecord], None] = self._records.append
        self.keep: Callable[[bytes], None] = self._records.append
        """of a record as MessagePack"""

    def of(self, call_id: str) -> CallRecord | None:
        sought = call_id.encode("utf-8", "replace")
        for each in self._records:
            if isinstance(each, bytes):
                if sought in each and (record := _decode(each)).call_id == call_id:
                    return record
            elif each.call_id == call_id:
                return each
        return None


def explain(record: CallRecord) -> Trace:
    """A record as people ask for it."""
    return Trace(
        call_id=record.call_id,
        model_asked=record.model_asked,
        model=record.model,
        deployment=record.deployment,
        provider=record.provider,
        status=record.status,
        http_status=record.http_status,
        stream=record.stream,
        decisions=record.routing,
        attempts=record.attempts,
        dropped_params=record.dropped_params,
        first_token_ms=record.first_token_ms,
        duration_ms=round((record.ended_s - record.started_s) * 1000, 3),
        overhead_ms=round(record.overhead_ms, 3),
        error=record.error,
        explanation=list(_sentences(record)),
    )


def _sentences(record: CallRecord) -> list[str]:
    """The story in words, in its order."""
    said: list[str] = []
    if record.model and record.model != record.model_asked:
        said.append(f"The client asked for `{record.model_asked}`; `{record.model}` was called last.")
    for decision in record.routing:
        said += _of_decision(decision)
    for number, attempt in enumerate(record.attempts, 1):
        said.append(_of_attempt(number, attempt))
    if record.dropped_params:
        said.append(f"Dropped, as the target does not know them: {', '.join(record.dropped_params)}.")
    if record.error is not None:
        said.append(f"The client was told {record.http_status}: {record.error}")
    return said


def _of_decision(decision: Decision) -> list[str]:
    if decision.waited_ms:
        return [f"`{decision.model}`: waited {decision.waited_ms:.0f} ms for a place."]
    said = [f"`{decision.model}`: {name} was no candidate ({why})." for name, why in decision.removed.items()]
    if not decision.chosen:
        return [*said, f"`{decision.model}`: nobody was left."]
    if decision.pinned:
        how = f"kept by its {decision.pinned.replace('_', ' ')}"
    elif decision.strategy:
        how = f"by {decision.strategy} out of {decision.candidates}"
        score = decision.scores.get(decision.chosen)
        if score is not None:
            how += f", score {score:.6g}"
    else:
        how = "the first of its chain" if decision.candidates > 1 else "the only one left"
    return [*said, f"`{decision.model}`: {decision.chosen} was chosen ({decision.reason}), {how}."]


def _of_attempt(number: int, attempt: AttemptRecord) -> str:
    became = f"{attempt.error_class}: {attempt.error}" if attempt.error_class else f"answered {attempt.status or 200}"
    waited = f" after {attempt.wait_ms:.0f} ms of waiting" if attempt.wait_ms else ""
    where = f"{attempt.provider}/{attempt.model} ({attempt.deployment})"
    return f"Attempt {number} ({attempt.reason}) at {where}{waited}: {became} in {attempt.duration_ms:.0f} ms."
