"""Kept turns in both databases: chains, items, tenants, expiry, and that nothing can be read without the salt key."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock

from wayport.control.conversations import Conversations
from wayport.core.errors import BadRequest, Unavailable
from wayport.core.secret import Secret
from wayport.core.tasks import Tasks
from wayport.core.turn import ConversationChange, KeptConversation, KeptTurn
from wayport.storage.address import Address
from wayport.storage.cipher import Cipher
from wayport.storage.database import Database
from wayport.storage.tables import conversation_items, conversations

DAY_S = 86_400.0


def turn(response_id: str, previous_id: str | None = None, said: str = "secret-words") -> KeptTurn:
    return KeptTurn(
        response_id=response_id,
        previous_id=previous_id,
        input=b'[{"id":"in_%b"}]' % response_id.encode(),
        response=b'{"id":"%b","output":[{"id":"out","text":"%b"}]}' % (response_id.encode(), said.encode()),
    )


@asynccontextmanager
async def store(address: Address, salt: str = "salt") -> AsyncIterator[tuple[Conversations, Database, ManualClock]]:
    clock = ManualClock()
    async with opened(address, clock) as database:
        cipher = Cipher(Secret(salt), purpose="conversations")
        yield Conversations(database, cipher, clock=clock, keep_days=30), database, clock


async def put(kept: Conversations, *turns: KeptTurn, tenant: str = "a") -> None:
    for each in turns:
        await kept.put(tenant, each, said=[f"out_{each.response_id}"], given=[f"in_{each.response_id}"])


async def count(database: Database, table: sa.Table) -> int:
    async with database.read() as connection:
        found = (await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one()
    return int(found)


async def test_a_chain_comes_oldest_first_and_branches_keep_apart(address: Address) -> None:
    async with store(address) as (kept, _, _):
        await put(kept, turn("1"), turn("2", "1"), turn("3", "2"), turn("2b", "1"))
        assert await kept.chain("a", "3") == (turn("1"), turn("2", "1"), turn("3", "2"))
        assert await kept.chain("a", "2b") == (turn("1"), turn("2b", "1"))
        assert await kept.chain("a", "1") == (turn("1"),)


async def test_what_is_not_known_or_another_tenants_is_nothing(address: Address) -> None:
    async with store(address) as (kept, _, _):
        await put(kept, turn("1"))
        for tenant, response_id in (("b", "1"), ("a", "2"), ("a", "\0"), ("a", "x" * 10_000), ("a", "")):
            assert await kept.chain(tenant, response_id) == ()
            assert not await kept.forget(tenant, response_id)
        await put(kept, turn("1", said="theirs"), tenant="b")
        assert (await kept.chain("a", "1"))[0].response != (await kept.chain("b", "1"))[0].response
        assert not (await kept.items("c", ["out_1"])).turns


async def test_items_are_found_in_the_latest_turn_that_has_them(address: Address) -> None:
    async with store(address) as (kept, _, _):
        native = turn("1")
        native = KeptTurn(response_id="1", deployment="d", input=native.input, response=native.response)
        await kept.put("a", native, said=["out_1"], given=["in_1"])
        found = await kept.items("a", ["out_1", "in_1", "no", "\0"])
        assert found.turns == (native,)
        assert found.places == {"out_1": "d", "in_1": None}
        await kept.put("a", turn("2"), said=["out_2"], given=["in_1", "out_1", "bad\nid", ""])
        found = await kept.items("a", ["out_1", "in_1"])
        assert found.turns == (turn("2"),)
        assert found.places == {"out_1": "d", "in_1": None}
        assert (await kept.items("a", [])).turns == ()


async def test_what_is_forgotten_is_gone_and_so_is_what_went_on_from_it(address: Address) -> None:
    async with store(address) as (kept, database, _):
        await put(kept, turn("1"), turn("2", "1"))
        assert await kept.forget("a", "1")
        assert not await kept.forget("a", "1")
        assert await kept.chain("a", "2") == ()
        assert (await kept.items("a", ["out_1"])).turns == ()
        assert await count(database, conversation_items) == 2


async def test_a_turn_lives_as_long_as_one_that_goes_on_from_it(address: Address) -> None:
    async with store(address) as (kept, database, clock):
        await put(kept, turn("1"), turn("alone"))
        clock.advance(20 * DAY_S)
        await put(kept, turn("2", "1"))
        clock.advance(11 * DAY_S)
        assert await kept.expire() == 1
        assert await kept.chain("a", "alone") == ()
        assert len(await kept.chain("a", "2")) == 2
        clock.advance(20 * DAY_S)
        assert await kept.expire() == 2
        assert await count(database, conversations) == await count(database, conversation_items) == 0


async def test_the_job_deletes_by_itself_and_lives_through_a_closed_database(address: Address) -> None:
    clock = ManualClock()
    slept: asyncio.Queue[float] = asyncio.Queue()
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await slept.put(seconds)
        await go_on.wait()
        go_on.clear()

    async with opened(address, clock) as database:
        cipher = Cipher(Secret("salt"), purpose="conversations")
        kept = Conversations(database, cipher, clock=clock, keep_days=30, sleep=sleep)
        await put(kept, turn("1"))
        job = asyncio.ensure_future(kept.run())
        assert await slept.get() > 0
        assert await count(database, conversations) == 1
        clock.advance(31 * DAY_S)
        go_on.set()
        await slept.get()
        assert await count(database, conversations) == 0
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)


async def test_nothing_can_be_read_in_the_database(address: Address, tmp_path: Path) -> None:
    async with store(address) as (kept, database, _):
        await put(kept, turn("1"))
        async with database.read() as connection:
            sealed = (await connection.execute(sa.select(conversations.c.sealed))).scalar_one()
        assert b"secret-words" not in sealed
        for file in tmp_path.rglob("*"):
            if file.is_file():
                assert b"secret-words" not in file.read_bytes(), file
    async with store(address, salt="another") as (kept, _, _):
        assert await kept.chain("a", "1") == ()


async def test_what_was_moved_to_another_row_is_not_read(address: Address) -> None:
    async with store(address) as (kept, database, _):
        await put(kept, turn("1"))
        async with database.write() as connection:
            await connection.execute(sa.update(conversations).values(tenant="thief"))
        assert await kept.chain("thief", "1") == ()


async def test_very_long_chains_and_many_items_come_whole(address: Address) -> None:
    async with store(address) as (kept, _, _):
        await put(kept, turn("0"))
        await put(kept, *(turn(str(n), str(n - 1)) for n in range(1, 120)))
        assert [each.response_id for each in await kept.chain("a", "119")] == [str(n) for n in range(120)]
        assert len((await kept.items("a", [f"out_{n}" for n in range(120)])).turns) == 120


async def test_a_database_that_is_just_starting_is_waited_for(address: Address) -> None:
    clock = ManualClock()
    database = Database(address, clock=clock)
    kept = Conversations(database, Cipher(Secret("salt"), purpose="conversations"), clock=clock, keep_days=30)
    async with Tasks() as tasks:
        writing = tasks.start(put(kept, turn("1")), name="put")
        await asyncio.sleep(0)
        tasks.start(database.run(), name="database")
        try:
            await writing
            assert await kept.chain("a", "1") == (turn("1"),)
        finally:
            await database.close()


async def test_a_database_that_is_long_away_is_not_waited_for(address: Address) -> None:
    clock = ManualClock()
    database = Database(address, clock=clock)
    kept = Conversations(database, Cipher(Secret("salt"), purpose="conversations"), clock=clock, keep_days=30)
    clock.advance(60)
    with pytest.raises(Unavailable):
        await kept.chain("a", "1")


# --------------------------------------------------------------------------------------------- conversations by their id
HOME = KeptTurn(
    response_id="conv_1", input=b"[]", response=msgspec.json.encode(KeptConversation(id="conv_1", created_at=1))
)


async def test_what_is_said_in_a_conversation_stands_in_its_chain(address: Address) -> None:
    async with store(address) as (kept, _, _):
        await kept.put("a", HOME, said=[], given=[])
        await kept.put("a", turn("1"), said=[], given=[], conversation="conv_1")
        await kept.put("a", turn("2", "1"), said=[], given=[], conversation="conv_1")
        assert await kept.change("a", "conv_1", ConversationChange(items=b'[{"id":"x"}]'))
        one, two, three, head = await kept.chain("a", "conv_1")
        assert (one.input, two.input, three.input) == (turn("1").input, turn("2").input, b'[{"id":"x"}]')
        assert msgspec.json.decode(two.response) == {"output": [{"id": "out", "text": "secret-words"}]}
        assert (head.response_id, head.previous_id, head.response) == ("conv_1", three.response_id, HOME.response)
        # An answer that is deleted stays said.
        assert await kept.forget("a", "1")
        assert len(await kept.chain("a", "conv_1")) == 4
        assert await kept.chain("b", "conv_1") == ()
        assert not await kept.change("b", "conv_1", ConversationChange(items=b"[]"))
        assert not await kept.change("a", "conv_2", ConversationChange(items=b"[]"))


async def test_answers_that_end_at_once_are_all_said(address: Address) -> None:
    async with store(address) as (kept, _, _):
        await kept.put("a", HOME, said=[], given=[])
        names = [str(number) for number in range(8)]
        await asyncio.gather(*(kept.put("a", turn(name), said=[], given=[], conversation="conv_1") for name in names))
        chain = await kept.chain("a", "conv_1")
        assert sorted(each.input for each in chain[:-1]) == [turn(name).input for name in names]


async def test_a_conversations_facts_change_and_its_end_stays(address: Address) -> None:
    async with store(address) as (kept, _, clock):
        await kept.put("a", HOME, said=[], given=[])
        await kept.put("a", turn("1"), said=[], given=[], conversation="conv_1")
        await kept.change("a", "conv_1", ConversationChange(metadata=b'{"k":"v"}', without=("x",)))
        await kept.change("a", "conv_1", ConversationChange(without=("y",)))
        one, head = await kept.chain("a", "conv_1")
        known = msgspec.json.decode(head.response, type=KeptConversation)
        assert (bytes(known.metadata), known.without, known.created_at) == (b'{"k":"v"}', ("x", "y"), 1)
        assert head.previous_id == one.response_id
        # It lives as long as it is used.
        clock.advance(29 * DAY_S)
        await kept.put("a", turn("2"), said=[], given=[], conversation="conv_1")
        clock.advance(29 * DAY_S)
        await kept.expire()
        assert len(await kept.chain("a", "conv_1")) == 3


async def test_a_turn_of_a_conversation_that_was_deleted_meanwhile_is_kept_alone(address: Address) -> None:
    async with store(address) as (kept, _, _):
        await kept.put("a", turn("1"), said=[], given=[], conversation="conv_1")
        assert await kept.chain("a", "1") == (turn("1"),)
        assert await kept.chain("a", "conv_1") == ()


async def test_a_conversation_that_is_more_than_a_message_holds_is_neither_read_nor_added_to(address: Address) -> None:
    async with store(address) as (roomy, database, clock):
        cipher = Cipher(Secret("salt"), purpose="conversations")
        kept = Conversations(database, cipher, clock=clock, keep_days=30, most_bytes=4_000)
        head = KeptTurn(
            response_id="conv_1", input=b"[]", response=msgspec.json.encode(KeptConversation(id="conv_1", created_at=1))
        )
        await put(kept, head)
        items = ConversationChange(items=b'["%b"]' % (b"x" * 2_000))
        assert await kept.change("a", "conv_1", items)
        with pytest.raises(BadRequest, match="begin a new one") as refused:
            await kept.change("a", "conv_1", items)
        assert (refused.value.param, refused.value.code) == ("items", "conversation_too_large")
        assert len(await kept.chain("a", "conv_1")) == 2
        # What answers have added all the same is refused as a whole, and can be deleted.
        assert await roomy.change("a", "conv_1", items)
        with pytest.raises(BadRequest, match="begin a new one"):
            await kept.chain("a", "conv_1")
        assert len(await roomy.chain("a", "conv_1")) == 3
        assert await kept.forget("a", "conv_1")


async def test_items_of_turns_that_are_too_much_together_are_refused(address: Address) -> None:
    async with store(address) as (_, database, clock):
        cipher = Cipher(Secret("salt"), purpose="conversations")
        kept = Conversations(database, cipher, clock=clock, keep_days=30, most_bytes=4_000)
        await put(kept, turn("1", said="x" * 2_000), turn("2", said="y" * 2_000))
        assert len((await kept.items("a", ["out_1"])).turns) == 1
        with pytest.raises(BadRequest, match="begin a new one") as refused:
            await kept.items("a", ["out_1", "out_2"])
        assert refused.value.param == "input"
