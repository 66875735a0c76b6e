"""The straight way and the long way tell, record, send and charge the same; whatever is not ordinary takes the long one."""

import asyncio
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import (
    Behaviour,
    Upstream,
    answer,
    close_without_answer,
    cut,
    html_error,
    json_answer,
    reset,
    sse,
    stall,
    whole,
)
from tests.pipeline.test_chat import OPENING, STREAM, WHOLE, chunk

from wayport.access.principal import Budget, Holder, rates_of
from wayport.core.record import CallRecord
from wayport.dialects.registry import DIALECTS

KEY = "sk-straight-and-long-01"
LIMITED = Holder(
    scope="key",
    id="k",
    budgets=(Budget(max_nano_usd=10_000_000_000, duration="30d"),),
    rates=rates_of(rpm=1000, tpm=1_000_000),
    max_parallel=10,
)
ASK = {"model": "gpt", "messages": [{"role": "user", "content": "Hello"}]}
OK = json_answer(WHOLE)
CLAUDE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}],
    "usage": {"input_tokens": 5, "output_tokens": 3},
}  # fmt: skip
ASK_CLAUDE = {"model": "claude", "max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}


def _config(upstream: Upstream, *, compat: bool = False) -> str:
    if compat:
        return f"""
model_list:
  - model_name: gpt
    litellm_params: {{model: openai/gpt-4o, api_key: sk-up, api_base: "{upstream.url}/v1"}}
  - model_name: other
    litellm_params: {{model: openai/gpt-4o-mini, api_key: sk-up, api_base: "{upstream.url}/v1"}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4-5, api_key: sk-up, api_base: "{upstream.url}"}}
router_settings: {{num_retries: 1, fallbacks: [{{gpt: [other]}}]}}
"""
    return f"""
providers:
  openai: {{api_key: sk-up, api_base: "{upstream.url}/v1", timeouts: {{first_byte_s: 0.3}}}}
  anthropic: {{api_key: sk-up, api_base: "{upstream.url}"}}
models:
  gpt:
    deployments: [{{model: openai/gpt-4o, prices: {{input: 2, output: 8}}, context_window: 1000, max_output_tokens: 100}}]
    fallbacks: [other]
  other:
    deployments: [{{model: openai/gpt-4o-mini, prices: {{input: 1, output: 2}}, context_window: 1000, max_output_tokens: 50}}]
  claude: [anthropic/claude-sonnet-4-5]
router: {{num_retries: 1}}
"""


@dataclass
class Case:
    name: str
    script: Sequence[Behaviour]
    ask: Any = field(default_factory=lambda: ASK)
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = field(default_factory=dict)
    limited: bool = True
    compat: bool = False
    straight: bool = True
    """it is ordinary as it comes, whatever becomes of it"""


STREAMED = {**ASK, "stream": True}
ZIPPED = answer(
    gzip.compress(json.dumps(WHOLE).encode()), headers={"content-type": "application/json", "content-encoding": "gzip"}
)
BUSY = json_answer({"error": {"message": "busy"}}, status=503, headers={"retry-after": "0"})
CASES = [
    Case("whole", [OK]),
    Case("whole, by a key without limits", [OK], limited=False),
    Case("whole, with an output limit", [OK], ask={**ASK, "max_tokens": 7, "temperature": 0.5}),
    Case("whole, as LiteLLM tells it", [OK], compat=True),
    Case("whole, with headers to pass on", [json_answer(WHOLE, headers={"x-request-id": "r1", "set-cookie": "a"})]),
    Case("whole, compressed", [ZIPPED]),
    Case("whole, with a header for the upstream", [OK], headers={"openai-beta": "assistants=v2"}),
    Case("whole, without usage", [json_answer({k: v for k, v in WHOLE.items() if k != "usage"})]),
    Case("false for a stream", [OK], ask={**ASK, "stream": False}),
    Case("Anthropic's format", [json_answer(CLAUDE)], ask=ASK_CLAUDE, path="/v1/messages"),
    Case(
        "Anthropic's format with a beta flag",
        [json_answer(CLAUDE)],
        ask=ASK_CLAUDE,
        path="/v1/messages",
        headers={"anthropic-beta": "context-1m-2025-08-07"},
    ),
    Case("streamed", [sse(*STREAM)], ask=STREAMED),
    Case("streamed, as LiteLLM tells it", [sse(*STREAM)], ask=STREAMED, compat=True),
    Case("a stream that was not asked for", [sse(*STREAM)]),
    Case("no stream where one was asked for", [OK], ask=STREAMED),
    Case("refused", [json_answer({"error": {"message": "no"}}, status=400)]),
    Case("busy once", [BUSY, OK]),
    Case("busy twice, then the fallback", [BUSY, BUSY, OK]),
    Case("an error under a good status", [json_answer({"error": {"message": "no", "code": 500}}), OK]),
    Case("no JSON", [html_error(200), OK]),
    Case("cut in the middle", [cut(whole(json.dumps(WHOLE).encode()), after=60), OK]),
    Case("reset in the middle", [reset(whole(json.dumps(WHOLE).encode())[:60]), OK]),
    Case("silent for too long", [stall(), OK]),
    Case("a stream that breaks off", [sse(OPENING, chunk({"content": "Hal"}), end=False, then="close")], ask=STREAMED),
    Case("a connection that was closed meanwhile", [close_without_answer(), OK]),
    Case(
        "what is dropped, on a connection that was closed meanwhile",
        [close_without_answer(), OK],
        ask={**ASK, "max_tokens": 5000, "reasoning_effort": "low"},
    ),
    Case("a deployment that redirects", [answer(b"", status=307, headers={"location": "/v2"}), OK]),
    # What is not ordinary:
    Case("an end user", [OK], ask={**ASK, "user": "u1"}, straight=False),
    Case("tools", [OK], ask={**ASK, "tools": [{"type": "function", "function": {"name": "f"}}]}, straight=False),
    Case("tags", [OK], headers={"x-wayport-tags": "a,b"}, straight=False),
    Case("wishes", [BUSY], ask={**ASK, "num_retries": 0, "disable_fallbacks": True}, straight=False),
    Case("an unknown model", [], ask={**ASK, "model": "nobody"}, straight=False),
    Case("an unknown key", [], headers={"authorization": "Bearer sk-nobody"}, straight=False),
    Case("no JSON in", [], ask=b"{", straight=False),
    Case("a stream that is neither", [], ask={**ASK, "stream": 1}, straight=False),
    Case("no messages", [], ask={"model": "gpt"}, straight=False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_both_ways_come_to_the_same(case: Case) -> None:
    warm = json_answer(CLAUDE) if case.path == "/v1/messages" else OK
    async with Upstream([warm, *case.script, warm, *case.script]) as upstream:
        straight = await _outcome(case, upstream, straight=True)
        upstream.drop_idle()
        upstream.requests.clear()
        assert straight == await _outcome(case, upstream, straight=False)


async def _outcome(case: Case, upstream: Upstream, *, straight: bool) -> dict[str, Any]:
    """All that can be seen from outside, but for times and ids."""
    claude = case.path == "/v1/messages"
    async with gateway(_config(upstream, compat=case.compat)) as wayport:
        key = wayport.keys.add(KEY, holders=(LIMITED,) if case.limited else ())
        headers = {"authorization": f"Bearer {key}"}
        warm = await wayport.ask(ASK_CLAUDE if claude else ASK, case.path, headers=headers)
        assert warm.status_code == 200
        await wayport.until_idle()
        taken = _watched(wayport, straight=straight)
        told = await wayport.ask(case.ask, case.path, headers={**headers, **case.headers})
        await wayport.until_idle()
        assert taken == ([case.straight] if straight else [])
        gauges = {g.counter: (g.held, g.free, g.busy) for g in wayport.worker.admission.gauges.all()}
        lives = {name: live.in_flight for name, live in wayport.worker.routing.lives._states.items()}
        assert not any(lives.values())
        traced = wayport.worker.routing.traces.of(told.headers.get("x-wayport-call-id", ""))
        return {
            "status": told.status_code,
            "headers": _timeless(told),
            "body": re.sub(r'"created":\d+|call-?[0-9a-f-]{30,}|[0-9a-f]{8}-[0-9a-f-]{27}', "", told.text),
            "sent": [(each.path, sorted(each.headers.items()), each.body) for each in upstream.requests[1:]],
            "records": [_plain(record) for record in wayport.records[1:]],
            "traced": None if traced is None else _plain(traced),
            "gauges": gauges,
        }


def _watched(wayport: Gateway, *, straight: bool) -> list[bool]:
    """Whether calls are taken, from now on."""
    way = wayport.worker.straight
    assert way is not None
    if not straight:
        wayport.worker.straight = None
        return []
    taken: list[bool] = []
    begin = way.begin

    def watch(client: Any) -> bool:
        taken.append(begin(client))
        return taken[-1]

    way.begin = watch  # type: ignore[method-assign]  # the real one, looked at
    return taken


def _timeless(told: httpx.Response) -> list[tuple[str, str]]:
    apart = ("date", "x-wayport-call-id", "x-litellm-call-id", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
    return sorted((name, value) for name, value in told.headers.items() if name not in apart)


def _plain(record: CallRecord) -> Any:
    """A record without what is another in each call."""
    found = msgspec.to_builtins(record)
    times = ("call_id", "started_s", "ended_s", "first_token_ms", "overhead_ms", "client_address", "budget_windows")
    for name in times:
        found.pop(name, None)
    for attempt in found.get("attempts", ()):
        for name in ("started_ms", "duration_ms", "wait_ms"):
            attempt.pop(name, None)
    return json.loads(re.sub(r"127\.0\.0\.1:\d+", "upstream", json.dumps(found, default=str)))


@pytest.mark.parametrize("behind", [b"", whole(json.dumps(WHOLE).encode())[:-30]], ids=["silence", "the answer's head"])
async def test_a_client_that_leaves_is_accounted_alike(behind: bytes) -> None:
    """Its call is called off at once, counts against nobody and is charged for what was sent."""
    asked = asyncio.Event()
    hold = stall(behind, asked.set) if behind else stall(asked.set)
    async with Upstream([OK, hold, OK, OK, hold, OK]) as upstream:
        outcomes = []
        for straight in (True, False):
            async with gateway(_config(upstream).replace("0.3", "60")) as wayport:
                headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
                await wayport.ask(ASK, headers=headers)
                taken = _watched(wayport, straight=straight)
                leaving = asyncio.ensure_future(wayport.ask(ASK, headers=headers))
                await asked.wait()
                while behind and not any(each.head_bytes for each in _upstream_connections(wayport)):
                    await asyncio.sleep(0)
                leaving.cancel()
                await wayport.until_idle()
                assert taken == ([True] if straight else [])
                assert (await wayport.ask(ASK, headers=headers)).status_code == 200
                await wayport.until_idle()
                records = [_plain(record) for record in wayport.records if not record.opened]
                assert [record.get("status", "success") for record in records] == ["success", "cancelled", "success"]
                gauges = {g.counter: (g.held, g.free, g.busy) for g in wayport.worker.admission.gauges.all()}
                outcomes.append((records, gauges))
            asked.clear()
        assert outcomes[0] == outcomes[1]


def _upstream_connections(wayport: Gateway) -> list[Any]:
    return [each for each in wayport.worker.transport._pools.connections if each.answer is not None]


@pytest.mark.parametrize("gone", [True, False], ids=["the client leaves", "the worker stops"])
async def test_what_is_cancelled_as_it_is_handed_over_is_ended_all_the_same(gone: bool) -> None:
    """A task that is cancelled before its first step runs nothing: neither a slot nor money may stay taken for it."""
    async with Upstream([OK, BUSY, OK]) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
        await wayport.ask(ASK, headers=headers)
        way: Any = wayport.worker.straight
        hand_over = way.go_on

        def interrupted(straight: Any, fault: Any) -> None:
            hand_over(straight, fault)
            if gone:
                straight.client.protocol._transport.abort()
                straight.client.protocol.connection_lost(None)
            else:
                straight.client.task.cancel("draining")

        way.go_on = interrupted
        try:
            told = await wayport.ask(ASK, headers=headers)
            assert not gone
            assert (told.status_code, told.json()["error"]["code"]) == (503, "shutting_down")
        except httpx.HTTPError:
            assert gone
        await wayport.until_idle()
        way.go_on = hand_over
        assert [g.busy for g in wayport.worker.admission.gauges.all() if g.kind in {"slots", "money"}] == [0, 0]
        assert not wayport.worker.routing.lives.in_flight()
        assert [record.status for record in wayport.records if not record.opened] == [
            "success",
            "cancelled" if gone else "failure",
        ]
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200


async def test_what_others_learned_meanwhile_is_learned_of_a_call_that_was_sent_before() -> None:
    """Two calls with a parameter that the target refuses: both are asked again without it, whoever is refused first."""
    refused = json_answer(
        {
            "error": {
                "message": "Unsupported parameter: 'logprobs'",
                "param": "logprobs",
                "code": "unsupported_parameter",
            }
        },
        status=400,
    )
    gate, arrived = asyncio.Event(), asyncio.Event()

    async def late(exchange: Any) -> None:
        arrived.set()
        await gate.wait()
        await refused(exchange)

    ask = {**ASK, "logprobs": True}
    async with Upstream([OK, OK, late, refused, OK, OK]) as upstream:
        async with gateway(_config(upstream).replace("0.3", "60")) as wayport:
            await asyncio.gather(wayport.ask(ASK), wayport.ask(ASK))
            taken = _watched(wayport, straight=True)
            first = asyncio.ensure_future(wayport.ask(ask))
            await arrived.wait()
            assert (await wayport.ask(ask)).status_code == 200
            gate.set()
            answered = await first
            assert (answered.status_code, taken) == (200, [True, True])
            assert answered.headers["x-wayport-dropped-params"] == "logprobs"


async def test_when_the_worker_stops_a_straight_call_is_told_so() -> None:
    asked = asyncio.Event()

    async def hold(exchange: Any) -> None:
        asked.set()
        await stall()(exchange)

    async with Upstream([OK, hold]) as upstream, gateway(_config(upstream).replace("0.3", "60")) as wayport:
        await wayport.ask(ASK)
        taken = _watched(wayport, straight=True)
        waiting = asyncio.ensure_future(wayport.ask(ASK))
        await asked.wait()
        for connection in list(wayport.worker.load.connections):
            if connection.exchange is not None and connection.exchange.task is not None:
                connection.exchange.task.cancel("draining")
        told = await waiting
        assert taken == [True]
        assert told.status_code == 503
        assert told.json()["error"]["code"] == "shutting_down"
        await wayport.until_idle()
        assert wayport.records[-1].http_status == 503


async def test_our_own_mistake_on_the_straight_way_is_told_and_settled() -> None:
    """An exception that nobody foresaw costs one call an error, and neither the connection nor the worker anything."""
    async with Upstream([OK, OK, OK]) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY, holders=(LIMITED,))}"}
        await wayport.ask(ASK, headers=headers)
        way = wayport.worker.straight
        assert way is not None

        def fails(*_: object, **__: object) -> None:
            raise ZeroDivisionError

        patch: Any = DIALECTS["openai_chat"].passthrough
        original = patch.patch_response
        patch.patch_response = fails
        try:
            told = await wayport.ask(ASK, headers=headers)
        finally:
            patch.patch_response = original
        assert told.status_code == 500
        assert "ZeroDivisionError" in told.json()["error"]["message"]
        await wayport.until_idle()
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200
        await wayport.until_idle()
        slots = next(g for g in wayport.worker.admission.gauges.all() if g.kind == "slots")
        assert slots.busy == 0
        assert [record.http_status for record in wayport.records if not record.opened] == [200, 500, 200]


async def test_a_key_that_is_revoked_or_changed_is_another_the_next_time() -> None:
    """What is remembered of a key's calls is never older than what is known of the key."""
    async with Upstream([OK, OK]) as upstream, gateway(_config(upstream)) as wayport:
        headers = {"authorization": f"Bearer {wayport.keys.add(KEY)}"}
        await wayport.ask(ASK, headers=headers)
        taken = _watched(wayport, straight=True)
        assert (await wayport.ask(ASK, headers=headers)).status_code == 200
        wayport.keys.add(KEY, models=("other",))
        wayport.worker.principals.invalidate_all()
        denied = await wayport.ask(ASK, headers=headers)
        assert denied.status_code == 403
        denied = await wayport.ask(ASK, headers=headers)
        assert denied.status_code == 403
        assert taken == [True, False, False]
