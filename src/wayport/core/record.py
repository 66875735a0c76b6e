"""The record of one call: the one source of spend, request log, metrics, traces and callbacks.

None of them can be part of a circle, so the garbage collector is spared the look at them (`gc=False`).
"""

from typing import Literal

from msgspec import Struct, field

from wayport.core.usage import Usage, UsageSource

Status = Literal["success", "failure", "cancelled", "cut"]
"""`cancelled`: the client left; `cut`: the stream broke off after content had been sent"""


class AttemptRecord(Struct, kw_only=True, omit_defaults=True, gc=False):
    """One try at one deployment."""

    deployment: str
    provider: str
    model: str
    """the upstream's name of it"""
    started_ms: float = 0.0
    """after the call's start"""
    duration_ms: float = 0.0
    status: int = 0
    error_class: str | None = None
    error: str | None = None
    """first 500 characters, masked"""
    wait_ms: float = 0.0
    """slept before it (backoff)"""
    reason: str = ""
    """why it was made: first, retry, fallback"""
    usage: Usage | None = None
    cost_nano_usd: int | None = None
    usage_source: UsageSource = "none"
    """an abandoned attempt whose body was sent is estimated, never free by vanishing"""


class Decision(Struct, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """Why a call went where it went: one choice among the deployments of a model."""

    model: str
    chosen: str = ""
    """deployment; empty: there was nobody to choose"""
    reason: str = "first"
    strategy: str = ""
    """empty: there was no choice, or the order of a chain decided"""
    candidates: int = 0
    """how many stood to choose from in the end"""
    removed: dict[str, str] = field(default_factory=dict)
    """deployment to why it was no candidate"""
    scores: dict[str, float] = field(default_factory=dict)
    """deployment to what the strategy went by; lower is better"""
    waited_ms: float = 0.0
    """for a place: every deployment had as many calls as it takes"""
    pinned: str = ""
    """what kept it where it had been: a session, a stored answer, a prompt in the cache"""


class CallBodies(Struct, frozen=True, omit_defaults=True):
    """What was asked and answered, as the bytes that passed."""

    request: bytes = b""
    response: bytes = b""


class CallRecord(Struct, kw_only=True, omit_defaults=True, gc=False):
    """Times are UTC seconds since the epoch, durations milliseconds, money nano-dollars."""

    call_id: str
    """UUIDv7; the journal is idempotent on it"""
    started_s: float
    ended_s: float
    node: str = ""
    worker: int = 0
    operation: str = "chat"
    route: str = ""
    client_dialect: str = ""
    agent: str = ""
    """the client's user agent, first 100 characters"""
    client_address: str = ""

    key_hash: str | None = None
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    project_id: str | None = None
    end_user: str | None = None
    tags: list[str] = field(default_factory=list)
    session_id: str | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    """the client's span, if it sent a W3C `traceparent`; then `trace_id` is that trace's"""
    metadata: bytes | None = None
    """the client's metadata object as JSON"""

    model_asked: str = ""
    model: str = ""
    """public name of the model that answered"""
    upstream_model: str = ""
    deployment: str = ""
    provider: str = ""
    upstream_dialect: str = ""
    upstream_id: str | None = None
    stream: bool = False

    attempts: list[AttemptRecord] = field(default_factory=list)
    routing: list[Decision] = field(default_factory=list)
    """only where there was something to decide"""
    status: Status = "success"
    http_status: int = 200
    error_class: str | None = None
    error: str | None = None
    finish: str | None = None

    usage: Usage | None = None
    usage_source: UsageSource = "none"
    cost_nano_usd: int | None = None
    """of the answer; None: unpriced. Never silently 0"""
    cost_parts: dict[str, int] = field(default_factory=dict)
    """kind to nano-dollars; the total is their sum"""
    wasted_nano_usd: int = 0
    """cost of abandoned attempts, on top"""
    price_source: str | None = None
    price_version: str | None = None
    service_tier: str | None = None

    first_token_ms: float | None = None
    overhead_ms: float = 0.0
    """what Wayport added: duration less the time spent waiting for the upstream"""
    dropped_params: list[str] = field(default_factory=list)
    request_bytes: int = 0
    bodies: CallBodies | None = None
    """a line behind the call's own, which says nothing else"""
    opened: bool = False
    """a line written before sending for a budgeted key; charged at `reserved_nano_usd` if no close follows"""
    reserved_nano_usd: int = 0
    budget_windows: tuple[str, ...] = ()
    """the windows of budgets that it was admitted into and counts in: `counter@start`"""
    target_windows: dict[str, int] = field(default_factory=dict)
    """what it counts for in windows of budgets of providers and deployments, in nano-dollars"""
    lease_holder: str = ""
    """whose leases it was admitted on: the writer of the spool"""
