"""The record of a call: what calls of a kind share is worked out once, what is a call's own never leaks into another."""

from itertools import combinations
from typing import Any

from msgspec import structs
from tests.fakes.gateway import gateway

from wayport.core.record import CallRecord

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

    def append(self, record: CallRecord) -> None:
        self._kept.append(record)
