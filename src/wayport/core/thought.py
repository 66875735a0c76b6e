"""What led to tool calls, shared among workers: for turns that come to another worker than the one before them."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class ThoughtStore(Protocol):
    """Keeps thoughts for a while, as well as it can. Names hold the tenant: what one tenant's call led to, no other finds."""

    def put(self, thoughts: Mapping[bytes, bytes]) -> None:
        """Never waits and never fails: what cannot be kept now is not kept."""
        ...

    async def find(self, names: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """Those that are known. Raises `Unavailable` when nobody can say."""
        ...
