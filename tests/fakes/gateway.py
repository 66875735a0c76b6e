"""A whole data worker in this process, on a real socket: what a test of the request path talks to.

    async with gateway(config, environ) as wayport:
        answer = await wayport.ask({"model": "m", "messages": [...]})

The configuration is text as a user would write it. Keys are looked up in `wayport.principals` instead of a database; what
calls leave behind is in `wayport.records`.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx
import msgspec
from tests.fakes.turns import KnownTurns

from wayport.access.gauges import Lender
from wayport.access.principal import Principal
from wayport.config.auth import ensure_master_key, with_master_key
from wayport.config.load import Options, load
from wayport.config.settings import Settings
from wayport.control.snapshots import build
from wayport.core.clock import SystemClock
from wayport.core.errors import Unavailable
from wayport.core.record import CallRecord
from wayport.core.secret import key_hash
from wayport.core.tasks import Tasks
from wayport.core.thought import ThoughtStore
from wayport.server.app import Worker
from wayport.server.listen import Listening, bind
from wayport.upstream.transport import Transport

MASTER_KEY = "sk-test-master-key-0123456789"


class Records(list[CallRecord]):
    """The journal of a test: keeps records as they would be read back."""

    def append(self, record: CallRecord) -> bool:  # type: ignore[override]  # a list that is a journal
        return self.keep(msgspec.msgpack.encode(record), nano_usd=record.cost_nano_usd or 0)

    def keep(self, packed: bytes, nano_usd: int) -> bool:
        del nano_usd
        super().append(msgspec.msgpack.decode(packed, type=CallRecord))
        return True


@dataclass
class KnownKeys:
    """The control process of a test."""

    principals: dict[str, Principal] = field(default_factory=dict)
    away: bool = False
    turns: KnownTurns = field(default_factory=KnownTurns)

    async def principal(self, wanted: str) -> Principal | None:
        if self.away:
            raise Unavailable("The database is away.")
        return self.principals.get(wanted)

    def add(self, key: str, **fields: Any) -> str:
        digest = key_hash(key)
        self.principals[digest] = Principal(kind="key", key_hash=digest, **fields)
        return key


@dataclass
class Gateway:
    port: int
    worker: Worker
    listening: Listening
    records: Records
    keys: KnownKeys
    key: str | None
    http: httpx.AsyncClient
    settings: Settings

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, body: Any, path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", **more.pop("headers", {})}
        return await self.http.post(path, content=content, headers=headers, **more)

    async def until_idle(self) -> None:
        """Until no call is in flight and all are settled."""
        async with asyncio.timeout(10):
            while self.worker.load.calls:
                await asyncio.sleep(0)


@asynccontextmanager
async def gateway(
    config: str | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    key: str | None = MASTER_KEY,
    hold_max_s: float = 10.0,
    thoughts: ThoughtStore | None = None,
    lender: Lender | None = None,
    **options: Any,
) -> AsyncIterator[Gateway]:
    """`config`: the file's text, None: no file. `key`: what the client sends (and the master key, unless configured).
    `lender`: of whom other workers lease, too.
    """
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file = None
        if config is not None:
            file = folder / "config.yaml"
            file.write_text(config)
        env = {"WAYPORT_MASTER_KEY": MASTER_KEY, **(environ or {})}
        settings = load(
            Options(config=str(file) if file else None, data_dir=str(folder / "data"), **options),
            {name: value for name, value in env.items() if value},
        )
        if settings.auth.generate:
            settings = with_master_key(settings, ensure_master_key(folder / "data"))
        tasks = await stack.enter_async_context(Tasks())
        transport = await stack.enter_async_context(Transport(tick_s=0.02))
        records, keys = Records(), KnownKeys()
        worker = Worker(
            settings,
            build(settings),
            control=keys,
            conversations=keys.turns,
            thoughts=thoughts,
            transport=transport,
            tasks=tasks,
            journal=records,
            clock=SystemClock(),
            random=Random(1),
            hold_max_s=hold_max_s,
            lender=lender,
            shares_slots=lender is not None,
        )
        await worker.target_budgets.begin(1.0)
        sock = bind("127.0.0.1", 0)[0]
        port = sock.getsockname()[1]
        listening = await stack.enter_async_context(
            Listening(
                worker.handle, sock, state=worker.state, load=worker.load, limits=worker.limits, refuse=worker.refuse
            )
        )
        headers = {"authorization": f"Bearer {key}"} if key else {}
        http = await stack.enter_async_context(
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20, trust_env=False)
        )
        yield Gateway(port, worker, listening, records, keys, key, http, settings)
