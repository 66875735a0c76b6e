"""The straight way: an ordinary call from its body to its answer, in the callbacks of two sockets, without a task.

Most calls are alike: a key that is remembered, a model with one healthy deployment, nothing in the request that asks for
more. What such calls of one key to one model share is worked out once (`Lane`). Whatever is out of the
ordinary takes the long way (pipeline.py), and so does whatever becomes so: a call that was sent straight and is not answered
with a plain success goes on there from where it is.

What must stay true: a call is taken only if nothing of it need be awaited or refused, and until it is, nothing has happened;
what is told, recorded and charged is what the long way would have told, recorded and charged.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wayport.access.allow import allow, may_call
from wayport.access.authenticate import Authenticator
from wayport.access.principal import Principal
from wayport.core.clock import Clock
from wayport.core.errors import WayportError
from wayport.core.ids import NewId
from wayport.core.net import Timeouts
from wayport.core.record import AttemptRecord
from wayport.core.secret import CREDENTIAL_NAMES
from wayport.dialects.dialect import Dialect, Passthrough
from wayport.pipeline import attribution, cache_points
from wayport.pipeline.admission import Admit, Standing
from wayport.pipeline.answer_head import JSON, head_lines
from wayport.pipeline.attempt import ANSWER_BYTES, Attempt, is_events, is_stream, note_stated
from wayport.pipeline.betas import BETAS_HEADER
from wayport.pipeline.call import Call, Client
from wayport.pipeline.pipeline import Pipeline
from wayport.pipeline.prepare import Prepared, points_to_media, takes_no_addresses
from wayport.pipeline.sent import Sent
from wayport.pipeline.settle import Settlement
from wayport.pipeline.targets import Target
from wayport.pipeline.thoughts import wants_back
from wayport.pipeline.tracing import TraceContext
from wayport.providers.provider import Operation
from wayport.routing import wishes
from wayport.routing.group import Candidate
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment
from wayport.routing.table import Found, RoutingTable
from wayport.upstream.answer import Answer
from wayport.upstream.connection import FOREVER
from wayport.upstream.faults import TransportFault
from wayport.upstream.headers import forwarded, passed_on
from wayport.upstream.transport import Transport
from wayport.wire import patch

log = logging.getLogger("wayport.pipeline")

_LANES = 20_000
_WAYS = 16
_NAME_BYTES = 1024
_NOTE = "straight"
_NOTHING: Final[Sequence[str]] = ()
_BETAS: Final = BETAS_HEADER.encode()

_OF_INTEREST: Final = wishes.IN_BODY | CREDENTIAL_NAMES | {cache_points.FIELD}
"""fields that somebody on the long way looks at"""
_AND_TOOLS: Final = _OF_INTEREST | {"tools"}
"""the same for targets that want back what led to their tool calls"""
_text = msgspec.json.Decoder(str).decode
_STREAMS: Final = {b"true": True, b"false": False, b"null": False}


class Taken(Client, Protocol):
    """A client whose call can be called off."""

    task: "asyncio.Task[None] | StraightCall | None"
    notes: dict[str, Any] | None
    """where what is worked out of the head alone may be kept; None: nowhere"""


class Load(Protocol):
    """What the worker carries."""

    calls: int


class Lane(Struct, frozen=True, eq=False, gc=False):
    """What all ordinary calls of one key to one model on one path share."""

    asked: str
    """the model, behind the key's aliases"""
    table: RoutingTable
    found: Found
    deployment: Deployment
    candidate: Candidate
    target: Target
    upstream: Dialect
    """what is spoken with the target"""
    operation: Operation
    """by whose path"""
    passthrough: Passthrough | None
    """None: the client speaks another dialect"""
    of_interest: frozenset[str]
    """fields of requests that are not ordinary"""
    betas: bool
    """the target has its own mind about beta flags"""
    whole: Timeouts
    streamed: Timeouts | None
    """None: streams have a time to their first token, which needs a task, or an address of their own"""
    renames: str | None
    """the model's name in the answer, if it is not the upstream's"""
    standing: Standing | None
    """what binds them; None: nothing does"""
    no_addresses: bool
    """media by address would have to be fetched for it"""
    compat: bool


class Way(Struct, frozen=True, eq=False, gc=False):
    """What all ordinary calls share that come with the same head and name the same model."""

    principal: Principal
    table: RoutingTable
    lane: Lane | None
    """None: none of them is ordinary"""
    head: bytes = b""
    """of what is sent upstream"""
    trace: TraceContext | None = None
    """what each of them is told of"""


class Caller(Struct, frozen=True, eq=False, gc=False):
    """What a request's head says of the call."""

    path: str
    dialect: Dialect
    name: str
    """who it says to be, for the authenticator"""
    attributed: bool
    """it says where the call comes from"""
    ways: dict[bytes, Way]
    """by the model as it stands in the body"""


class Straight:
    """Takes ordinary calls. Its collaborators are those of the long way."""

    def __init__(
        self,
        *,
        paths: Mapping[str, Dialect],
        pipeline: Pipeline,
        authenticator: Authenticator,
        routing: Routing,
        admit: Admit,
        attempt: Attempt,
        settle: Settlement,
        transport: Transport,
        load: Load,
        clock: Clock,
        new_id: NewId,
    ) -> None:
        """`paths`: of chat calls, and the dialect that is spoken there."""
        self._paths = paths
        self._pipeline = pipeline
        self._named = authenticator.named
        self._known = authenticator.known
        self._routing = routing
        self._health = routing.health
        self._admit = admit
        self._attempt = attempt
        self._settle = settle
        self._transport = transport
        self._load = load
        self._clock = clock
        self._new_id = new_id
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str | None, str, bytes], tuple[Principal, Lane | None]] = {}
        self._table: RoutingTable | None = None

    # ----------------------------------------------------------------------------------------------------- the way there
    def begin(self, client: Taken) -> bool:
        """Takes the call and answers it. False: it is for the long way, and nothing has happened."""
        clock = self._clock
        began_s, began_steady_s = clock.now_s(), clock.steady_s()
        notes = client.notes
        caller: Caller | None = notes.get(_NOTE) if notes else None
        if caller is None:
            caller = self._caller(client)
            if caller is None:
                return False
        principal = self._known(caller.name)
        if principal is None or not self._health.quiet:
            return False
        body = client.body
        try:
            fields = patch.split(body)
            model = bytes(fields["model"])
        except (ValueError, RecursionError, KeyError):
            return False
        way = caller.ways.get(model)
        if way is None or way.principal is not principal or way.table is not self._pipeline.table:
            way = self._way(client, caller, principal, model)
        lane = way.lane
        if lane is None or not lane.of_interest.isdisjoint(fields):
            return False
        stream = False
        timeouts: Timeouts | None = lane.whole
        if "stream" in fields:
            stated = _STREAMS.get(bytes(fields["stream"]))
            if stated is None:
                return False
            if stated:
                stream, timeouts = True, lane.streamed
        deployment = lane.deployment
        pool = self._transport.ready(lane.target.origin)
        if (
            timeouts is None
            or pool is None
            or self._attempt.lessons.taught(deployment) is not deployment
            or (lane.no_addresses and points_to_media(body))
        ):
            return False
        passthrough = lane.passthrough
        sent, dropped = b"", _NOTHING
        if passthrough is not None:
            try:
                sent, dropped = passthrough.patch_request(
                    fields, model=deployment.upstream_model, profile=deployment.profile, want_usage=stream
                )
            except (WayportError, ValueError, RecursionError):
                return False
            if dropped and not deployment.drop_params:
                return False
        record = AttemptRecord(
            deployment=deployment.id, provider=deployment.provider, model=deployment.upstream_model, reason="first"
        )
        call = Call(
            client,
            caller.dialect,
            self._new_id(),
            "chat",
            caller.path,
            began_s,
            began_steady_s,
            began_steady_s,
            len(body),
            fields=fields,
            model_asked=lane.asked,
            stream=stream,
            principal=principal,
            snapshot=lane.table.snapshot,
            attempts=[record],
            deployment=deployment,
            dropped=[*dropped],
            timeouts=timeouts,
        )
        if caller.attributed or not attribution.IN_BODY.isdisjoint(fields):
            attribution.attribute(call)
            asks = principal.asks
            if asks and (("end_user" in asks and call.end_user) or ("tag" in asks and call.tags)):
                # Whether they have limits is not known here.
                return False
        head = way.head
        prepared = None
        if passthrough is None:
            prepared = self._translated(call, lane)
            if prepared is None:
                return False
            sent, prepared.body = prepared.body, b""
            if prepared.lines:
                head = _head(client, lane, prepared.lines)
        if way.trace is not None:
            head += way.trace.lines(call)
        if pool.relay is not None:
            head = pool.relay.absolute(head, lane.target.origin)
        standing = lane.standing
        if standing is not None and not self._admit.at_once(call, standing):
            return False
        # From here on it is ours.
        call.asked_s = now_s = clock.steady_s()
        record.started_ms = (now_s - began_steady_s) * 1000
        self._load.calls += 1
        lane.candidate.live.begin(now_s, again=False)
        connection = pool.idle.pop()
        straight = client.task = StraightCall(
            self._loop,
            connection,
            None,
            reused=True,
            _limit=ANSWER_BYTES,
            _reading=True,
            way=self,
            call=call,
            lane=lane,
            client=client,
            prepared=prepared,
        )
        try:
            connection.begin(straight, head, sent)
            total_s = timeouts.total_s
            connection.wait(timeouts, now_s, FOREVER if total_s is None else now_s + total_s)
        except Exception as error:  # noqa: BLE001 (border: it may have been sent, and is not sent again)
            straight.over = True
            connection.drop()
            self.failed(straight, error)
        return True

    def _translated(self, call: Call, lane: Lane) -> Prepared | None:
        """The call in the target's dialect. None: the long way says what is wrong with it, or looks up what it needs."""
        try:
            return self._attempt.prepare.translated_at_once(
                call, lane.deployment, upstream=lane.upstream, operation=lane.operation
            )
        except (WayportError, ValueError, RecursionError):
            return None

    def _caller(self, client: Taken) -> Caller | None:
        """None: calls with such a head are not ordinary."""
        path = client.path
        dialect = self._paths.get(path)
        if dialect is None or not wishes.IN_HEAD.isdisjoint(client.headers):
            return None
        name = self._named(client.header)
        if name is None:
            return None
        caller = Caller(path, dialect, name, not attribution.IN_HEAD.isdisjoint(client.headers), {})
        if client.notes is not None:
            client.notes[_NOTE] = caller
        return caller

    def _way(self, client: Taken, caller: Caller, principal: Principal, model: bytes) -> Way:
        table = self._pipeline.table
        lane = self._lane_of(principal, caller, model)
        if lane is None or (lane.betas and client.header(_BETAS) is not None):
            way = Way(principal, table, None)
        else:
            trace = None if b"\ntraceparent:" in lane.target.head else self._attempt.trace
            way = Way(principal, table, lane, _head(client, lane), trace)
        if len(caller.ways) >= _WAYS:
            caller.ways.clear()
        caller.ways[model] = way
        return way

    def _lane_of(self, principal: Principal, caller: Caller, model: bytes) -> Lane | None:
        table = self._pipeline.table
        if table is not self._table or len(self._lanes) >= _LANES:
            self._table = table
            self._lanes.clear()
        if len(model) > _NAME_BYTES:
            return None
        key = (principal.key_hash, caller.path, model)
        known = self._lanes.get(key)
        if known is not None and known[0] is principal:
            return known[1]
        try:
            lane = self._lane(principal, caller.path, caller.dialect, _text(model))
        except (WayportError, ValueError):
            # It is refused on the long way, which says why.
            lane = None
        self._lanes[key] = (principal, lane)
        return lane

    def _lane(self, principal: Principal, path: str, dialect: Dialect, asked: str) -> Lane | None:
        """None: such calls are not ordinary. Raises `WayportError` where they would be refused."""
        table = self._pipeline.table
        snapshot = table.snapshot
        if not asked or principal.ips or not may_call(principal, path) or ("tag" in principal.asks and principal.tags):
            return None
        asked = principal.aliases.get(asked, asked)
        found = table.find_or_all(asked, "chat")
        if found.auto:
            return None
        allow(principal, asked, found.name, groups=found.model.access_groups, compat=snapshot.compat)
        candidate = self._routing.only(found)
        if candidate is None:
            return None
        deployment = candidate.deployment
        profile = deployment.profile
        if (
            not deployment.base_url
            or deployment.params
            or deployment.signed
            or deployment.follows
            or profile.betas_in_body
        ):
            return None
        upstream, operation = self._attempt.prepare.route(dialect, "chat", deployment)
        passthrough = dialect.passthrough if upstream is dialect else None
        target = self._attempt.targets.of(deployment, operation, stream=False)
        if target.betas or (passthrough is None and upstream is dialect):
            return None
        whole, streamed = _timeouts(deployment, snapshot.router.request_timeout_s)
        if self._attempt.targets.of(deployment, operation, stream=True).url != target.url:
            streamed = None
        return Lane(
            asked=asked,
            table=table,
            found=found,
            deployment=deployment,
            candidate=candidate,
            target=target,
            upstream=upstream,
            operation=operation,
            passthrough=passthrough,
            of_interest=_AND_TOOLS if passthrough is not None and wants_back(profile) else _OF_INTEREST,
            betas=passthrough is not None and (profile.betas is not None or bool(profile.refused_betas)),
            whole=whole,
            streamed=streamed,
            renames=asked if snapshot.response_model == "requested" else None,
            standing=self._admit.standing(principal, asked, table=table, found=found),
            no_addresses=passthrough is not None and takes_no_addresses(profile),
            compat=snapshot.compat == "litellm",
        )

    # ------------------------------------------------------------------------------------------------------ the way back
    def answered(self, straight: "StraightCall") -> None:
        """The upstream's answer is whole: the client's."""
        call, lane = straight.call, straight.lane
        body = straight.whole()
        now_s = self._clock.steady_s()
        passthrough, stated = lane.passthrough, None
        try:
            if passthrough is not None:
                data, stated = passthrough.patch_response(body, model=lane.renames)
                usage = stated.usage
            else:
                data = self._attempt.tell(call, straight.coming_back(), body)
                usage = call.usage
        except (ValueError, RecursionError, WayportError):
            usage = None
        if usage is None or is_events(body):
            # An error under a good status, or something else that has to be looked at.
            straight.put_back(body)
            self.go_on(straight, None)
            return
        live = lane.candidate.live
        live.end()
        straight.left = True
        call.upstream_wait_s = took_s = now_s - call.asked_s
        if stated is not None:
            note_stated(call, stated)
            call.usage = usage
            call.usage_source = "reported"
        call.attempts[0].status = 200
        self._settle(call)
        call.client.respond(200, head_lines(call, JSON, passed_on(straight.headers, compat=lane.compat)), data)
        live.answered(
            now_s,
            took_s=took_s,
            first_s=None,
            tokens=usage.input_tokens + usage.output_tokens,
            output_tokens=usage.output_tokens,
        )
        self._health.succeeded(lane.deployment, now_s)
        straight.client.task = None
        self._load.calls -= 1
        call.fields = {}
        call.neutral = None

    def go_on(self, straight: "StraightCall", fault: TransportFault | None) -> None:
        """It is no ordinary call any more: the long way goes on with it."""
        lane = straight.lane
        straight.handed_over = True
        sent = Sent(straight.coming_back(), None if straight.unanswered else straight, fault)
        client: Taken = straight.client
        client.task = task = self._loop.create_task(self._long_way(straight, lane, sent))
        task.add_done_callback(lambda _: self._unless_begun(straight))

    async def _long_way(self, straight: "StraightCall", lane: Lane, sent: Sent) -> None:
        straight.began = True
        try:
            await self._pipeline.go_on(
                straight.call, sent, found=lane.found, table=lane.table, candidate=lane.candidate
            )
        finally:
            self._load.calls -= 1

    def _unless_begun(self, straight: "StraightCall") -> None:
        """A task that is cancelled before its first step runs nothing of what it is made of."""
        if not straight.began:
            straight.over = True
            straight.abort()
            self.cancelled(straight)

    def cancelled(self, straight: "StraightCall") -> None:
        """The client has left, or it is we who stop."""
        straight.call.attempts[0].error_class = "cancelled"
        self._leave(straight)
        self._pipeline.cancelled(straight.call)
        self._over(straight)

    def failed(self, straight: "StraightCall", error: Exception) -> None:
        """Our own mistake."""
        if not straight.left:
            self._leave(straight)
        self._pipeline.failed(straight.call, error)
        self._over(straight)

    def _leave(self, straight: "StraightCall") -> None:
        """The attempt came to no end that says anything of the deployment."""
        call, lane = straight.call, straight.lane
        call.upstream_wait_s = self._clock.steady_s() - call.asked_s
        record = call.attempts[0]
        record.status = straight.status
        record.duration_ms = call.upstream_wait_s * 1000
        lane.candidate.live.end()
        self._health.gave_up(lane.deployment)

    def _over(self, straight: "StraightCall") -> None:
        """It did not end well."""
        straight.client.task = None
        self._load.calls -= 1
        self._settle(straight.call)
        straight.call.let_go()


def _head(client: Client, lane: Lane, lines: bytes = b"") -> bytes:
    """`lines`: what the content asks for."""
    target = lane.target
    head = target.head + lines
    return head + forwarded(lane.upstream.name, client.header, taken=head, betas=target.takes_beta)


def _timeouts(deployment: Deployment, patience_s: float | None) -> tuple[Timeouts, Timeouts | None]:
    """Of whole answers and of streams, as the long way finds them for calls that wish nothing."""
    own = deployment.timeouts
    if patience_s is not None and (own.total_s is None or patience_s < own.total_s):
        own = replace(own, total_s=patience_s)
    if own.first_token_s is not None:
        return own, None
    return own, own if own.stream_idle_s is None else replace(own, idle_s=own.stream_idle_s)


class StraightCall(Answer, kw_only=True, eq=False):
    """One call on its way, the receiver of its own answer. Towards the client's connection it is what can be cancelled."""

    way: Straight
    call: Call
    lane: Lane
    client: Any
    prepared: Prepared | None = None
    """where the call was translated"""
    handed_over: bool = False
    began: bool = False
    """the task that it was handed to runs"""
    left: bool = False
    """the deployment has one call less in flight"""
    over: bool = False
    unanswered: bool = False

    def coming_back(self) -> Prepared:
        """How the answer comes back."""
        return self.prepared or Prepared(body=b"", upstream=self.lane.upstream, operation=self.lane.operation)

    def headed(self) -> None:
        super().headed()
        if self.status != 200 or self.call.stream or is_stream(self):
            self.waits()
            self.way.go_on(self, None)

    def end(self, error: Exception | None) -> None:
        super().end(error)
        if self.handed_over or self.over:
            return
        self.over = True
        try:
            if error is None:
                self.way.answered(self)
            elif isinstance(error, TransportFault):
                self.way.go_on(self, error)
            else:
                self.way.failed(self, error)
        except Exception as mistake:  # noqa: BLE001 (border: one request; `failed` answers and settles it)
            self.way.failed(self, mistake)

    def died_unanswered(self) -> None:
        self.unanswered = True
        super().died_unanswered()
        if not self.over:
            self.over = True
            self.way.go_on(self, None)

    def cancel(self, _: str = "") -> None:
        """As of a task."""
        if not self.over:
            self.over = True
            self.abort()
            self.way.cancelled(self)
