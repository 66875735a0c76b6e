"""Thoughts that workers share, in memory, for tests of the request path."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from wayport.core.errors import Unavailable


@dataclass
class KnownThoughts:
    """`away`: nothing can be found."""

    thoughts: dict[bytes, bytes] = field(default_factory=dict)
    asked: list[Sequence[bytes]] = field(default_factory=list)
    away: bool = False

    def put(self, thoughts: Mapping[bytes, bytes]) -> None:
        self.thoughts |= thoughts

    async def find(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        self.asked.append(names)
        if self.away:
            raise Unavailable("The control process is away.")
        return {name: self.thoughts[name] for name in names if name in self.thoughts}
