"""Conversations by their id (OpenAI's Conversations API), over upstreams of every kind, with OpenAI's own SDK."""

import json
from typing import Any

import pytest
from openai import InternalServerError, NotFoundError
from tests.fakes.gateway import MASTER_KEY
from tests.fakes.upstream import json_answer
from tests.pipeline.test_responses import FOREIGN, KINDS, Native, client_of, over, told


def user(text: str) -> Any:
    return {"type": "message", "role": "user", "content": text}


@KINDS
@pytest.mark.parametrize("stream", [False, True])
async def test_a_conversation_is_told_to_every_upstream_and_grows(kind: str, stream: bool) -> None:
    async with over(kind) as (_, client, upstream):
        home = await client.conversations.create(
            items=[{"type": "message", "role": "user", "content": "before"}],
            metadata={"topic": "tests"},
        )
        assert home.id.startswith("conv_")
        for number, text in enumerate(("one", "two"), start=1):
            given: Any = home.id if number == 1 else {"id": home.id}
            if stream:
                async with client.responses.stream(model="m", input=text, conversation=given) as events:
                    said: Any = await events.get_final_response()
            else:
                said = await client.responses.create(model="m", input=text, conversation=given)
            if kind != "native":
                assert said.conversation is not None
                assert said.conversation.id == home.id
                assert said.previous_response_id is None
        assert told(upstream.requests[0]) == "before | one"
        assert told(upstream.requests[1]) == "before | one | answer 1 | two"
        assert b"conv_" not in b"".join(asked.body for asked in upstream.requests)
        items: list[Any] = [item async for item in client.conversations.items.list(home.id, order="asc")]
        texts = [item.content[0].text for item in items if item.type == "message"]
        assert texts == ["before", "one", "answer 1", "two", "answer 2"]
        # The answers are answers all the same.
        again = await client.responses.create(model="m", input="three", previous_response_id=said.id)
        assert again.output_text == "answer 3"
        first: Any = (await client.responses.input_items.list(again.id, order="asc")).data[0]
        assert first.content[0].text == "before"


async def test_a_conversations_facts_and_items_are_read_changed_and_deleted() -> None:
    async with over("anthropic") as (_, client, upstream):
        home = await client.conversations.create(metadata={"a": "1"})
        assert (await client.conversations.retrieve(home.id)).model_dump() == home.model_dump()
        assert (await client.conversations.update(home.id, metadata={"b": "2"})).metadata == {"b": "2"}
        added = await client.conversations.items.create(
            home.id,
            items=[user(text) for text in ("x", "y", "z")],
        )
        names = [item.id for item in added.data if item.id]
        assert len(set(names)) == 3
        assert (added.first_id, added.last_id, added.has_more) == (names[0], names[2], False)
        page = await client.conversations.items.list(home.id, limit=2)
        assert [item.id for item in page.data] == [names[2], names[1]]
        assert page.has_more
        assert [item.id async for item in client.conversations.items.list(home.id, limit=1)] == names[::-1]
        one = await client.conversations.items.retrieve(names[1], conversation_id=home.id)
        assert one.id == names[1]
        assert (await client.conversations.items.delete(names[1], conversation_id=home.id)).id == home.id
        with pytest.raises(NotFoundError, match=names[1]):
            await client.conversations.items.retrieve(names[1], conversation_id=home.id)
        await client.responses.create(model="m", input="now", conversation=home.id)
        assert told(upstream.requests[0]) == "x | z | now"
        assert (await client.conversations.delete(home.id)).deleted
        for gone in (
            client.conversations.retrieve(home.id),
            client.conversations.delete(home.id),
            client.conversations.update(home.id, metadata={}),
            client.responses.create(model="m", input="now", conversation=home.id),
        ):
            with pytest.raises(NotFoundError, match=home.id):
                await gone


@FOREIGN
async def test_another_tenants_conversation_does_not_exist(kind: str) -> None:
    async with over(kind) as (wayport, client, upstream):
        home = await client.conversations.create()
        async with client_of(wayport, wayport.keys.add("sk-another-0123456789")) as other:
            for asked in (
                other.conversations.retrieve(home.id),
                other.conversations.items.list(home.id),
                other.conversations.delete(home.id),
                other.responses.create(model="m", input="hello", conversation=home.id),
            ):
                with pytest.raises(NotFoundError):
                    await asked
        assert upstream.requests == []
        assert (await client.conversations.retrieve(home.id)).id == home.id


async def test_a_conversation_that_the_upstream_keeps_passes_through() -> None:
    async with over("native") as (_, client, upstream):
        await client.responses.create(model="m", input="hello", conversation="conv_made_there")
        body = upstream.requests[0].json()
        assert (body["conversation"], body["input"]) == ("conv_made_there", "hello")


async def test_conversations_and_answers_are_not_taken_for_each_other() -> None:
    async with over("anthropic") as (_, client, _):
        home = await client.conversations.create(items=[user("hello")])
        said = await client.responses.create(model="m", input="hello", conversation=home.id)
        with pytest.raises(NotFoundError):
            await client.responses.retrieve(home.id)
        with pytest.raises(NotFoundError):
            await client.responses.delete(home.id)
        with pytest.raises(NotFoundError):
            await client.conversations.retrieve(said.id)
        with pytest.raises(NotFoundError):
            await client.conversations.delete(said.id)
        await client.responses.delete(said.id)
        assert len((await client.conversations.items.list(home.id)).data) == 3


async def test_what_cannot_be_is_refused_with_the_field_that_says_it() -> None:
    async with over("anthropic") as (wayport, client, upstream):
        home = await client.conversations.create()
        for more, param in (
            ({"conversation": home.id, "previous_response_id": "resp_1"}, "previous_response_id"),
            ({"conversation": home.id, "store": False}, "store"),
            ({"conversation": 7}, "conversation"),
            ({"conversation": {"name": home.id}}, "conversation"),
        ):
            answered = await wayport.ask({"model": "m", "input": "x", **more}, "/v1/responses")
            assert answered.status_code == 400, more
            assert answered.json()["error"]["param"] == param
        for body, param in (
            ({"items": "text"}, "items"),
            ({"items": [1]}, "items"),
            ({"items": [user("x")] * 21}, "items"),
            ({"items": [{"type": "item_reference", "id": "msg_1"}]}, "items"),
            ({"metadata": {"k": 1}}, "metadata"),
            ({"metadata": {str(number): "v" for number in range(17)}}, "metadata"),
            ({"metadata": {"k": "v" * 513}}, "metadata"),
        ):
            answered = await wayport.ask(body, "/v1/conversations")
            assert answered.status_code == 400, body
            assert answered.json()["error"]["param"] == param
        assert (await wayport.ask({}, f"/v1/conversations/{home.id}")).status_code == 400
        assert (await wayport.ask({}, f"/v1/conversations/{home.id}/items")).status_code == 400
        assert (await wayport.ask([], "/v1/conversations")).status_code == 400
        refused = await wayport.http.get("/conversations")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert (await wayport.http.put(f"/openai/v1/conversations/{home.id}/items/x")).status_code == 405
        assert upstream.requests == []


async def test_an_answer_that_cannot_be_added_to_its_conversation_is_an_error() -> None:
    async with over("anthropic") as (wayport, client, _):
        home = await client.conversations.create()
        put = wayport.keys.turns.put

        async def fails(*_: Any, **__: Any) -> None:
            wayport.keys.turns.away = True
            await put(*_, **__)

        wayport.keys.turns.put = fails  # type: ignore[method-assign]
        with pytest.raises(InternalServerError, match="conversation"):
            await client.responses.create(model="m", input="x", conversation=home.id)


async def test_an_answer_that_failed_is_no_part_of_the_conversation() -> None:
    failed = {**Native().whole("never"), "status": "failed", "error": {"code": "server_error", "message": "broken"}}
    async with over("native", lambda _: json_answer(failed)) as (_, client, _):
        home = await client.conversations.create()
        await client.responses.create(model="m", input="x", conversation=home.id)
        assert (await client.conversations.items.list(home.id)).data == []


async def test_nothing_is_made_where_the_operator_keeps_nothing() -> None:
    async with over("native", extra="responses: {keep_days: 0}\n") as (wayport, _, _):
        answered = await wayport.http.post("/v1/conversations", headers={"authorization": f"Bearer {MASTER_KEY}"})
        assert answered.status_code == 503
        assert "responses.keep_days" in json.loads(answered.text)["error"]["message"]
