"""Kept conversations in memory, for tests of the request path."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from wayport.core.errors import Unavailable
from wayport.core.turn import ConversationChange, FoundItems, KeptConversation, KeptTurn


@dataclass
class KnownTurns:
    """What the control process's store does, without a database. `gate`: a put waits for it; `away`: nothing works."""

    turns: dict[tuple[str, str], KeptTurn] = field(default_factory=dict)
    places: dict[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    away: bool = False
    gate: asyncio.Event | None = None
    waiting: int = 0
    """puts that wait for the gate"""
    asked: int = 0
    """chains and items that were looked for"""

    async def put(
        self,
        tenant: str,
        turn: KeptTurn,
        *,
        said: Sequence[str],
        given: Sequence[str],
        conversation: str | None = None,
    ) -> None:
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        self._present()
        self.turns[tenant, turn.response_id] = turn
        for name in given:
            before = self.places.get((tenant, name))
            self.places[tenant, name] = (turn.response_id, before[1] if before else None)
        for name in said:
            self.places[tenant, name] = (turn.response_id, turn.deployment)
        if conversation is not None:
            self._add(tenant, conversation, turn)

    async def change(self, tenant: str, conversation: str, change: ConversationChange) -> bool:
        self._present()
        head = self.turns.get((tenant, conversation))
        if head is None:
            return False
        if change.items is not None:
            self._add(tenant, conversation, KeptTurn(response_id="", input=change.items, response=b"{}"))
            return True
        known = msgspec.json.decode(head.response, type=KeptConversation)
        metadata = known.metadata if change.metadata is None else msgspec.Raw(change.metadata)
        known = replace(known, metadata=metadata, without=(*known.without, *change.without))
        self.turns[tenant, conversation] = replace(head, response=msgspec.json.encode(known))
        return True

    def _add(self, tenant: str, conversation: str, turn: KeptTurn) -> None:
        head = self.turns.get((tenant, conversation))
        if head is not None:
            name = f"{conversation}/{len(self.turns)}"
            self.turns[tenant, name] = replace(turn, response_id=name, previous_id=head.previous_id, deployment=None)
            self.turns[tenant, conversation] = replace(head, previous_id=name)

    async def chain(self, tenant: str, response_id: str) -> tuple[KeptTurn, ...]:
        self._present()
        found: list[KeptTurn] = []
        wanted: str | None = response_id
        while wanted is not None:
            turn = self.turns.get((tenant, wanted))
            if turn is None:
                return ()
            found.append(turn)
            wanted = turn.previous_id
        return tuple(reversed(found))

    async def items(self, tenant: str, item_ids: Sequence[str]) -> FoundItems:
        self._present()
        known = {name: self.places[tenant, name] for name in item_ids if (tenant, name) in self.places}
        turns = {response_id: self.turns[tenant, response_id] for response_id, _ in known.values()}
        return FoundItems(turns=tuple(turns.values()), places={name: place for name, (_, place) in known.items()})

    async def forget(self, tenant: str, response_id: str) -> bool:
        self._present()
        return self.turns.pop((tenant, response_id), None) is not None

    def _present(self) -> None:
        self.asked += 1
        if self.away:
            raise Unavailable("The database is away.")
