"""A storm of calls on a key with a budget, and an upstream that bills what a real one would."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from tests.fakes.upstream import Behaviour, Received, Upstream, by, json_answer, sse

INPUT, OUTPUT = 2_500_000_000, 10_000_000_000
"""nano-dollars per million tokens: $2.50 and $10"""
READ_TOKENS, WRITTEN_TOKENS = 40, 100
COST = (READ_TOKENS * INPUT + WRITTEN_TOKENS * OUTPUT) // 1_000_000
"""nano-dollars of one ordinary answer"""
WORST_TOKENS = 420
"""the output limit at which a call may cost four times that"""


def config(upstreams: Upstream, *, max_output: int = WORST_TOKENS, more: str = "") -> str:
    return f"""
providers:
  up: {{api_base: {upstreams.url}/v1, api_key: sk-upstream-secret}}
models:
  m:
    deployments:
      - {{provider: up, model: up-1, prices: {{input: 2.5, output: 10}}, max_output_tokens: {max_output}}}
router: {{num_retries: 0, cooldown_s: 0}}
{more}"""


def _chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up-1", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@dataclass
class Biller:
    """Keeps to the output limit, fails now and then, and remembers what it has billed."""

    failing: float = 0.1
    random: Random = field(default_factory=lambda: Random(7))
    billed: list[int] = field(default_factory=list)
    pause: Callable[[], object] = lambda: None

    def script(self) -> by:
        return by(self.answer)

    def answer(self, received: Received) -> Behaviour:
        asked = received.json()
        if self.random.random() < self.failing:
            return json_answer({"error": {"message": "try later", "type": "server_error"}}, status=500)
        limit = asked.get("max_completion_tokens") or asked.get("max_tokens") or WORST_TOKENS
        written = min(WRITTEN_TOKENS, limit)
        self.billed.append((READ_TOKENS * INPUT + written * OUTPUT) // 1_000_000)
        usage = {"prompt_tokens": READ_TOKENS, "completion_tokens": written, "total_tokens": READ_TOKENS + written}
        finish = "stop" if written == WRITTEN_TOKENS else "length"
        if asked.get("stream"):
            words = [_chunk({"content": "word "}) for _ in range(5)]
            return sse(
                _chunk({"role": "assistant", "content": ""}),
                *words,
                _chunk({}, finish),
                _chunk(None, usage=usage),
                b"data: [DONE]\n\n",
            )
        message = {"role": "assistant", "content": "word " * 5}
        return json_answer({
            "id": "c1", "object": "chat.completion", "created": 1, "model": "up-1", "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        })  # fmt: skip


@dataclass
class Result:
    served: int = 0
    left: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    failed: int = 0


async def storm(
    urls: list[str], key: str, *, calls: int, max_tokens: int | None, leaving: float = 0.2, seed: int = 3
) -> Result:
    """All calls at once, half of them streams; some hang up in the middle of the answer."""
    random = Random(seed)
    result = Result()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)

    async def one(http: httpx.AsyncClient, url: str, *, stream: bool, leaves: bool) -> None:
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Say something."}]}
        if max_tokens is not None:
            body["max_tokens"] = max_tokens
        if stream:
            body["stream"] = True
        try:
            async with http.stream("POST", url + "/v1/chat/completions", json=body) as answer:
                if answer.status_code == 200 and leaves:
                    result.left += 1
                    return
                data = await answer.aread()
        except httpx.TransportError:
            result.failed += 1
            return
        if answer.status_code == 200:
            result.served += 1
        elif answer.status_code == 429:
            code = json.loads(data)["error"]["code"]
            result.refused[code] = result.refused.get(code, 0) + 1
        else:
            result.failed += 1

    async with httpx.AsyncClient(
        headers={"authorization": f"Bearer {key}"}, timeout=60, limits=limits, trust_env=False
    ) as http:
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(
                    one(http, urls[number % len(urls)], stream=random.random() < 0.5, leaves=random.random() < leaving)
                )
    return result
