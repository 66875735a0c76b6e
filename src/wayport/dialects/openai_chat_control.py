"""Request fields that are the gateway's own business and never go upstream, and the merging of `extra_body`.

The names are LiteLLM's (its request-level parameters): routing, caching, guardrails, mocking, credentials, attribution. Those who
need them read them before; here they are only taken away.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.wire.openai_chat import OWN_FIELDS
from wayport.wire.patch import Fields

CONTROL: Final = frozenset(
    (
        # where to, and with whose credentials
        "api_key", "api_base", "base_url", "api_version", "api_type", "user_config", "organization", "extra_headers",
        "headers", "custom_llm_provider", "model_info", "model_list", "deployment_id", "engine", "region_name",
        "ssl_verify", "azure_ad_token", "azure_ad_token_provider", "credential_name", "litellm_credential_name",
        "use_in_pass_through", "use_litellm_proxy",
        # routing
        "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "context_window_fallback_dict",
        "disable_fallbacks", "num_retries", "max_retries", "retry_policy", "timeout", "stream_timeout",
        "request_timeout", "router_settings_override", "priority", "weights", "rpm", "tpm", "order", "tags",
        "specific_deployment", "allowed_model_region", "max_fallbacks", "cooldown_time", "model_config", "routing",
        "ttft_timeout", "stream_idle_timeout",
        # shaping
        "drop_params", "additional_drop_params", "allowed_openai_params", "extra_body", "modify_params",
        "cache_control_injection_points", "merge_reasoning_content_in_choices", "prompt_id", "prompt_variables",
        "prompt_version", "prompt_label", "prompt_integration", "vector_store_ids", "force_timeout",
        # caching
        "cache", "caching", "caching_groups", "cache_key", "no-cache", "no-store", "ttl", "s-maxage", "preset_cache_key",
        # guardrails
        "guardrails", "guardrail_config", "disable_global_guardrails", "disable_global_guardrail", "policies",
        "applied_guardrails", "opted_out_global_guardrails", "content_filter_config",
        # attribution, logging and prices
        "no-log", "callbacks", "success_callback", "failure_callback", "service_callback", "input_callback",
        "logger_fn", "verbose", "proxy_server_request", "secret_fields",
        "input_cost_per_token", "output_cost_per_token", "input_cost_per_second", "output_cost_per_second",
        "base_model", "enforced_params", "spend_logs_metadata", "end_user", "max_budget", "budget_duration",
        "proxy_model_name", "turn_off_message_logging", "kwargs",
        # mocking
        "mock_response", "mock_tool_calls", "mock_delay", "mock_timeout",
    )
)  # fmt: skip

_PREFIXES: Final = ("litellm_", "mock_testing_", "aws_", "vertex_", "azure_ad_", "langfuse_", "user_api_key")

# What limits and prices were worked out from before: not to be changed by a side door.
_NOT_FROM_EXTRA_BODY: Final = frozenset(
    ("model", "messages", "stream", "stream_options", "n", "max_tokens", "max_completion_tokens")
)

_metadata = msgspec.json.Decoder(dict[str, str])


def is_control(name: str) -> bool:
    return name in CONTROL or name.startswith(_PREFIXES)


def merged(fields: Fields) -> tuple[Fields, list[str]]:
    """The fields that may go upstream, `extra_body` merged into them, and the names that were left out of it."""
    if OWN_FIELDS.issuperset(fields):
        return dict(fields), []
    return merge(fields, OWN_FIELDS, _NOT_FROM_EXTRA_BODY)


def merge(fields: Fields, own: Collection[str], fixed: Collection[str]) -> tuple[dict[str, Raw], list[str]]:
    """As `merged`, for a dialect whose own fields are `own`, and whose `fixed` ones `extra_body` cannot change."""
    kept = {name: raw for name, raw in fields.items() if name in own or not is_control(name)}
    refused: list[str] = []
    extra = fields.get("extra_body")
    if extra is not None and bytes(extra)[:1] == b"{":
        for name, raw in read.fields(extra, "extra_body").items():
            if name in fixed:
                refused.append(f"extra_body.{name}")
            elif not is_control(name):
                kept[name] = raw
    metadata = kept.get("metadata")
    if metadata is not None and not is_openai_metadata(metadata):
        del kept["metadata"]
    return kept, refused


def is_openai_metadata(raw: Raw) -> bool:
    """Whether `metadata` is what OpenAI stores: names and texts. Lists and objects in it are meant for a gateway."""
    if bytes(raw) == b"null":
        return True
    try:
        _metadata.decode(raw)
    except (ValueError, RecursionError):
        return False
    return True
