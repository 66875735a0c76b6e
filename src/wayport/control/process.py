"""The composition root of the control process: every object is built here, once, in order.

Importing it costs half a second and tens of megabytes, so main.py does so only when the socket is open.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
import uvicorn
from msgspec import Struct

from wayport.access.authenticate import Authenticator
from wayport.access.cache import PrincipalCache
from wayport.access.callbacks_store import TeamCallbackStore
from wayport.access.keys import Keys
from wayport.access.models_store import PURPOSE, StoredCredentials, StoredModels
from wayport.access.principals import Principals
from wayport.access.rotation import Rotations
from wayport.access.stored import everybody_of
from wayport.config.auth import salt_key
from wayport.config.load import Options, process_environment
from wayport.config.settings import Settings
from wayport.control.admin.app import build_app
from wayport.control.admin.model_parts import ModelParts
from wayport.control.admin.parts import Callers, Parts
from wayport.control.admin.stores import Stores
from wayport.control.configuration import Configuration
from wayport.control.conversations import Conversations
from wayport.control.effective import Effective
from wayport.control.facts import Facts
from wayport.control.listings import Listings
from wayport.control.observing import Observing
from wayport.control.probes import Probes
from wayport.control.retention import Retention
from wayport.control.rotation import RotationJob
from wayport.control.server import ControlServer
from wayport.control.sharing import Sharing
from wayport.control.stored_fallbacks import StoredFallbacks
from wayport.control.stored_models import ModelSource
from wayport.core.clock import Clock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks
from wayport.ledger.bodies import Redaction
from wayport.ledger.drain import Drain
from wayport.providers.plugins import signer_of
from wayport.storage.address import read_address
from wayport.storage.cipher import Cipher
from wayport.storage.database import Database, DatabaseState
from wayport.upstream.credentials import Credentials
from wayport.upstream.proxy import proxy_rules
from wayport.upstream.transport import Transport

log = logging.getLogger("wayport.control")

# The supervisor waits 15 s before it kills.
_LAST_DRAIN_S = 10.0


class _Version(Struct):
    version: int = 0


class _AdminServer(uvicorn.Server):
    """Signals are the process's, not the server's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ControlProcess:
    """Everything that the control process does. `run` until `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        snapshot: bytes,
        *,
        server: ControlServer,
        options: Options,
        tasks: Tasks,
        clock: Clock,
        node: str = "",
    ) -> None:
        data_dir = Path(settings.storage.data_dir)
        address = read_address(settings.storage.database_url.reveal() or None, data_dir)
        self._server = server
        self._tasks = tasks
        self._clock = clock
        self.database = Database(address, clock=clock, on_change=self._note_database)
        self.keys = Keys(self.database, clock=clock, calendar=settings.compat == "litellm")
        self.principals = Principals(
            self.database,
            self.keys,
            clock=clock,
            calendar=settings.compat == "litellm",
            user_role="internal_user" if settings.compat == "litellm" else None,
            customer_default=lambda: self.configuration.settings.limits.end_users,
            tag_defaults=lambda: self.configuration.settings.limits.tags,
            model_of=lambda deployment_id: self.facts.model_of(deployment_id),  # noqa: PLW0108 (made below)
        )
        self.conversations = Conversations(
            self.database,
            Cipher(salt_key(settings), purpose="conversations"),
            clock=clock,
            keep_days=settings.responses.keep_days,
        )
        self.sharing = Sharing(
            settings,
            database=self.database,
            node=node,
            clock=clock,
            tasks=tasks,
            server=server,
            on_models=self._reload,
            on_callbacks=self._load_callbacks,
            on_everything=self._ask_again,
        )
        self.drain = Drain(
            data_dir / "spool",
            self.database,
            clock=clock,
            followed=True,
            redaction=Redaction(settings.bodies.redact),
            on_dead=self.sharing.drained,
        )
        sealed = Cipher(salt_key(settings), purpose=PURPOSE)
        stored = StoredModels(self.database, sealed, clock=clock)
        credentials = StoredCredentials(self.database, sealed, clock=clock)
        team_callbacks = TeamCallbackStore(self.database, sealed, clock=clock)
        fallbacks = StoredFallbacks(self.database)
        self.model_source = ModelSource(stored, credentials, fallbacks)
        self.configuration = Configuration(
            settings,
            options=options,
            environment=process_environment,
            version=msgspec.json.decode(snapshot, type=_Version).version,
            push=self._push,
            more=self.model_source.added,
        )
        self._settings = settings
        self._limits = settings.limits
        self._snapshot = snapshot
        self._listings: Listings | None = None
        self.facts = Facts(lambda: self._snapshot)
        self.observing = Observing(
            settings,
            data_dir=data_dir,
            database=self.database,
            team_callbacks=team_callbacks,
            drain=self.drain,
            clock=clock,
            tasks=tasks,
            deployments=self.facts.deployments,
            vitals=server.vitals,
            limits=self.sharing.lessor.counters.entries,
            shared_up=lambda: self.sharing.lessor.shared_up if self.sharing.shared is not None else None,
            shared_limits=lambda: self.facts.table.snapshot.limits,
        )
        self.probes = Probes(
            lambda: self.configuration.settings.health_checks,
            workers=server,
            snapshot=lambda: self.facts.table.snapshot,
            clock=clock,
        )
        self.retention = Retention(self.database, settings.retention, settings.bodies, clock=clock)
        callers = Callers(
            Authenticator(
                # Remembers nothing: whoever manages is looked up each time, so a revocation holds at once.
                PrincipalCache(self.principals, clock=clock, tasks=tasks, ttl_s=0, negative_s=0, stale_max_s=0),
                master_keys=settings.auth.master_keys,
                keyless=settings.auth.mode == "keyless",
                compat=settings.compat,
                header_names=settings.auth.header_names,
                allowed_origins=settings.server.cors_origins,
            ),
            compat=settings.compat,
        )
        stores = Stores(self.database, self.keys, clock=clock)
        rotations = Rotations(self.database, self.keys, sealed, clock=clock)
        self.rotation = RotationJob(
            self.database,
            rotations,
            keys=self.keys,
            audit=stores.audit,
            invalidate=self.sharing.invalidate,
            tell=self.observing.alerts.key_rotated,
        )
        self.app = build_app(
            Parts(
                callers=callers,
                database=self.database,
                keys=self.keys,
                stores=stores,
                rotations=rotations,
                models=ModelParts(
                    store=stored,
                    credentials=credentials,
                    source=self.model_source,
                    fallbacks=fallbacks,
                    settings=lambda: self.configuration.settings,
                    snapshot=lambda: self.facts.table.snapshot,
                    changed=self._models_changed,
                ),
                drain=self.drain,
                clock=clock,
                compat=settings.compat,
                invalidate=self.sharing.invalidate,
                invalidate_holders=self.sharing.invalidate_holders,
                workers=lambda: server.workers,
                reload=self.configuration.reload,
                price_of=self.facts.price_of,
                effective=Effective(
                    self.principals.principal,
                    lessor=self.sharing.lessor,
                    spent=self.sharing.windows,
                    clock=clock,
                    everybody=lambda: everybody_of(
                        self.facts.table.snapshot.limits, calendar=settings.compat == "litellm"
                    ),
                ),
                observing=self.observing,
                team_callbacks=team_callbacks,
                callbacks_changed=self._callbacks_changed,
            )
        )

    async def run(self, admin: socket.socket, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.database.close)
            self._tasks.start(self.database.run(), name="database")
            self._tasks.start(self._add_stored_models(), name="stored models")
            self._server.answer_with(self.principals.principal)
            self._server.keep_turns_in(self.conversations)
            self._share_thoughts(stack)
            self._tasks.start(self.conversations.run(), name="conversations")
            self._server.lease_from(self.sharing.lessor, self.principals.holder)
            self._tasks.start(self.sharing.run(self.drain), name="sharing")
            draining = self._tasks.start(self.drain.run(), name="drain")
            observing = self._tasks.start(self.observing.run(), name="observing")
            self._tasks.start(self.retention.run(), name="retention")
            self._tasks.start(self.rotation.run(), name="rotation")
            self._tasks.start(self.probes.run(), name="probes")
            self._tasks.start(self.configuration.watch(), name="configuration")
            transport = await stack.enter_async_context(Transport(proxies=proxy_rules(self._settings.variable)))
            self._listings = Listings(
                transport,
                Credentials(signer_of),
                changed=self.configuration.take_lists,
                every_s=self._settings.server.discover_models_s,
            )
            self._listings.take(self._snapshot)
            listing = self._tasks.start(self._listings.run(), name="listings")
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            http = _AdminServer(
                uvicorn.Config(
                    self.app,
                    http="httptools",
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    proxy_headers=False,
                    server_header=False,
                    date_header=False,
                    timeout_graceful_shutdown=3,
                )
            )
            serving = self._tasks.start(http.serve(sockets=[admin]), name="admin")
            await stop.wait()
            http.should_exit = True
            await asyncio.gather(serving, return_exceptions=True)
            listing.cancel()
            await self._stop_draining(draining)
            await asyncio.gather(listing, return_exceptions=True)
            await self._drain_the_rest()
            observing.cancel()
            await asyncio.gather(observing, return_exceptions=True)

    def _share_thoughts(self, stack: AsyncExitStack) -> None:
        url = self._settings.storage.redis_url
        if url is None or not url.reveal():
            return
        from wayport.storage.redis_thoughts import RedisThoughts  # noqa: PLC0415 (heavy, and rarely used)

        cipher = Cipher(salt_key(self._settings), purpose="thoughts")
        shared = RedisThoughts(url.reveal(), cipher, tasks=self._tasks, clock=self._clock)
        stack.push_async_callback(shared.close)
        self._server.share_thoughts(shared)

    async def _stop_draining(self, draining: asyncio.Task[None]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_DRAIN_S):
                await self.drain.stepping.acquire()
        draining.cancel()
        await asyncio.gather(draining, return_exceptions=True)

    async def _drain_the_rest(self) -> None:
        """The workers have ended before us: what they wrote last goes into the database now, if it is there."""
        try:
            async with asyncio.timeout(_LAST_DRAIN_S):
                while await self.drain.step():
                    pass
        except (TimeoutError, Unavailable):
            log.warning(
                "the journal is not empty; the rest is drained at the next start",
                extra={"backlog_bytes": self.drain.backlog_bytes()},
            )

    def _push(self, snapshot: bytes) -> None:
        self._snapshot = snapshot
        self._server.push_snapshot(snapshot)
        if self._listings is not None:
            self._listings.take(snapshot)
        if (limits := self.configuration.settings.limits) != self._limits:
            # Those of end users and tags may stand in the configuration.
            self._limits = limits
            self._server.invalidate(None)
            self._ask_again()

    async def _add_stored_models(self) -> None:
        """The snapshot that we began with knows the configuration alone."""
        await self.database.tried()
        if self.database.state.status != "connected":
            # Nobody knows for how long: what the configuration has is all there is.
            self._server.tell_models_known()
        await self.database.connected()
        try:
            if await self.model_source.any():
                await self.configuration.reload()
        finally:
            self._server.tell_models_known()

    def _note_database(self, state: DatabaseState) -> None:
        self._server.tell_database(state.status)
        if state.status == "connected":
            self._ask_again()

    def _ask_again(self) -> None:
        self._tasks.start(self._tell_asks(), name="asks")

    async def _tell_asks(self) -> None:
        """Keys learn with their principals whose limits to ask for; for the master key the workers are told."""
        with contextlib.suppress(Unavailable):
            self._server.tell_asks(await self.principals.asks())

    async def _models_changed(self) -> None:
        await self.configuration.reload()
        self.sharing.tell_models()

    async def _callbacks_changed(self) -> None:
        self.sharing.tell_callbacks()
        await self.observing.teams.load()

    def _load_callbacks(self) -> None:
        self._tasks.start(self._hear_of_callbacks(), name="callbacks of teams")

    async def _hear_of_callbacks(self) -> None:
        # Without the database those that are known go on; it says so when it is back.
        with suppress(Unavailable):
            await self.observing.teams.load()

    def _reload(self) -> None:
        self._tasks.start(self.configuration.reload(), name="reload")
