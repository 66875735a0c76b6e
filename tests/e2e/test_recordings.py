"""Real traffic behind the gateway, where recordings of it lie beside the checkout: every recorded request and answer through
every client dialect, whole and streamed. What the client must see is read from the recording itself, not by our decoders.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.fakes.gateway import Gateway, gateway

RECORDINGS = Path(__file__).absolute().parents[3] / "shared" / "recordings"
pytestmark = [
    pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings lie beside this checkout"),
    pytest.mark.timeout(60),
]

# file, dialect of the upstream, provider of ours, what follows the case in its base URL
FILES = [
    ("openai.chat", "openai_chat", "openai", "/v1"),
    ("groq.chat", "openai_chat", "groq", "/openai/v1"),
    ("mistral.chat", "openai_chat", "mistral", "/v1"),
    ("openrouter.chat", "openai_chat", "openrouter", "/api/v1"),
    ("deepseek.chat", "openai_chat", "deepseek", ""),
    ("anthropic.messages", "anthropic_messages", "anthropic", ""),
    ("gemini.generate", "gemini_content", "gemini", "/v1beta"),
    ("openai.responses", "openai_responses", "openai", "/v1"),
]
CLIENTS = ["openai_chat", "openai_responses", "anthropic_messages", "gemini_content"]


class Seen(NamedTuple):
    """What a client reads of an answer."""

    text: str
    calls: tuple[tuple[str, str], ...]
    finish: str


def canonical(arguments: Any) -> str:
    """Arguments as a client compares them: the value, not its spelling."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            return str(arguments)
    return json.dumps(arguments, sort_keys=True)


def cases(file: str) -> Iterator[dict[str, Any]]:
    for line in (RECORDINGS / f"{file}.jsonl").read_text().split("\n"):
        if line:
            case = json.loads(line)
            if case["status"] == 200 and "json" in case["body"]:
                yield case


# ---------------------------------------------------------------------------------------------- reading answers as JSON
def _finish(word: Any, *, calls: bool) -> str:
    if calls:
        return "tool"
    return {
        "stop": "stop", "end_turn": "stop", "STOP": "stop", "completed": "stop", "stop_sequence": "stop", "eos": "stop",
        "length": "length", "max_tokens": "length", "MAX_TOKENS": "length", "max_output_tokens": "length",
        "content_filter": "filter", "SAFETY": "filter", "PROHIBITED_CONTENT": "filter", "refusal": "filter",
        "BLOCKLIST": "filter", "tool_calls": "tool", "tool_use": "tool", "pause_turn": "pause",
    }.get(str(word), str(word))  # fmt: skip


def read_chat(body: Any) -> Seen:
    message = body["choices"][0]["message"]
    content = _text_of(message.get("content"))
    calls = tuple(
        (c["function"]["name"], canonical(c["function"].get("arguments") or "{}"))
        for c in message.get("tool_calls") or []
        if c.get("function")
    )
    content += message.get("refusal") or ""
    return Seen(content, calls, _finish(body["choices"][0].get("finish_reason"), calls=bool(calls)))


def read_messages(body: Any) -> Seen:
    blocks = body["content"]
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    calls = tuple((b["name"], canonical(b["input"])) for b in blocks if b["type"] == "tool_use")
    return Seen(text, calls, _finish(body["stop_reason"], calls=bool(calls)))


def read_gemini(body: Any) -> Seen:
    parts: list[Any] = []
    finish = None
    for item in body if isinstance(body, list) else [body]:
        for candidate in item.get("candidates") or []:
            parts += (candidate.get("content") or {}).get("parts") or []
            finish = candidate.get("finishReason") or finish
    text = "".join(part["text"] for part in parts if "text" in part and not part.get("thought"))
    calls = tuple(
        (p["functionCall"]["name"], canonical(p["functionCall"].get("args") or {}))
        for p in parts
        if "functionCall" in p
    )
    return Seen(text, calls, _finish(finish, calls=bool(calls)))


def read_responses(body: Any) -> Seen:
    text = ""
    calls = []
    for item in body["output"]:
        if item["type"] == "message":
            text += "".join(part.get("text") or part.get("refusal") or "" for part in item["content"])
        elif item["type"] == "function_call":
            calls.append((item["name"], canonical(item["arguments"])))
    finish = (body.get("incomplete_details") or {}).get("reason") or body["status"]
    return Seen(text, tuple(calls), _finish(finish, calls=bool(calls)))


READ = {
    "openai_chat": read_chat,
    "anthropic_messages": read_messages,
    "gemini_content": read_gemini,
    "openai_responses": read_responses,
}


def usage_of(dialect: str, body: Any) -> tuple[int, int]:
    """Input and output tokens, all kinds together, as the dialect states them."""
    match dialect:
        case "openai_chat":
            usage = body.get("usage") or {}
            return usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
        case "openai_responses":
            usage = body.get("usage") or {}
            return usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
        case "anthropic_messages":
            usage = body["usage"]
            kinds = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
            return sum(usage.get(kind) or 0 for kind in kinds), usage["output_tokens"]
        case _:
            usage = body.get("usageMetadata") or {}
            read = (usage.get("promptTokenCount") or 0) + (usage.get("toolUsePromptTokenCount") or 0)
            return read, (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)


# ------------------------------------------------------------------------------------------------- streams put together
def events(text: str) -> list[Any]:
    lines = [line for line in text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
    return [json.loads(line[6:]) for line in lines]


def whole_of(dialect: str, text: str) -> Any:
    """The whole answer that a stream spells, as its dialect's clients put it together."""
    seen = events(text)
    assert not any("error" in event for event in seen if isinstance(event, dict) and event.get("error")), seen[-1]
    match dialect:
        case "openai_chat":
            return _whole_chat(seen)
        case "anthropic_messages":
            return _whole_messages(seen)
        case "openai_responses":
            last = seen[-1]
            assert last["type"] in ("response.completed", "response.incomplete"), last["type"]
            return last["response"]
        case _:
            merged = [event for event in seen if event.get("candidates") or event.get("usageMetadata")]
            return {
                "candidates": [c for event in merged for c in event.get("candidates") or []],
                "usageMetadata": next((e["usageMetadata"] for e in reversed(merged) if "usageMetadata" in e), {}),
            }


def _text_of(content: Any) -> str:
    """Mistral gives its thoughts and then its text as parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if part.get("type") == "text")
    return content or ""


def _whole_chat(seen: list[Any]) -> Any:
    message: dict[str, Any] = {"content": "", "refusal": ""}
    calls: dict[int, dict[str, Any]] = {}
    finish, usage = None, None
    for chunk in seen:
        usage = chunk.get("usage") or usage
        for choice in chunk.get("choices") or []:
            if choice["index"] != 0:
                continue
            delta = choice["delta"]
            message["content"] += _text_of(delta.get("content"))
            message["refusal"] += delta.get("refusal") or ""
            finish = choice.get("finish_reason") or finish
            for call in delta.get("tool_calls") or []:
                known = calls.setdefault(call["index"], {"function": {"name": "", "arguments": ""}})
                given = call.get("function") or {}
                known["function"]["name"] += given.get("name") or ""
                known["function"]["arguments"] += given.get("arguments") or ""
    message["tool_calls"] = [call for _, call in sorted(calls.items())]
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def _whole_messages(seen: list[Any]) -> Any:
    body: dict[str, Any] = {}
    blocks: dict[int, dict[str, Any]] = {}
    assert seen[-1]["type"] == "message_stop", seen[-1]
    for event in seen:
        match event["type"]:
            case "message_start":
                body = dict(event["message"])
            case "content_block_start":
                blocks[event["index"]] = {**event["content_block"], "json": ""}
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                block["text"] = block.get("text", "") + delta.get("text", "")
                block["json"] += delta.get("partial_json", "")
            case "message_delta":
                body["stop_reason"] = event["delta"]["stop_reason"]
                body["usage"] = {**body["usage"], **{k: v for k, v in event["usage"].items() if v is not None}}
    for block in blocks.values():
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["json"]) if block["json"] else block["input"]
    return {**body, "content": list(blocks.values())}


# ------------------------------------------------------------------------------------------------------------- asking
QUESTIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "openai_chat": (
        "/v1/chat/completions", "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": "Hello"}]},
    ),
    "openai_responses": ("/v1/responses", "/v1/responses", {"model": "m", "input": "Hello", "store": False}),
    "anthropic_messages": (
        "/v1/messages", "/v1/messages",
        {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hello"}]},
    ),
    "gemini_content": (
        "/v1beta/models/m:generateContent", "/v1beta/models/m:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]},
    ),
}  # fmt: skip


class Player:
    """Answers every request with the recording whose name the path begins with."""

    def __init__(self, recordings: dict[str, dict[str, Any]]) -> None:
        self._recordings = recordings

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")
                length = next(int(line[15:]) for line in lines if line.lower().startswith("content-length:"))
                await reader.readexactly(length)
                name = lines[0].split(" ")[1].split("/")[1]
                data = json.dumps(self._recordings[name]["body"]["json"]).encode()
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(data), data)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("file", "dialect", "provider", "path"), FILES, ids=[file for file, *_ in FILES])
async def test_every_recorded_answer_reaches_every_client(
    file: str, dialect: str, provider: str, path: str, client: str
) -> None:
    recordings = {f"c{number}": case for number, case in enumerate(cases(file))}
    server = await asyncio.start_server(Player(recordings), "127.0.0.1", 0, limit=64 * 1024 * 1024)
    port = server.sockets[0].getsockname()[1]
    wrong: list[str] = []
    total = 0
    models = "\n".join(
        f"  {name}: {{deployments: [{{provider: {provider}, model: {json.dumps(case['model'])}, "
        f"api_base: 'http://127.0.0.1:{port}/{name}{path}', api_key: k{', dialect: openai_responses' if dialect == 'openai_responses' else ''}}}]}}"
        for name, case in recordings.items()
    )
    async with gateway(f"models:\n{models}\nrouter: {{num_retries: 0}}\n") as wayport:
        for name, case in recordings.items():
            body = case["body"]["json"]
            if dialect == "openai_responses" and body.get("status") not in ("completed", "incomplete"):
                continue
            expected, used = READ[dialect](body), usage_of(dialect, body)
            for stream in (False, True):
                total += 1
                try:
                    whole = await ask_of(wayport, client, name, stream=stream)
                    seen = READ[client](whole)
                    problems = differences(expected, seen, used, usage_of(client, whole))
                except (AssertionError, KeyError, ValueError, TypeError, IndexError) as error:
                    problems = [f"{type(error).__name__}: {str(error)[:400]}"]
                if problems:
                    wrong.append(f"{case['id']} {'stream' if stream else 'whole'}: {'; '.join(problems)}")
    server.close()
    await server.wait_closed()
    assert len(wrong) <= ALLOWED.get((file, client), 0), f"{len(wrong)} of {total}\n" + "\n".join(wrong[:12])


# The advisor's turns are billed but stand outside of the totals that Anthropic states; we count them in.
ALLOWED = {("anthropic.messages", client): 2 for client in CLIENTS if client != "anthropic_messages"}
"""cells in which some answers are told otherwise than the recording's own figures say, and how many"""


async def ask_of(wayport: Gateway, client: str, model: str, *, stream: bool) -> Any:
    path, stream_path, body = QUESTIONS[client]
    address = (stream_path if stream else path).replace("/m:", f"/{model}:")
    body = {**body, "model": model}
    if stream and client != "gemini_content":
        body["stream"] = True
    if stream and client == "openai_chat":
        body["stream_options"] = {"include_usage": True}
    if client == "gemini_content":
        del body["model"]
    answered = await wayport.ask(body, address)
    assert answered.status_code == 200, answered.text[:600]
    return whole_of(client, answered.text) if stream else answered.json()


def differences(expected: Seen, seen: Seen, used: tuple[int, int], stated: tuple[int, int]) -> list[str]:
    found = []
    if seen.text.strip() != expected.text.strip():
        found.append(f"text {seen.text[:80]!r} instead of {expected.text[:80]!r}")
    if seen.calls != expected.calls:
        found.append(f"calls {seen.calls} instead of {expected.calls}"[:300])
    if seen.finish != expected.finish:
        found.append(f"finish {seen.finish} instead of {expected.finish}")
    if used not in ((0, 0), stated):
        found.append(f"usage {stated} instead of {used}")
    return found
