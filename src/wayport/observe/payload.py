"""A call as callbacks are told of it: the fields of LiteLLM's `StandardLoggingPayload`, made of the record.

What must stay true: no credential leaves. Whatever clients or upstreams wrote (metadata, errors) is masked here.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import msgspec

from wayport.core.money import NANO_PER_USD
from wayport.core.record import CallRecord
from wayport.core.secret import mask
from wayport.core.usage import Usage

CALL_TYPES = {
    "chat": "acompletion",
    "completions": "atext_completion",
    "embeddings": "aembedding",
    "messages": "anthropic_messages",
    "responses": "aresponses",
}
_COST_PARTS = {
    "input": "input_cost",
    "output": "output_cost",
    "cache_read": "cache_read_cost",
    "cache_write_5m": "cache_creation_cost",
    "cache_write_1h": "cache_creation_cost",
    "reasoning": "reasoning_cost",
}


class Payload(TypedDict):
    """Times are seconds since the epoch, money is dollars. docs/observability.md describes each field."""

    id: str
    litellm_call_id: str
    trace_id: str
    session_id: str | None
    call_type: str
    stream: bool
    status: str
    status_fields: dict[str, str]
    custom_llm_provider: str
    response_cost: float
    cost_breakdown: dict[str, float]
    total_tokens: int
    prompt_tokens: int
    completion_tokens: int
    startTime: float
    endTime: float
    completionStartTime: float
    response_time: float
    model: str
    model_id: str
    model_group: str
    model_map_information: dict[str, Any]
    api_base: str
    metadata: dict[str, Any]
    cache_hit: bool
    cache_key: str | None
    saved_cache_cost: float
    request_tags: list[str]
    end_user: str
    requester_ip_address: str
    user_agent: str
    messages: Any
    response: Any
    error_str: str | None
    error_information: dict[str, Any]
    model_parameters: dict[str, Any]
    hidden_params: dict[str, Any]
    guardrail_information: list[dict[str, Any]]
    wayport: dict[str, Any]


def succeeded(record: CallRecord) -> bool:
    return record.status == "success"


def payload_of(record: CallRecord) -> Payload:
    usage = record.usage
    spent = (record.cost_nano_usd or 0) + record.wasted_nano_usd
    failed = not succeeded(record)
    first_s = record.ended_s if record.first_token_ms is None else record.started_s + record.first_token_ms / 1000
    retries = max(0, len(record.attempts) - 1)
    return Payload(
        id=record.upstream_id or record.call_id,
        litellm_call_id=record.call_id,
        trace_id=trace_id(record),
        session_id=record.session_id,
        call_type=CALL_TYPES.get(record.operation, record.operation),
        stream=record.stream,
        status="failure" if failed else "success",
        status_fields={"llm_api_status": "failure" if failed else "success", "guardrail_status": "not_run"},
        custom_llm_provider=record.provider,
        response_cost=spent / NANO_PER_USD,
        cost_breakdown=cost_breakdown(record),
        total_tokens=usage.total_tokens if usage else 0,
        prompt_tokens=usage.input_tokens if usage else 0,
        completion_tokens=usage.output_tokens if usage else 0,
        startTime=record.started_s,
        endTime=record.ended_s,
        completionStartTime=first_s,
        response_time=first_s - record.started_s if record.stream else record.ended_s - record.started_s,
        model=record.upstream_model or record.model_asked,
        model_id=record.deployment,
        model_group=record.model or record.model_asked,
        model_map_information={"model_map_key": record.upstream_model, "model_map_value": None},
        api_base="",
        metadata=_metadata(record),
        cache_hit=False,
        cache_key=None,
        saved_cache_cost=0.0,
        request_tags=record.tags,
        end_user=record.end_user or "",
        requester_ip_address=record.client_address,
        user_agent=record.agent,
        messages=None,
        response=None,
        error_str=mask(record.error) if record.error else None,
        error_information=error_information(record) if failed else {},
        model_parameters={"stream": record.stream},
        hidden_params={
            "model_id": record.deployment,
            "cache_key": None,
            "api_base": "",
            "response_cost": spent / NANO_PER_USD,
            "litellm_overhead_time_ms": record.overhead_ms,
            "additional_headers": {},
            "batch_models": None,
            "litellm_model_name": record.upstream_model,
            "usage_object": usage_object(usage),
        },
        guardrail_information=[],
        wayport={
            "attempts": msgspec.to_builtins(record.attempts),
            "retries": retries,
            "cost_nano_usd": record.cost_nano_usd,
            "wasted_nano_usd": record.wasted_nano_usd,
            "usage_source": record.usage_source,
            "price_source": record.price_source,
            "http_status": record.http_status,
            "outcome": record.status,
            "finish": record.finish,
            "dropped_params": record.dropped_params,
            "client_dialect": record.client_dialect,
            "upstream_dialect": record.upstream_dialect,
            "model_asked": record.model_asked,
            "node": record.node,
        },
    )


def trace_id(record: CallRecord) -> str:
    """The client's, or one made of the call's id."""
    return record.trace_id or record.call_id.replace("-", "")


def metadata_of(record: CallRecord) -> Any:
    """The client's metadata, masked; None if there is none that can be read."""
    if record.metadata is None:
        return None
    try:
        return msgspec.json.decode(mask(record.metadata.decode("utf-8", "replace")))
    except (ValueError, RecursionError):
        return None


def cost_breakdown(record: CallRecord) -> dict[str, float]:
    return breakdown(record.cost_parts, (record.cost_nano_usd or 0) + record.wasted_nano_usd)


def breakdown(parts: Mapping[str, int], total_nano_usd: int) -> dict[str, float]:
    """The parts of a cost as LiteLLM names them, in dollars."""
    found: dict[str, int] = {}
    for part, nano_usd in parts.items():
        name = _COST_PARTS.get(part, "additional_costs")
        found[name] = found.get(name, 0) + nano_usd
    found["total_cost"] = total_nano_usd
    return {name: nano_usd / NANO_PER_USD for name, nano_usd in found.items()}


def error_information(record: CallRecord) -> dict[str, Any]:
    return {
        "error_code": str(record.http_status),
        "error_class": record.error_class or "",
        "llm_provider": record.provider,
        "traceback": "",
        "error_message": mask(record.error or ""),
    }


def usage_object(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens, "audio_tokens": usage.audio_input_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
    }


def _metadata(record: CallRecord) -> dict[str, Any]:
    stated = metadata_of(record)
    given = stated if isinstance(stated, dict) else {}
    return {
        "user_api_key_hash": record.key_hash,
        "user_api_key_alias": record.key_alias,
        "user_api_key_user_id": record.user_id,
        "user_api_key_team_id": record.team_id,
        "user_api_key_org_id": record.organization_id,
        "user_api_key_project_id": record.project_id,
        "user_api_key_end_user_id": record.end_user,
        "user_api_key_request_route": record.route,
        "spend_logs_metadata": given.get("spend_logs_metadata"),
        "requester_ip_address": record.client_address,
        "user_agent": record.agent,
        "requester_metadata": given,
        "applied_guardrails": [],
        "usage_object": usage_object(record.usage),
    }
