"""Call records for tests."""

from wayport.core.ids import uuid7
from wayport.core.record import AttemptRecord, CallRecord
from wayport.core.usage import Usage


def call_record(
    *, call_id: str | None = None, key_hash: str | None = "a" * 64, cost_nano_usd: int | None = 1000
) -> CallRecord:
    """A successful streamed chat call of 100 + 20 tokens."""
    return CallRecord(
        call_id=call_id or uuid7(),
        started_s=1_800_000_000.25,
        ended_s=1_800_000_001.5,
        node="n1",
        route="/v1/chat/completions",
        client_dialect="openai_chat",
        agent="OpenAI/Python 3.51.0",
        key_hash=key_hash,
        key_alias="ci",
        user_id="alice",
        team_id="team-1",
        end_user="customer-9",
        tags=["blue"],
        model_asked="gpt",
        model="gpt",
        upstream_model="gpt-4o-2024-08-06",
        deployment="0123456789abcdef",
        provider="openai",
        stream=True,
        attempts=[
            AttemptRecord(deployment="0123456789abcdef", provider="openai", model="gpt-4o-2024-08-06", status=200)
        ],
        usage=Usage(input_tokens=100, output_tokens=20, cache_read_tokens=40, reasoning_tokens=5),
        usage_source="reported",
        cost_nano_usd=cost_nano_usd,
        first_token_ms=120.5,
    )
