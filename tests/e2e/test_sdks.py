"""The official SDKs through the gateway, each against upstreams of every dialect: text, streams, tools, structured output."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from pydantic import BaseModel
from tests.fakes.answers import ARGUMENTS, answer
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Upstream, by

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
UPSTREAMS = ["openai_chat", "anthropic_messages", "gemini_content"]


class Forecast(BaseModel):
    city: str
    days: int


@asynccontextmanager
async def wayport_at(dialect: str) -> AsyncIterator[tuple[Gateway, Upstream]]:
    """A gateway whose model `m` is served in this dialect. Names that tools send by default lead there, too."""
    async with Upstream(by(answer)) as upstream:
        targets = {
            "openai_chat": ("up", f"{upstream.url}/v1", "up/some-model"),
            "anthropic_messages": ("anthropic", upstream.url, "anthropic/claude-sonnet-4-5"),
            "gemini_content": ("gemini", f"{upstream.url}/v1beta", "gemini/gemini-2.5-flash"),
        }
        provider, base, target = targets[dialect]
        config = (
            f"providers: {{{provider}: {{api_base: {base}, api_key: k}}}}\n"
            f"models: {{m: {target}}}\naliases: {{claude-*: m, gpt-5*: m, gemini-*: m}}\nrouter: {{num_retries: 0}}\n"
        )
        async with gateway(config) as wayport:
            yield wayport, upstream


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_openai_chat(dialect: str) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    async with wayport_at(dialect) as (wayport, _):
        async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=wayport.key) as client:
            whole = await client.chat.completions.create(model="m", messages=messages)
            assert whole.choices[0].message.content == "Hello there"
            assert (whole.choices[0].finish_reason, whole.usage and whole.usage.total_tokens) == ("stop", 18)

            text, usage = "", None
            async for chunk in await client.chat.completions.create(
                model="m", messages=messages, stream=True, stream_options={"include_usage": True}
            ):
                text += (chunk.choices and chunk.choices[0].delta.content) or ""
                usage = chunk.usage or usage
            assert (text, usage and usage.completion_tokens) == ("Hello there", 7)

            asked: Any = [{"role": "user", "content": "weather?"}]
            called = await client.chat.completions.create(model="m", messages=asked, tools=tools)
            calls: Any = called.choices[0].message.tool_calls
            assert json.loads(calls[0].function.arguments) == ARGUMENTS
            assert called.choices[0].finish_reason == "tool_calls"
            asked += [
                called.choices[0].message.model_dump(exclude_none=True),
                {"role": "tool", "tool_call_id": calls[0].id, "content": "sunny"},
            ]
            after = await client.chat.completions.create(model="m", messages=asked, tools=tools)
            assert after.choices[0].message.content == "Hello there"

            stream = client.chat.completions.stream(
                model="m", messages=[{"role": "user", "content": "weather?"}], tools=tools
            )
            async with stream as events:
                final = await events.get_final_completion()
            streamed: Any = final.choices[0].message.tool_calls
            assert json.loads(streamed[0].function.arguments) == ARGUMENTS


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_openai_structured_output(dialect: str) -> None:
    async with wayport_at(dialect) as (wayport, upstream):
        async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=wayport.key) as client:
            format_: Any = {"type": "json_schema", "json_schema": {"name": "f", "strict": True, "schema": SCHEMA}}
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Hello"}], response_format=format_
            )
            sent = upstream.requests[-1].json()
            wanted = {
                "openai_chat": lambda: sent["response_format"]["json_schema"]["schema"],
                "anthropic_messages": lambda: sent["output_config"]["format"]["schema"],
                "gemini_content": lambda: sent["generationConfig"]["responseJsonSchema"],
            }[dialect]()
            assert wanted["properties"] == SCHEMA["properties"]


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_openai_responses(dialect: str) -> None:
    tools: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": True}]
    async with wayport_at(dialect) as (wayport, _):
        async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=wayport.key) as client:
            whole = await client.responses.create(model="gpt-5.5", input="Hello", instructions="Be brief.", store=False)
            assert whole.output_text == "Hello there"
            assert whole.usage is not None
            assert whole.usage.total_tokens == 18

            async with client.responses.stream(model="m", input="weather?", tools=tools, store=False) as events:
                kinds = [event.type async for event in events]
                final = await events.get_final_response()
            assert kinds[0] == "response.created"
            assert kinds[-1] == "response.completed"
            call: Any = next(item for item in final.output if item.type == "function_call")
            assert json.loads(call.arguments) == ARGUMENTS


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_anthropic_messages(dialect: str) -> None:
    tools: Any = [{"name": "weather", "description": "Tells it.", "input_schema": SCHEMA}]
    async with wayport_at(dialect) as (wayport, _):
        async with anthropic.AsyncAnthropic(base_url=wayport.url, api_key=wayport.key) as client:
            hello: Any = [{"role": "user", "content": "Hello"}]
            whole = await client.messages.create(
                model="claude-some-model", max_tokens=100, messages=hello, system="Be brief."
            )
            block: Any = whole.content[0]
            assert (block.text, whole.stop_reason) == ("Hello there", "end_turn")
            assert (whole.usage.input_tokens, whole.usage.output_tokens) == (11, 7)

            asked: Any = [{"role": "user", "content": "weather?"}]
            stream = client.messages.stream(model="m", max_tokens=100, messages=asked, tools=tools)
            async with stream as events:
                final = await events.get_final_message()
            use: Any = next(part for part in final.content if part.type == "tool_use")
            assert (use.input, final.stop_reason) == (ARGUMENTS, "tool_use")
            asked += [
                {"role": "assistant", "content": [part.model_dump(exclude_none=True) for part in final.content]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]},
            ]
            after: Any = await client.messages.create(model="m", max_tokens=100, messages=asked, tools=tools)
            assert after.content[0].text == "Hello there"

            counted = await client.messages.with_raw_response.count_tokens(model="m", messages=hello)
            estimated = dialect == "openai_chat"
            assert counted.headers["x-wayport-count"] == ("estimated" if estimated else "exact")
            assert (await counted.parse()).input_tokens == (6 if estimated else 42)
            listed = await client.models.list()
            assert [model.id for model in listed.data] == ["m"]


@pytest.mark.parametrize("dialect", UPSTREAMS)
async def test_gemini_content(dialect: str) -> None:
    declaration = types.FunctionDeclaration(name="weather", description="Tells it.", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declaration])])
    async with wayport_at(dialect) as (wayport, _):
        options = types.HttpOptions(base_url=wayport.url)
        client = genai.Client(api_key=wayport.key, http_options=options).aio
        whole = await client.models.generate_content(model="gemini-2.5-pro", contents="Hello")
        assert whole.text == "Hello there"
        assert whole.usage_metadata is not None
        assert whole.usage_metadata.prompt_token_count == 11

        text = ""
        async for chunk in await client.models.generate_content_stream(model="m", contents="Hello"):
            text += chunk.text or ""
        assert text == "Hello there"

        called = await client.models.generate_content(model="m", contents="weather?", config=config)
        calls = called.function_calls
        assert calls is not None
        assert (calls[0].name, calls[0].args) == ("weather", ARGUMENTS)
        listed = [model.name async for model in await client.models.list()]
        assert "models/m" in listed
        await client.aclose()


async def test_a_gemini_stream_without_sse_is_one_json_list() -> None:
    for dialect in UPSTREAMS:
        async with wayport_at(dialect) as (wayport, _):
            answered = await wayport.ask(
                {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}, "/v1beta/models/m:streamGenerateContent"
            )
            said = "".join(
                part.get("text", "")
                for item in answered.json()
                for c in item["candidates"]
                for part in c["content"]["parts"]
            )
            assert said == "Hello there"


async def test_errors_come_in_each_sdks_own_kind() -> None:
    async with wayport_at("openai_chat") as (wayport, _):
        async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key="sk-wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=wayport.key, max_retries=0) as client:
            with pytest.raises(openai.NotFoundError, match="does not exist"):
                await client.responses.create(model="nope", input="x")
        async with anthropic.AsyncAnthropic(base_url=wayport.url, api_key=wayport.key, max_retries=0) as claude:
            with pytest.raises(anthropic.NotFoundError):
                await claude.messages.create(model="nope", max_tokens=1, messages=[{"role": "user", "content": "x"}])
        google = genai.Client(api_key=wayport.key, http_options=types.HttpOptions(base_url=wayport.url)).aio
        with pytest.raises(genai.errors.ClientError, match="NOT_FOUND"):
            await google.models.generate_content(model="nope", contents="x")
        await google.aclose()


async def test_embeddings_for_openai_and_gemini_clients() -> None:
    def embed(received: Any) -> Any:
        from tests.fakes.upstream import json_answer

        if "batchEmbedContents" in received.path:
            return json_answer({"embeddings": [{"values": [0.5, 0.25]} for _ in received.json()["requests"]]})
        given = received.json()["input"]
        count = 1 if isinstance(given, str) else len(given)
        data = [{"object": "embedding", "index": i, "embedding": [0.5, 0.25]} for i in range(count)]
        return json_answer(
            {"object": "list", "data": data, "model": "up", "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        )

    async with Upstream(by(embed)) as upstream:
        config = (
            f"providers: {{openai: {{api_base: {upstream.url}/v1, api_key: k}}, gemini: {{api_base: {upstream.url}/v1beta, api_key: k}}}}\n"
            "models: {a: openai/text-embedding-3-small, b: gemini/gemini-embedding-001}\n"
        )
        async with gateway(config) as wayport:
            async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=wayport.key) as client:
                for model in ("a", "b"):
                    made = await client.embeddings.create(model=model, input=["x", "y"], encoding_format="float")
                    assert [entry.embedding for entry in made.data] == [[0.5, 0.25]] * 2
                    # The SDK's own default is base64.
                    assert (await client.embeddings.create(model="b", input="x")).data[0].embedding == [0.5, 0.25]
            google = genai.Client(api_key=wayport.key, http_options=types.HttpOptions(base_url=wayport.url)).aio
            for model in ("a", "b"):
                made_so = await google.models.embed_content(model=model, contents=["x", "y"])
                assert [e.values for e in made_so.embeddings or []] == [[0.5, 0.25]] * 2
            await google.aclose()
            assert wayport.records[0].usage is not None
            assert wayport.records[0].usage.input_tokens == 3


@pytest.mark.parametrize("dialect", ["anthropic_messages", "gemini_content"])
async def test_legacy_completions_are_answered_by_chat_models(dialect: str) -> None:
    async with wayport_at(dialect) as (wayport, _):
        async with openai.AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=wayport.key) as client:
            made = await client.completions.create(model="m", prompt="Hello", max_tokens=9)
            assert made.choices[0].text == "Hello there"
