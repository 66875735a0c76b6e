"""What nodes tell each other of deployments through PostgreSQL: put together, bounded, and told again to who comes."""

from pathlib import Path

import msgspec
from tests.fakes.manual_clock import ManualClock
from tests.storage.test_bus import _nodes, _until

from wayport.control.hearsay import MESSAGE_BYTES, Hearsay, Message
from wayport.control.rumours import Rumours
from wayport.core.clock import SystemClock
from wayport.routing.news import News, Rest, Used

REST = Rest(scope="deployment", names=("a",), left_s=30, kind="rate_limit", status=429, message="slow down")


class Node:
    def __init__(self, *, alone: bool = False) -> None:
        self.clock = ManualClock()
        self.said: list[bytes] = []
        self.heard: list[News] = []
        self.rumours = Rumours(clock=self.clock)
        self.hearsay = Hearsay(
            clock=self.clock, say=self._say, hear=self.heard.append, known=self.rumours.known, others=lambda: not alone
        )

    async def _say(self, data: bytes) -> bool:
        self.said.append(data)
        return True

    def told(self) -> list[Message]:
        return [msgspec.msgpack.decode(data, type=Message) for data in self.said]


async def test_what_comes_together_is_told_together_and_once() -> None:
    node = Node()
    node.hearsay.tell(News(rests=(REST,), used=(Used(deployment="a", requests=1, tokens=5),), pins=(("s", "a", 1.0),)))
    node.hearsay.tell(News(used=(Used(deployment="a", requests=2),), pins=(("s", "b", 2.0),)))
    await node.hearsay.tick()
    await node.hearsay.tick()
    used = (Used(deployment="a", requests=3, tokens=5),)
    assert node.told() == [Message(news=News(rests=(REST,), used=used, pins=(("s", "b", 2.0),)))]


async def test_more_than_a_message_holds_is_told_in_several() -> None:
    node = Node()
    rests = tuple(msgspec.structs.replace(REST, names=(f"{n:016d}",), message="x" * 250) for n in range(40))
    used = tuple(Used(deployment=f"{n:016d}", requests=1) for n in range(300))
    pins = tuple((f"session {n}", "a", float(n)) for n in range(2000))
    node.hearsay.tell(News(rests=rests, used=used, pins=pins))
    for _ in range(12):
        await node.hearsay.tick()
    told = [message.news for message in node.told()]
    assert all(len(data) <= MESSAGE_BYTES + 100 for data in node.said)
    assert [rest for news in told for rest in news.rests] == [*rests]
    assert [each for news in told for each in news.used] == [*used]
    # The weightiest come first; there was no room for what leads sessions on beside them.
    assert not told[0].used
    node.hearsay.tell(News(pins=pins))
    node.said.clear()
    await node.hearsay.tick()
    await node.hearsay.tick()
    (message,) = node.told()
    assert message.news.pins[0] == pins[-1]
    assert 100 < len(message.news.pins) <= 200


async def test_what_no_message_holds_keeps_nothing_else_back() -> None:
    node = Node()
    node.hearsay.tell(News(rests=(msgspec.structs.replace(REST, names=("x" * 9000,)), REST)))
    await node.hearsay.tick()
    assert [message.news.rests for message in node.told()] == [(REST,)]


async def test_who_is_alone_says_only_that_it_has_come() -> None:
    node = Node(alone=True)
    node.hearsay.connected()
    node.hearsay.tell(News(rests=(REST,)))
    await node.hearsay.tick()
    await node.hearsay.tick()
    assert node.told() == [Message(new_here=True)]
    # Somebody answers: it is not alone any more, for a while.
    node.hearsay.heard(msgspec.msgpack.encode(Message()))
    node.hearsay.tell(News(rests=(REST,)))
    await node.hearsay.tick()
    assert node.told()[1:] == [Message(news=News(rests=(REST,)))]
    node.clock.advance(31)
    node.hearsay.tell(News(rests=(REST,)))
    await node.hearsay.tick()
    assert len(node.told()) == 2


async def test_who_comes_hears_what_the_others_know() -> None:
    node = Node()
    node.rumours.hear(News(rests=(REST,)))
    node.hearsay.heard(msgspec.msgpack.encode(Message(new_here=True)))
    await node.hearsay.tick()
    assert node.told() == [Message(news=News(rests=(REST,)))]
    node.hearsay.heard(b"\xc1")
    assert not node.heard


async def test_through_postgresql_the_largest_message_arrives(postgresql: str, tmp_path: Path) -> None:
    async with _nodes(postgresql, tmp_path, "a" * 64, "b") as (a, b):
        left = Hearsay(clock=SystemClock(), say=a.bus.whisper, hear=lambda _: None, known=News, others=lambda: True)
        rests = tuple(msgspec.structs.replace(REST, names=(f"{n:016d}",), message="ü" * 100) for n in range(60))
        left.tell(News(rests=rests))
        for _ in range(6):
            await left.tick()

        def heard() -> list[Rest]:
            told = [msgspec.msgpack.decode(news.routing, type=Message) for news in b.news()]
            return [rest for message in told for rest in message.news.rests]

        await _until(lambda: len(heard()) == len(rests))
        assert heard() == [*rests]
        assert max(len(news.routing) for news in b.news()) > MESSAGE_BYTES - 600
