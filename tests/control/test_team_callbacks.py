"""A team's calls go to that team's receivers and to nobody else's; one that is dead costs nobody else anything."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock
from tests.fakes.receiver import Receiver, receiver
from tests.fakes.records import call_record

from wayport.access.callbacks_store import TeamCallback, TeamCallbacks, TeamCallbackStore, Told
from wayport.config.settings import CallbackSettings, Settings
from wayport.control import team_callbacks
from wayport.control.observing import Observing
from wayport.control.team_callbacks import TeamDeliveries
from wayport.core.clock import SystemClock
from wayport.core.record import CallRecord
from wayport.core.secret import Secret
from wayport.core.tasks import Tasks
from wayport.ledger.drain import Drain
from wayport.ledger.follower import Follower, clear_away, segments
from wayport.ledger.journal import Spool
from wayport.storage.address import Address, read_address
from wayport.storage.cipher import Cipher
from wayport.storage.database import Database

GOLDEN = Path(__file__).parent.parent / "golden" / "callbacks"


class Node:
    """What of a node has to do with it: a spool, the reader of all calls, and the deliveries."""

    def __init__(self, tmp_path: Path, database: Database, tasks: Tasks) -> None:
        self.clock = ManualClock()
        self.clock.advance(1_800_000_000 - self.clock.now_s())
        self.store = TeamCallbackStore(database, Cipher(Secret("salt"), purpose="test"), clock=self.clock)
        self.root = tmp_path / "spool"
        self.spool = Spool(self.root / "n1-0", clock=self.clock, sync="os", segment_bytes=3_000)
        self.live = Follower(self.root, tmp_path / "followers" / "live.json", clock=self.clock)
        self.deliveries = TeamDeliveries(
            self.store,
            root=self.root,
            states=tmp_path / "followers",
            live=self.live,
            variable=lambda _: "",
            clock=self.clock,
            tasks=tasks,
        )

    async def tell(self, team_id: str, *callbacks: TeamCallback, silent: bool = False) -> None:
        await self.store.alter(team_id, lambda _: TeamCallbacks(callbacks=callbacks, silent=silent), by="test")
        await self.deliveries.load()

    def call(self, team_id: str | None, *, call_id: str | None = None, look: bool = True) -> CallRecord:
        record = call_record(call_id=call_id)
        record.team_id = team_id
        self.spool.append(record)
        if look:
            self.look()
        return record

    def look(self) -> None:
        for record in self.live.read(1_000):
            self.deliveries.look_at(record)
        self.live.acknowledge()

    async def delivered(self, team_id: str, count: int) -> None:
        """Until so many have been taken."""
        async with asyncio.timeout(20):
            while self.state(team_id).delivered < count:
                await asyncio.sleep(0.01)

    def state(self, team_id: str) -> Any:
        (state,) = self.deliveries.states(team_id)
        return state


@asynccontextmanager
async def node(address: Address, tmp_path: Path) -> AsyncIterator[Node]:
    async with opened(address) as database, Tasks() as tasks:
        found = Node(tmp_path, database, tasks)
        try:
            yield found
        finally:
            await found.deliveries.stop()
            found.spool.close()


def langfuse(hook: Receiver, told: Told = "success_and_failure", key: str = "pk") -> TeamCallback:
    return TeamCallback(
        callback_name="langfuse",
        callback_type=told,
        callback_vars={"langfuse_public_key": key, "langfuse_secret_key": "sk", "langfuse_host": hook.url},
    )


def webhook(hook: Receiver) -> TeamCallback:
    return TeamCallback(callback_name="webhook", callback_vars={"url": hook.url})


def calls_of(hook: Receiver) -> list[str]:
    """The calls that a webhook was told of."""
    return [payload["litellm_call_id"] for request in hook.requests for payload in request.json]


async def test_each_team_has_its_own_receiver(address: Address, tmp_path: Path) -> None:
    async with receiver() as blue, receiver() as red, node(address, tmp_path) as here:
        await here.tell("team-1", langfuse(blue))
        await here.tell("red", webhook(red))
        record = call_record(call_id="01a1f7a8-a76c-7000-a94f-44ea8f0cb0e3", cost_nano_usd=1_234_567)
        record.metadata = b'{"generation_name":"answer","token":"sk-live-0123456789abcdef"}'
        record.session_id = "session-1"
        record.trace_id, record.parent_span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        here.spool.append(record)
        here.call(None)
        other = call_record()
        other.team_id, other.tags = "green", ["team-1"]
        here.spool.append(other)
        theirs = here.call("red")
        await here.delivered("team-1", 1)
        await here.delivered("red", 1)
        (request,) = blue.requests
        assert request.headers["authorization"] == "Basic cGs6c2s="
        assert request.json["batch"] == json.loads((GOLDEN / "langfuse.json").read_text())
        assert calls_of(red) == [theirs.call_id]


async def test_only_the_outcomes_that_were_asked_for(tmp_path: Path) -> None:
    async with receiver() as hook, node(read_address(None, tmp_path), tmp_path) as here:
        await here.tell("blue", langfuse(hook, "failure"))
        here.call("blue", look=False)
        failed = call_record()
        failed.team_id, failed.status, failed.http_status = "blue", "failure", 500
        here.spool.append(failed)
        here.look()
        await hook.until(1)
        assert [event["body"]["id"] for event in hook.requests[0].json["batch"]][1:] == [failed.call_id]


async def test_a_dead_receiver_costs_the_others_nothing(tmp_path: Path) -> None:
    async with receiver() as well, node(read_address(None, tmp_path), tmp_path) as here:
        async with receiver() as gone:
            pass
        await here.tell("blue", webhook(gone))
        await here.tell("red", webhook(well))
        for _ in range(5):
            here.call("blue")
            here.call("red")
        await here.delivered("red", 5)
        while here.state("blue").status != "failing":
            await asyncio.sleep(0.01)
        assert here.state("blue").error.startswith("ConnectError")
        assert here.state("red").status == "healthy"
        # What it has not been told of stays, and no more than that.
        assert here.state("blue").backlog_bytes > 0


async def test_what_was_not_delivered_is_after_a_restart(address: Address, tmp_path: Path) -> None:
    async with receiver() as hook:
        hook.answers = [(503, b"")] * 10
        async with node(address, tmp_path) as here:
            await here.tell("blue", webhook(hook))
            wanted = [here.call("blue").call_id for _ in range(3)]
            await hook.until(1)
        hook.requests, hook.answers = [], []
        async with node(address, tmp_path) as here:
            # Nobody is told of anything as long as it is not known who is to be.
            here.look()
            assert not here.deliveries.loaded.is_set()
            await here.deliveries.run()
            await here.delivered("blue", 3)
            assert calls_of(hook) == wanted


async def test_other_settings_hold_at_once_and_the_rest_goes_there(tmp_path: Path) -> None:
    async with receiver() as hook, receiver() as other, node(read_address(None, tmp_path), tmp_path) as here:
        hook.answers = [(503, b"")] * 10
        await here.tell("blue", webhook(hook))
        first = here.call("blue").call_id
        await hook.until(1)
        await here.tell("blue", webhook(other))
        await other.until(1)
        assert calls_of(other) == [first]
        await here.tell("blue")
        assert here.deliveries.states("blue") == []
        here.call("blue")
        await here.tell("blue", webhook(other))
        # Of what happened while it was not there it is told nothing.
        last = here.call("blue").call_id
        await other.until(2)
        assert calls_of(other) == [first, last]
        assert len(hook.requests) == 1
        assert len(list((tmp_path / "followers").glob("team-*.json"))) == 1


async def test_silent_teams_are_known(address: Address, tmp_path: Path) -> None:
    async with node(address, tmp_path) as here:
        await here.tell("blue", silent=True)
        assert here.deliveries.is_silent(here.call("blue"))
        assert not here.deliveries.is_silent(here.call("red"))
        assert not here.deliveries.is_silent(here.call(None))
        await here.tell("blue")
        assert not here.deliveries.is_silent(here.call("blue"))


async def test_the_configurations_callbacks_wait_until_silent_teams_are_known(tmp_path: Path) -> None:
    address = read_address(None, tmp_path)
    async with node(address, tmp_path) as here:
        await here.tell("blue", silent=True)
        here.call("blue", look=False)
        wanted = here.call("red", look=False).call_id
        clock = here.clock
    told = tmp_path / "told.jsonl"
    wish = CallbackSettings(name="file", params={"path": Raw(msgspec.json.encode(str(told)))})
    async with Tasks() as tasks:
        database = Database(address, clock=SystemClock())
        observing = Observing(
            Settings(callbacks=(wish,)),
            data_dir=tmp_path,
            database=database,
            team_callbacks=TeamCallbackStore(database, Cipher(Secret("salt"), purpose="test"), clock=clock),
            drain=Drain(tmp_path / "spool", database, clock=clock),
            clock=clock,
            tasks=tasks,
        )
        running = tasks.start(observing.run(), name="observing")
        # Turns for whoever does not wait: nobody can have asked the database.
        for _ in range(10):
            await asyncio.sleep(0)
        tasks.start(database.run(), name="database")
        while not told.exists():
            await asyncio.sleep(0.01)
        assert [json.loads(line)["litellm_call_id"] for line in told.read_text().splitlines()] == [wanted]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await database.close()


async def test_who_has_nothing_to_deliver_keeps_no_segment(tmp_path: Path) -> None:
    async with receiver() as hook, node(read_address(None, tmp_path), tmp_path) as here:
        await here.tell("blue", webhook(hook))
        for _ in range(30):
            here.call("red")
        for segment in segments(here.root)[:-1]:
            segment.rename(segment.with_suffix(".done"))
        clear_away(here.root, [here.live, *here.deliveries.followers()])
        assert len(segments(here.root)) == 1
        assert here.state("blue").backlog_bytes == 0
        mine = here.call("blue").call_id
        await hook.until(1)
        assert calls_of(hook) == [mine]


async def test_there_are_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team_callbacks, "MOST", 1)
    async with receiver() as hook, node(read_address(None, tmp_path), tmp_path) as here:
        await here.tell("blue", webhook(hook))
        assert here.deliveries.full
        here.clock.advance(1)
        await here.tell("red", webhook(hook))
        assert (here.state("blue").status, here.state("red").status) == ("healthy", "off")


async def test_what_cannot_be_read_is_off_and_the_others_run(tmp_path: Path) -> None:
    async with receiver() as hook, node(read_address(None, tmp_path), tmp_path) as here:
        await here.tell("blue", webhook(hook))
        other = TeamCallbackStore(here.store.database, Cipher(Secret("?"), purpose="test"), clock=here.clock)
        await other.alter("red", lambda _: TeamCallbacks(callbacks=(webhook(hook),)), by="test")
        await here.deliveries.load()
        assert here.state("red").status == "off"
        mine = here.call("blue").call_id
        await hook.until(1)
        assert calls_of(hook) == [mine]
