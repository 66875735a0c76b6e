"""Kept turns across the socket, with a real control process and a real database on the other side."""

from pathlib import Path

import pytest
from tests.fakes.control_process import control_process

from wayport.control.conversations import MOST_BYTES
from wayport.core.errors import BadRequest, Unavailable
from wayport.core.turn import ConversationChange, KeptTurn


def turn(response_id: str, previous_id: str | None = None) -> KeptTurn:
    return KeptTurn(response_id=response_id, previous_id=previous_id, input=b"[]", response=b'{"output":[]}')


async def test_a_worker_keeps_finds_and_forgets_turns(database_url: str | None, tmp_path: Path) -> None:
    async with control_process(tmp_path, database_url) as (process, worker):
        await process.answers()
        turns = worker.turns
        await turns.put("a", turn("1"), said=["msg_1"], given=["in_1"])
        big = KeptTurn(response_id="2", previous_id="1", input=b"[]", response=b'{"x":"%b"}' % (b"y" * 5_000_000))
        await turns.put("a", big, said=["msg_2"], given=["msg_1"])
        assert await turns.chain("a", "2") == (turn("1"), big)
        assert await turns.chain("b", "2") == ()
        found = await turns.items("a", ["msg_1", "in_1", "msg_9"])
        assert {each.response_id for each in found.turns} == {"1", "2"}
        assert set(found.places) == {"msg_1", "in_1"}
        assert await turns.forget("a", "1")
        assert not await turns.forget("a", "1")
        assert await turns.chain("a", "2") == ()


async def test_a_question_that_a_dying_process_leaves_open_is_unavailable(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, worker):
        await process.answers()
        await worker.turns.put("a", turn("1"), said=[], given=[])
        process.kill()
        worker._timeout_s = 0.3
        with pytest.raises(Unavailable):
            await worker.turns.chain("a", "1")
        process.start()
        await process.answers()
        worker._timeout_s = 20
        assert await worker.turns.chain("a", "1") == (turn("1"),)


async def test_what_is_too_large_for_the_socket_is_refused_and_the_link_lives(tmp_path: Path) -> None:
    async with control_process(tmp_path) as (process, worker):
        await process.answers()
        conversation = KeptTurn(response_id="conv_1", input=b"[]", response=b'{"id":"conv_1"}')
        await worker.turns.put("a", conversation, said=[], given=[])
        link = worker._connection
        assert link is not None
        huge = ConversationChange(items=b'["%b"]' % (b"x" * MOST_BYTES))
        with pytest.raises(BadRequest, match="begin a new one") as refused:
            await worker.turns.change("a", "conv_1", huge)
        assert (refused.value.param, refused.value.code) == ("items", "conversation_too_large")
        # Where this side sees that the other would not take it, nothing goes out at all.
        link._max_bytes = 1_000
        with pytest.raises(Unavailable, match="more than"):
            await worker.turns.put("a", turn("x" * 2_000), said=[], given=[])
        assert await worker.turns.chain("a", "conv_1") == (conversation,)
        assert worker._connection is link
