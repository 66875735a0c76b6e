"""One request to several models: calls of their own, and one answer."""

import asyncio
from typing import Any

from tests.fakes.gateway import gateway
from tests.fakes.upstream import Upstream, by, json_answer, stall
from tests.pipeline.test_chat import WHOLE

from wayport.access.principal import Holder, rates_of

HI = [{"role": "user", "content": "Hi"}]


def config(upstream: Upstream) -> str:
    return "model_list:\n" + "".join(
        f"- {{model_name: {name}, litellm_params: {{model: openai/up-{name}, api_base: '{upstream.url}/v1', api_key: k}}}}\n"
        for name in ("a", "b", "bad", "slow")
    )


def answering() -> Any:
    refused = json_answer({"error": {"message": "no such thing"}}, status=400)
    return by(lambda r: refused if b"up-bad" in r.body else stall() if b"up-slow" in r.body else json_answer(WHOLE))


async def test_each_model_answers_and_has_its_own_record() -> None:
    async with Upstream(answering()) as upstream, gateway(config(upstream)) as wayport:
        answer = await wayport.ask({"model": "a, b", "messages": HI, "temperature": 0.5})
        assert answer.status_code == 200, answer.text
        assert [each["model"] for each in answer.json()] == ["a", "b"]
        assert sorted(request.json()["model"] for request in upstream.requests) == ["up-a", "up-b"]
        assert {request.json()["temperature"] for request in upstream.requests} == {0.5}
        await wayport.until_idle()
        assert sorted(record.model_asked for record in wayport.records) == ["a", "b"]
        assert len({record.call_id for record in wayport.records}) == 2


async def test_where_one_fails_that_is_the_answer() -> None:
    async with Upstream(answering()) as upstream, gateway(config(upstream)) as wayport:
        answer = await wayport.ask({"model": "a,bad", "messages": HI})
        assert (answer.status_code, "no such thing" in answer.text) == (400, True)
        for model in ("a,none", "none,other", ",", "a,b,"):
            answer = await wayport.ask({"model": model, "messages": HI})
            assert answer.status_code == (200 if model == "a,b," else 400), (model, answer.text)


async def test_permissions_and_limits_bind_each() -> None:
    async with Upstream(answering()) as upstream, gateway(config(upstream)) as wayport:
        narrow = {"authorization": f"Bearer {wayport.keys.add('sk-narrow', models=('a',))}"}
        assert (await wayport.ask({"model": "a,b", "messages": HI}, headers=narrow)).status_code == 403
        bound = Holder(scope="key", id="k", rates=rates_of(rpm=3))
        limited = {"authorization": f"Bearer {wayport.keys.add('sk-limited', holders=(bound,))}"}
        statuses = [
            (await wayport.ask({"model": "a,b", "messages": HI}, headers=limited)).status_code for _ in range(2)
        ]
        assert statuses == [200, 429]


async def test_no_stream_is_made_of_several_and_not_too_many_are_asked() -> None:
    async with Upstream(answering()) as upstream, gateway(config(upstream)) as wayport:
        for more in ({"model": "a,b", "stream": True}, {"model": ",".join("ab" * 9)}):
            assert (await wayport.ask({"messages": HI, **more})).status_code == 400
        assert upstream.requests == []
    async with gateway("models: {a: wayport/echo, b: wayport/echo}") as wayport:
        assert (await wayport.ask({"model": "a,b", "messages": HI})).status_code == 404


async def test_a_client_that_leaves_ends_them_all() -> None:
    async with Upstream(answering()) as upstream, gateway(config(upstream)) as wayport:
        asking = asyncio.ensure_future(wayport.ask({"model": "slow,slow", "messages": HI}))
        async with asyncio.timeout(10):
            while len(upstream.requests) < 2:
                await asyncio.sleep(0)
        asking.cancel()
        await wayport.until_idle()
        assert [record.status for record in wayport.records] == ["cancelled", "cancelled"]
