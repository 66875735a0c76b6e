"""Very many keys with limits, and a storm of calls over them that no client library would keep up with."""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import sqlalchemy as sa
from tests.fakes.databases import opened

from wayport.core.secret import key_hash
from wayport.storage.address import read_address
from wayport.storage.tables import keys, teams

_TEAM_OF = 100
"""keys of a team; every other team has a limit, too, below what its keys together may"""
_BODY = b'{"model":"wayport/echo","messages":[{"role":"user","content":"hello"}]}'
_CONNECTIONS = 48


@dataclass(frozen=True)
class Key:
    text: str
    team: str
    most: int
    """calls a day"""

    @property
    def calls(self) -> int:
        """How many it makes: more than it may."""
        return self.most + 1


@dataclass
class Told:
    """What came back."""

    served: Counter[Key] = field(default_factory=Counter)
    refused: Counter[Key] = field(default_factory=Counter)
    away: int = 0
    """503: nobody could say whose key it is or what is left; asked again, as clients do"""
    other: Counter[int] = field(default_factory=Counter)
    """by status"""
    took_s: float = 0.0

    @property
    def teams(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for key, count in self.served.items():
            found[key.team] += count
        return found


def many(count: int) -> list[Key]:
    return [Key(f"sk-one-of-many-{n:08d}", f"team-{n // _TEAM_OF}", 1 + n % 3) for n in range(count)]


def team_limits(found: list[Key]) -> dict[str, int]:
    """Three quarters of what its keys may, for every other team."""
    sums: Counter[str] = Counter()
    for key in found:
        sums[key.team] += key.most
    return {team: most * 3 // 4 for number, (team, most) in enumerate(sums.items()) if number % 2}


async def store(found: list[Key], url: str | None, directory: Path) -> None:
    """Into the database that a gateway will start on."""
    row = {"metadata": {}, "settings": {}, "blocked": False, "created_s": 0.0, "updated_s": 0.0, "models": []}
    lists: dict[str, list[str]] = {"routes": [], "tags": []}
    limits = team_limits(found)
    async with opened(read_address(url, directory)) as database, database.write() as connection:
        their_teams = [
            {**row, "id": team, "limits": {"rpd_limit": limits[team]} if team in limits else {}}
            for team in dict.fromkeys(key.team for key in found)
        ]
        await connection.execute(sa.insert(teams), their_teams)
        rows = [
            {**row, **lists, "key_hash": key_hash(key.text), "key_name": f"sk-...{key.text[-4:]}", "team_id": key.team,
             "limits": {"rpd_limit": key.most}}
            for key in found
        ]  # fmt: skip
        await connection.execute(sa.insert(keys), rows)


async def storm(urls: list[str], found: list[Key], *, seed: int = 11) -> Told:
    """Every call of every key, in no order, over all nodes."""
    told = Told()
    calls = [key for key in found for _ in range(key.calls)]
    Random(seed).shuffle(calls)
    waiting = deque(calls)
    loop = asyncio.get_running_loop()
    began_s = loop.time()

    async def caller(url: str) -> None:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            while waiting:
                key = waiting.pop()
                writer.write(
                    b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                    b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (key.text.encode(), len(_BODY), _BODY)
                )
                status = await _status(reader)
                if status == 200:
                    told.served[key] += 1
                elif status == 429:
                    told.refused[key] += 1
                elif status == 503:
                    told.away += 1
                    waiting.appendleft(key)
                else:
                    told.other[status] += 1
        finally:
            writer.close()
            await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for number in range(_CONNECTIONS):
            group.create_task(caller(urls[number % len(urls)]))
    told.took_s = loop.time() - began_s
    return told


async def _status(reader: asyncio.StreamReader) -> int:
    """Of an answer with a length, read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12])
