"""The admit step of a call: what it may use is reserved on everything that binds it, before anything is sent.

Synchronous where the worker has leased enough; only to lease more, or to wait for money that others have reserved, it awaits.
"""

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from wayport.access import refusals
from wayport.access.admit import Admission, Amounts, Reservation
from wayport.access.beside import Holders, Who
from wayport.access.gauges import Account, Gauge
from wayport.access.principal import Holder, Principal
from wayport.core.record import CallRecord
from wayport.ledger.packing import Opening, Shared, joined, opening, opening_head, shared
from wayport.pipeline.bounds import Bound, Bounds, amounts_of, lower, tokens_of
from wayport.pipeline.call import Call
from wayport.pipeline.estimate import BYTES_PER_TOKEN, counted
from wayport.pipeline.settle import Journal, UnderWay, tags_of
from wayport.routing.table import Found, RoutingTable

_OPENINGS = 64


class Refusing(Protocol):
    def refusing(self) -> bool: ...


class Standing(Struct, eq=False):
    """What binds ordinary calls of one caller to one model, looked up once."""

    principal: Principal
    asked: str
    names: tuple[str, ...]
    """of the model, by which limits may know it"""
    bound: Bound | None
    """of what such a call costs"""
    account: Account | None = None
    turn: int = 0
    """when it was looked up"""


class Admit:
    """`full` tells whether the journal is, and budgeted calls are to be refused then."""

    def __init__(
        self,
        admission: Admission,
        holders: Holders,
        *,
        journal: Journal | None,
        under_way: UnderWay | None = None,
        full: Refusing | None = None,
        unpriced: Literal["refuse", "allow"] = "refuse",
        lease_holder: str = "",
        node: str = "",
        worker: int = 0,
    ) -> None:
        self.admission = admission
        self._holders = holders
        self._journal = journal
        self._under_way = under_way
        self._full = full
        self._allow_unpriced = unpriced == "allow"
        self._lease_holder = lease_holder
        self._node = node
        self._worker = worker
        self._bounds = Bounds()

    def beside(self, call: Call) -> Awaitable[None] | None:
        """Puts on the call its end user and its tags, if these have limits; returns what must be awaited for it. Raises
        `PermissionDenied` for who is blocked, and `Unavailable`.
        """
        assert call.principal is not None
        wanted = _beside(call, call.principal)
        known = self._holders.known(wanted)
        if known is None:
            return self._find(call, wanted)
        _join(call, known)
        return None

    async def _find(self, call: Call, wanted: list[Who]) -> None:
        _join(call, await self._holders.find(wanted))

    def __call__(self, call: Call, table: RoutingTable, *, in_line: bool = False) -> Awaitable[None] | None:
        """Reserves, or returns what must be awaited for it. Raises what `Admission.wait` raises.

        `in_line`: the call will wait for a place. Of budgets it takes nothing then, as long as they have something left.
        """
        plan, principal = call.plan, call.principal
        assert plan is not None
        assert principal is not None
        found, others = plan.found, call.beside
        account = self.admission.account(principal, call.model_asked, found.names, others)
        amounts, bound = self._amounts(call, table, money=bool(account.money))
        then = self._in_line if in_line else self._admitted
        taken = self.admission.take(account, amounts, self.admission.steady_s())
        if isinstance(taken, Reservation):
            then(call, taken)
            return None
        return self._wait(call, others, amounts, bound, then)

    def _in_line(self, call: Call, taken: Reservation) -> None:
        self.admission.without_money(taken)
        call.reservation = taken

    def at_turn(self, call: Call, table: RoutingTable) -> Awaitable[None] | None:
        """Reserves what a call that has waited in line has not taken yet, as `__call__`."""
        plan, principal = call.plan, call.principal
        assert plan is not None
        assert principal is not None
        if not self.admission.account(principal, call.model_asked, plan.found.names, call.beside).money:
            return None
        amounts, bound = self._amounts(call, table, money=True)
        return self._wait(call, call.beside, amounts, bound, self._joined)

    def _joined(self, call: Call, more: Reservation) -> None:
        taken: Reservation | None = call.reservation
        assert taken is not None
        taken.join(more)
        if self._journal is not None:
            self._open(call, self._packed(call, taken))

    def _amounts(self, call: Call, table: RoutingTable, *, money: bool) -> tuple[Amounts, Bound | None]:
        """What the call may use, and by what its cost is bounded."""
        plan = call.plan
        assert plan is not None
        money = money and call.operation != "count_tokens"
        if not money:
            return tokens_of(call), None
        bound = self._bounds.of_plan(table, plan)
        amounts = amounts_of(call, bound)
        if self._full is not None and self._full.refusing():
            raise refusals.spool_full()
        if amounts is None:
            if not self._allow_unpriced:
                raise refusals.unbounded(plan.found.name)
            amounts = tokens_of(call)
        return amounts, bound

    def at_once(self, call: Call, standing: "Standing") -> bool:
        """Reserves for a call without wishes that has just come. False: it must wait or be refused, and nothing was taken."""
        admission = self.admission
        account, now_s = standing.account, call.steady_s
        if account is None or not admission.gauges.holds(account, standing.turn, now_s):
            account = self._stand(standing)
        if account.money:
            if self._full is not None and self._full.refusing():
                return False
            amounts = amounts_of(call, standing.bound)
            if amounts is None:
                return False
        else:
            amounts = tokens_of(call)
        taken = admission.take(account, amounts, now_s)
        if isinstance(taken, Gauge):
            return False
        self._admitted(call, taken)
        return True

    def standing(self, principal: Principal, asked: str, *, table: RoutingTable, found: Found) -> "Standing | None":
        """Of all calls without wishes that this caller makes of this model. None: nothing may ever bind them."""
        if not principal.holders and not self.admission.binds_all:
            return None
        return Standing(principal, asked, found.names, self._bounds.of(table, found))

    def _stand(self, standing: "Standing") -> Account:
        account = self.admission.account(standing.principal, standing.asked, standing.names)
        standing.account, standing.turn = account, self.admission.gauges.turn
        return account

    async def _wait(
        self,
        call: Call,
        others: tuple[Holder, ...],
        amounts: Amounts,
        bound: Bound | None,
        then: Callable[[Call, Reservation], None],
    ) -> None:
        plan, principal = call.plan, call.principal
        assert plan is not None
        assert principal is not None
        deployments = plan.found.deployments
        preferred = deployments[0].profile.max_tokens_field if deployments else "max_tokens"

        def smaller(left_nano_usd: int) -> int | None:
            return None if bound is None else lower(call, bound, left_nano_usd, preferred=preferred)

        taken = await self.admission.wait(
            principal,
            call.model_asked,
            plan.found.names,
            others=others,
            amounts=amounts,
            lower=smaller,
            beyond=None if call.reservation is None else call.reservation.account,
        )
        then(call, taken)

    async def further(self, call: Call, names: tuple[str, ...]) -> None:
        """Reserves for a call that was admitted what binds the model of these names beside: a fallback, or what `auto`
        chose. Raises what `Admission.wait` raises; nothing is lowered for it.
        """
        principal = call.principal
        taken: Reservation | None = call.reservation
        assert principal is not None
        assert taken is not None
        before = taken.account
        account = self.admission.account(principal, call.model_asked, names, call.beside).beyond(before)
        if not account.gauges:
            return
        amounts = self._of_another(call, taken, money=bool(account.money))
        more = await self.admission.wait(
            principal,
            call.model_asked,
            names,
            others=call.beside,
            amounts=amounts,
            lower=lambda _: None,
            beyond=before,
        )
        taken.join(more)
        if more.account.money and self._journal is not None:
            slot = call.open_slot
            self._open(call, self._packed(call, taken))
            if slot and self._under_way is not None:
                self._under_way.close(slot)

    def _of_another(self, call: Call, taken: Reservation, *, money: bool) -> Amounts:
        """What the call may use at a model that it was not admitted to. Of the money that it may cost budgets of others
        may have reserved as much.
        """
        plan = call.plan
        assert plan is not None
        if not taken.account.money:
            return self._amounts(call, plan.table, money=money)[0]
        amounts = tokens_of(call)
        amounts.nano_usd = taken.nano_usd if money else 0
        return amounts

    def _admitted(self, call: Call, taken: Reservation) -> None:
        """Before anything is sent: should this process die, the call costs what is reserved for it."""
        call.reservation = taken
        account = taken.account
        if not account.money or self._journal is None:
            return
        packed = None
        if call.end_user is None and not call.tags:
            head = account.openings.get((call.route, call.stream)) or self._share(account, call)
            packed = opening(head, call.id, call.started_s, taken.nano_usd)
        self._open(call, packed or self._packed(call, taken))

    def _open(self, call: Call, packed: bytes) -> None:
        assert self._journal is not None
        call.open_slot = 0 if self._under_way is None else self._under_way.open(packed)
        if not call.open_slot:
            self._journal.append(msgspec.msgpack.decode(packed, type=CallRecord))

    def _share(self, account: Account, call: Call) -> bytes:
        openings = account.openings
        if len(openings) >= _OPENINGS:
            openings.clear()
        head = openings[call.route, call.stream] = opening_head(self._common(account, call, account.principal.tags))
        return head

    def _packed(self, call: Call, taken: Reservation) -> bytes:
        own = Opening(call.id, call.started_s, call.started_s, taken.nano_usd, call.end_user)
        own.tags = tags_of(taken.account.principal.tags, call.tags)
        return joined(self._common(taken.account, call, ()), own)

    def _common(self, account: Account, call: Call, tags: tuple[str, ...]) -> Shared:
        principal = account.principal
        record = CallRecord(
            call_id="",
            started_s=0.0,
            ended_s=0.0,
            node=self._node,
            worker=self._worker,
            key_hash=principal.key_hash,
            key_alias=principal.key_alias,
            user_id=principal.user_id,
            team_id=principal.team_id,
            organization_id=principal.organization_id,
            project_id=principal.project_id,
            model_asked=call.model_asked,
            budget_windows=account.windows,
            lease_holder=self._lease_holder,
            opened=True,
            operation=call.operation,
            route=call.route,
            client_dialect=call.dialect.name,
            tags=list(tags),
            stream=call.stream,
        )
        return shared(record)

    def settle(self, call: Call, nano_usd: int, now_s: float) -> Reservation | None:
        """Charges a call that was admitted: what it did not use is given back. Contains no await. Returns what it had
        reserved of budgets.
        """
        taken: Reservation | None = call.reservation
        if taken is None:
            return None
        call.reservation = None
        call.charged = taken
        usage, deployment = call.usage, call.deployment
        if usage is not None and deployment is not None and deployment.unvouched:
            said = call.said_tokens or call.content_bytes // BYTES_PER_TOKEN
            usage = counted(usage, request_bytes=call.request_bytes, said_tokens=said)
        self.admission.settle(taken, nano_usd, usage, now_s)
        return taken if taken.account.money else None


def _join(call: Call, others: tuple[Holder, ...]) -> None:
    for other in others:
        if other.blocked:
            assert call.snapshot is not None
            raise refusals.end_user_blocked(call.snapshot.compat, other.id)
    call.beside = others


def _beside(call: Call, principal: Principal) -> list[Who]:
    wanted: list[Who] = []
    if "end_user" in principal.asks and call.end_user:
        wanted.append(("end_user", call.end_user))
    if "tag" in principal.asks:
        wanted += [("tag", tag) for tag in tags_of(principal.tags, call.tags)]
    return wanted
