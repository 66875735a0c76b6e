"""Keeps what was asked and answered, where the operator wants that: a second line of the journal, behind the call's own.

It is written when the call is over, so it costs the call nothing but the references; off, it costs one comparison.
"""

from typing import Literal

import msgspec

from wayport.core.clock import Clock
from wayport.core.record import CallBodies, CallRecord
from wayport.pipeline.call import Call
from wayport.pipeline.settle import Journal

Whose = Literal["all", "keys"]
"""of every key that does not say otherwise, or of those only that say so"""


class Kept:
    """The beginning of an answer, as it passes."""

    __slots__ = ("parts", "room")

    def __init__(self, room: int) -> None:
        self.parts: list[bytes] = []
        self.room = room

    def add(self, data: bytes) -> None:
        if self.room > 0:
            self.parts.append(data[: self.room])
            self.room -= len(data)


class _Choice(msgspec.Struct):
    store_bodies: bool | None = None


_choice = msgspec.json.Decoder(_Choice).decode


class Bodies:
    def __init__(self, *, journal: Journal, clock: Clock, whose: Whose, max_bytes: int) -> None:
        self._journal = journal
        self._clock = clock
        self._whose: Whose = whose
        self._max_bytes = max_bytes
        self._asked: dict[str, bytes] = {}

    def begin(self, call: Call) -> None:
        self._asked[call.id] = call.client.body[: self._max_bytes]
        call.client.kept = Kept(self._max_bytes)

    def end(self, call: Call) -> None:
        """Once all has been written to the client."""
        asked = self._asked.pop(call.id, None)
        kept, call.client.kept = call.client.kept, None
        if asked is None or kept is None or not call.ended or call.principal is None or not self._wanted(call):
            return
        self._journal.append(
            CallRecord(
                call_id=call.id,
                started_s=call.started_s,
                ended_s=self._clock.now_s(),
                bodies=CallBodies(request=asked, response=b"".join(kept.parts)),
            )
        )

    def _wanted(self, call: Call) -> bool:
        """A key's metadata decides (`store_bodies`); else the setting."""
        metadata = call.principal.metadata if call.principal is not None else None
        stated: bool | None = None
        if metadata is not None and b"store_bodies" in metadata:
            try:
                stated = _choice(metadata).store_bodies
            except msgspec.DecodeError:
                stated = None
        return self._whose == "all" if stated is None else stated
