"""Turns of conversations that are kept, so that a later request can go on from an answer by its id."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Raw, Struct, field

TOO_LARGE = "conversation_too_large"
"""the code of the refusal of a conversation that is more than can be read at once"""


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


class KeptConversation(Struct, kw_only=True, frozen=True):
    """A conversation by its own id. It is kept as a turn that says nothing and goes on from the last one that was said;
    this stands in the place of its answer.
    """

    id: str
    created_at: int
    metadata: Raw = Raw(b"{}")
    without: tuple[str, ...] = ()
    """ids of items that were deleted from it"""


class ConversationChange(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What is to be changed of a conversation."""

    items: bytes | None = None
    """to be added at its end: a list, each with an id"""
    metadata: bytes | None = None
    without: tuple[str, ...] = ()


class TurnStore(Protocol):
    """Keeps turns by tenant: what one has stored does not exist for another. All raise `Unavailable`."""

    async def put(
        self,
        tenant: str,
        turn: KeptTurn,
        *,
        said: Sequence[str],
        given: Sequence[str],
        conversation: str | None = None,
    ) -> None:
        """Keeps a turn; when this returns it is safe. `said`: ids of the answer's items; `given`: of the request's.
        `conversation`: whose end it is to be.
        """
        ...

    async def change(self, tenant: str, conversation: str, change: ConversationChange) -> bool:
        """False: there is no such conversation."""
        ...

    async def chain(self, tenant: str, response_id: str) -> tuple[KeptTurn, ...]:
        """The turn and those before it, oldest first. Empty when it, or one before it, is not known."""
        ...

    async def items(self, tenant: str, item_ids: Sequence[str]) -> FoundItems: ...

    async def forget(self, tenant: str, response_id: str) -> bool:
        """Whether there was one."""
        ...
