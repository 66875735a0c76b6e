"""`/utils/*`: what is told of a request that nobody makes."""

from typing import Any

import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Upstream, json_answer

CONFIG = """
model_list:
- {model_name: gpt, litellm_params: {model: openai/gpt-4o, api_key: sk-secret-of-the-upstream}}
- {model_name: claude, litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: sk-secret-of-the-upstream, drop_params: false}}
- {model_name: gemini, litellm_params: {model: gemini/gemini-2.5-flash, api_key: sk-secret-of-the-upstream}}
- {model_name: embed, litellm_params: {model: openai/text-embedding-3-small, api_key: sk-secret-of-the-upstream}}
"""
HI = [{"role": "user", "content": "Hello there"}]


async def post(wayport: Gateway, path: str, body: Any, *, status: int = 200, key: str | None = None) -> Any:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    answer = await wayport.http.post(path, json=body, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.parametrize(
    ("call_type", "body", "address", "sent"),
    [
        ("completion", {"model": "gpt", "messages": HI, "seed": 1}, "https://api.openai.com/v1/chat/completions",
         {"model": "gpt-4o", "messages": HI, "seed": 1}),
        ("acompletion", {"model": "gemini", "messages": HI, "stream": True},
         "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
         {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}),
        ("aembedding", {"model": "embed", "input": ["a"]}, "https://api.openai.com/v1/embeddings",
         {"model": "text-embedding-3-small", "input": ["a"]}),
        ("responses", {"model": "gpt", "input": "Hello"}, "https://api.openai.com/v1/responses",
         {"model": "gpt-4o", "input": "Hello"}),
        ("anthropic_messages", {"model": "claude", "max_tokens": 5, "messages": HI}, "https://api.anthropic.com/v1/messages",
         {"model": "claude-sonnet-4-5", "max_tokens": 5, "messages": HI}),
    ],
)  # fmt: skip
async def test_a_request_is_shown_as_it_would_be_sent(call_type: str, body: Any, address: str, sent: Any) -> None:
    async with gateway(CONFIG) as wayport:
        told = await post(wayport, "/utils/transform_request", {"call_type": call_type, "request_body": body})
        assert (told["raw_request_api_base"], told["error"]) == (address, None)
        assert told["raw_request_body"] == sent
        assert "***" in told["raw_request_headers"].values()
        assert "secret" not in str(told)
        assert not wayport.records


async def test_no_address_in_a_request_is_fetched(tmp_path_factory: pytest.TempPathFactory) -> None:
    del tmp_path_factory
    async with Upstream([json_answer({})]) as elsewhere, gateway(CONFIG) as wayport:
        image = {"type": "image_url", "image_url": {"url": f"{elsewhere.url}/image.png"}}
        body = {"model": "gemini", "messages": [{"role": "user", "content": [image]}]}
        await wayport.http.post("/utils/transform_request", json={"call_type": "completion", "request_body": body})
        assert elsewhere.requests == []


async def test_parameters_of_a_model_are_those_that_reach_it() -> None:
    async with gateway(CONFIG) as wayport:

        async def supported(model: str) -> list[str]:
            answer = await wayport.http.get("/utils/supported_openai_params", params={"model": model})
            found: list[str] = answer.json()["supported_openai_params"]
            return found

        openai, anthropic = await supported("gpt"), await supported("claude")
        assert {"temperature", "tools", "stream", "response_format"} <= {*openai} & {*anthropic}
        assert {"logit_bias", "seed", "n"} <= {*openai} - {*anthropic}
        assert "reasoning_effort" in anthropic
        assert (await wayport.http.get("/utils/supported_openai_params")).status_code == 400
        assert (await wayport.http.get("/utils/supported_openai_params?model=none")).status_code == 400
        key = wayport.keys.add("sk-of-somebody")
        headers = {"authorization": f"Bearer {key}"}
        refused = await wayport.http.get("/utils/supported_openai_params?model=gpt", headers=headers)
        assert refused.status_code == 401


@pytest.mark.parametrize(
    ("body", "used"),
    [
        ({"model": "gpt", "messages": HI}, "gpt-4o"),
        ({"model": "no-such", "prompt": "Hello there"}, "no-such"),
        ({"model": "gpt", "prompt": ["Hello there"]}, "gpt-4o"),
        ({"model": "gemini", "contents": [{"parts": [{"text": "Hello there"}]}]}, "gemini-2.5-flash"),
        ({"model": "claude", "system": "", "messages": HI}, "claude-sonnet-4-5"),
    ],
)
async def test_tokens_are_counted_without_a_call(body: Any, used: str) -> None:
    async with gateway(CONFIG) as wayport:
        told = await post(wayport, "/utils/token_counter", body)
        assert told["total_tokens"] in range(5, 12)
        assert (told["request_model"], told["model_used"]) == (body["model"], used)
        assert told["tokenizer_type"] == "estimated"
        assert not wayport.records


async def test_what_a_key_may_not_use_it_is_not_told_of() -> None:
    async with gateway(CONFIG) as wayport:
        key = wayport.keys.add("sk-of-somebody", models=("gpt",))
        for model, status in (("gpt", 200), ("claude", 403), ("no-such", 403)):
            await post(wayport, "/utils/token_counter", {"model": model, "prompt": "x"}, key=key, status=status)
        body = {"call_type": "completion", "request_body": {"model": "claude", "messages": HI}}
        await post(wayport, "/utils/transform_request", body, key=key, status=403)
        await post(wayport, "/utils/transform_request", body, key="sk-unknown", status=401)


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"model": "gpt"}, {"model": 3, "prompt": "x"}, {"call_type": "completion", "request_body": 7},
        {"call_type": "none", "request_body": {"model": "gpt"}}, {"call_type": "completion", "request_body": {}},
    ],
    ids=str,
)  # fmt: skip
async def test_what_cannot_be_read_is_told(body: Any) -> None:
    async with gateway(CONFIG) as wayport:
        for path in ("/utils/token_counter", "/utils/transform_request"):
            assert "error" in await post(wayport, path, body, status=400)
