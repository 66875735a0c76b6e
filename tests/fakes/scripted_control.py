"""A control process that knows the keys it is told of, can be away, and can be held in the middle of an answer."""

import asyncio

from wayport.access.principal import Principal
from wayport.core.errors import Unavailable


class ScriptedControl:
    def __init__(self, *principals: Principal) -> None:
        self.known = {principal.key_hash: principal for principal in principals}
        self.asked: list[str] = []
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def principal(self, key_hash: str) -> Principal | None:
        self.asked.append(key_hash)
        # What is answered is what was true when the question came, as with a database read before a change.
        answer = self.known.get(key_hash)
        await self.open.wait()
        if self.away:
            raise Unavailable("the control process is away")
        return answer
