"""One choice among the deployments of a model: filters, affinity, strategy, and the account of it."""

from collections.abc import Collection, Mapping, Sequence
from random import Random
from types import MappingProxyType
from typing import Literal, Protocol

from msgspec import Struct, field

from wayport.core.errors import Fault
from wayport.core.record import Decision
from wayport.routing import filters
from wayport.routing.affinity import Affinity, is_stored, too_busy
from wayport.routing.filters import Healthy, Removed
from wayport.routing.group import Candidate, Group
from wayport.routing.health import Blocked, Health
from wayport.routing.live import LiveStates
from wayport.routing.needs import NOTHING, Needs
from wayport.routing.snapshot import OWN_MARK, Deployment, RouterPolicy
from wayport.routing.strategies import SHORT, Strategy, makers
from wayport.routing.strategies.strategy import View
from wayport.routing.table import Found
from wayport.routing.wishes import Wishes

_TELL_SCORES_OF = 12
_DEFAULT = "simple-shuffle"
_FOR_POOLS = "power-of-two"
_FOR_AUTO = "cost-based-routing"


Line = tuple[str, str, tuple[str, ...], str]
"""model, region, tags, and whose it is where it is nobody else's"""


Turn = Literal["behind", "first", "past"]
"""of a call: it stands behind those that wait for this model, is the first of them, or has been past them"""


class Asking(Protocol):
    """The request, as far as a choice needs to look at it. Asked only where there is a choice."""

    def needs(self) -> Needs: ...
    def most_tokens(self) -> int:
        """Of input: its needs state no more than that."""
        ...

    def tags(self) -> Sequence[str]: ...
    def pins(self, found: Found, kinds: Sequence[str]) -> tuple[str, ...]: ...
    def may_use(self, model: str) -> bool: ...
    def region(self) -> str | None: ...
    def check_fallbacks(self, models: Sequence[str]) -> None: ...


class Ask(Struct, frozen=True):
    """What a choice is made for."""

    policy: RouterPolicy
    asking: Asking
    wishes: Wishes
    turn: Turn = "first"


class Choice(Struct):
    """`candidate` None: nobody; the rest says why."""

    candidate: Candidate | None = None
    strategy: str = ""
    candidates: int = 1
    removed: Removed = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    pinned: str = ""
    pins: tuple[str, ...] = ()
    blocked: Blocked | None = None
    """the first of those that rest to be free again"""
    full_for_s: float | None = None
    """until the present minute is over: all are at their limits"""
    lost_by: str = ""
    """the filter that took the last one away"""

    @property
    def worth_telling(self) -> bool:
        return self.candidate is None or self.candidates > 1 or bool(self.removed)

    @property
    def hindrance(self) -> Fault:
        """Why there was nobody, as the fault that it amounts to: it decides which fallbacks apply."""
        if self.blocked is not None:
            return self.blocked.fault
        if self.full_for_s is not None:
            return Fault(kind="rate_limit", status=429, message="every deployment is at its limit", body_sent=False)
        if self.lost_by == "context_window":
            return Fault(kind="context_window", status=400, message="too long for every deployment", body_sent=False)
        return Fault(kind="server", status=503, message="no deployment can be called", body_sent=False)

    def decision(self, model: str, reason: str) -> Decision:
        removed = self.removed
        if len(removed) > filters.TOLD:
            removed = dict(list(removed.items())[: filters.TOLD])
        return Decision(
            model=model,
            chosen=self.candidate.deployment.id if self.candidate is not None else "",
            reason=reason,
            strategy=self.strategy,
            candidates=self.candidates,
            removed=removed,
            scores=self.scores,
            pinned=self.pinned,
        )


class Chooser:
    """What all calls of a worker share when a deployment is chosen."""

    def __init__(
        self,
        *,
        random: Random,
        health: Health,
        lives: LiveStates,
        affinity: Affinity,
        waiting: Mapping[Line, object] = MappingProxyType({}),
    ) -> None:
        """`waiting`: lines that calls stand in already."""
        self.waiting = waiting
        self.random = random
        self.health = health
        self.lives = lives
        self.affinity = affinity
        self._makers = makers()
        self._strategies: dict[str, Strategy] = {}

    def group(self, found: Found) -> Group:
        group = found.group
        if group is None or group.lives is not self.lives:
            group = found.group = Group(found.model, found.deployments, self.lives)
        return group

    def line(self, found: Found, ask: Ask) -> Line:
        """Where a call waits for its turn: with those that can be served by the same deployments, and no others."""
        asking = ask.asking
        tags = tuple(asking.tags()) if ask.policy.tag_filtering and self.group(found).tagged else ()
        own = ""
        if found.auto:
            # What its key may use and what it needs is its own.
            own = str(id(asking))
        elif found.deployments and OWN_MARK in found.deployments[0].id:
            own = found.deployments[0].id
        return found.name, ask.wishes.region or "", tags, own

    def only(self, found: Found, wishes: Wishes) -> Candidate | None:
        """The one deployment there is, where nothing needs to be looked at."""
        group = found.group
        if group is None or group.lives is not self.lives:
            group = self.group(found)
        single = group.single
        if single is not None and self.health.quiet and wishes.region is None and not single.deployment.mocks:
            return single
        return None

    def choose(self, found: Found, at_s: float, ask: Ask, *, skip: Collection[str]) -> Choice:
        """One of those that may be called at `at_s` (steady seconds), but for those in `skip`."""
        policy, asking, wishes = ask.policy, ask.asking, ask.wishes
        group = self.group(found)
        model = found.model
        choice = Choice(candidates=0)
        name = wishes.strategy or model.strategy or (_FOR_AUTO if found.auto else policy.strategy)
        name = SHORT.get(name, name)
        able: Sequence[Candidate] = group.able
        if skip:
            able = [candidate for candidate in able if candidate.deployment.id not in skip]
        if found.auto:
            able = _of_all(able, ask, choice.removed, priced=name == "cost-based-routing")
        able = _fitting(able, group, ask, choice)
        if self.waiting and ask.turn == "behind" and self.line(found, ask) in self.waiting:
            choice.removed.update({candidate.deployment.id: "others wait already" for candidate in able})
            choice.full_for_s = 0.0
            return choice
        able = self._free(able, group, choice, at_s, sure=ask.turn == "first")
        if not able:
            return choice
        if policy.affinity:
            choice.pins = asking.pins(found, policy.affinity)
        if group.orders and not model.ordered and name != "priority" and len(able) > 1:
            able = filters.lowest_order(able, choice.removed)
        choice.candidates = len(able)
        choice.candidate = self._pinned(able, choice, at_s, ordered=model.ordered)
        if choice.candidate is not None:
            return choice
        if model.ordered and (pool := able[0].deployment.pool):
            # Credentials of one link share its calls; the next link waits.
            able = [candidate for candidate in able if candidate.deployment.pool == pool]
            name = _FOR_POOLS
        elif model.ordered:
            able = able[:1]
        if len(able) == 1:
            choice.candidate = able[0]
            return choice
        needs = asking.needs() if name in ("cost-based-routing", "latency-based-routing", "power-of-two") else NOTHING
        cumulative = group.cumulative if able is group.able else ()
        ahead = ask.turn == "past"
        view = View(at_s, self.random, needs, found.name, cumulative, model.strategy_args, ahead)
        strategy = self._strategy(name)
        choice.strategy = name
        choice.candidate = strategy.choose(able, view)
        if len(able) <= _TELL_SCORES_OF:
            choice.scores = {each.deployment.id: strategy.score(each, view) for each in able}
        return choice

    def _strategy(self, name: str) -> Strategy:
        strategy = self._strategies.get(name)
        if strategy is None:
            # The configuration's check has named a strategy that does not exist.
            strategy = self._strategies[name] = self._makers.get(name, self._makers[_DEFAULT])()
        return strategy

    def _free(
        self, able: Sequence[Candidate], group: Group, choice: Choice, at_s: float, *, sure: bool
    ) -> Sequence[Candidate]:
        """Those that may be called at this moment."""
        if group.limited and able:
            before = able
            able = filters.by_limits(able, group, at_s, choice.removed, sure=sure)
            if not able:
                choice.full_for_s = min(candidate.live.minute_ends_s(at_s) for candidate in before)
        if self.health.quiet or not able:
            return able
        found: Healthy = filters.by_health(able, self.health, at_s, choice.removed)
        if found.ready:
            return found.ready if len(found.ready) < len(able) else able
        if found.soft:
            until_s, soonest = min(found.soft, key=lambda pair: pair[0])
            del until_s
            choice.removed.pop(soonest.deployment.id, None)
            return [soonest]
        choice.blocked = found.soonest
        return ()

    def _pinned(self, able: Sequence[Candidate], choice: Choice, at_s: float, *, ordered: bool) -> Candidate | None:
        """Where this session or conversation was before, unless that is much busier than others. A chain keeps its
        order, but for an answer that only one of its links has stored.
        """
        keys = tuple(key for key in choice.pins if not ordered or is_stored(key))
        pin = self.affinity.of(keys, at_s) if keys else None
        if pin is None:
            return None
        key, deployment_id = pin
        candidate = next((each for each in able if each.deployment.id == deployment_id), None)
        if candidate is None:
            return None
        if not is_stored(key) and too_busy(candidate.live.in_flight, min(each.live.in_flight for each in able)):
            return None
        choice.pinned = key.partition(" ")[0]
        return candidate


def _of_all(able: Sequence[Candidate], ask: Ask, removed: Removed, *, priced: bool) -> Sequence[Candidate]:
    """Those of all models that this key may use and that can do what the request needs."""
    permitted: dict[str, bool] = {}

    def may_use(deployment: Deployment) -> bool:
        name = deployment.model
        known = permitted.get(name)
        if known is None:
            known = permitted[name] = ask.asking.may_use(name)
        return known

    able = filters.by_permission(able, may_use, removed)
    able = filters.by_needs(able, ask.asking.needs(), strict=True, removed=removed)
    return filters.priced(able, removed) if priced else able


def _fitting(able: Sequence[Candidate], group: Group, ask: Ask, choice: Choice) -> Sequence[Candidate]:
    """Those that may take this request at all, whatever the moment."""
    policy, removed = ask.policy, choice.removed
    if group.tagged and policy.tag_filtering and able:
        able = filters.by_tags(able, ask.asking.tags(), match_any=policy.tag_match_any, removed=removed)
        if not able:
            choice.lost_by = "tags"
    if ask.wishes.region is not None and able:
        able = filters.by_region(able, ask.wishes.region, removed)
        if not able:
            choice.lost_by = "region"
    elsewhere = bool(group.model.context_window_fallbacks)
    narrowest = group.narrowest
    if (
        narrowest is not None
        and policy.pre_call_checks
        and able
        and (len(able) > 1 or elsewhere)
        and ask.asking.most_tokens() > narrowest
    ):
        lacking: Removed = {}
        tokens = ask.asking.needs().input_tokens
        fitting = filters.by_needs(able, Needs(input_tokens=tokens), strict=False, removed=lacking)
        # Where none would fit and nobody else is named, the upstream knows better than an estimate.
        if lacking and (fitting or elsewhere):
            able = fitting
            removed.update(lacking)
            if not able:
                choice.lost_by = "context_window"
    return able
