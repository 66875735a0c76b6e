"""Bodies on their way into the database: masked, then compressed. And out of it, when they are old or too many."""

import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw
from sqlalchemy import delete, func, select

from wayport.core.record import CallRecord
from wayport.core.secret import CREDENTIAL_NAMES, mask
from wayport.storage.database import Database
from wayport.storage.tables import bodies, calls

_LEVEL = 6
_STARS = Raw(b'"***"')
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode


def _written(name: str) -> str:
    r"""A name as JSON may hold it: `api\u005fkey` is one, too."""
    return "".join(rf"(?:{re.escape(char)}|\\u00{ord(char):02x})" for char in name)


_NAMES = "|".join(map(_written, sorted(CREDENTIAL_NAMES)))
# Credentials that a client may bring itself, of whatever shape, and wherever they stand.
_TEXTS = re.compile(rf'("(?:{_NAMES})"\s*:\s*)"(?:[^"\\]|\\.)*(?:"|\\?$)', re.IGNORECASE)
# Of a body that is cut off, nobody knows where such an object ends.
_OBJECTS = re.compile(rf'("(?:{_NAMES})"\s*:\s*)[{{\[].*', re.IGNORECASE | re.DOTALL)


def _without_credentials(body: bytes) -> str:
    try:
        fields = _fields(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _OBJECTS.sub(r'\1"***"', body.decode("utf-8", "replace"))
    brought = CREDENTIAL_NAMES & fields.keys()
    if brought:
        body = _encode(fields | dict.fromkeys(brought, _STARS))
    return body.decode("utf-8", "replace")


class Redaction:
    """What must not be kept: credentials always, and what the operator's expressions find."""

    def __init__(self, expressions: Iterable[str]) -> None:
        """Raises `re.error`."""
        self._expressions = [re.compile(each) for each in expressions]

    def pack(self, body: bytes) -> bytes | None:
        if not body:
            return None
        text = _TEXTS.sub(r'\1"***"', mask(_without_credentials(body)))
        for expression in self._expressions:
            text = expression.sub("***", text)
        return zlib.compress(text.encode(), _LEVEL)

    def rows(self, records: Sequence[CallRecord]) -> list[dict[str, Any]]:
        """Rows of `wayport_bodies`. Costs milliseconds for large bodies: call it in a thread."""
        found = []
        for record in records:
            if record.bodies is not None:
                request, response = self.pack(record.bodies.request), self.pack(record.bodies.response)
                found.append(
                    {
                        "call_id": record.call_id,
                        "created_s": record.started_s,
                        "request": request,
                        "response": response,
                        "stored_bytes": len(request or b"") + len(response or b""),
                    }
                )
        return found


class Cleaner:
    """Deletes what is too old or too much, in batches: each is a short transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def calls_before(self, moment_s: float, *, batch: int) -> int:
        """At most `batch` calls that began before; returns how many. Their sums stay."""
        old = select(calls.c.call_id).where(calls.c.started_s < moment_s).order_by(calls.c.started_s).limit(batch)
        async with self._database.write() as connection:
            gone = list(await connection.scalars(old))
            if gone:
                await connection.execute(delete(bodies).where(bodies.c.call_id.in_(gone)))
                await connection.execute(delete(calls).where(calls.c.call_id.in_(gone)))
        return len(gone)

    async def bodies_before(self, moment_s: float, *, batch: int) -> int:
        old = select(bodies.c.call_id).where(bodies.c.created_s < moment_s).order_by(bodies.c.created_s).limit(batch)
        async with self._database.write() as connection:
            gone = list(await connection.scalars(old))
            if gone:
                await connection.execute(delete(bodies).where(bodies.c.call_id.in_(gone)))
        return len(gone)

    async def bodies_beyond(self, max_bytes: int, *, batch: int) -> int:
        """At most `batch` of the oldest bodies, if all together are more than `max_bytes`; returns how many."""
        oldest = select(bodies.c.call_id, bodies.c.stored_bytes).order_by(bodies.c.created_s).limit(batch)
        async with self._database.write() as connection:
            kept = (await connection.execute(select(func.coalesce(func.sum(bodies.c.stored_bytes), 0)))).scalar_one()
            gone: list[str] = []
            excess = int(kept) - max_bytes
            for row in await connection.execute(oldest) if excess > 0 else ():
                if excess <= 0:
                    break
                gone.append(row.call_id)
                excess -= row.stored_bytes
            if gone:
                await connection.execute(delete(bodies).where(bodies.c.call_id.in_(gone)))
        return len(gone)
