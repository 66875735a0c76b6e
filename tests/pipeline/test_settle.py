"""The record of a call: what calls of a kind share is worked out once, what is a call's own never leaks into another."""

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec import structs
from tests.fakes.gateway import gateway
from tests.fakes.manual_clock import ManualClock

from wayport.access.principal import Principal
from wayport.core.record import CallRecord
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.call import began
from wayport.pipeline.settle import Settlement
from wayport.routing.traces import Traces

CONFIG = "implicit_models: true"
ASK: dict[str, Any] = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}]}


async def test_records_of_one_kind_share_nothing_that_can_change() -> None:
    async with gateway(f"server: {{{CONFIG}}}") as wayport:
        kept: list[CallRecord] = []
        wayport.worker.settlement._journal = _Keeps(kept)
        for number in range(3):
            answer = await wayport.ask({**ASK, "user": f"customer {number}", "tags": [f"tag {number}"]})
            assert answer.status_code == 200
    assert [record.end_user for record in kept] == ["customer 0", "customer 1", "customer 2"]
    assert [record.tags for record in kept] == [["tag 0"], ["tag 1"], ["tag 2"]]
    assert len({record.call_id for record in kept}) == 3
    for one, other in combinations(kept, 2):
        for name, value in structs.asdict(one).items():
            if isinstance(value, list | dict):
                assert value is not getattr(other, name), f"two calls have one `{name}`"


class _Keeps:
    def __init__(self, kept: list[CallRecord]) -> None:
        self._kept = kept

    def append(self, record: CallRecord) -> bool:
        self._kept.append(record)
        return True

    def keep(self, packed: bytes, nano_usd: int) -> bool:
        del nano_usd
        return self.append(msgspec.msgpack.decode(packed, type=CallRecord))


class _Places:
    def __init__(self) -> None:
        self.closed: list[int] = []

    def open(self, _: bytes) -> int:
        return 7

    def close(self, slot: int) -> None:
        self.closed.append(slot)


class _Full:
    def append(self, _: CallRecord) -> bool:
        return False

    def keep(self, packed: bytes, nano_usd: int) -> bool:
        del packed, nano_usd
        return False


@pytest.mark.parametrize("kept", [True, False])
def test_a_call_whose_end_could_not_be_kept_stays_among_those_under_way(*, kept: bool) -> None:
    """It costs what was reserved when the process ends, and not nothing."""
    places = _Places()
    settle = Settlement(journal=_Keeps([]) if kept else _Full(), traces=Traces(), clock=ManualClock(), under_way=places)
    client: Any = SimpleNamespace(body=b"{}", client=("127.0.0.1", 1), header=lambda _: None)
    call = began(client, DIALECTS["openai_chat"], call_id="c", operation="chat", route="/", started_s=0.0, steady_s=0.0)
    call.principal = Principal(kind="master")
    call.open_slot = places.open(b"")
    settle(call)
    assert places.closed == ([7] if kept else [])
