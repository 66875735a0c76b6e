"""The straight way: an ordinary call from its body to its answer, in the callbacks of two sockets, without a task.

Most calls are alike: a key that is remembered, a model whose deployments are healthy, nothing in the request that asks for
more. What such calls share is worked out once (lanes.py). Whatever is out of the ordinary takes the long way (pipeline.py),
and so does whatever becomes so: a call that was sent straight and is not answered with a plain success goes on there from
where it is, as does one that has chosen its deployment and cannot be sent at once.

What must stay true: a call is sent straight only if nothing of it need be awaited or refused, and until it is taken, nothing has
happened; what is chosen is chosen once, as strategies take turns; what is told, recorded and charged is what the long way
would have told, recorded and charged.
"""

import asyncio
from typing import Any, Final, Protocol

from wayport.access.authenticate import Authenticator
from wayport.core.clock import Clock
from wayport.core.errors import WayportError
from wayport.core.ids import NewId
from wayport.core.record import AttemptRecord
from wayport.pipeline import attribution
from wayport.pipeline.admission import Admit
from wayport.pipeline.answer_head import JSON, head_lines
from wayport.pipeline.attempt import ANSWER_BYTES, Attempt, is_events, is_stream, note_stated
from wayport.pipeline.call import Call
from wayport.pipeline.lanes import Ground, Knowing, Lane, Lanes, Way, head_of
from wayport.pipeline.pipeline import Pipeline
from wayport.pipeline.prepare import Prepared, points_to_media
from wayport.pipeline.sent import Sent
from wayport.pipeline.settle import Settlement
from wayport.routing.plan import Step
from wayport.routing.routing import Routing
from wayport.upstream.answer import Answer
from wayport.upstream.connection import FOREVER
from wayport.upstream.faults import TransportFault
from wayport.upstream.headers import passed_on
from wayport.upstream.heads import Headers
from wayport.upstream.transport import Transport
from wayport.wire import patch

_STREAMS: Final = {b"true": True, b"false": False, b"null": False}


class Taken(Knowing, Protocol):
    """A client whose call can be called off."""

    task: "asyncio.Task[None] | StraightCall | None"


class Load(Protocol):
    """What the worker carries."""

    calls: int


class Straight:
    """Takes ordinary calls. Its collaborators are those of the long way."""

    def __init__(
        self,
        *,
        lanes: Lanes,
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
        self._lanes = lanes
        self._pipeline = pipeline
        self._known = authenticator.known
        self._routing = routing
        self._health = routing.health
        self._admit = admit
        self._attempt = attempt
        self._settle = settle.__call__
        self._learned = attempt.lessons.learned
        self._pool_of = transport.pool_of
        self._load = load
        self._now_s = clock.now_s
        self._steady_s = clock.steady_s
        self._new_id = new_id
        self._loop = asyncio.get_running_loop()

    def forget(self) -> None:
        """The routing facts are others now."""
        self._lanes.forget()

    # ----------------------------------------------------------------------------------------------------- the way there
    def begin(self, client: Taken) -> bool:
        """Takes the call and answers it. False: it is for the long way, and nothing has happened."""
        # What is an attribute and called goes by a local name first, here as below: the interpreter is quicker at that.
        now_s, steady_s, known, new_id = self._now_s, self._steady_s, self._known, self._new_id
        began_s, began_steady_s = now_s(), steady_s()
        head = client.known
        caller = None if head is None else head.caller
        if caller is None:
            caller = self._lanes.caller(client)
            if caller is None:
                return False
        principal = known(caller.name, began_steady_s)
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
            way = self._lanes.way(client, caller, principal, model)
        ground = way.ground
        if ground is None:
            return False
        fan, attributed, stream = ground.fan, caller.attributed, False
        if not fan.of_note.isdisjoint(fields):
            if not fan.of_interest.isdisjoint(fields):
                return False
            attributed = True
        if "stream" in fields:
            stated = _STREAMS.get(bytes(fields["stream"]))
            if stated is None or (stated and not fan.streams):
                return False
            stream = stated
        if fan.no_addresses and points_to_media(body):
            return False
        call = Call(
            client,
            caller.dialect,
            new_id(),
            "chat",
            caller.path,
            began_s,
            began_steady_s,
            began_steady_s,
            len(body),
            fields=fields,
            model_asked=ground.asked,
            stream=stream,
            principal=principal,
            snapshot=ground.table.snapshot,
        )
        if attributed:
            attribution.attribute(call)
            asks = principal.asks
            if asks and (("end_user" in asks and call.end_user) or ("tag" in asks and call.tags)):
                # Whether they have limits is not known here.
                return False
        lane = way.lane
        if lane is not None:
            return self._go(call, client, ground, way, lane)
        step = self._first(call, ground)
        if step is None:
            return False
        # A turn is taken, and what takes turns may not be asked twice: it is ours, straight or not.
        branch = way.branches.get(step.candidate.id) if step.reason == "first" else None
        if branch is None or branch.lane is None or not self._go(call, client, ground, branch, branch.lane):
            self._by_task(call, client, ground, step)
        return True

    def _first(self, call: Call, ground: Ground) -> Step | None:
        """What the call's plan begins with. None: nothing was chosen."""
        try:
            return self._pipeline.plan(call, ground.found, ground.table).first(self._steady_s())
        except WayportError:
            # The long way refuses it, or waits.
            call.plan = None
            return None

    def _by_task(self, call: Call, client: Taken, ground: Ground, step: Step) -> None:
        """The long way from where the first step is known."""
        call.attempts, call.dropped, call.deployment, call.timeouts = [], [], None, None
        self._load.calls += 1
        task = client.task = self._loop.create_task(self._pipeline.go(call, step, table=ground.table))
        task.add_done_callback(self._went)

    def _went(self, _: "asyncio.Task[None]") -> None:
        self._load.calls -= 1

    def _go(self, call: Call, client: Taken, ground: Ground, way: Way, lane: Lane) -> bool:
        """Sends it. False: nothing was sent."""
        pool_of, steady_s = self._pool_of, self._steady_s
        deployment, target, stream, head = lane.deployment, lane.target, call.stream, way.head
        timeouts = lane.streamed if stream else lane.whole
        pool = pool_of(target.origin)
        if pool is None or not pool.idle or timeouts is None or deployment.id in self._learned:
            return False
        passthrough, prepared = lane.passthrough, None
        if passthrough is not None:
            try:
                sent, dropped = passthrough.patch_request(
                    call.fields, model=deployment.upstream_model, profile=deployment.profile, want_usage=stream
                )
            except (WayportError, ValueError, RecursionError):
                return False
            if dropped:
                if not deployment.drop_params:
                    return False
                call.dropped = [*dropped]
        record = AttemptRecord(
            deployment=deployment.id, provider=deployment.provider, model=deployment.upstream_model, reason="first"
        )
        call.attempts = [record]
        call.deployment = deployment
        call.timeouts = timeouts
        if passthrough is None:
            prepared = self._translated(call, lane)
            if prepared is None:
                return False
            sent, prepared.body = prepared.body, b""
            if prepared.lines:
                head = head_of(client, lane, prepared.lines)
        if way.trace is not None:
            head += way.trace.lines(call)
        if pool.relay is not None:
            head = pool.relay.absolute(head, target.origin)
        standing = ground.standing
        if standing is not None and not self._admit.at_once(call, standing):
            return False
        # From here on it is ours.
        call.asked_s = now_s = steady_s()
        record.started_ms = (now_s - call.steady_s) * 1000
        self._load.calls += 1
        lane.candidate.live.begin(now_s)
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
            ground=ground,
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

    # ------------------------------------------------------------------------------------------------------ the way back
    def answered(self, straight: "StraightCall", head: Headers, body: bytes) -> None:
        """The upstream's answer is whole: the client's."""
        call, ground, lane = straight.call, straight.ground, straight.lane
        steady_s, settle, health = self._steady_s, self._settle, self._health
        now_s = steady_s()
        passthrough, stated = lane.passthrough, None
        try:
            if passthrough is not None:
                data, stated = passthrough.patch_response(body, model=ground.renames)
                usage = stated.usage
            else:
                data = self._attempt.tell(call, straight.coming_back(), body)
                usage = None if is_events(body) else call.usage
        except (ValueError, RecursionError, WayportError):
            usage = None
        if usage is None:
            # An error under a good status, or something else that has to be looked at.
            Answer.arrived(straight, head, body)
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
        settle(call)
        call.client.respond(200, head_lines(call, JSON, passed_on(head, compat=ground.compat)), data)
        live.answered(now_s, took_s, usage)
        if not health.quiet:
            health.succeeded(lane.deployment, now_s)
        plan = call.plan
        if plan is not None:
            if plan.learns and plan.pins:
                self._routing.affinity.pin(plan.pins, lane.deployment.id, now_s)
            call.plan = None
        straight.client.task = None
        self._load.calls -= 1

    def go_on(self, straight: "StraightCall", fault: TransportFault | None) -> None:
        """It is no ordinary call any more: the long way goes on with it."""
        straight.handed_over = True
        sent = Sent(straight.coming_back(), None if straight.unanswered else straight, fault)
        client: Taken = straight.client
        client.task = task = self._loop.create_task(self._long_way(straight, sent))
        task.add_done_callback(lambda _: self._unless_begun(straight))

    async def _long_way(self, straight: "StraightCall", sent: Sent) -> None:
        straight.began = True
        ground = straight.ground
        try:
            await self._pipeline.go_on(
                straight.call, sent, found=ground.found, table=ground.table, candidate=straight.lane.candidate
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
        call.upstream_wait_s = self._steady_s() - call.asked_s
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


class StraightCall(Answer, kw_only=True, eq=False):
    """One call on its way, the receiver of its own answer. Towards the client's connection it is what can be cancelled."""

    way: Straight
    call: Call
    ground: Ground
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
        Answer.headed(self)
        if self.status != 200 or self.call.stream or is_stream(self):
            self.waits()
            self.way.go_on(self, None)

    def arrived(self, head: Headers, body: bytes) -> None:
        if self.handed_over or self.over:
            return
        if self.call.stream:
            Answer.arrived(self, head, body)
            self.waits()
            self.way.go_on(self, None)
        else:
            self._whole(head, body)

    def end(self, error: Exception | None) -> None:
        Answer.end(self, error)
        if self.handed_over or self.over:
            return
        if error is None:
            self._whole(self.head, self.whole())
            return
        self.over = True
        if isinstance(error, TransportFault):
            self.way.go_on(self, error)
        else:
            self.way.failed(self, error)

    def _whole(self, head: Headers, body: bytes) -> None:
        self.over = True
        try:
            self.way.answered(self, head, body)
        except Exception as mistake:  # noqa: BLE001 (border: one request; `failed` answers and settles it)
            self.status = 200
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
