"""The loop over the plan: retry, next link, fallback. Ends with the client answered, or with the last fault.

What must stay true: every attempt that is begun is ended in the counters, whatever becomes of it; nothing is tried after
content went out; the attempts of a call are bounded by its plan.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol, TypeVar

from wayport.core.clock import Clock
from wayport.core.errors import (
    BadRequest,
    CredentialMissing,
    Fault,
    RateLimited,
    Unavailable,
    UpstreamFault,
    WayportError,
)
from wayport.core.net import Timeouts
from wayport.core.record import AttemptRecord
from wayport.core.secret import mask
from wayport.dialects.neutral import Delta, Response, unfold
from wayport.pipeline import mocks
from wayport.pipeline.call import Call
from wayport.pipeline.sent import Sent
from wayport.pipeline.settle import abandon
from wayport.routing.affinity import response_key
from wayport.routing.plan import Plan, Step
from wayport.routing.refusals import FULL
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment
from wayport.routing.wishes import NO_WISHES

_E = TypeVar("_E", bound=WayportError)

_FULL = Fault(kind="rate_limit", status=429, message="as many calls as it takes", body_sent=False)
_USED_UP = Fault(kind="quota", status=429, message="its limits are used up", body_sent=False)
_BILLED = frozenset({"timeout", "cut", "malformed"})
"""failures after which the upstream may have worked, and bill"""


class Makes(Protocol):
    async def say(
        self, call: Call, deployment: Deployment, response: Response, deltas: Iterable[Delta]
    ) -> Fault | None:
        """Gives the client an answer that no upstream made."""
        ...

    async def make(
        self, call: Call, deployment: Deployment, record: AttemptRecord, *, sent: Sent | None = None
    ) -> Fault | None:
        """One try, or the rest of one that was sent already. Returns the fault that broke an answer after its beginning, raises the one before it."""
        ...


class Admits(Protocol):
    async def further(self, call: Call, names: tuple[str, ...]) -> None:
        """Reserves what binds the model of these names, for a call that was admitted to another. Raises the refusal."""
        ...


async def tries(
    call: Call,
    step: Step,
    *,
    admit: Admits,
    attempt: Makes,
    routing: Routing,
    clock: Clock,
    sent: Sent | None = None,
) -> None:
    """Makes attempts until one has answered. Raises the fault that no further attempt could mend.

    `sent`: the first attempt is under way, and counted as begun.
    """
    plan = call.plan
    assert plan is not None
    assert call.snapshot is not None
    cooldown_s = call.snapshot.router.cooldown_s
    last: UpstreamFault | None = None
    asked = plan.found
    while True:
        if step.wait_s > 0:
            await asyncio.sleep(step.wait_s)
        if sent is None and call.reservation is not None and (step.public_name != asked.name or asked.auto):
            step = await _permitted(call, plan, step, last, admit=admit, clock=clock)
        deployment = step.deployment
        most, slots = deployment.max_parallel, None
        if most is not None and (
            step.candidate.live.in_flight >= most
            or ((slots := step.candidate.live.slots) is not None and slots.full(sure=True) and not await slots.more())
        ):
            # Others were faster while this call waited for its turn, or were asked in vain for a slot.
            step = await _elsewhere(call, plan, step, last, routing=routing, clock=clock)
            call.upstream_wait_s += step.queued_s
            continue
        if step.fields:
            call.fields = {**call.fields, **step.fields}
            call.neutral = None
        if sent is None:
            began_s = clock.steady_s()
            record = _begin(call, step, began_s)
            routing.begin(step, began_s)
            if slots is not None:
                slots.take()
        else:
            # No deployment with a `max_parallel` is called before it comes to this.
            began_s, record = call.asked_s, call.attempts[-1]
        waited_s = call.upstream_wait_s
        unable: WayportError | None = None
        try:
            timeouts = _timeouts(call, plan, deployment, began_s)
            call.timeouts = timeouts
            if sent is not None:
                begun, sent = sent, None
                fault = await attempt.make(call, deployment, record, sent=begun)
            elif plan.wishes.mocks and mocks.permitted(call):
                fault = await _mocked(attempt, call, step, record)
            elif call.stream and timeouts.first_token_s is not None:
                fault = await _in_time(attempt, call, deployment, record, timeouts.first_token_s)
            else:
                fault = await attempt.make(call, deployment, record)
        except UpstreamFault as error:
            refused, fault = _bare(error), error.fault
        except (BadRequest, CredentialMissing) as error:
            if not _is_targets(call, error):
                routing.health.gave_up(deployment)
                raise
            unable = _bare(error)
            fault = _inability(error)
            refused = UpstreamFault(fault)
        except BaseException as error:
            # The client left, or the mistake is ours: it says nothing of the deployment.
            routing.health.gave_up(deployment)
            if isinstance(error, asyncio.CancelledError):
                record.error_class = "cancelled"
            raise
        else:
            _answered(call, step, record, fault, routing, began_s=began_s, now_s=clock.steady_s())
            if fault is not None:
                routing.failed(step, fault, clock.steady_s(), cooldown_s)
            return
        finally:
            now_s = clock.steady_s()
            step.candidate.live.end()
            if most is not None:
                if slots is not None:
                    slots.end()
                if routing.lines.waiting:
                    routing.lines.freed()
            if not record.duration_ms:
                record.duration_ms = (now_s - began_s) * 1000
            if call.upstream_wait_s == waited_s:
                call.upstream_wait_s += now_s - began_s
        _note(record, fault)
        if unable is None:
            routing.failed(step, fault, now_s, cooldown_s)
            last = refused
        else:
            routing.health.gave_up(deployment)
        if fault.body_sent and fault.kind in _BILLED:
            abandon(call, record, deployment, call.usage)
        following = plan.after(deployment, fault, now_s, unable=unable is not None)
        if following is not None and not _affordable(call, record):
            # The budget has no room for another try beside what this one may have cost.
            following = None
        if following is None:
            if unable is not None and last is None:
                raise unable
            # What an upstream said weighs more than that the last target could not be told the request.
            final = last or refused
            final.provider = final.provider or deployment.provider
            final.deployment = final.deployment or deployment.id
            raise final
        if unable is None:
            refused.provider, refused.deployment = deployment.provider, deployment.id
        _forget(call)
        step = following


async def _permitted(
    call: Call, plan: Plan, step: Step, last: UpstreamFault | None, *, admit: Admits, clock: Clock
) -> Step:
    """The step to another model than the call was admitted to, or the first one after it whose limits leave room."""
    while True:
        try:
            await admit.further(call, plan.names(step))
        except (BadRequest, RateLimited, Unavailable) as refused:
            following = plan.instead(step, _USED_UP, clock.steady_s())
            if following is None:
                raise (last or refused) from None
            step = following
        else:
            return step


async def _elsewhere(
    call: Call, plan: Plan, full: Step, last: UpstreamFault | None, *, routing: Routing, clock: Clock
) -> Step:
    """The step in the place of one whose deployment has no room any more. Raises what is told where there is none."""
    following = plan.elsewhere(full, _FULL, clock.steady_s())
    if following is not None:
        return following
    if last is not None:
        raise last
    refused = RateLimited(
        f"Every deployment of `{full.public_name}` has as many calls as it takes.", code=FULL, retry_after_s=1
    )
    if call.attempts:
        # It would ask again where it was told no.
        raise refused
    principal = call.principal
    return await routing.lines.turn_of(plan, refused, clock, of=None if principal is None else principal.key_hash)


def _affordable(call: Call, failed: AttemptRecord) -> bool:
    return call.reservation is None or not failed.cost_nano_usd or call.reservation.extend(failed.cost_nano_usd)


def _begin(call: Call, step: Step, began_s: float) -> AttemptRecord:
    deployment = step.deployment
    record = AttemptRecord(
        deployment=deployment.id,
        provider=deployment.provider,
        model=deployment.upstream_model,
        started_ms=(began_s - call.steady_s) * 1000,
        wait_ms=(step.wait_s + step.queued_s) * 1000,
        reason=step.reason,
    )
    call.attempts.append(record)
    call.deployment = deployment
    return record


# ------------------------------------------------------------------------------------------------------------- timeouts
def _timeouts(call: Call, plan: Plan, deployment: Deployment, now_s: float) -> Timeouts:
    """The deployment's timeouts; what the request asks wins, and all attempts together end when the call's time does."""
    own = deployment.timeouts
    wishes = plan.wishes
    left_s = None if plan.until_s is None else max(0.001, plan.until_s - now_s)
    if wishes is NO_WISHES and own.stream_idle_s is None and (left_s is None or left_s >= (own.total_s or left_s + 1)):
        return own
    idle_s = own.idle_s
    if call.stream:
        idle_s = wishes.idle_s or own.stream_idle_s or idle_s
    total_s = own.total_s if wishes.total_s is None else wishes.total_s
    return Timeouts(
        connect_s=own.connect_s,
        first_byte_s=own.first_byte_s if wishes.total_s is None else None,
        idle_s=idle_s,
        total_s=left_s if total_s is None or (left_s is not None and left_s < total_s) else total_s,
        first_token_s=wishes.first_token_s or own.first_token_s,
    )


async def _in_time(
    attempt: Makes, call: Call, deployment: Deployment, record: AttemptRecord, first_s: float
) -> Fault | None:
    """An attempt whose first content must come within `first_s`."""
    try:
        async with asyncio.timeout(None) as scope:
            loop = asyncio.get_running_loop()

            def expire() -> None:
                # Once content went out the stream lives by its own pauses.
                if call.first_content_s is None:
                    scope.reschedule(loop.time())

            timer = loop.call_later(first_s, expire)
            try:
                return await attempt.make(call, deployment, record)
            finally:
                timer.cancel()
    except TimeoutError:
        message = f"{deployment.provider} sent nothing of its answer within {first_s:g} s (`ttft_timeout`)."
        raise UpstreamFault(Fault(kind="timeout", status=0, message=message)) from None


async def _mocked(attempt: Makes, call: Call, step: Step, record: AttemptRecord) -> Fault | None:
    plan = call.plan
    assert plan is not None
    response = await mocks.play(call, step, plan.wishes.mocks)
    if response is None:
        return await attempt.make(call, step.deployment, record)
    return await attempt.say(call, step.deployment, response, unfold(response))


# -------------------------------------------------------------------------------------------------------------- outcome
def _is_targets(call: Call, error: WayportError) -> bool:
    """Whether it was this target that could not be told the request, rather than the request that is wrong."""
    if isinstance(error, CredentialMissing):
        return True
    # A request that was read was right; what then failed was the writing of it for this target.
    return error.code in ("unsupported_parameter", "operation_not_supported") or call.neutral is not None


def _bare(error: _E) -> _E:
    """Without the frames that it went through: they would hold the whole call in a circle."""
    error.__traceback__ = error.__context__ = None
    return error


def _inability(error: WayportError) -> Fault:
    return Fault(
        kind="unsupported_param" if isinstance(error, BadRequest) else "authentication",
        status=error.status,
        message=error.message,
        param=error.param,
        code=error.code,
        body_sent=False,
    )


def _answered(
    call: Call,
    step: Step,
    record: AttemptRecord,
    fault: Fault | None,
    routing: Routing,
    *,
    began_s: float,
    now_s: float,
) -> None:
    """Something of an answer reached the client: what is to be learned of it."""
    usage = call.usage
    if fault is not None:
        _note(record, fault)
        if usage is not None:
            step.candidate.live.used(usage.total_tokens)
        return
    deployment = step.deployment
    routing.health.succeeded(deployment, now_s)
    first_s = None if call.first_content_s is None or not call.stream else call.first_content_s - began_s
    step.candidate.live.answered(now_s, now_s - began_s, usage, first_s)
    plan = call.plan
    if plan is not None and plan.learns:
        if plan.pins:
            routing.affinity.pin(plan.pins, deployment.id, now_s)
        if call.upstream_id is not None and call.dialect.name == "openai_responses":
            routing.affinity.pin((response_key(call.upstream_id),), deployment.id, now_s)


def _note(record: AttemptRecord, fault: Fault) -> None:
    record.status = fault.status
    record.error_class = fault.kind
    record.error = mask(fault.message)[:500]


def _forget(call: Call) -> None:
    """What a failed attempt left on the call must not colour the next one."""
    call.usage = None
    call.usage_source = "none"
    call.finish = None
    call.upstream_id = None
    call.service_tier = None
    call.content_bytes = 0
    call.said_tokens = 0
    call.dropped = []
