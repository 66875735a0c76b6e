"""The metrics that are made of records: name, labels, and how a record gives their value.

LiteLLM's names and labels are those of its dashboards; `_total` is added to counters where they do not have it.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

from wayport.core.money import NANO_PER_USD
from wayport.core.record import AttemptRecord, CallRecord

LATENCY_EDGES = (
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.0", "5.0", "10.0", "30.0", "60.0", "120.0",
    "300.0", "420.0", "600.0",
)  # fmt: skip
"""as LiteLLM has them"""
OVERHEAD_EDGES = (
    "0.0001",
    "0.00025",
    "0.0005",
    "0.001",
    "0.0025",
    "0.005",
    "0.01",
    "0.025",
    "0.05",
    "0.1",
    "0.5",
    "1.0",
)

Amount = Callable[[CallRecord], float]
OfAttempt = Callable[[CallRecord, AttemptRecord, int], float]


def _never(_: CallRecord) -> float:
    return 0.0


class Counter(Struct, frozen=True, kw_only=True):
    name: str
    help: str
    labels: tuple[str, ...]
    amount: Amount = _never
    """how much one call adds"""
    of_attempt: OfAttempt | None = None
    """how much one of its attempts (counted from 0) adds"""

    @property
    def of_calls(self) -> bool:
        return self.amount is not _never


class Histogram(Struct, frozen=True, kw_only=True):
    name: str
    help: str
    labels: tuple[str, ...]
    value: Callable[[CallRecord], float | None]
    """None: this call says nothing of it"""
    edges: tuple[str, ...] = LATENCY_EDGES

    @property
    def buckets(self) -> list[float]:
        return _BUCKETS[self.edges]


_BUCKETS: dict[tuple[str, ...], list[float]] = {
    edges: [float(edge) for edge in edges] for edges in (LATENCY_EDGES, OVERHEAD_EDGES)
}

_KEY = ("hashed_api_key", "api_key_alias")
_TEAM = ("team", "team_alias")
_USAGE = (
    "end_user",
    *_KEY,
    "model",
    *_TEAM,
    "user",
    "user_email",
    "requested_model",
    "model_id",
    "api_provider",
)
_CLIENT = ("client_ip", "user_agent")
_DEPLOYMENT = (
    "model_group",
    "requested_model",
    "litellm_model_name",
    "model_id",
    "api_base",
    "api_provider",
    *_KEY,
    *_TEAM,
    *_CLIENT,
)
_FAILED_DEPLOYMENT = (
    "model_group",
    "requested_model",
    "litellm_model_name",
    "model_id",
    "api_base",
    "api_provider",
    "exception_status",
    "exception_class",
    *_KEY,
    *_TEAM,
    *_CLIENT,
)
_LATENCY = (
    "model_group",
    "end_user",
    *_KEY,
    "requested_model",
    *_TEAM,
    "user",
    "model",
    "model_id",
    "api_provider",
    "service_tier",
)
_API_LATENCY = (
    "model_group",
    "model",
    *_KEY,
    *_TEAM,
    "requested_model",
    "end_user",
    "user",
    "model_id",
    "api_provider",
    "service_tier",
)
_FALLBACK = (
    "requested_model",
    "fallback_model",
    *_KEY,
    *_TEAM,
    "exception_status",
    "exception_class",
    "model_id",
)


def _failed(record: CallRecord) -> float:
    return 0.0 if record.status == "success" else 1.0


def _one(_: CallRecord) -> float:
    return 1.0


def _succeeded(record: CallRecord) -> float:
    return 1.0 if record.status == "success" else 0.0


def _dollars(record: CallRecord) -> float:
    return ((record.cost_nano_usd or 0) + record.wasted_nano_usd) / NANO_PER_USD


def _tokens(name: str) -> Amount:
    def amount(record: CallRecord) -> float:
        return float(getattr(record.usage, name)) if record.usage is not None else 0.0

    return amount


def _unpriced(record: CallRecord) -> float:
    return 1.0 if record.cost_nano_usd is None and record.usage is not None else 0.0


def _attempt_failed(_: CallRecord, attempt: AttemptRecord, __: int) -> float:
    return 1.0 if attempt.error_class is not None else 0.0


def _attempt_succeeded(_: CallRecord, attempt: AttemptRecord, __: int) -> float:
    return 0.0 if attempt.error_class is not None else 1.0


def _each_attempt(_: CallRecord, __: AttemptRecord, ___: int) -> float:
    return 1.0


def _fell_back(record: CallRecord) -> bool:
    return any(attempt.reason == "fallback" for attempt in record.attempts)


def _total_s(record: CallRecord) -> float:
    return record.ended_s - record.started_s


def _api_s(record: CallRecord) -> float | None:
    if not record.attempts:
        return None
    return max(0.0, record.ended_s - record.started_s - record.overhead_ms / 1000)


def _first_token_s(record: CallRecord) -> float | None:
    return record.first_token_ms / 1000 if record.stream and record.first_token_ms is not None else None


def _waited_s(record: CallRecord) -> float | None:
    return record.attempts[0].started_ms / 1000 if record.attempts else None


def _per_output_token_s(record: CallRecord) -> float | None:
    if record.status != "success" or record.usage is None or not record.usage.output_tokens:
        return None
    return (_api_s(record) or 0.0) / record.usage.output_tokens


def _overhead_s(record: CallRecord) -> float | None:
    return max(0.0, record.overhead_ms / 1000) if record.attempts else None


_EXCEPTIONS = {
    "bad_request": "BadRequestError", "BadRequest": "BadRequestError", "unsupported_param": "UnsupportedParamsError",
    "context_window": "ContextWindowExceededError", "content_policy": "ContentPolicyViolationError",
    "authentication": "AuthenticationError", "Unauthenticated": "AuthenticationError",
    "permission": "PermissionDeniedError", "PermissionDenied": "PermissionDeniedError",
    "not_found": "NotFoundError", "ModelNotFound": "NotFoundError",
    "rate_limit": "RateLimitError", "RateLimited": "RateLimitError", "quota": "RateLimitError",
    "overloaded": "ServiceUnavailableError", "Unavailable": "ServiceUnavailableError",
    "server": "InternalServerError", "InternalError": "InternalServerError",
    "connect": "APIConnectionError", "cut": "APIConnectionError", "malformed": "APIError", "timeout": "Timeout",
}  # fmt: skip
"""what LiteLLM calls the classes of errors"""


def exception_class(error_class: str | None, provider: str) -> str | None:
    """As LiteLLM's dashboards know it: `Openai.RateLimitError`."""
    if error_class is None:
        return None
    name = litellms_class(error_class)
    return f"{provider[:1].upper()}{provider[1:]}.{name}" if provider else name


def litellms_class(error_class: str) -> str:
    return _EXCEPTIONS.get(error_class, error_class)


COUNTERS: tuple[Counter, ...] = (
    Counter(
        name="litellm_proxy_total_requests_metric",
        help="Calls that were answered, well or not.",
        labels=(
            "end_user",
            *_KEY,
            "requested_model",
            *_TEAM,
            "user",
            "status_code",
            "user_email",
            "route",
            *_CLIENT,
            "model_id",
            "api_provider",
        ),
        amount=_one,
    ),
    Counter(
        name="litellm_proxy_failed_requests_metric",
        help="Calls that failed.",
        labels=(
            "end_user",
            *_KEY,
            "requested_model",
            *_TEAM,
            "user",
            "user_email",
            "exception_status",
            "exception_class",
            "route",
            *_CLIENT,
            "model_id",
            "api_provider",
        ),
        amount=_failed,
    ),
    Counter(
        name="litellm_requests_metric",
        help="Calls by key, team and model.",
        labels=(
            "end_user",
            *_KEY,
            "model",
            *_TEAM,
            "user",
            "user_email",
            *_CLIENT,
            "requested_model",
            "model_id",
            "api_provider",
        ),
        amount=_one,
    ),
    Counter(
        name="litellm_spend_metric",
        help="Dollars spent.",
        labels=(
            "end_user",
            *_KEY,
            "model",
            *_TEAM,
            "user",
            "user_email",
            *_CLIENT,
            "requested_model",
            "model_id",
            "api_provider",
            "service_tier",
        ),
        amount=_dollars,
    ),
    Counter(
        name="litellm_total_tokens_metric", help="Tokens in and out.", labels=_USAGE, amount=_tokens("total_tokens")
    ),
    Counter(name="litellm_input_tokens_metric", help="Tokens in.", labels=_USAGE, amount=_tokens("input_tokens")),
    Counter(name="litellm_output_tokens_metric", help="Tokens out.", labels=_USAGE, amount=_tokens("output_tokens")),
    Counter(
        name="litellm_input_cached_tokens_metric",
        help="Tokens in that the provider had in its cache.",
        labels=_USAGE,
        amount=_tokens("cache_read_tokens"),
    ),
    Counter(
        name="litellm_input_cache_creation_tokens_metric",
        help="Tokens in that the provider wrote to its cache.",
        labels=_USAGE,
        amount=_tokens("cache_write_tokens"),
    ),
    Counter(
        name="litellm_input_audio_tokens_metric",
        help="Audio tokens in.",
        labels=_USAGE,
        amount=_tokens("audio_input_tokens"),
    ),
    Counter(
        name="litellm_output_audio_tokens_metric",
        help="Audio tokens out.",
        labels=_USAGE,
        amount=_tokens("audio_output_tokens"),
    ),
    Counter(
        name="litellm_output_reasoning_tokens_metric",
        help="Tokens of thinking.",
        labels=_USAGE,
        amount=_tokens("reasoning_tokens"),
    ),
    Counter(
        name="litellm_provider_cache_read_input_tokens_metric",
        help="Tokens in that the provider had in its cache.",
        labels=("model", *_KEY, *_TEAM, "end_user", "user", "model_id", "api_provider"),
        amount=_tokens("cache_read_tokens"),
    ),
    Counter(
        name="litellm_provider_cache_creation_input_tokens_metric",
        help="Tokens in that the provider wrote to its cache.",
        labels=("model", *_KEY, *_TEAM, "end_user", "user", "model_id", "api_provider"),
        amount=_tokens("cache_write_tokens"),
    ),
    Counter(
        name="litellm_llm_api_failed_requests_metric",
        help="Calls that failed at the provider.",
        labels=("end_user", *_KEY, "model", *_TEAM, "user", "model_id"),
        amount=lambda record: _failed(record) if record.attempts else 0.0,
    ),
    Counter(
        name="litellm_deployment_total_requests",
        help="Attempts at a deployment.",
        labels=_DEPLOYMENT,
        of_attempt=_each_attempt,
    ),
    Counter(
        name="litellm_deployment_success_responses",
        help="Attempts that a deployment answered.",
        labels=_DEPLOYMENT,
        of_attempt=_attempt_succeeded,
    ),
    Counter(
        name="litellm_deployment_failure_responses",
        help="Attempts that failed at a deployment.",
        labels=_FAILED_DEPLOYMENT,
        of_attempt=_attempt_failed,
    ),
    Counter(
        name="litellm_deployment_successful_fallbacks",
        help="Calls that another model answered.",
        labels=_FALLBACK,
        amount=lambda record: _succeeded(record) if _fell_back(record) else 0.0,
    ),
    Counter(
        name="litellm_deployment_failed_fallbacks",
        help="Calls that no other model answered either.",
        labels=_FALLBACK,
        amount=lambda record: _failed(record) if _fell_back(record) else 0.0,
    ),
    Counter(
        name="litellm_zero_cost_requests_total",
        help="Calls that cost nothing or have no price.",
        labels=("requested_model", "model", "model_id", "api_provider", "reason"),
        amount=lambda record: _succeeded(record) if not record.cost_nano_usd else 0.0,
    ),
    Counter(
        name="wayport_calls_total",
        help="Calls by outcome: success, failure, cancelled (the client left), cut (the stream broke).",
        labels=("operation", "public_model", "provider", "status", "stream"),
        amount=_one,
    ),
    Counter(
        name="wayport_attempts_total",
        help="Tries at deployments, with why they were made.",
        labels=("deployment", "provider", "reason", "outcome"),
        of_attempt=_each_attempt,
    ),
    Counter(
        name="wayport_stream_cuts_total",
        help="Streams that broke after content had been sent.",
        labels=("public_model", "provider"),
        amount=lambda record: 1.0 if record.status == "cut" else 0.0,
    ),
    Counter(
        name="wayport_unpriced_calls_total",
        help="Calls whose cost is not known, because their model has no price.",
        labels=("public_model", "provider"),
        amount=_unpriced,
    ),
    Counter(
        name="wayport_estimated_calls_total",
        help="Calls whose usage the upstream did not report.",
        labels=("public_model", "provider"),
        amount=lambda record: 1.0 if record.usage_source == "estimated" else 0.0,
    ),
    Counter(
        name="wayport_wasted_usd_total",
        help="Dollars for attempts that came to nothing.",
        labels=("public_model", "provider"),
        amount=lambda record: record.wasted_nano_usd / NANO_PER_USD,
    ),
    Counter(
        name="wayport_dropped_params_total",
        help="Parameters that a target lacked and that were dropped.",
        labels=("public_model", "provider"),
        amount=lambda record: float(len(record.dropped_params)),
    ),
)

HISTOGRAMS: tuple[Histogram, ...] = (
    Histogram(
        name="litellm_request_total_latency_metric",
        help="Seconds from the request to the end of the answer.",
        labels=_LATENCY,
        value=_total_s,
    ),
    Histogram(
        name="litellm_llm_api_latency_metric",
        help="Seconds spent at the provider.",
        labels=_API_LATENCY,
        value=_api_s,
    ),
    Histogram(
        name="litellm_llm_api_time_to_first_token_metric",
        help="Seconds to a stream's first content.",
        labels=_API_LATENCY,
        value=_first_token_s,
    ),
    Histogram(
        name="litellm_overhead_latency_metric",
        help="Seconds that the gateway added.",
        labels=("model_group", "api_provider", "api_base", "litellm_model_name", *_KEY, "model_id"),
        value=_overhead_s,
    ),
    Histogram(
        name="litellm_overhead_with_guardrails_latency_metric",
        help="Seconds that the gateway added, guardrails included.",
        labels=("model_group", "api_provider", "api_base", "litellm_model_name", *_KEY, "model_id"),
        value=_overhead_s,
    ),
    Histogram(
        name="litellm_request_queue_time_seconds",
        help="Seconds until a provider was asked: waiting for limits, budgets or a free place.",
        labels=("end_user", *_KEY, "requested_model", *_TEAM, "user", "model", "model_id", "api_provider"),
        value=_waited_s,
    ),
    Histogram(
        name="litellm_deployment_latency_per_output_token",
        help="Seconds per token that came back.",
        labels=("model_group", "litellm_model_name", "model_id", "api_base", "api_provider", *_KEY, *_TEAM),
        value=_per_output_token_s,
    ),
    Histogram(
        name="wayport_overhead_seconds",
        help="Seconds that Wayport added to a call.",
        labels=("operation", "stream"),
        value=_overhead_s,
        edges=OVERHEAD_EDGES,
    ),
)

ABSENT: Mapping[str, str] = {
    **dict.fromkeys(
        ("litellm_cache_hits_metric", "litellm_cache_misses_metric", "litellm_cached_tokens_metric"),
        "answers are not reused yet",
    ),
    **dict.fromkeys(
        (
            "litellm_guardrail_errors_total",
            "litellm_guardrail_latency_seconds",
            "litellm_guardrail_requests_total",
        ),
        "there are no guardrails yet",
    ),
    **dict.fromkeys(
        ("litellm_mcp_tool_call_spend_metric", "litellm_mcp_tool_calls_total"), "there is no MCP gateway yet"
    ),
    **dict.fromkeys(
        ("litellm_images_generated_metric", "litellm_video_duration_seconds_metric"),
        "images and videos cannot be made yet",
    ),
    **dict.fromkeys(
        (
            "litellm_check_batch_cost_errors_total",
            "litellm_check_batch_cost_jobs_polled",
            "litellm_check_batch_cost_jobs_processed_total",
            "litellm_check_batch_cost_last_run_timestamp",
            "litellm_managed_batch_created_total",
            "litellm_managed_batch_duration_seconds",
            "litellm_managed_file_created_total",
            "litellm_managed_file_deleted_total",
            "litellm_managed_file_size_bytes",
        ),
        "there are no batches and files yet",
    ),
    **dict.fromkeys(
        (
            "litellm_in_memory_daily_spend_update_queue_size",
            "litellm_in_memory_spend_update_queue_size",
            "litellm_redis_daily_spend_update_queue_size",
            "litellm_redis_spend_update_queue_size",
        ),
        "spend waits in the journal: `wayport_journal_backlog_bytes`",
    ),
    "litellm_pod_lock_manager_size": "no node waits for another one's lock",
    **dict.fromkeys(
        (
            "litellm_redis_circuit_breaker_failures",
            "litellm_redis_circuit_breaker_state",
            "litellm_redis_circuit_breaker_transitions",
        ),
        "there is no such breaker: `wayport_shared_limits_up`",
    ),
    **dict.fromkeys(
        ("litellm_remaining_requests_metric", "litellm_remaining_tokens_metric"),
        "the provider's `x-ratelimit-remaining-*` go to the client and are not kept",
    ),
}
"""LiteLLM's metrics that have no value here, and why"""
