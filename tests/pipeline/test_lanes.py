"""What is kept of ordinary calls for the next ones: bounded, of the present, and never somebody's secret."""

import msgspec
import pytest
from tests.fakes.gateway import Gateway, gateway
from tests.fakes.upstream import Upstream, json_answer

from wayport.control.snapshots import build
from wayport.pipeline.lanes import Caller
from wayport.routing.snapshot import Deployment

ASK = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


def _config(upstream: Upstream) -> str:
    return f"""
providers: {{openai: {{api_key: sk-up, api_base: "{upstream.url}/v1"}}}}
models: {{m: openai/x, n: [openai/y, openai/z]}}
"""


def _callers(wayport: Gateway) -> list[Caller]:
    return [head.caller for head in wayport.worker.state.heads._known.values() if head.caller is not None]


async def _asked(wayport: Gateway, *models: str) -> list[int]:
    # The first request of a connection is not learnt of, the second is, the third is known.
    return [(await wayport.ask({**ASK, "model": model})).status_code for model in ("m", "m", "m", *models)]


async def test_names_that_are_too_long_for_a_model_are_not_kept() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(_config(upstream)) as wayport:
        assert await _asked(wayport, "x" * 100_000, "n", "y" * 2000) == [200, 200, 200, 400, 200, 400]
        (caller,) = _callers(wayport)
        assert sorted(caller.ways) == [b'"m"', b'"n"']


async def test_names_are_not_kept_without_end() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(_config(upstream)) as wayport:
        await _asked(wayport, *(f"nobody-{number}" for number in range(40)))
        (caller,) = _callers(wayport)
        assert len(caller.ways) <= 16


async def test_nothing_is_kept_of_routing_facts_that_are_no_more() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(_config(upstream)) as wayport:
        await _asked(wayport, "n")
        (caller,) = _callers(wayport)
        assert caller.ways
        wayport.worker.take_snapshot(msgspec.json.encode(build(wayport.settings)))
        assert not caller.ways
        assert await _asked(wayport) == [200, 200, 200]
        assert all(way.table is wayport.worker.pipeline.table for way in caller.ways.values())


async def test_what_holds_keys_and_requests_does_not_show_them() -> None:
    shown: list[str] = []
    async with Upstream(json_answer(CHAT)) as upstream, gateway(_config(upstream)) as wayport:
        straight = wayport.worker.straight
        assert straight is not None
        begin = straight.begin

        def watch(client: object) -> bool:
            taken = begin(client)  # type: ignore[arg-type]
            task = getattr(client, "task", None)
            shown.extend(map(repr, (client, task, getattr(task, "call", None), getattr(client, "known", None))))
            return taken

        straight.begin = watch  # type: ignore[method-assign]  # the real one, looked at
        await _asked(wayport)
    assert any("StraightCall" in text for text in shown)
    for text in shown:
        assert not any(secret in text for secret in ("sk-", "Bearer", "Hi"))


@pytest.mark.parametrize(
    "nonsense",
    [
        {"messages": [2.5, {"role": "system", "content": "a"}]},
        {"messages": [{"role": "user", "content": "x"}, {"role": "system", "content": "x"}, 2.5]},
        {"messages": [{"role": "user", "content": "x"}], "stop_sequences": "model"},
    ],
)
async def test_nonsense_is_the_clients_mistake_and_not_ours(nonsense: dict[str, object]) -> None:
    said = {
        "id": "m", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn", "stop_sequence": None,
        "content": [{"type": "text", "text": "x"}], "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip
    async with Upstream(json_answer(said)) as upstream:
        config = f"""
providers: {{anthropic: {{api_key: sk-up, api_base: "{upstream.url}"}}}}
models: {{claude: anthropic/claude-sonnet-4-5}}
"""
        async with gateway(config) as wayport:
            for _ in range(2):
                told = await wayport.ask({"model": "claude", "max_tokens": 5, **nonsense}, "/v1/messages")
                assert told.status_code in {200, 400}, told.text


LOOKED_AT = {
    # what a lane goes by
    "id", "model", "provider", "upstream_model", "base_url", "dialect", "profile", "timeouts", "credential", "auth",
    "headers", "tls", "proxy", "address", "paths", "params", "signed", "follows", "max_parallel", "drop_params", "mocks",
    "missing",
}  # fmt: skip
LEFT_TO_OTHERS = {
    # what choices, probes, prices and lists go by, and calls of clients' own credentials, which are not ordinary
    "price", "context_window", "max_output_tokens", "info", "order", "weight", "rpm", "tpm", "tags", "region", "pool",
    "cooldown_s", "allowed_fails", "budget", "probe", "mode", "client", "shown", "unvouched", "behaves_like",
}  # fmt: skip


def test_every_fact_of_a_deployment_is_one_that_lanes_know_of() -> None:
    """A new one may make its calls extraordinary: say here whether it does, and in `Lanes._lane` if so."""
    assert set(Deployment.__struct_fields__) == LOOKED_AT | LEFT_TO_OTHERS
