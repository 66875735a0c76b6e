"""Usage in every spelling that was seen comes to the same counts, and nothing that was billed is missing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.core.usage import Usage
from wayport.dialects.openai_chat_usage import read_usage, write_usage


def read(**stated: Any) -> Usage:
    usage = read_usage(json.dumps(stated).encode())
    assert usage is not None
    return usage


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"prompt_tokens_details": {"cached_tokens": 4}}, Usage(cache_read_tokens=4)),
        ({"prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, Usage(cache_read_tokens=4)),
        ({"num_cached_tokens": 4}, Usage(cache_read_tokens=4)),
        ({"cached_tokens": 4}, Usage(cache_read_tokens=4)),
        ({"cache_read_input_tokens": 4, "cache_creation_input_tokens": 3}, Usage(cache_read_tokens=4, cache_write_5m_tokens=3)),
        ({"prompt_tokens_details": {"cache_write_tokens": 3}}, Usage(cache_write_5m_tokens=3)),
        ({"prompt_tokens_details": {"cache_creation_tokens": 3}}, Usage(cache_write_5m_tokens=3)),
        (
            {"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 5}},
            Usage(cache_write_5m_tokens=2, cache_write_1h_tokens=5),
        ),
        ({"completion_tokens_details": {"reasoning_tokens": 3}}, Usage(reasoning_tokens=3)),
        ({"reasoning_tokens": 3}, Usage(reasoning_tokens=3)),
        (
            {
                "prompt_tokens_details": {"audio_tokens": 1, "image_tokens": 2, "video_tokens": 3},
                "completion_tokens_details": {
                    "audio_tokens": 4,
                    "image_tokens": 1,
                    "accepted_prediction_tokens": 2,
                    "rejected_prediction_tokens": 1,
                },
            },
            Usage(
                audio_input_tokens=1,
                image_input_tokens=2,
                video_input_tokens=3,
                audio_output_tokens=4,
                image_output_tokens=1,
                accepted_prediction_tokens=2,
                rejected_prediction_tokens=1,
            ),
        ),
        ({"server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}, Usage(web_search_requests=2, web_fetch_requests=1)),
        ({"num_search_queries": 2}, Usage(web_search_requests=2)),
        ({"cost": 0.00123}, Usage(cost_nano_usd=1_230_000)),
        ({"cost": {"total_cost": 0.006, "request_cost": 0.005}}, Usage(cost_nano_usd=6_000_000)),
        ({"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}, Usage(cost_nano_usd=2_100_000)),
        ({"cost": 0.002, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.002}}, Usage(cost_nano_usd=2_000_000)),
        ({"cost_in_usd_ticks": 37_756_000}, Usage(cost_nano_usd=3_775_600)),
        ({"cost": 0}, Usage(cost_nano_usd=0)),
        ({"queue_time": 0.1, "is_byok": None, "prompt_tokens_details": None}, Usage()),
    ],
)  # fmt: skip
def test_every_spelling(stated: dict[str, Any], expected: Usage) -> None:
    expected.input_tokens, expected.output_tokens = 10, 5
    assert read(prompt_tokens=10, completion_tokens=5, total_tokens=15, **stated) == expected


def test_thoughts_that_only_the_total_counts_are_output() -> None:
    assert read(prompt_tokens=10, completion_tokens=5, total_tokens=35) == Usage(
        input_tokens=10, output_tokens=25, reasoning_tokens=20
    )
    beside = read(
        prompt_tokens=10, completion_tokens=5, total_tokens=35, completion_tokens_details={"reasoning_tokens": 20}
    )
    assert beside == Usage(input_tokens=10, output_tokens=25, reasoning_tokens=20)


def test_what_states_nothing() -> None:
    assert read_usage(b"null") is None
    assert read_usage(b"[1]") is None
    assert read_usage(b"{") is None
    assert read(prompt_tokens=-5, completion_tokens=None) == Usage()


USAGES = st.builds(
    Usage,
    **dict.fromkeys(
        [
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "reasoning_tokens",
            "audio_input_tokens",
            "audio_output_tokens",
            "image_input_tokens",
            "image_output_tokens",
            "video_input_tokens",
            "web_search_requests",
            "web_fetch_requests",
        ],
        st.integers(min_value=0, max_value=10**9),
    ),
)


@given(usage=USAGES)
def test_what_is_written_is_read_again(usage: Usage) -> None:
    assert read_usage(json.dumps(write_usage(usage)).encode()) == usage
