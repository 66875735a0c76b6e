"""The path of a request, in order. Start reading here.

    authenticate -> allow -> plan -> admit -> tries (attempt, relay) -> settle

What is ordinary in every respect goes the same steps in one go (straight.py) and comes here only when it is not answered so.

`run` always answers and always settles: success, refusal, upstream failure, client gone, our own mistake.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from wayport.access.allow import allow, allow_address, allow_route
from wayport.access.principal import Principal
from wayport.core.clock import Clock
from wayport.core.errors import (
    BadRequest,
    ClientGone,
    Fault,
    InternalError,
    ModelNotFound,
    RateLimited,
    Unavailable,
    UpstreamFault,
    WayportError,
)
from wayport.core.ids import NewId
from wayport.dialects.neutral import Failed
from wayport.pipeline.admission import Admit
from wayport.pipeline.answer_head import error_head
from wayport.pipeline.asking import CallAsking
from wayport.pipeline.attempt import Attempt
from wayport.pipeline.attempts import tries
from wayport.pipeline.attribution import attribute
from wayport.pipeline.bodies import Bodies
from wayport.pipeline.call import Call
from wayport.pipeline.client_side import ClientSide, take
from wayport.pipeline.dry_run import tell_plan
from wayport.pipeline.sent import Sent
from wayport.pipeline.settle import Settlement
from wayport.pipeline.several import Several, models_of
from wayport.pipeline.turns import Turns
from wayport.routing.group import Candidate
from wayport.routing.plan import Plan, Step
from wayport.routing.routing import Routing
from wayport.routing.table import Found, RoutingTable
from wayport.wire import patch

log = logging.getLogger("wayport.pipeline")

_ANTHROPICS_OVERLOAD = 529
"""a status that only its own clients act on"""

_LITELLMS_TIMEOUT = 408

_NAME_CHARS = 1024
"""of a model's name: longer ones are in no list, and records keep it"""

_MODES = {"embeddings": "embedding", "completions": "chat"}
"""which models can serve an operation, where the client leaves the choice to us"""

Authenticate = Callable[[Call], Principal | Awaitable[Principal]]


class Pipeline:
    """Owns the order of the steps. Its collaborators come from server/app.py."""

    def __init__(
        self,
        *,
        authenticate: Authenticate,
        table: RoutingTable,
        routing: Routing,
        admit: Admit,
        attempt: Attempt,
        settle: Settlement,
        turns: Turns,
        client_side: ClientSide,
        clock: Clock,
        new_id: NewId,
        bodies: Bodies | None = None,
    ) -> None:
        self._authenticate = authenticate
        self.table = table
        """swapped whole when a new snapshot comes; a call keeps the one it began with"""
        self.coming: asyncio.Event | None = None
        """set when the models of the database are known, too; None: they are"""
        self._routing = routing
        self._admit = admit
        self._attempt = attempt
        self._settle = settle
        self._turns = turns
        self._client_side = client_side
        self._clock = clock
        self._new_id = new_id
        self._several = Several(self.run, clock=clock, new_id=new_id)
        self._bodies = bodies
        """None: nothing of requests and answers is kept"""

    def beside(self, table: RoutingTable, routing: Routing) -> "Pipeline":
        """The same way with other routing facts, and a memory of its own of what failed."""
        return Pipeline(
            authenticate=self._authenticate,
            table=table,
            routing=routing,
            admit=self._admit,
            attempt=self._attempt,
            settle=self._settle,
            turns=self._turns,
            client_side=self._client_side,
            clock=self._clock,
            new_id=self._new_id,
        )

    async def run(self, call: Call) -> None:
        """One request from credential to cost."""
        if self._bodies is not None:
            self._bodies.begin(call)
        await self._to_its_end(call, self._whole(call))

    async def go(self, call: Call, first: Step, *, table: RoutingTable) -> None:
        """The rest of a call that is permitted and has chosen its first step (straight.py)."""
        await self._to_its_end(call, self._admitted(call, first, table))

    async def go_on(self, call: Call, sent: Sent, *, found: Found, table: RoutingTable, candidate: Candidate) -> None:
        """The rest of a call that was sent to `candidate` the straight way (straight.py)."""
        plan = call.plan or self.plan(call, found, table)
        await self._to_its_end(call, self._tries(call, plan.begun(candidate), sent))

    async def _to_its_end(self, call: Call, work: Awaitable[None]) -> None:
        try:
            await work
        except WayportError as error:
            self._refuse(call, error)
        except asyncio.CancelledError:
            self.cancelled(call)
            raise
        except Exception as error:  # noqa: BLE001 (border: one request; `failed` logs, answers and settles it)
            self.failed(call, error)
        finally:
            self._settle(call)
            if self._bodies is not None:
                self._bodies.end(call)
            call.let_go()

    async def _whole(self, call: Call) -> None:
        if call.principal is None:
            principal = self._authenticate(call)
            call.principal = principal if isinstance(principal, Principal) else await principal
        if call.principal.routes or call.principal.ips:
            self._check_place(call, call.principal)
        read_envelope(call)
        own = take(call)
        attribute(call)
        table = self.table
        call.snapshot = table.snapshot
        if call.principal.asks and (looking := self._admit.beside(call)) is not None:
            await looking
        if call.conversation is not None and (loading := self._turns.begin(call)) is not None:
            await loading
        if call.principal.aliases:
            call.model_asked = call.principal.aliases.get(call.model_asked, call.model_asked)
        if self.coming is not None and not table.knows(call.model_asked):
            await self.coming.wait()
            table = self.table
            call.snapshot = table.snapshot
        try:
            found = table.find_or_all(call.model_asked, _MODES.get(call.operation, "chat"))
        except ModelNotFound:
            if models := models_of(call):
                await self._several.ask(call, models)
                return
            # Who may use some models only is not told which others there are.
            allow(call.principal, call.model_asked, beside=call.beside, compat=table.snapshot.compat)
            raise
        if not found.auto:
            allow(
                call.principal,
                call.model_asked,
                found.name,
                groups=found.model.access_groups,
                beside=call.beside,
                compat=table.snapshot.compat,
            )
        if own is not None:
            found = await self._client_side.found(found, own)
        plan = self.plan(call, found, table)
        if plan.wishes.dry_run:
            tell_plan(call, plan, self._clock.steady_s())
            return
        try:
            first = plan.first(self._clock.steady_s())
        except RateLimited as refused:
            first = await self._routing.lines.turn_of(
                plan,
                refused,
                self._clock,
                of=call.principal.key_hash,
                admit=partial(self._admission, call, call.principal, table, in_line=True),
            )
            call.upstream_wait_s += first.queued_s
        await self._admitted(call, first, table)

    async def _admitted(self, call: Call, first: Step, table: RoutingTable) -> None:
        assert call.principal is not None
        if (pending := self._admission(call, call.principal, table)) is not None:
            await pending
        await self._tries(call, first)

    def _tries(self, call: Call, first: Step, sent: Sent | None = None) -> Awaitable[None]:
        return tries(
            call, first, admit=self._admit, attempt=self._attempt, routing=self._routing, clock=self._clock, sent=sent
        )

    def _admission(
        self, call: Call, principal: Principal, table: RoutingTable, *, in_line: bool = False
    ) -> Awaitable[None] | None:
        """Takes of the limits and budgets that bind the call; returns what must be awaited for it."""
        if call.reservation is not None:
            return self._admit.at_turn(call, table)
        if principal.holders or call.beside or self._admit.admission.binds_all:
            return self._admit(call, table, in_line=in_line)
        return None

    def plan(self, call: Call, found: Found, table: RoutingTable) -> Plan:
        call.plan = plan = self._routing.plan(
            found,
            table,
            asking=CallAsking(call),
            fields=call.fields,
            headers=call.client.headers,
            dialect=call.dialect.name,
            began_s=call.steady_s,
        )
        return plan

    def cancelled(self, call: Call) -> None:
        """The client has left; or it waits, and it is we who leave: then it can ask elsewhere."""
        if call.client.gone:
            call.error = ClientGone("The client closed the connection before the answer was complete.")
        else:
            self._refuse(call, _stopping())

    def failed(self, call: Call, error: Exception) -> None:
        """Our own mistake, whatever it was."""
        log.error("a request failed in a way nobody foresaw", exc_info=error, extra={"call_id": call.id})
        self._refuse(call, InternalError(f"Internal error ({type(error).__name__}); call {call.id} is in the log."))

    def _check_place(self, call: Call, principal: Principal) -> None:
        compat = self.table.snapshot.compat
        allow_route(principal, call.route, compat=compat)
        allow_address(principal, call.client.client[0], compat=compat)

    def _refuse(self, call: Call, error: WayportError) -> None:
        """The error as the client's dialect writes it: as an answer, or as the last event of a stream that had begun."""
        call.error = error
        if call.snapshot is None:
            call.snapshot = self.table.snapshot
        if error.status == _ANTHROPICS_OVERLOAD and call.dialect.name != "anthropic_messages":
            error.status = 503
        if _took_too_long(error) and call.snapshot.compat == "litellm":
            error.status = _LITELLMS_TIMEOUT
        client = call.client
        half = call.dialect.client
        assert half is not None
        if client.started:
            encoder = half.stream_encoder(request=None, response_id=call.id, created=int(call.started_s))
            self._settle(call)
            client.end(encoder.feed(Failed(fault=_fault_of(error))))
            return
        body = half.encode_error(error, call_id=call.id)
        self._settle(call)
        client.respond(error.status, error_head(call, error), body)


def _took_too_long(error: WayportError) -> bool:
    """By our own clock: where an upstream says so, its status stays."""
    return isinstance(error, UpstreamFault) and error.fault.kind == "timeout" and not error.fault.status


def _stopping() -> Unavailable:
    return Unavailable("The gateway is stopping. Ask again.", code="shutting_down", retry_after_s=1)


def _fault_of(error: WayportError) -> Fault:
    if isinstance(error, UpstreamFault):
        return error.fault
    return Fault(kind="server", status=error.status, message=error.message, type=error.type, code=error.code)


def read_envelope(call: Call) -> None:
    """The few fields that must be read: the model and whether a stream is wanted. Values stay undecoded."""
    try:
        fields = patch.split(call.client.body)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The body must be a JSON object: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}.", code="invalid_json") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.", code="invalid_json") from None
    call.fields = fields
    if not call.model_asked:
        raw = fields.get("model")
        if raw is None:
            raise BadRequest("`model` is missing: name one of those that GET /v1/models lists.", param="model")
        try:
            call.model_asked = _text(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise BadRequest("`model` must be a string.", param="model") from None
        if not call.model_asked:
            raise BadRequest("`model` is empty: name one of those that GET /v1/models lists.", param="model")
        if len(call.model_asked) > _NAME_CHARS:
            call.model_asked = call.model_asked[:_NAME_CHARS]
            raise BadRequest(f"`model` is longer than {_NAME_CHARS} characters.", param="model")
    if not call.stream:
        stream = fields.get("stream")
        if stream is not None:
            call.stream = _flag(stream)


_text = msgspec.json.Decoder(str).decode
_maybe = msgspec.json.Decoder(bool | None).decode


def _flag(raw: msgspec.Raw) -> bool:
    try:
        return bool(_maybe(raw))
    except ValueError:
        raise BadRequest("`stream` must be true or false.", param="stream") from None
