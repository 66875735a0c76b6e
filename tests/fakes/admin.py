"""The admin app with everything behind it, for tests: a real database, no socket."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock

from wayport.access.authenticate import Authenticator
from wayport.access.cache import PrincipalCache
from wayport.access.callbacks_store import TeamCallbackStore
from wayport.access.keys import Keys
from wayport.access.models_store import PURPOSE, StoredCredentials, StoredModels
from wayport.access.principals import Principals
from wayport.access.refusals import Compat
from wayport.access.rotation import Rotations
from wayport.config.load import Options, load
from wayport.config.settings import ManagementSettings, ModelSettings
from wayport.control.admin.app import build_app
from wayport.control.admin.model_parts import ModelParts
from wayport.control.admin.parts import Callers, Parts
from wayport.control.admin.stores import Stores
from wayport.control.protocol import Hello
from wayport.control.snapshots import build
from wayport.control.stored_fallbacks import StoredFallbacks
from wayport.control.stored_models import ModelSource
from wayport.core.price import Price
from wayport.core.secret import Secret
from wayport.core.tasks import Tasks
from wayport.ledger.drain import Drain
from wayport.storage.address import Address
from wayport.storage.cipher import Cipher
from wayport.storage.database import Database

MASTER = "sk-master-of-the-tests"


@dataclass
class Admin:
    client: httpx.AsyncClient
    """speaks as the master"""
    database: Database
    keys: Keys
    principals: Principals
    clock: ManualClock
    rotations: Rotations
    invalidated: list[str] = field(default_factory=list)
    reloads: list[str | None] = field(default_factory=list)
    """what the next reloads answer"""
    reloads_of_callbacks: list[bool] = field(default_factory=list)
    """one for each time that callbacks of teams have changed"""

    async def as_key(self, key: str, method: str, path: str, **arguments: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return await self.client.request(method, path, headers=headers, **arguments)  # type: ignore[arg-type]  # httpx's own


@asynccontextmanager
async def admin_app(
    address: Address,
    tmp_path: Path,
    *,
    compat: Compat = "wayport",
    keyless: bool = False,
    models: Sequence[ModelSettings] = (),
    prices: Mapping[str, Price] | None = None,
    management: ManagementSettings | None = None,
) -> AsyncIterator[Admin]:
    clock = ManualClock()
    async with opened(address, clock) as database, Tasks() as tasks:
        keys = Keys(database, clock=clock, calendar=compat == "litellm")
        principals = Principals(
            database,
            keys,
            clock=clock,
            calendar=compat == "litellm",
            user_role="internal_user" if compat == "litellm" else None,
        )
        # As the control process has it: whoever manages is looked up each time.
        cache = PrincipalCache(principals, clock=clock, tasks=tasks, ttl_s=0, negative_s=0, stale_max_s=0)
        invalidated: list[str] = []
        reloads: list[str | None] = []
        reloads_of_callbacks: list[bool] = []

        def invalidate(hashes: Sequence[str] | None) -> None:
            for key_hash in hashes or ():
                cache.invalidate(key_hash)
                invalidated.append(key_hash)

        cipher = Cipher(Secret("salt"), purpose=PURPOSE)
        stored = StoredModels(database, cipher, clock=clock)
        credentials = StoredCredentials(database, cipher, clock=clock)
        fallbacks = StoredFallbacks(database)
        source = ModelSource(stored, credentials, fallbacks)
        rotations = Rotations(database, keys, cipher, clock=clock)
        base = load(Options(data_dir=str(tmp_path)), {"WAYPORT_MASTER_KEY": MASTER})
        base = msgspec.structs.replace(
            base, models=(*base.models, *models), management=management or ManagementSettings()
        )
        settings_now, snapshot_now = base, build(base)

        async def reload() -> str | None:
            nonlocal settings_now, snapshot_now
            settings_now = await source.added(base)
            snapshot_now = build(settings_now)
            return reloads.pop(0) if reloads else None

        async def models_changed() -> None:
            await reload()

        async def callbacks_changed() -> None:
            reloads_of_callbacks.append(True)

        authenticator = Authenticator(cache, master_keys=[Secret(MASTER)], compat=compat, keyless=keyless)
        app = build_app(
            Parts(
                callers=Callers(authenticator, compat=compat),
                database=database,
                keys=keys,
                stores=Stores(database, keys, clock=clock),
                rotations=rotations,
                models=ModelParts(
                    store=stored,
                    credentials=credentials,
                    source=source,
                    fallbacks=fallbacks,
                    settings=lambda: settings_now,
                    snapshot=lambda: snapshot_now,
                    changed=models_changed,
                ),
                team_callbacks=TeamCallbackStore(database, cipher, clock=clock),
                callbacks_changed=callbacks_changed,
                drain=Drain(tmp_path / "spool", database, clock=clock),
                clock=clock,
                compat=compat,
                invalidate=invalidate,
                workers=lambda: [Hello(worker=0, pid=1, version="0")],
                reload=reload,
                price_of=(prices or {}).get,
            )
        )
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://control",
            headers={"authorization": f"Bearer {MASTER}", "x-forwarded-host": "localhost:4000"},
        ) as client:
            yield Admin(
                client, database, keys, principals, clock, rotations, invalidated, reloads, reloads_of_callbacks
            )


async def made_key(admin: Admin, **fields: object) -> dict[str, Any]:
    answer = await admin.client.post("/key/generate", json=fields)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made
