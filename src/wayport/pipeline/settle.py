"""The end of every call: cost, counters, journal. Runs whatever happened, once, and contains no await.

What must stay true: nothing is free by vanishing. An attempt whose body was sent has a usage, reported or estimated.
"""

from collections.abc import Callable
from typing import Protocol

from wayport.access.admit import Reservation
from wayport.access.principal import Principal
from wayport.core.clock import Clock
from wayport.core.errors import ClientGone, UpstreamFault, WayportError
from wayport.core.record import AttemptRecord, CallRecord, Status
from wayport.core.secret import mask
from wayport.core.usage import Usage, plausible
from wayport.ledger.packing import Own, joined, shared, unpacked
from wayport.ledger.pricing import cost
from wayport.pipeline.call import PROBES_ROUTE, Call
from wayport.pipeline.target_budgets import TargetBudgets
from wayport.routing.snapshot import Deployment

_BYTES_PER_TOKEN = 4
_ERROR_CHARS = 500
_KINDS = 1024
_AGENT_CHARS = 100


class Journal(Protocol):
    def append(self, record: CallRecord) -> bool:
        """False: it could not be kept."""
        ...

    def keep(self, packed: bytes, nano_usd: int) -> bool:
        """The same of a record as MessagePack; `nano_usd`: what it costs."""
        ...


class UnderWay(Protocol):
    """Where calls that a budget bounds are kept until their end."""

    def open(self, payload: bytes) -> int:
        """Where it is kept; 0: there is no room."""
        ...

    def close(self, slot: int) -> None: ...


class Traces(Protocol):
    """Remembers the latest calls, for those who ask why they went where they went."""

    @property
    def add(self) -> Callable[[CallRecord], None]: ...
    @property
    def keep(self) -> Callable[[bytes], None]:
        """The same of a record as MessagePack."""
        ...


class Settlement:
    """Turns a call into its record and hands that to the journal."""

    def __init__(
        self,
        *,
        journal: Journal | None,
        traces: Traces,
        clock: Clock,
        node: str = "",
        worker: int = 0,
        charge: Callable[[Call, int, float], Reservation | None] | None = None,
        lease_holder: str = "",
        targets: TargetBudgets | None = None,
        under_way: UnderWay | None = None,
    ) -> None:
        """`charge`: gives back what the call took of its limits and did not use, and returns what it had reserved of budgets.
        `lease_holder`: on whose leases it did so.
        """
        self._journal = journal
        self._traces = traces
        self._keep_trace = traces.keep
        self._steady_s = clock.steady_s
        self._charge = charge
        self._lease_holder = lease_holder
        self._targets = targets
        self._under_way = under_way
        self._node = node
        self._worker = worker
        self._kinds: dict[_Key, _Kind] = {}
        self.refused = 0
        """calls refused before a principal was known: counted, not journaled"""

    def __call__(self, call: Call) -> None:
        """Settles a call. The second time does nothing."""
        if call.ended:
            return
        call.ended = True
        principal, deployment, usage = call.principal, call.deployment, call.usage
        if principal is None:
            self.refused += 1
            return
        if usage is None and isinstance(call.error, ClientGone) and deployment is not None and deployment.base_url:
            # The upstream was asked and nobody waited for its answer: it bills what it was sent.
            call.usage = usage = Usage(input_tokens=call.request_bytes // _BYTES_PER_TOKEN)
            call.usage_source = "estimated"
        if usage is not None:
            likely = plausible(usage)
            if likely is not usage:
                call.usage = usage = likely
            if deployment is not None:
                call.cost = cost(usage, deployment.price, service_tier=call.service_tier, at_s=call.started_s)
        kept = self._keep(call, principal, deployment)
        if kept and call.open_slot and self._under_way is not None:
            # Where its end could not be kept, its beginning stays: it costs what was reserved when this process ends.
            self._under_way.close(call.open_slot)

    def _keep(self, call: Call, principal: Principal, deployment: Deployment | None) -> bool:
        good, price, charge = call.error is None and len(call.attempts) == 1, call.cost, self._charge
        wasted_nano_usd = 0 if good else _wasted(call)
        nano_usd = 0 if price is None else price.total_nano_usd or 0
        held = None
        steady_s = self._steady_s
        now_s = steady_s()
        if charge is not None and call.reservation is not None:
            held = charge(call, nano_usd + wasted_nano_usd, now_s)
        own = self._own(call, principal, held, now_s)
        key = (id(principal), id(deployment), call.route, call.model_asked, call.operation)
        kind = self._kinds.get(key) or self._kind(key, call, principal, deployment)
        targets, journal = self._targets, self._journal
        if good and (targets is None or not targets.any):
            # As nearly all calls do, it went well at the first attempt: no record is made, only its bytes.
            try:
                packed = joined(kind.shared, own)
            except (ValueError, TypeError, OverflowError):
                pass  # Lone surrogates or the like: the journal knows what to do with a record.
            else:
                self._keep_trace(packed)
                return journal is None or journal.keep(packed, nano_usd)
        record = unpacked(kind.record, own)
        # What copies of one record would share: it is written to, call by call.
        record.target_windows = {}
        record.wasted_nano_usd = wasted_nano_usd
        error = call.error
        if error is not None:
            record.status = _status(call, error)
            record.http_status = error.status
            record.error_class = error.fault.kind if isinstance(error, UpstreamFault) else type(error).__name__
            record.error = mask(error.message)[:_ERROR_CHARS]
        if targets is not None and targets.any:
            targets.charge(record, deployment)
        self._traces.add(record)
        return journal is None or journal.append(record)

    def _own(self, call: Call, principal: Principal, held: Reservation | None, now_s: float) -> Own:
        """What is the call's own of its record. `held`: what it had reserved of budgets."""
        client, price, attempts, plan = call.client, call.cost, call.attempts, call.plan
        started_s, began_s, tags, of_key = call.started_s, call.steady_s, call.tags, principal.tags
        took_s = now_s - began_s
        if attempts and not (last := attempts[-1]).duration_ms:
            # It goes on until its last bytes are out, and they wait for this record.
            last.duration_ms = took_s * 1000 - last.started_ms
        agent = client.header(b"user-agent")
        return Own(
            call.id,
            started_s,
            started_s + took_s,
            "" if agent is None else agent[:_AGENT_CHARS].decode("latin-1"),
            client.client[0],
            call.end_user,
            tags_of(of_key, tags) if of_key else tags,
            call.session_id,
            call.trace_id,
            call.parent_span_id,
            call.metadata,
            call.upstream_id,
            call.stream,
            attempts,
            [] if plan is None else plan.decisions,
            call.finish,
            call.usage,
            call.usage_source,
            None if price is None else price.total_nano_usd,
            {} if price is None else price.parts,
            call.service_tier,
            None if call.first_content_s is None else (call.first_content_s - began_s) * 1000,
            (took_s - call.upstream_wait_s) * 1000,
            call.dropped,
            call.request_bytes,
            0 if held is None else held.nano_usd,
            () if held is None else held.account.windows,
            "" if held is None else self._lease_holder,
        )

    def _kind(self, key: "_Key", call: Call, principal: Principal, deployment: Deployment | None) -> "_Kind":
        """What the records of all calls of one caller at one deployment share."""
        record = CallRecord(
            call_id="",
            started_s=0.0,
            ended_s=0.0,
            node=self._node,
            worker=self._worker,
            operation=call.operation,
            route=call.route,
            client_dialect=call.dialect.name,
            key_hash=principal.key_hash,
            key_alias=principal.key_alias,
            user_id=principal.user_id,
            team_id=principal.team_id,
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            model_asked=call.model_asked,
        )
        if deployment is not None:
            record.model = deployment.model
            record.upstream_model = deployment.upstream_model
            record.deployment = deployment.id
            record.provider = deployment.provider
            record.upstream_dialect = deployment.dialect
            if deployment.price is not None:
                record.price_source = deployment.price.source
                record.price_version = deployment.price.version
        if deployment is None or deployment.clients_own or call.route == PROBES_ROUTE:
            # Seen once: what a refused client wrote, what it brought with it, what a probe made up.
            return _Kind(record, principal, deployment)
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        # The two stay alive with it, so that no others can come by their identities.
        kind = self._kinds[key] = _Kind(record, principal, deployment)
        return kind


_Key = tuple[int, int, str, str, str]


class _Kind:
    """Records of one kind."""

    __slots__ = ("deployment", "principal", "record", "shared")

    def __init__(self, record: CallRecord, principal: Principal, deployment: Deployment | None) -> None:
        self.record = record
        """to be copied"""
        self.shared = shared(record)
        self.principal = principal
        self.deployment = deployment


def _wasted(call: Call) -> int:
    """What abandoned attempts cost; the last one is in the call's own cost, where it left something to be counted."""
    abandoned = call.attempts if call.cost is None else call.attempts[:-1]
    return sum(attempt.cost_nano_usd or 0 for attempt in abandoned)


def tags_of(of_key: tuple[str, ...], of_call: list[str]) -> list[str]:
    """Each once: what is spent on a tag must not count twice."""
    return list(dict.fromkeys((*of_key, *of_call))) if of_key else of_call


def _status(call: Call, error: WayportError) -> Status:
    if isinstance(error, ClientGone):
        return "cancelled"
    if call.first_content_s is not None:
        return "cut"
    return "failure"


def abandon(call: Call, attempt: AttemptRecord, deployment: Deployment, usage: Usage | None) -> None:
    """Puts on an attempt that came to nothing what it cost: its own statement, else an estimate from what was sent."""
    if usage is None:
        usage = Usage(input_tokens=call.request_bytes // _BYTES_PER_TOKEN)
        attempt.usage_source = "estimated"
    else:
        usage = plausible(usage)
        attempt.usage_source = "reported"
    attempt.usage = usage
    attempt.cost_nano_usd = cost(usage, deployment.price).total_nano_usd
