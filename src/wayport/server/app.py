"""The composition root of a data worker: every object is built here, once, in order."""

import asyncio
import logging
from collections.abc import Awaitable, Coroutine
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import msgspec

from wayport.access.admit import Admission, Rules
from wayport.access.authenticate import Authenticator
from wayport.access.beside import Holders, NoHolders
from wayport.access.cache import PrincipalCache
from wayport.access.gauges import Lender
from wayport.access.principal import Control, HolderSource, Principal
from wayport.access.stored import everybody_of
from wayport.config.settings import MediaSettings, Settings
from wayport.control.leases import InProcess, Lessor
from wayport.core.clock import Clock
from wayport.core.errors import (
    BodyTooLarge,
    ClientFault,
    InternalError,
    MethodNotAllowed,
    Unavailable,
    WayportError,
)
from wayport.core.ids import NewId, uuid7
from wayport.core.tasks import Tasks
from wayport.core.thought import ThoughtStore
from wayport.core.turn import TurnStore
from wayport.dialects.registry import DIALECTS
from wayport.observe.callbacks.registry import traced_share
from wayport.pipeline.admission import Admit, Refusing
from wayport.pipeline.attempt import Attempt
from wayport.pipeline.bodies import Bodies, Whose
from wayport.pipeline.call import Call
from wayport.pipeline.client_side import ClientSide
from wayport.pipeline.lanes import Lanes
from wayport.pipeline.native import NativeAnswers
from wayport.pipeline.pipeline import Pipeline
from wayport.pipeline.settle import Journal, Settlement, UnderWay
from wayport.pipeline.slots import DeploymentSlots
from wayport.pipeline.straight import Straight
from wayport.pipeline.target_budgets import TargetBudgets
from wayport.pipeline.targets import Targets
from wayport.pipeline.tracing import TraceContext
from wayport.pipeline.turns import Turns
from wayport.providers.plugins import follow_of, signer_of
from wayport.routing.lines import Lines
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Snapshot
from wayport.routing.table import RoutingTable
from wayport.server.cors import Cors
from wayport.server.errors import error_body, error_head
from wayport.server.exchange import Exchange
from wayport.server.probing import Probing
from wayport.server.protocol import Limits, Load, ServerState
from wayport.server.routes import CHAT_PATHS, Router
from wayport.upstream.credentials import Credentials
from wayport.upstream.media import MediaFetcher, MediaRules
from wayport.upstream.transport import Transport

log = logging.getLogger("wayport.server")

_snapshot_decoder = msgspec.json.Decoder(Snapshot)


class Worker:
    """One data worker, whole but for its sockets. `handle` answers any request; nothing escapes it."""

    def __init__(
        self,
        settings: Settings,
        snapshot: Snapshot,
        *,
        control: Control,
        transport: Transport,
        tasks: Tasks,
        journal: Journal | None,
        conversations: TurnStore | None = None,
        thoughts: ThoughtStore | None = None,
        clock: Clock,
        admin_socket: str = "",
        lender: Lender | None = None,
        holders: HolderSource | None = None,
        full: Refusing | None = None,
        under_way: UnderWay | None = None,
        lease_holder: str = "",
        node: str = "",
        number: int = 0,
        shares_slots: bool = False,
        new_id: NewId = uuid7,
        random: Random | None = None,
        hold_max_s: float = 10.0,
    ) -> None:
        """`lender`: whom limits and budgets are leased from; None: nobody else uses them. `full`: whether the journal is.
        `shares_slots`: the `max_parallel` of deployments holds for us and others together. `under_way`: keeps calls that a budget bounds until their end; None: the journal does.
        """
        server = settings.server
        self.settings = settings
        self.clock = clock
        self.new_id = new_id
        self.transport = transport
        self.admin_socket = admin_socket
        self.control_away_s: float | None = None
        """since when (in steady seconds) requests have not reached the control process; None: nobody has found it away"""
        lender = lender or InProcess(Lessor(clock=clock), lease_holder)
        lines = Lines()
        self.slots = (
            DeploymentSlots(lender, lines, clock=clock, tasks=tasks, closed=settings.limits.rates_when_away == "closed")
            if shares_slots
            else None
        )
        self.routing = Routing(
            random=random or Random(),  # noqa: S311 (it spreads load, it guards nothing)
            lines=lines,
            slots_of=self.slots.of if self.slots is not None else lambda _: None,
        )
        self.health = self.routing.health
        self.load = Load()
        self.state = ServerState(server.root_path)
        self.limits = Limits(
            head_bytes=server.limits.head_bytes,
            head_timeout_s=server.limits.head_timeout_s,
            body_bytes=server.limits.body_bytes,
            body_idle_s=server.limits.body_idle_timeout_s,
            connections=server.limits.connections,
            calls=server.limits.calls_in_flight,
            total_body_bytes=server.limits.request_bytes_in_flight,
        )
        self.principals = PrincipalCache(control, clock=clock, tasks=tasks)
        self.authenticator = Authenticator(
            self.principals,
            master_keys=settings.auth.master_keys,
            keyless=settings.auth.mode == "keyless",
            compat=settings.compat,
            header_names=settings.auth.header_names,
            allowed_origins=server.cors_origins,
        )
        self.admission = Admission(
            lender,
            clock=clock,
            tasks=tasks,
            rules=admission_rules(settings),
        )
        self.admission.bind(everybody_of(snapshot.limits, calendar=settings.compat == "litellm"))
        self.holders = Holders(holders or NoHolders(), clock=clock, tasks=tasks)
        self.admit = Admit(
            self.admission,
            self.holders,
            journal=journal,
            under_way=under_way,
            full=full,
            unpriced=settings.limits.unpriced,
            lease_holder=lease_holder,
            node=node,
            worker=number,
        )
        self.target_budgets = TargetBudgets(
            lender,
            self.health,
            clock=clock,
            lease_holder=lease_holder,
            closed=settings.limits.budgets_when_away == "closed",
        )
        self.target_budgets.take(snapshot)
        self.settlement = Settlement(
            journal=journal,
            traces=self.routing.traces,
            clock=clock,
            node=node,
            worker=number,
            charge=self.admit.settle,
            lease_holder=lease_holder,
            targets=self.target_budgets,
            under_way=under_way,
        )
        self.conversations = conversations
        credentials = Credentials(signer_of)
        responses = DIALECTS["openai_responses"].upstream
        assert responses is not None
        self.native = NativeAnswers(transport, credentials, responses)
        self.turns = Turns(
            conversations, keep=settings.responses.keep_days > 0, affinity=self.routing.affinity, clock=clock
        )
        self.attempt = Attempt(
            transport=transport,
            targets=Targets(),
            dialects=DIALECTS,
            settle=self.settlement,
            media=MediaFetcher(transport, media_rules(settings.media)),
            credentials=credentials,
            follow_of=follow_of,
            clock=clock,
            turns=self.turns,
            tasks=tasks,
            thoughts=thoughts,
            trace=trace_context(settings),
            hold_max_s=hold_max_s,
        )
        self.pipeline = Pipeline(
            authenticate=self._authenticate,
            table=RoutingTable(snapshot),
            routing=self.routing,
            admit=self.admit,
            attempt=self.attempt,
            settle=self.settlement,
            turns=self.turns,
            client_side=ClientSide(transport.resolver, networks=server.client_networks),
            clock=clock,
            new_id=new_id,
            bodies=bodies_of(settings, journal, clock),
        )
        # Bodies are kept of what passes the long way; an origin is looked at there.
        self.straight = (
            Straight(
                lanes=Lanes(
                    paths=CHAT_PATHS,
                    pipeline=self.pipeline,
                    authenticator=self.authenticator,
                    routing=self.routing,
                    admit=self.admit,
                    attempt=self.attempt,
                ),
                pipeline=self.pipeline,
                authenticator=self.authenticator,
                routing=self.routing,
                admit=self.admit,
                attempt=self.attempt,
                settle=self.settlement,
                transport=transport,
                load=self.load,
                clock=clock,
                new_id=new_id,
            )
            if not (settings.bodies.store or server.cors_origins)
            else None
        )
        self.probing = Probing(self)
        self.database_state = "starting"
        self._cors = Cors(server.cors_origins)
        self._trusted = tuple(ip_network(each, strict=False) for each in server.trusted_proxies)
        self._router = Router(self)

    def _authenticate(self, call: Call) -> Principal | Awaitable[Principal]:
        return self.authenticator.authenticate(call.client.header, query=call.key_query)

    def recall(self, counter: str, *, next_one: bool = False) -> None:
        """Others need what is free here of a limit."""
        if self.slots is None or not self.slots.recall(counter, next_one=next_one):
            self.admission.recall(counter)

    def expect_models(self) -> None:
        """Those of the database are not known yet: what means nothing now may mean something then."""
        self.pipeline.coming = asyncio.Event()

    def models_came(self) -> None:
        coming, self.pipeline.coming = self.pipeline.coming, None
        if coming is not None:
            coming.set()

    def note_database(self, status: str) -> None:
        self.database_state = status

    # ------------------------------------------------------------------------------------------------- snapshots
    def take_snapshot(self, data: bytes) -> None:
        """Swaps the routing facts. Calls that are running keep those they began with."""
        snapshot = _snapshot_decoder.decode(data)
        self.admission.bind(everybody_of(snapshot.limits, calendar=snapshot.compat == "litellm"))
        self.pipeline.table = RoutingTable(snapshot)
        if self.straight is not None:
            self.straight.forget()
        self.routing.keep(snapshot)
        self.target_budgets.take(snapshot)

    # -------------------------------------------------------------------------------------------------- requests
    def handle(self, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Answers, or tells how: what is to be awaited."""
        if self._trusted:
            self._believe(exchange)
        straight = self.straight
        if straight is not None and exchange.method == b"POST" and self.load.calls < self.limits.calls:
            try:
                if straight.begin(exchange):
                    return None
            except Exception:  # border: one request, which the long way answers
                log.exception("a request could not go straight", extra={"path": exchange.path})
        return self._handle(exchange)

    async def _handle(self, exchange: Exchange) -> None:
        load = self.load
        load.calls += 1
        try:
            if load.calls > self.limits.calls:
                load.refused += 1
                self.respond_error(exchange, _overloaded())
                return
            if self._cors.origins and self._cors.answered(exchange):
                return
            await self._router.route(exchange)
        except WayportError as error:
            self.respond_error(exchange, error)
        except Exception as error:  # border: one request; the client gets an answer whatever it was
            log.exception("a request failed in a way nobody foresaw", extra={"path": exchange.path})
            if exchange.started:
                exchange.abort()
            else:
                self.respond_error(exchange, InternalError(f"Internal error ({type(error).__name__})."))
        finally:
            load.calls -= 1

    def respond_error(self, exchange: Exchange, error: WayportError) -> None:
        head = error_head(error)
        if isinstance(error, MethodNotAllowed) and error.allowed:
            head += b"allow: %b\r\n" % error.allowed
        exchange.respond(error.status, head, error_body(error))

    def refuse(self, exchange: Exchange, status: int) -> bytes:
        """The body of a refusal that the protocol gives before a handler runs."""
        del exchange
        limits = self.limits
        error: WayportError
        match status:
            case 413:
                error = BodyTooLarge(f"The body is larger than {limits.body_bytes} bytes (`server.limits.body_bytes`).")
            case 431:
                error = ClientFault(f"The request's head is larger than {limits.head_bytes} bytes.")
            case 408:
                error = ClientFault("The request did not come in time.")
            case 501:
                error = ClientFault("This connection cannot be upgraded.")
            case 503:
                error = Unavailable("The gateway holds as many request bytes or connections as it may.")
            case _:
                error = ClientFault("This is not a valid HTTP request.")
        return error_body(error)

    def _believe(self, exchange: Exchange) -> None:
        """The client's address as a trusted proxy states it: the nearest one that is not itself trusted."""
        if not self._trusts(exchange.client[0]):
            return
        stated = (exchange.header(b"x-forwarded-for") or b"").decode("latin-1")
        for text in reversed([part.strip() for part in stated.split(",") if part.strip()]):
            exchange.client = (text[:64], 0)
            if not self._trusts(text):
                return

    def _trusts(self, address: str) -> bool:
        try:
            known = ip_address(address)
        except ValueError:
            return False
        return any(known in network for network in self._trusted)


def _overloaded() -> Unavailable:
    return Unavailable("The gateway is at its limit of calls in flight.", code="overloaded", retry_after_s=1)


def admission_rules(settings: Settings) -> Rules:
    limits = settings.limits
    return Rules(
        budget_wait_s=limits.budget_wait_s,
        budgets_when_away=limits.budgets_when_away,
        rates_when_away=limits.rates_when_away,
        budget_status=limits.budget_exceeded_status,
        compat=settings.compat,
    )


def bodies_of(settings: Settings, journal: Journal | None, clock: Clock) -> Bodies | None:
    """None: they are not kept."""
    kept = settings.bodies
    if journal is None or not kept.store:
        return None
    whose: Whose = "keys" if kept.store == "keys" else "all"
    return Bodies(journal=journal, clock=clock, whose=whose, max_bytes=kept.max_bytes)


def trace_context(settings: Settings) -> TraceContext | None:
    """None: upstreams are told nothing of traces."""
    propagate = settings.tracing.propagate
    if propagate == "never":
        return None
    share = traced_share(settings.callbacks, settings.variable)
    return TraceContext(share) if share is not None or propagate == "client" else None


def media_rules(settings: MediaSettings) -> MediaRules:
    return MediaRules(
        fetch=settings.fetch, max_bytes=settings.max_bytes, timeout_s=settings.timeout_s, types=settings.types
    )
