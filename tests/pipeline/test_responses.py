"""The Responses API with kept conversations, over upstreams of every kind, with OpenAI's own SDK as the client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError, NotFoundError
from tests.fakes.gateway import MASTER_KEY, Gateway, gateway
from tests.fakes.upstream import Behaviour, Received, Upstream, answer, by, json_answer, sse

USAGE = {"input_tokens": 7, "output_tokens": 3}


def event(name: str, **data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


# ----------------------------------------------------------------------------------------------- three kinds of upstream
def claude(text: str) -> dict[str, Any]:
    return {
        "id": "msg_same", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE,
    }  # fmt: skip


def claude_stream(text: str) -> tuple[bytes, ...]:
    message = {**claude(""), "content": [], "stop_reason": None}
    return (
        event("message_start", message=message),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text}),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=USAGE),
        event("message_stop"),
    )


def gemini(text: str) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 10},
        "modelVersion": "gemini-2.5-flash",
    }


class Native:
    """An upstream that has the Responses API and keeps what it said."""

    def __init__(self) -> None:
        self.count = 0
        self.forgets = False
        self.store: bool | None = True

    def whole(self, text: str, *, status: str = "completed") -> dict[str, Any]:
        self.count += 1
        return {
            "id": f"resp_native{self.count}", "object": "response", "created_at": 1, "status": status, "model": "gpt-5",
            "output": [
                {"id": f"rs_native{self.count}", "type": "reasoning", "summary": []},
                {"id": f"msg_native{self.count}", "type": "message", "role": "assistant", "status": "completed",
                 "content": [{"type": "output_text", "text": text, "annotations": []}]},
            ],
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "store": self.store,
            "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
                      "input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}},
        }  # fmt: skip

    def __call__(self, asked: Received) -> Behaviour:
        body = asked.json()
        if body.get("previous_response_id") and self.forgets:
            words = f"Previous response with id '{body['previous_response_id']}' not found."
            error = {"message": words, "type": "invalid_request_error", "param": "previous_response_id",
                     "code": "previous_response_not_found"}  # fmt: skip
            return json_answer({"error": error}, status=400)
        whole = self.whole(f"answer {self.count + 1}")
        if not body.get("stream"):
            return json_answer(whole)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        message = whole["output"][1]
        where = {"item_id": message["id"], "output_index": 1, "content_index": 0}
        return sse(
            event("response.created", sequence_number=0, response=begun),
            event("response.output_item.added", sequence_number=1, output_index=0, item=whole["output"][0]),
            event("response.output_item.done", sequence_number=1, output_index=0, item=whole["output"][0]),
            event("response.output_item.added", sequence_number=1, output_index=1, item={**message, "content": []}),
            event(
                "response.content_part.added",
                sequence_number=2,
                **where,
                part={"type": "output_text", "text": "", "annotations": []},
            ),
            event("response.output_text.delta", sequence_number=2, **where, delta="answer", logprobs=[]),
            event("response.output_item.done", sequence_number=3, output_index=1, item=message),
            event("response.completed", sequence_number=4, response=whole),
        )


def answers_of(kind: str) -> Any:
    counted = iter(range(1, 100))

    def claudes(asked: Received) -> Behaviour:
        text = f"answer {next(counted)}"
        return sse(*claude_stream(text)) if asked.json().get("stream") else json_answer(claude(text))

    def geminis(asked: Received) -> Behaviour:
        text = f"answer {next(counted)}"
        if "stream" in asked.path:
            return sse(b"data: " + json.dumps(gemini(text)).encode() + b"\n\n")
        return json_answer(gemini(text))

    return {"anthropic": claudes, "gemini": geminis, "native": Native()}[kind]


CONFIG = """
providers:
  anthropic: {{api_base: "{url}", api_key: sk-ant-upstream-secret}}
  gemini: {{api_base: "{url}", api_key: gemini-upstream-secret}}
  openai: {{api_base: "{url}/v1", api_key: sk-upstream-secret, paths: {{responses: /responses}}}}
models:
  m: {model}
router: {{num_retries: 0}}
{extra}"""
MODELS = {"anthropic": "anthropic/claude-sonnet-4-5", "gemini": "gemini/gemini-2.5-flash", "native": "openai/gpt-5"}


@asynccontextmanager
async def over(kind: str, script: Any = None, extra: str = "") -> AsyncIterator[tuple[Gateway, AsyncOpenAI, Upstream]]:
    async with Upstream(by(script or answers_of(kind))) as upstream:
        config = CONFIG.format(url=upstream.url, model=MODELS[kind], extra=extra)
        async with gateway(config) as wayport, client_of(wayport) as client:
            yield wayport, client, upstream


@asynccontextmanager
async def client_of(wayport: Gateway, key: str = MASTER_KEY) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{wayport.url}/v1", api_key=key, max_retries=0) as client:
        yield client


KINDS = pytest.mark.parametrize("kind", list(MODELS))
FOREIGN = pytest.mark.parametrize("kind", ["anthropic", "gemini"])


def told(asked: Received) -> str:
    """All that an upstream was told of what was said, in order."""
    body = asked.json()
    texts: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            texts.extend(value[name] for name in ("text", "content") if isinstance(value.get(name), str))
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    for name in ("messages", "contents", "input"):
        if isinstance(body.get(name), str):
            texts.append(body[name])
        walk(body.get(name))
    return " | ".join(texts)


# ----------------------------------------------------------------------------------------------------------- chains
@FOREIGN
@pytest.mark.parametrize("stream", [False, True])
async def test_a_chain_is_told_whole_to_an_upstream_that_keeps_nothing(kind: str, stream: bool) -> None:
    async with over(kind) as (wayport, client, upstream):

        async def ask(text: str, previous: str | None = None) -> Any:
            more: dict[str, Any] = {"previous_response_id": previous} if previous else {}
            if not stream:
                return await client.responses.create(model="m", input=text, **more)
            async with client.responses.stream(model="m", input=text, **more) as events:
                return await events.get_final_response()

        one = await ask("first question")
        two = await ask("second question", one.id)
        three = await ask("third question", two.id)
        branch = await ask("another question", one.id)
        assert [each.output_text for each in (one, two, three)] == ["answer 1", "answer 2", "answer 3"]
        assert told(upstream.requests[2]) == "first question | answer 1 | second question | answer 2 | third question"
        assert told(upstream.requests[3]) == "first question | answer 1 | another question"
        assert len({one.id, two.id, three.id, branch.id}) == 4
        assert all(each.id.startswith("resp_") for each in (one, two, three, branch))
        assert (two.previous_response_id, two.store) == (one.id, True)
        assert one.created_at > 1_700_000_000
        assert "previous_response_id" not in upstream.requests[1].json()
        read = await client.responses.retrieve(two.id)
        assert (read.id, read.output_text, read.previous_response_id) == (two.id, two.output_text, one.id)
        assert [record.status for record in wayport.records] == ["success"] * 4


async def test_the_upstream_that_keeps_a_conversation_is_asked_to_go_on_from_it() -> None:
    async with over("native") as (_, client, upstream):
        one = await client.responses.create(model="m", input="first question")
        two = await client.responses.create(model="m", input="second question", previous_response_id=one.id)
        assert (one.id, two.id) == ("resp_native1", "resp_native2")
        sent = upstream.requests[1].json()
        assert sent["previous_response_id"] == "resp_native1"
        assert sent["input"] == "second question"


async def test_an_upstream_that_does_not_say_that_it_keeps_anything_is_told_all_of_it() -> None:
    native = Native()
    native.store = None
    async with over("native", native) as (_, client, upstream):
        one = await client.responses.create(model="m", input="first question")
        await client.responses.create(model="m", input="second", previous_response_id=one.id)
        assert told(upstream.requests[1]) == "first question | answer 1 | second"
        assert "previous_response_id" not in upstream.requests[1].json()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_that_has_forgotten_is_told_all_of_it(stream: bool) -> None:
    native = Native()
    async with over("native", native) as (_, client, upstream):
        one = await client.responses.create(model="m", input="first question")
        native.forgets = True
        if stream:
            async with client.responses.stream(model="m", input="second", previous_response_id=one.id) as events:
                two: Any = await events.get_final_response()
        else:
            two = await client.responses.create(model="m", input="second", previous_response_id=one.id)
        assert two.id == "resp_native2"
        last = upstream.requests[-1].json()
        assert "previous_response_id" not in last
        assert told(upstream.requests[-1]) == "first question | answer 1 | second"
        # Another account knows neither the thoughts nor the ids.
        assert [item.get("type", "message") for item in last["input"]] == ["message", "message", "message"]
        assert not any("id" in item for item in last["input"])
        # From the new answer on it is asked to go on itself again.
        native.forgets = False
        await client.responses.create(model="m", input="third", previous_response_id=two.id)
        assert upstream.requests[-1].json()["previous_response_id"] == two.id


async def test_a_conversation_moves_between_models_of_every_kind() -> None:
    async with Upstream(by(Native())) as openai, Upstream(by(answers_of("anthropic"))) as anthropic:
        config = f"""
providers:
  anthropic: {{api_base: "{anthropic.url}", api_key: sk-ant-upstream-secret}}
  openai: {{api_base: "{openai.url}/v1", api_key: sk-upstream-secret, paths: {{responses: /responses}}}}
models: {{a: anthropic/claude-sonnet-4-5, o: openai/gpt-5}}
"""
        async with gateway(config) as wayport, client_of(wayport) as client:
            one = await client.responses.create(model="o", input="one")
            two = await client.responses.create(model="a", input="two", previous_response_id=one.id)
            await client.responses.create(model="o", input="three", previous_response_id=two.id)
        assert told(anthropic.requests[0]) == "one | answer 1 | two"
        assert told(openai.requests[1]) == "one | answer 1 | two | answer 1 | three"


async def test_whoever_keeps_the_conversation_is_asked_although_another_worker_knows_of_it() -> None:
    async with Upstream(by(Native())) as one, Upstream(by(Native())) as two:
        config = f"""
providers:
  first: {{like: openai, api_base: "{one.url}/v1", api_key: sk-one, paths: {{responses: /responses}}}}
  second: {{like: openai, api_base: "{two.url}/v1", api_key: sk-two, paths: {{responses: /responses}}}}
models: {{m: {{deployments: [first/gpt-5, second/gpt-5], strategy: simple-shuffle}}}}
"""
        async with gateway(config) as wayport, client_of(wayport) as client:
            began = await client.responses.create(model="m", input="q")
            keeper = one if one.requests else two
            async with gateway(config) as another, client_of(another) as elsewhere:
                another.keys.turns.turns.update(wayport.keys.turns.turns)
                for _ in range(6):
                    await elsewhere.responses.create(model="m", input="more", previous_response_id=began.id)
            assert len(keeper.requests) == 7
            assert keeper.requests[-1].json()["previous_response_id"] == began.id


# ------------------------------------------------------------------------------------------------ items by reference
@KINDS
async def test_items_can_be_referred_to(kind: str) -> None:
    async with over(kind) as (_, client, upstream):
        one = await client.responses.create(model="m", input="first question")
        said = one.output[-1].id
        assert said is not None
        given: Any = [
            {"role": "user", "content": "first question"},
            {"type": "item_reference", "id": said},
            {"role": "user", "content": "second question"},
        ]
        two = await client.responses.create(model="m", input=given)
        if kind == "native":
            assert upstream.requests[1].json()["input"] == given
        else:
            assert told(upstream.requests[1]) == "first question | answer 1 | second question"
        given[2:] = [
            {"role": "user", "content": "second question"},
            {"type": "item_reference", "id": two.output[-1].id},
            {"role": "user", "content": "third question"},
        ]
        await client.responses.create(model="m", input=given)
        if kind == "native":
            assert upstream.requests[2].json()["input"] == given
        else:
            expected = "first question | answer 1 | second question | answer 2 | third question"
            assert told(upstream.requests[2]) == expected


@KINDS
async def test_a_reference_to_nothing_is_refused_before_anybody_is_asked(kind: str) -> None:
    async with over(kind) as (_, client, upstream):
        with pytest.raises(NotFoundError, match=r"Item with id 'msg_x' not found") as caught:
            await client.responses.create(model="m", input=[{"type": "item_reference", "id": "msg_x"}])
        assert caught.value.param == "input"
        assert upstream.requests == []


# --------------------------------------------------------------------------------------------------------- by their id
@KINDS
async def test_answers_are_read_listed_and_deleted(kind: str) -> None:
    async with over(kind) as (wayport, client, upstream):
        one = await client.responses.create(model="m", input="first question")
        two = await client.responses.create(
            model="m", input=[{"role": "user", "content": "second question"}], previous_response_id=one.id
        )
        assert (await client.responses.retrieve(one.id)).output_text == "answer 1"
        listed = await client.responses.input_items.list(two.id, order="asc", limit=2)
        found = [item async for item in listed]
        texts = [item.content[0].text for item in found if item.type == "message"]  # type: ignore[union-attr]  # texts all
        assert texts == ["first question", "answer 1", "second question"]
        newest = await client.responses.input_items.list(two.id, limit=1)
        assert newest.has_more
        for path in ("/responses", "/v1/responses", "/openai/v1/responses"):
            assert (await wayport.http.get(f"{path}/{two.id}")).json()["id"] == two.id
            assert len((await wayport.http.get(f"{path}/{two.id}/input_items?order=asc")).json()["data"]) >= 3
        asked = len(upstream.requests)
        upstream.script = json_answer({"id": two.id, "object": "response", "deleted": True})
        await client.responses.delete(two.id)
        # The upstream that keeps it too is asked to delete it.
        assert [(r.method, r.path) for r in upstream.requests[asked:]] == (
            [("DELETE", "/v1/responses/resp_native2")] if kind == "native" else []
        )
        for path in (f"/v1/responses/{two.id}", f"/v1/responses/{two.id}/input_items"):
            assert (await wayport.http.get(path)).status_code == 404
        with pytest.raises(BadRequestError, match="not found"):
            await client.responses.create(model="m", input="x", previous_response_id=two.id)
        assert (await client.responses.retrieve(one.id)).id == one.id


@KINDS
async def test_the_tokens_of_a_request_are_counted_with_all_that_it_goes_on_from(kind: str) -> None:
    native = Native() if kind == "native" else None
    scripted = native or answers_of(kind)
    counted: list[Received] = []

    def script(asked: Received) -> Behaviour:
        if "count" not in asked.path.lower():
            behaviour: Behaviour = scripted(asked)
            return behaviour
        counted.append(asked)
        return json_answer({"input_tokens": 77, "totalTokens": 77})

    async with over(kind, script) as (wayport, client, _):
        one = await client.responses.create(model="m", input="first question")
        found = await client.responses.input_tokens.count(model="m", input="second", previous_response_id=one.id)
        assert found.object == "response.input_tokens"
        if counted:
            assert found.input_tokens == 77
            assert "first question" in counted[0].body.decode()
        else:
            assert found.input_tokens > 8
        assert len(wayport.keys.turns.turns) == 1
        refused = await wayport.ask({}, "/v1/responses/compact")
        assert refused.status_code == 404


async def test_what_cannot_be_done_with_an_answer_is_said() -> None:
    async with over("anthropic") as (wayport, client, _):
        one = await client.responses.create(model="m", input="q")
        with pytest.raises(BadRequestError, match="background"):
            await client.responses.cancel(one.id)
        with pytest.raises(BadRequestError, match="stream"):
            await client.responses.retrieve(one.id, stream=True)
        for query in ("limit=0", "limit=101", "limit=x", "order=up"):
            assert (await wayport.http.get(f"/v1/responses/{one.id}/input_items?{query}")).status_code == 400
        refused = await wayport.http.put(f"/v1/responses/{one.id}")
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, DELETE")
        missing = await wayport.http.get("/v1/responses/resp_none")
        assert missing.status_code == 404
        assert missing.json()["error"]["message"] == "Response with id 'resp_none' not found."


async def test_an_answer_in_the_background_is_read_and_cancelled_where_it_is_made() -> None:
    native = Native()
    whole = native.whole("done")
    running = {**whole, "status": "queued", "output": [], "background": True, "usage": None}
    ended = {**whole, "status": "cancelled"}
    async with Upstream([json_answer(running), json_answer(running), json_answer(ended)]) as upstream:
        config = CONFIG.format(url=upstream.url, model=MODELS["native"], extra="")
        async with gateway(config) as wayport, client_of(wayport) as client:
            begun = await client.responses.create(model="m", input="q", background=True)
            assert begun.status == "queued"
            assert (await client.responses.retrieve(begun.id)).status == "queued"
            assert (await client.responses.cancel(begun.id)).status == "cancelled"
            # From now on it is known here.
            assert (await client.responses.retrieve(begun.id)).status == "cancelled"
            lines = [f"{request.method} {request.path}" for request in upstream.requests]
            assert lines[1:] == ["GET /v1/responses/resp_native1", "POST /v1/responses/resp_native1/cancel"]
            assert upstream.requests[1].headers["authorization"] == "Bearer sk-upstream-secret"


# ------------------------------------------------------------------------------------------------------------- tenants
@KINDS
async def test_another_tenants_answers_do_not_exist(kind: str) -> None:
    async with over(kind) as (wayport, client, upstream):
        mine = wayport.keys.add("sk-mine-0123456789", user_id="ann", team_id="red")
        same_team = wayport.keys.add("sk-same-0123456789", user_id="bob", team_id="red")
        other = wayport.keys.add("sk-other-0123456789", user_id="ann", team_id="blue")
        async with (
            client_of(wayport, mine) as me,
            client_of(wayport, same_team) as us,
            client_of(wayport, other) as they,
        ):
            one = await me.responses.create(model="m", input="first question")
            item = one.output[-1].id
            assert item is not None
            await us.responses.create(model="m", input="more", previous_response_id=one.id)
            assert (await us.responses.retrieve(one.id)).id == one.id
            asked = len(upstream.requests)
            for stranger in (they, client):
                with pytest.raises(NotFoundError, match="not found"):
                    await stranger.responses.retrieve(one.id)
                with pytest.raises(NotFoundError):
                    await stranger.responses.delete(one.id)
                with pytest.raises(NotFoundError):
                    await stranger.responses.cancel(one.id)
                with pytest.raises(NotFoundError):
                    await stranger.responses.input_items.list(one.id)
                with pytest.raises(BadRequestError) as caught:
                    await stranger.responses.create(model="m", input="x", previous_response_id=one.id)
                assert (caught.value.code, caught.value.param) == (
                    "previous_response_not_found",
                    "previous_response_id",
                )
                assert f"Previous response with id '{one.id}' not found." in caught.value.message
                with pytest.raises(NotFoundError):
                    await stranger.responses.create(model="m", input=[{"type": "item_reference", "id": item}])
            assert len(upstream.requests) == asked
            assert (await me.responses.retrieve(one.id)).id == one.id


# --------------------------------------------------------------------------------------------------------------- store
@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_kept_with_store_false(kind: str, stream: bool) -> None:
    async with over(kind) as (wayport, client, _):
        if stream:
            async with client.responses.stream(model="m", input="q", store=False) as events:
                one: Any = await events.get_final_response()
        else:
            one = await client.responses.create(model="m", input="q", store=False)
        assert wayport.keys.turns.turns == {}
        assert wayport.keys.turns.asked == 0
        with pytest.raises(NotFoundError):
            await client.responses.retrieve(one.id)


async def test_nothing_is_kept_where_the_operator_keeps_nothing() -> None:
    async with over("anthropic", extra="responses: {keep_days: 0}") as (wayport, client, _):
        one = await client.responses.create(model="m", input="q", store=True)
        assert wayport.keys.turns.turns == {}
        with pytest.raises(BadRequestError, match="not found"):
            await client.responses.create(model="m", input="q", previous_response_id=one.id)


async def test_a_variable_says_so_whatever_the_configuration_is_spelled_like() -> None:
    litellm = "model_list: [{model_name: m, litellm_params: {model: openai/gpt-5}}]\n"
    async with gateway(litellm, {"WAYPORT_RESPONSES_KEEP_DAYS": "0"}) as wayport, client_of(wayport) as client:
        assert wayport.settings.responses.keep_days == 0
        await client.responses.create(model="wayport/echo", input="q", store=True)
        assert wayport.keys.turns.turns == {}


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_kept_before_the_client_learns_of_its_end(kind: str, stream: bool) -> None:
    async with over(kind) as (wayport, _, _):
        gate = wayport.keys.turns.gate = asyncio.Event()
        body = json.dumps({"model": "m", "input": "q", "stream": stream}).encode()
        headers = {"content-type": "application/json"}
        seen = b""

        async def read() -> None:
            nonlocal seen
            async with wayport.http.stream("POST", "/v1/responses", content=body, headers=headers) as answered:
                async for piece in answered.aiter_bytes():
                    seen += piece

        reading = asyncio.ensure_future(read())
        async with asyncio.timeout(10):
            while not (wayport.keys.turns.waiting and (not stream or b"output_text.delta" in seen)):
                await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert b"response.completed" not in seen
        assert (b"answer" in seen) is stream
        assert wayport.keys.turns.turns == {}
        assert list(wayport.records) == []
        gate.set()
        await reading
        assert b'"completed"' in seen
        assert len(wayport.keys.turns.turns) == 1
        assert [record.status for record in wayport.records] == ["success"]


@KINDS
async def test_an_answer_that_cannot_be_kept_goes_out_unless_that_was_asked_for(kind: str) -> None:
    async with over(kind) as (wayport, client, _):
        wayport.keys.turns.away = True
        assert (await client.responses.create(model="m", input="q")).output_text == "answer 1"
        async with client.responses.stream(model="m", input="q") as events:
            assert (await events.get_final_response()).output[-1].type == "message"
        with pytest.raises(InternalServerError, match="could not be stored") as caught:
            await client.responses.create(model="m", input="q", store=True)
        assert caught.value.status_code == 503
        streamed = await wayport.ask({"model": "m", "input": "q", "store": True, "stream": True}, "/v1/responses")
        assert "response.failed" in streamed.text
        assert "response.completed" not in streamed.text
        assert "could not be stored" in streamed.text
        await wayport.until_idle()
        # It was answered and is paid for; whoever reads the log sees why the client got an error.
        assert [record.status for record in wayport.records] == ["success", "success", "failure", "cut"]
        assert all(record.usage is not None for record in wayport.records)


async def test_going_on_from_an_answer_waits_for_nobody_when_the_store_is_away() -> None:
    async with over("anthropic") as (wayport, client, upstream):
        one = await client.responses.create(model="m", input="q")
        wayport.keys.turns.away = True
        with pytest.raises(InternalServerError, match="away"):
            await client.responses.create(model="m", input="q", previous_response_id=one.id)
        assert len(upstream.requests) == 1


async def test_a_client_that_leaves_while_its_answer_is_kept_is_settled() -> None:
    async with over("anthropic") as (wayport, _, _):
        gate = wayport.keys.turns.gate = asyncio.Event()
        asked = {"model": "m", "input": "q", "stream": True}
        call = asyncio.ensure_future(wayport.ask(asked, "/v1/responses"))
        async with asyncio.timeout(10):
            while not wayport.keys.turns.waiting:
                await asyncio.sleep(0)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await wayport.until_idle()
        gate.set()
        assert [record.status for record in wayport.records] == ["cancelled"]


async def test_the_background_is_not_for_models_that_answer_at_once() -> None:
    async with over("anthropic") as (wayport, client, _):
        answered = await wayport.ask({"model": "m", "input": "q", "background": True}, "/v1/responses")
        assert answered.headers["x-wayport-dropped-params"] == "background"
        assert answered.json()["status"] == "completed"
        # Whoever polls for it finds it.
        assert (await client.responses.retrieve(answered.json()["id"])).status == "completed"


async def test_broken_streams_are_not_kept() -> None:
    broken = sse(*claude_stream("half")[:3], then="close", end=False)
    async with over("anthropic", lambda _: broken) as (wayport, _, _):
        answered = await wayport.ask({"model": "m", "input": "q", "stream": True}, "/v1/responses")
        assert "response.failed" in answered.text
        assert wayport.keys.turns.turns == {}


async def test_a_whole_answer_told_as_a_stream_is_kept() -> None:
    async with over("anthropic", lambda _: json_answer(claude("whole"))) as (wayport, client, _):
        async with client.responses.stream(model="m", input="q") as events:
            one = await events.get_final_response()
        assert (await client.responses.retrieve(one.id)).output_text == "whole"
        assert len(wayport.keys.turns.turns) == 1


async def test_the_built_in_model_is_gone_on_from_too() -> None:
    async with gateway("models: {m: wayport/echo}\n") as wayport, client_of(wayport) as client:
        one = await client.responses.create(model="m", input="one")
        async with client.responses.stream(model="m", input="two", previous_response_id=one.id) as events:
            two = await events.get_final_response()
        assert two.previous_response_id == one.id
        assert len(wayport.keys.turns.turns) == 2
        for each in (one, two):
            await client.responses.delete(each.id)
        assert wayport.keys.turns.turns == {}


@pytest.mark.parametrize(
    "body",
    [
        {"previous_response_id": 5},
        {"previous_response_id": {"a": 1}},
        {"previous_response_id": "resp_\x00"},
        {"previous_response_id": ""},
    ],
)
async def test_nonsense_is_a_400(body: dict[str, Any]) -> None:
    async with over("anthropic") as (wayport, _, upstream):
        answered = await wayport.ask({"model": "m", "input": "q", **body}, "/v1/responses")
        assert answered.status_code == 400
        assert answered.json()["error"]["param"] == "previous_response_id"
        assert upstream.requests == []


@KINDS
@pytest.mark.parametrize(
    "given",
    [5, {"a": 1}, [5], ["text"], [None], [{"type": "item_reference", "id": 5}], [{"type": 5, "id": "msg_x"}], [[]]],
)
async def test_input_that_cannot_be_read_is_a_400_and_reaches_nobody(kind: str, given: Any) -> None:
    async with over(kind) as (wayport, client, upstream):
        one = await client.responses.create(model="m", input="q")
        for more in ({}, {"previous_response_id": one.id}):
            answered = await wayport.ask({"model": "m", "input": given, **more}, "/v1/responses")
            assert answered.status_code == 400, answered.text
            assert answered.json()["error"]["param"] == "input"
        assert len(upstream.requests) == 1


async def test_an_answer_without_an_id_goes_out_and_is_not_kept() -> None:
    whole = Native().whole("text")
    del whole["id"]
    async with over("native", lambda _: answer(json.dumps(whole).encode())) as (wayport, _, _):
        answered = await wayport.ask({"model": "m", "input": "q"}, "/v1/responses")
        assert answered.status_code == 200
        assert wayport.keys.turns.turns == {}


@pytest.mark.parametrize("stored", [True, False])
async def test_what_the_built_in_model_says_is_a_whole_response(*, stored: bool) -> None:
    """It has no envelope of an upstream's to keep: clients look for a status, an id and the kind of each item."""
    async with gateway() as wayport:
        ask = {"model": "wayport/echo", "input": "Hi there", "store": stored}
        answer = (await wayport.ask(ask, "/v1/responses")).json()
        assert (answer["status"], answer["object"]) == ("completed", "response")
        assert answer["id"].startswith("resp_")
        (item,) = answer["output"]
        assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
        assert item["content"][0]["text"] == "Hi there"
