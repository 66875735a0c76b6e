import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.access.principal import Budget, Holder, Limits, Principal
from wayport.control.protocol import (
    AsksTold,
    ChainAsked,
    Claimed,
    ConversationChanged,
    DatabaseTold,
    Frames,
    Granted,
    Hello,
    HolderAnswered,
    HolderAsked,
    Invalidated,
    ItemsAsked,
    Message,
    MessageTooLarge,
    PrincipalAnswered,
    PrincipalAsked,
    ProbeAnswered,
    ProbeAsked,
    ProbedTold,
    Recalled,
    RoutingTold,
    SnapshotPushed,
    ThoughtsAsked,
    ThoughtsFound,
    ThoughtsTold,
    TurnForgotten,
    TurnPut,
    TurnsAnswered,
    VitalsTold,
    frame,
)
from wayport.core.lease import Claim, Grant
from wayport.core.probe import Probed
from wayport.core.turn import ConversationChange, FoundItems, KeptTurn
from wayport.observe.vitals import Vitals
from wayport.routing.news import News, Rest, Used

PRINCIPAL = Principal(
    kind="key",
    key_hash="a" * 64,
    user_id="alice",
    models=("gpt-4o", "openai/*"),
    metadata=b'{"a":1}',
    expires_s=1.5,
    limits=Limits(max_budget_nano_usd=5, rpm=10),
)

TURN = KeptTurn(response_id="resp_2", previous_id="resp_1", deployment="d", input=b"[]", response=b"{}")

EVERY: list[Message] = [
    TurnPut(id=12, tenant="team:a", turn=TURN, said=("msg_1",), given=("msg_0", "x")),
    ChainAsked(id=13, tenant="master", response_id="resp_2"),
    ItemsAsked(id=14, tenant="master", item_ids=("msg_1",)),
    TurnForgotten(id=15, tenant="master", response_id="resp_2"),
    TurnsAnswered(id=15, done=True, found=FoundItems(turns=(TURN,), places={"msg_1": None, "msg_2": "d"})),
    TurnsAnswered(id=16, unavailable="the database is away"),
    Hello(worker=3, pid=77, version="0.1.0"),
    SnapshotPushed(json=b'{"version":1}'),
    PrincipalAsked(id=9, key_hash="a" * 64),
    PrincipalAnswered(id=9, principal=PRINCIPAL),
    PrincipalAnswered(id=10),
    PrincipalAnswered(id=11, unavailable="the database is away"),
    Invalidated(hashes=("a", "b")),
    Invalidated(everything=True),
    DatabaseTold(status="connected"),
    AsksTold(asks=("end_user", "tag")),
    HolderAsked(id=20, scope="end_user", holder_id="ann"),
    HolderAnswered(id=20, holder=Holder(scope="end_user", id="ann", budgets=(Budget(max_nano_usd=5, duration="1d"),))),
    HolderAnswered(id=21, unavailable="the database is away"),
    Claimed(id=22, claim=Claim(counter="key:a|requests/60", kind="requests", limit=10, per_s=60, need=1)),
    Granted(id=22, grant=Grant(counter="key:a|requests/60", window=3, ends_in_s=59.5, granted=1, number=1)),
    ConversationChanged(id=1, tenant="a", conversation="conv_1", change=ConversationChange(items=b"[]")),
    VitalsTold(vitals=Vitals(worker=1, pid=7, lost=3, breakers={"d": "open"}, cooled={"d": {"503": 2}})),
    ThoughtsTold(thoughts={b"name": b"thought"}),
    ThoughtsAsked(id=1, names=(b"name",)),
    ThoughtsFound(id=1, thoughts={b"name": b"thought"}),
    Recalled(counter="key:a|requests/60"),
    ProbeAsked(id=1, deployment="d", timeout_s=2.5),
    ProbeAnswered(id=1, probed=Probed(error="no", kind="server", status=500, took_ms=2)),
    ProbedTold(found={"d": Probed(age_s=3), "e": None}),
    RoutingTold(
        news=News(
            rests=(
                Rest(
                    scope="deployment", names=("d",), left_s=2.5, rest_s=5, probe=True, kind="timeout", message="late"
                ),
                Rest(scope="credential", names=("p", "hash")),
            ),
            used=(Used(deployment="d", requests=2, tokens=40),),
            pins=(("session m s", "d", 1_800_000_000.25),),
        )
    ),
]


@given(sizes=st.lists(st.integers(1, 300), min_size=1))
def test_however_the_bytes_arrive_the_messages_are_the_same(sizes: list[int]) -> None:
    data = b"".join(map(frame, EVERY))
    frames, found, start, turn = Frames(), [], 0, 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        found += list(frames.feed(data[start : start + size]))
        start += size
        turn += 1
    assert found == EVERY


def test_every_message_is_in_the_list_above() -> None:
    assert {type(message) for message in EVERY} == set(Message.__args__)


def test_what_a_newer_version_says_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    unknown = msgspec.msgpack.encode({"type": "lease_asked", "id": 1})
    known_with_more = msgspec.msgpack.encode({"type": "principal_asked", "id": 2, "key_hash": "x", "region": "eu"})
    data = b"".join(struct.pack("<I", len(payload)) + payload for payload in (unknown, known_with_more))
    assert list(Frames().feed(data)) == [PrincipalAsked(id=2, key_hash="x")]
    assert "not understood" in caplog.text


def test_another_protocol_is_recognised() -> None:
    with pytest.raises(MessageTooLarge):
        list(Frames().feed(b"GET / HTTP/1.1\r\n\r\n"))


def test_what_the_other_side_would_not_take_is_not_sent() -> None:
    asked = PrincipalAsked(id=1, key_hash="x" * 100)
    framed = frame(asked, 200)
    assert list(Frames(200).feed(framed)) == [asked]
    with pytest.raises(MessageTooLarge, match="bytes"):
        frame(asked, 100)
