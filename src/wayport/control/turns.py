"""Kept turns across the socket: the worker's questions, and the control process's answers from its store."""

from collections.abc import Awaitable, Callable, Sequence
from typing import assert_never

from wayport.control.protocol import (
    ChainAsked,
    ConversationChanged,
    ItemsAsked,
    Message,
    TurnForgotten,
    TurnPut,
    TurnQuestion,
    TurnsAnswered,
)
from wayport.core.errors import BadRequest, Unavailable
from wayport.core.turn import TOO_LARGE, ConversationChange, FoundItems, KeptTurn, TurnStore

Ask = Callable[[Callable[[int], Message]], Awaitable[Message]]


class RemoteTurns:
    """A worker's `TurnStore`: the control process's."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def put(
        self,
        tenant: str,
        turn: KeptTurn,
        *,
        said: Sequence[str],
        given: Sequence[str],
        conversation: str | None = None,
    ) -> None:
        await self._answer(
            lambda number: TurnPut(
                id=number,
                tenant=tenant,
                turn=turn,
                said=tuple(said),
                given=tuple(given),
                conversation=conversation,
            )
        )

    async def change(self, tenant: str, conversation: str, change: ConversationChange) -> bool:
        answer = await self._answer(
            lambda number: ConversationChanged(id=number, tenant=tenant, conversation=conversation, change=change)
        )
        return answer.done

    async def chain(self, tenant: str, response_id: str) -> tuple[KeptTurn, ...]:
        answer = await self._answer(lambda number: ChainAsked(id=number, tenant=tenant, response_id=response_id))
        return answer.found.turns

    async def items(self, tenant: str, item_ids: Sequence[str]) -> FoundItems:
        answer = await self._answer(lambda number: ItemsAsked(id=number, tenant=tenant, item_ids=tuple(item_ids)))
        return answer.found

    async def forget(self, tenant: str, response_id: str) -> bool:
        answer = await self._answer(lambda number: TurnForgotten(id=number, tenant=tenant, response_id=response_id))
        return answer.done

    async def _answer(self, question: Callable[[int], TurnQuestion]) -> TurnsAnswered:
        answer = await self._ask(question)
        assert isinstance(answer, TurnsAnswered)
        if answer.unavailable is not None:
            raise Unavailable(answer.unavailable, retry_after_s=1)
        if answer.too_large is not None:
            raise BadRequest(answer.too_large, param=answer.param, code=TOO_LARGE)
        return answer


async def answer_of(store: TurnStore, asked: TurnQuestion) -> TurnsAnswered:
    try:
        match asked:
            case TurnPut():
                await store.put(
                    asked.tenant, asked.turn, said=asked.said, given=asked.given, conversation=asked.conversation
                )
                return TurnsAnswered(id=asked.id, done=True)
            case ChainAsked():
                turns = await store.chain(asked.tenant, asked.response_id)
                return TurnsAnswered(id=asked.id, done=True, found=FoundItems(turns=turns))
            case ItemsAsked():
                found = await store.items(asked.tenant, asked.item_ids)
                return TurnsAnswered(id=asked.id, done=True, found=found)
            case TurnForgotten():
                return TurnsAnswered(id=asked.id, done=await store.forget(asked.tenant, asked.response_id))
            case ConversationChanged():
                done = await store.change(asked.tenant, asked.conversation, asked.change)
                return TurnsAnswered(id=asked.id, done=done)
            case _:
                assert_never(asked)
    except Unavailable as error:
        return TurnsAnswered(id=asked.id, unavailable=error.message)
    except BadRequest as error:
        return TurnsAnswered(id=asked.id, too_large=error.message, param=error.param)
