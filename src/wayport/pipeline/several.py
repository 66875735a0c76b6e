"""One chat request to several models at once, as LiteLLM's clients ask for it: their names with commas between them. Each
is a call of its own, with its own limits, fallbacks and record; the answer is the list of theirs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
from msgspec import Raw

from wayport.core.clock import Clock
from wayport.core.errors import BadRequest
from wayport.core.ids import NewId
from wayport.pipeline.answer_head import JSON, head_lines
from wayport.pipeline.call import Call, began
from wayport.pipeline.overheard import Overheard

_MOST = 16
_encode = msgspec.json.Encoder().encode


def models_of(call: Call) -> Sequence[str]:
    """The models that a call is for, where its model's name is those of several; else none."""
    compat = call.snapshot is not None and call.snapshot.compat == "litellm"
    if not compat or call.operation != "chat" or call.dialect.name != "openai_chat" or "," not in call.model_asked:
        return ()
    return [name.strip() for name in call.model_asked.split(",") if name.strip()]


class Several:
    def __init__(self, run: Callable[[Call], Awaitable[None]], *, clock: Clock, new_id: NewId) -> None:
        self._run = run
        self._clock = clock
        self._new_id = new_id

    async def ask(self, call: Call, models: Sequence[str]) -> None:
        """Answers the call with the answers of all, or with the first of them that failed."""
        if call.stream:
            raise BadRequest("Several models cannot answer in one stream.", param="stream")
        if len(models) > _MOST:
            raise BadRequest(f"At most {_MOST} models at once.", param="model")
        parts = [self._part(call, model) for model in models]
        # What they use stands in their own records.
        call.ended = True
        await asyncio.gather(*(self._run(each) for _, each in parts))
        failed = next((client for client, _ in parts if client.status != 200), None)
        if failed is not None:
            call.client.respond(failed.status, failed.head, failed.answer)
            return
        answers = _encode([Raw(client.answer) for client, _ in parts])
        call.client.respond(200, head_lines(call, JSON), answers)

    def _part(self, call: Call, model: str) -> tuple[Overheard, Call]:
        outer = call.client
        client = Overheard(
            _encode({**call.fields, "model": model}),
            path=outer.path,
            headers=outer.headers,
            client=outer.client,
            is_gone=lambda: outer.gone,
        )
        part = began(
            client,
            call.dialect,
            call_id=self._new_id(),
            operation=call.operation,
            route=call.route,
            started_s=self._clock.now_s(),
            steady_s=self._clock.steady_s(),
        )
        part.principal = call.principal
        return client, part
