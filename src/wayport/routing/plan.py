"""The plan of one call: which deployment is tried next, after what wait, and when to give up. Deterministic under an
injected random source; no I/O.

What must stay true: `num_retries: 2` means at most three attempts at a model; where another deployment can answer, nobody
waits; what is the client's own fault is tried once; no model is visited twice; a deployment that would say the same again
is not asked again.
"""

from collections.abc import Collection, Mapping
from typing import Literal

from msgspec import Raw, Struct
from msgspec.structs import replace

from wayport.core.errors import CredentialMissing, Fault, FaultClass, ModelNotFound, WayportError
from wayport.core.record import Decision
from wayport.routing import onward
from wayport.routing.choice import Ask, Asking, Choice, Chooser, Line, Turn
from wayport.routing.group import Candidate, Group
from wayport.routing.refusals import nobody
from wayport.routing.retry import FINAL, NOT_AGAIN, backoff_s, retries_for
from wayport.routing.snapshot import Deployment, QueuePolicy, RouterPolicy
from wayport.routing.table import Found, RoutingTable
from wayport.routing.wishes import NO_WISHES, Link, Wishes

Reason = Literal["first", "retry", "next", "fallback"]

_NO_FIELDS: Mapping[str, Raw] = {}
_TRUE = Raw(b"true")
DEPLOYMENTS_OWN = "mock_deployments"
"""beside what a request asks to be made up: there are deployments whose answers are"""


class Step(Struct, frozen=True):
    candidate: Candidate
    wait_s: float
    reason: Reason
    public_name: str
    again: bool = False
    """this call has been there before"""
    queued_s: float = 0.0
    """waited for a place"""
    fields: Mapping[str, Raw] = _NO_FIELDS
    """of the request, that are other for this fallback"""

    @property
    def deployment(self) -> Deployment:
        return self.candidate.deployment


class Plan:
    """Asked for one step at a time; each answer takes into account what failed before."""

    __slots__ = (
        "_asking", "_attempts", "_chooser", "_found", "_hops", "_led_on", "_policy", "_tried", "_turn", "_visited",
        "decisions", "found", "learns", "pins", "table", "until_s", "wishes",
    )  # fmt: skip

    def __init__(
        self,
        found: Found,
        table: RoutingTable,
        chooser: Chooser,
        *,
        asking: Asking,
        wishes: Wishes = NO_WISHES,
        until_s: float | None = None,
    ) -> None:
        """`until_s`: steady seconds at which the caller's patience ends. Raises `PermissionDenied` for fallbacks of a request
        that its key may not use, where that is the rule.
        """
        if wishes.fallbacks:
            asking.check_fallbacks([link.name for link in wishes.fallbacks])
        if table.mocked:
            wishes = replace(wishes, mocks={**wishes.mocks, DEPLOYMENTS_OWN: _TRUE})
        if (region := asking.region()) is not None:
            wishes = replace(wishes, region=region)
        self.found = found
        """as asked"""
        self.wishes = wishes
        self.decisions: list[Decision] = []
        self.pins: tuple[str, ...] = ()
        """what leads the next request of this kind to where this one was answered"""
        self.until_s = until_s
        """when the caller's patience ends, in steady seconds"""
        self.learns = False
        """there was a choice: where it was answered is worth remembering"""
        self._found = found
        self.table = table
        self._chooser = chooser
        self._asking = asking
        self._policy: RouterPolicy = table.snapshot.router
        self._hops = 0
        self._led_on: tuple[Found, Fault] | None = None
        """the model before the latest fallback, and its failure"""
        self._visited: set[str] = {found.name}
        self._attempts = 0
        self._tried: dict[str, FaultClass] = {}
        self._turn: Turn = "behind"

    # ------------------------------------------------------------------------------------------------------- steps
    def first(self, now_s: float, *, turn: bool = False) -> Step:
        """The first step. Raises `WayportError` if nobody can be called: what is missing, resting or used up.

        `turn`: it is this call's, though others wait. It stays the first of them where it would have to ask for room.
        """
        self._turn = "first" if turn else "behind"
        found = self._found
        single = self._chooser.only(found, self.wishes)
        if single is not None:
            self._attempts = 1
            return Step(single, 0.0, "first", found.name)
        choice = self._choose(found, now_s, "first", ())
        if choice.candidate is not None:
            self._attempts = 1
            return Step(choice.candidate, 0.0, "first", found.name)
        refusal = nobody(found, self._group(found), choice, now_s, compat=self.table.snapshot.compat)
        step = self._fallback(choice.hindrance, now_s) if onward.allowed(self._policy, choice.hindrance) else None
        if step is None:
            raise refusal
        return step

    def begun(self, candidate: Candidate) -> Step:
        """The first step, which has been made already."""
        self._attempts = 1
        return Step(candidate, 0.0, "first", self._found.name)

    def after(self, failed: Deployment, fault: Fault, now_s: float, *, unable: bool = False) -> Step | None:
        """The step after a failed one, or None: then the fault is the client's answer.

        `unable`: nothing was sent, as this target cannot be told the request.
        """
        self._turn = "past"
        self._tried[failed.id] = "unsupported_param" if unable else fault.kind
        if fault.kind in FINAL and not unable:
            return None
        if self.until_s is not None and now_s >= self.until_s:
            return None
        on = onward.allowed(self._policy, fault)
        model = self._found.model
        if (on or not model.ordered) and (step := self._next(fault, now_s)) is not None:
            return step
        if not unable and (step := self._again(fault, now_s, on=on)) is not None:
            return step
        return self._fallback(fault, now_s) if on else None

    def elsewhere(self, step: Step, fault: Fault, now_s: float) -> Step | None:
        """The step in the place of one whose deployment turned out to have no room: another of the same model, as if it
        had been chosen at first, else what follows on the fault.
        """
        if not step.again:
            choice = self._choose(self._found, now_s, step.reason, self._tried)
            if choice.candidate is not None:
                return replace(step, candidate=choice.candidate, wait_s=0.0, queued_s=0.0)
        return self.after(step.deployment, fault, now_s)

    def instead(self, step: Step, fault: Fault, now_s: float) -> Step | None:
        """The step in the place of one whose model's limits the caller has used up: another model, or None."""
        if self._led_on is not None and step.reason == "fallback":
            # As if it had been passed over: the next one that may take over after the same failure.
            self._found, failure = self._led_on
            self._hops -= 1
            return self._fallback(failure, now_s)
        found = self._found
        for deployment in found.deployments:
            if not found.auto or deployment.model == step.deployment.model:
                self._tried[deployment.id] = fault.kind
        # Nothing was sent.
        self._attempts -= 1
        return self.after(step.deployment, fault, now_s)

    def _next(self, fault: Fault, now_s: float) -> Step | None:
        """Another deployment of the same model, at once."""
        found = self._found
        ordered = found.model.ordered
        if (fault.kind == "content_policy" and not ordered) or self._attempts >= self._most(fault, walk=True):
            return None
        group = self._group(found)
        if all(candidate.deployment.id in self._tried for candidate in group.able):
            return None
        choice = self._choose(found, now_s, "next" if ordered else "retry", self._tried)
        if choice.candidate is None:
            return None
        self._attempts += 1
        return Step(choice.candidate, 0.0, "next" if ordered else "retry", found.name)

    def _again(self, fault: Fault, now_s: float, *, on: bool) -> Step | None:
        """One that was asked before, after a wait; not where somebody else could answer without."""
        if fault.kind in NOT_AGAIN or self._attempts >= self._most(fault, walk=False):
            return None
        wait_s = backoff_s(fault, self._attempts, self._chooser.random)
        if wait_s is None or (self.until_s is not None and now_s + wait_s >= self.until_s):
            return None
        waits = fault.kind == "rate_limit" or bool(fault.retry_after_s)
        if waits and on and self._links(fault):
            return None
        shut = {name for name, kind in self._tried.items() if kind in NOT_AGAIN or kind in FINAL}
        choice = self._choose(self._found, now_s + wait_s, "retry", shut)
        candidate = choice.candidate
        if candidate is None or not candidate.live.may_retry(now_s):
            return None
        self._attempts += 1
        return Step(candidate, wait_s, "retry", self._found.name, again=candidate.deployment.id in self._tried)

    def _most(self, fault: Fault, *, walk: bool) -> int:
        """Attempts allowed at the present model. A chain may be walked to its end whatever `num_retries` says."""
        model = self._found.model
        retries = self.wishes.num_retries
        if retries is None:
            usual = model.num_retries if model.num_retries is not None else self._policy.num_retries
            retries = retries_for(fault.kind, (model.retries, self._policy.retries), usual)
        return max(retries + 1, len(self._found.deployments) if walk and model.ordered else 1)

    # ---------------------------------------------------------------------------------------------------- choosing
    def _group(self, found: Found) -> Group:
        return self._chooser.group(found)

    def _choose(self, found: Found, at_s: float, reason: Reason, skip: Collection[str]) -> Choice:
        if not skip and (single := self._chooser.only(found, self.wishes)) is not None:
            return Choice(candidate=single)
        choice = self._chooser.choose(found, at_s, Ask(self._policy, self._asking, self.wishes, self._turn), skip=skip)
        self.learns = True
        self.pins = choice.pins
        if choice.worth_telling:
            self.decisions.append(choice.decision(found.name, reason))
        return choice

    # --------------------------------------------------------------------------------------------------- fallbacks
    def _links(self, fault: Fault) -> list[tuple[Found, Link]]:
        """The models that may take over after this fault, in their order."""
        if self.wishes.disable_fallbacks:
            return []
        most = self.wishes.max_fallbacks
        if self._hops >= (self._policy.fallbacks.max_hops if most is None else most):
            return []
        found: list[tuple[Found, Link]] = []
        links, asked = onward.links(self._found.model, self._policy, self.wishes, fault)
        for link in links:
            known = self._known(link.name)
            # What the operator wrote is the operator's leave; what a client asks for must be open to its key.
            if (
                known is not None
                and known.name not in self._visited
                and (not asked or self._asking.may_use(known.name))
            ):
                found.append((known, link))
        if self._policy.fallbacks.any_other and onward.for_any_other(fault):
            others = (other for other in self.table.others() if other.name not in self._visited)
            needs = self._asking.needs()
            named = {known.name for known, _ in found}
            found += [
                (other, Link(other.name))
                for other in onward.any_other(self._found, others, needs)
                if other.name not in named and self._asking.may_use(other.name)
            ]
        return found

    def _known(self, name: str) -> Found | None:
        """A fallback that leads nowhere (any more) is passed over: the configuration's check has named it."""
        try:
            return self.table.find(name)
        except ModelNotFound:
            return None

    def _fallback(self, fault: Fault, now_s: float) -> Step | None:
        for found, link in self._links(fault):
            self._visited.add(found.name)
            choice = self._choose(found, now_s, "fallback", ())
            if choice.candidate is None:
                continue
            self._led_on = self._found, fault
            self._found = found
            self._hops += 1
            self._attempts = 1
            return Step(choice.candidate, 0.0, "fallback", found.name, fields=link.fields)
        return None

    # ----------------------------------------------------------------------------------------------------- waiting
    @property
    def line(self) -> Line:
        return self._chooser.line(self.found, Ask(self._policy, self._asking, self.wishes))

    @property
    def queue(self) -> QueuePolicy:
        return self._policy.queue

    @property
    def patience_s(self) -> float:
        """How long this call may wait for a place."""
        rules = self._policy.queue
        return rules.wait_s if self.wishes.priority is None else max(rules.wait_s, rules.stated_wait_s)

    def start_over(self) -> None:
        """As if nothing had been tried."""
        self._found = self.found
        self._hops = self._attempts = 0
        self._visited = {self.found.name}
        self._tried.clear()
        self.decisions.clear()

    # ------------------------------------------------------------------------------------------------- for others
    def names(self, step: Step) -> tuple[str, ...]:
        """By which limits know the model of the latest step."""
        found = self._found
        return (*found.names, step.deployment.model) if found.auto else found.names

    @property
    def as_configured(self) -> bool:
        """Where it may lead follows from the configuration alone: the request names no models and leaves none open."""
        wishes = self.wishes
        named = wishes.fallbacks, wishes.context_window, wishes.content_policy
        return not self.found.auto and named == (None, None, None)

    def possible(self) -> list[Deployment]:
        """All deployments that this call may come to: what it costs at most is what the dearest of them would."""
        found = self.reachable()
        if not self.found.auto:
            return [d for each in found for d in each.deployments if not d.missing]
        may_use: dict[str, bool] = {}
        rest = [d for each in found if each is not self.found for d in each.deployments if not d.missing]
        for deployment in self.found.deployments:
            name = deployment.model
            if name not in may_use:
                may_use[name] = self._asking.may_use(name)
            if may_use[name]:
                rest.append(deployment)
        return rest

    def reachable(self) -> list[Found]:
        """The models that this call may come to: the one asked for and all that may take over, in no order."""
        reached = {self.found.name: self.found}
        kinds: tuple[FaultClass, ...] = ("server", "context_window", "content_policy")
        waiting = [self.found]
        while waiting:
            model = waiting.pop().model
            for kind in kinds:
                fault = Fault(kind=kind, status=0, message="")
                for link in onward.links(model, self._policy, self.wishes, fault)[0]:
                    known = self._known(link.name)
                    if known is not None and known.name not in reached:
                        reached[known.name] = known
                        waiting.append(known)
        if self._policy.fallbacks.any_other:
            for other in self.table.others():
                reached.setdefault(other.name, other)
        return list(reached.values())

    def outlook(self, now_s: float) -> list[Decision]:
        """What would be tried if each step failed with a server error: for a dry run. Uses the plan up."""
        try:
            step: Step | None = self.first(now_s)
        except CredentialMissing:
            raise
        except WayportError as error:
            self.decisions.append(Decision(model=self.found.name, reason=error.message))
            return self.decisions
        steps: list[Decision] = []
        fault = Fault(kind="server", status=500, message="dry run", body_sent=False)
        while step is not None and len(steps) < 64:
            told = self.decisions[-1] if self.decisions and self.decisions[-1].chosen == step.deployment.id else None
            if step.again:
                break
            steps.append(
                told or Decision(model=step.public_name, chosen=step.deployment.id, reason=step.reason, candidates=1)
            )
            self.decisions.clear()
            step = self.after(step.deployment, fault, now_s)
        return steps
