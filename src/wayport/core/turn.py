"""Turns of conversations that are kept, so that a later request can go on from an answer by its id."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct, field


class KeptTurn(Struct, kw_only=True, frozen=True):
    """One request and its answer, as the Responses API knows them. Items are JSON as they were written."""

    response_id: str
    previous_id: str | None = None
    deployment: str | None = None
    """who keeps this answer too, under the same id; None: only we do"""
    input: bytes
    """list of the items that the request brought, each with an id"""
    response: bytes
    """the whole response object"""


class FoundItems(Struct, kw_only=True, frozen=True):
    """Where items were found that a request refers to by id."""

    turns: tuple[KeptTurn, ...] = ()
    """each holds at least one of them"""
    places: dict[str, str | None] = field(default_factory=dict)
    """item to the deployment that keeps it too"""


class TurnStore(Protocol):
    """Keeps turns by tenant: what one has stored does not exist for another. All raise `Unavailable`."""

    async def put(self, tenant: str, turn: KeptTurn, *, said: Sequence[str], given: Sequence[str]) -> None:
        """Keeps a turn; when this returns it is safe. `said`: ids of the answer's items; `given`: of the request's."""
        ...

    async def chain(self, tenant: str, response_id: str) -> tuple[KeptTurn, ...]:
        """The turn and those before it, oldest first. Empty when it, or one before it, is not known."""
        ...

    async def items(self, tenant: str, item_ids: Sequence[str]) -> FoundItems: ...

    async def forget(self, tenant: str, response_id: str) -> bool:
        """Whether there was one."""
        ...
