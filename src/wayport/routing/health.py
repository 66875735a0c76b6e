"""Circuit breakers, per worker: of deployments, of credentials and of upstream models. Survives a reload by their ids.

A breaker is closed; it opens when failures say so; when its time is over one call goes through as a probe, and what
becomes of that closes it or opens it again for longer. A client's own fault never counts.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from wayport.core.errors import Fault, FaultClass
from wayport.core.secret import mask
from wayport.routing.news import Rest, Scope
from wayport.routing.snapshot import OWN_MARK, Deployment

_OF_CREDENTIAL: frozenset[FaultClass] = frozenset({"authentication", "permission", "quota"})
_OF_DEPLOYMENT: frozenset[FaultClass] = frozenset({"server", "overloaded", "connect", "timeout", "cut", "malformed"})
_COUNTED = _OF_CREDENTIAL | _OF_DEPLOYMENT | {"rate_limit", "not_found"}
_IN_A_ROW = 3
"""failures of different calls, one after the other, that open a deployment's breaker"""
_FAILURES = 5
"""failures within `_MEMORY_S` that open it if they are at least `_SHARE` of all its answers"""
_SHARE = 0.5
_MEMORY_S = 30.0
_MINUTE_S = 60.0
_PROBE_S = 5.0
"""how long one probe keeps all others away: a long stream must not"""
_LONGEST_S = 3600.0
_LONGEST_GROWN_S = 60.0
_MOST = 4096
_TOLD_CHARS = 200


Why = Scope | Literal["budget", "probe"]


class Blocked(Struct, frozen=True):
    """Why a deployment is left alone, and until when (steady seconds)."""

    until_s: float
    scope: Why
    fault: Fault
    soft: bool = False
    """nobody said for how long: better asked than nobody at all"""


class _Breaker:
    __slots__ = (
        "counted_s", "failures", "fault", "in_a_row", "in_minute", "minute_began_s", "open", "probe_until_s", "rest_s",
        "soft", "total", "until_s",
    )  # fmt: skip

    def __init__(self) -> None:
        self.in_a_row = 0
        self.failures = 0.0
        self.total = 0.0
        """both fade, so that what was long ago does not count"""
        self.counted_s = 0.0
        self.in_minute = 0
        """failures since `minute_began_s`, where the operator says how many are allowed"""
        self.minute_began_s = 0.0
        self.open = False
        self.soft = False
        self.until_s = 0.0
        self.rest_s = 0.0
        self.probe_until_s = 0.0
        self.fault = Fault(kind="server", status=0, message="")

    def fade(self, now_s: float) -> None:
        faded = 0.5 ** ((now_s - self.counted_s) / _MEMORY_S)
        self.failures *= faded
        self.total *= faded
        self.counted_s = now_s

    def too_many(self, most: int, now_s: float) -> bool:
        """Counts a failure; whether these are more than are allowed in a minute."""
        if now_s - self.minute_began_s >= _MINUTE_S:
            self.minute_began_s = now_s
            self.in_minute = 0
        self.in_minute += 1
        return self.in_minute > most

    def rest(self, fault: Fault, now_s: float, rest_s: float, *, probe: bool, soft: bool = False) -> None:
        """Opens until `rest_s` from now. `probe`: when it is over, one call goes first."""
        self.until_s = max(self.until_s, now_s + min(rest_s, _LONGEST_S))
        self.rest_s = rest_s
        self.open = probe
        self.soft = soft
        self.fault = fault
        self.probe_until_s = 0.0

    def blocked(self, now_s: float, scope: Scope) -> Blocked | None:
        if self.until_s > now_s:
            return Blocked(self.until_s, scope, self.fault, self.soft)
        if self.open and self.probe_until_s > now_s:
            return Blocked(self.probe_until_s, scope, self.fault)
        return None


class Health:
    """Remembers failures and says who is left alone."""

    def __init__(self) -> None:
        self._deployments: dict[str, _Breaker] = {}
        self._credentials: dict[tuple[str, str], _Breaker] = {}
        """by provider and credential; the pair with a deployment's id stands for the credential at that one model"""
        self._models: dict[tuple[str, str], _Breaker] = {}
        """by address and upstream model"""
        self._groups: Mapping[Scope, dict[Any, _Breaker]] = {
            "deployment": self._deployments,
            "credential": self._credentials,
            "model": self._models,
        }
        self._shut_out: dict[str, Blocked] = {}
        """who gets nothing whatever its breaker says: whose budget is spent (`deployment:…`, `provider:…`) and, softly, who did
        not answer when last asked (by id)"""
        self.quiet = True
        """nothing has failed lately: no deployment needs to be looked at. Every call asks, so that it is known beforehand"""
        self.cooled: dict[str, dict[str, int]] = {}
        """how often each deployment began to be left alone, by the status of the failure"""
        self.shares = False
        """whether others are to be told of it (`news`)"""
        self._untold: set[tuple[Scope, Any]] = set()

    def _know(self) -> None:
        """To be called by whatever changes what is remembered."""
        self.quiet = not (self._deployments or self._credentials or self._models or self._shut_out)

    def shut_out(self, name: str, why: Blocked) -> None:
        """It gets nothing, whatever its breaker says."""
        self._shut_out[name] = why
        self._know()

    def let_in(self, name: str) -> None:
        """It is not shut out, or not any more."""
        self._shut_out.pop(name, None)
        self._know()

    # ------------------------------------------------------------------------------------------------------ asking
    def resting(self, now_s: float, *, at_most: int) -> Collection[str] | None:
        """Ids of all that are left alone now; None: each must be asked for, as credentials or models are, or as there are
        more than `at_most` to be looked at.
        """
        if self._credentials or self._models or self._shut_out or len(self._deployments) > at_most:
            return None
        return {
            name
            for name, breaker in self._deployments.items()
            if breaker.until_s > now_s or (breaker.open and breaker.probe_until_s > now_s)
        }

    def rests(self, deployment: Deployment, now_s: float) -> bool:
        """Whether it is left alone now: `blocked`, cheaper, for groups of a thousand."""
        if self._credentials or self._models or self._shut_out:
            return self.blocked(deployment, now_s) is not None
        breaker = self._deployments.get(deployment.id)
        return breaker is not None and (breaker.until_s > now_s or (breaker.open and breaker.probe_until_s > now_s))

    def blocked(self, deployment: Deployment, now_s: float) -> Blocked | None:
        """Why this deployment is left alone; None if it may be asked."""
        if not self._shut_out:
            return self._resting(deployment, now_s)
        # A probe's word is the weakest: where all are left alone, who only failed that is asked all the same.
        return self._spent(deployment, now_s) or self._resting(deployment, now_s) or self._shut(deployment.id, now_s)

    def _spent(self, deployment: Deployment, now_s: float) -> Blocked | None:
        if deployment.clients_own:
            # It is not the operator's money.
            return None
        budget = deployment.budget
        own = None if budget is None else self._shut(budget.counter, now_s)
        return own or self._shut(f"provider:{deployment.provider}", now_s)

    def _shut(self, name: str, now_s: float) -> Blocked | None:
        found = self._shut_out.get(name)
        return found if found is not None and found.until_s > now_s else None

    def _resting(self, deployment: Deployment, now_s: float) -> Blocked | None:
        breaker = self._deployments.get(deployment.id)
        if breaker is not None and (found := breaker.blocked(now_s, "deployment")) is not None:
            return found
        if self._models:
            breaker = self._models.get(_model_of(deployment))
            if breaker is not None and (found := breaker.blocked(now_s, "model")) is not None:
                return found
        if self._credentials:
            for key in _credential_of(deployment):
                breaker = self._credentials.get(key)
                if breaker is not None and (found := breaker.blocked(now_s, "credential")) is not None:
                    return found
        return None

    def cooling_until_s(self, deployment_id: str) -> float:
        """Steady seconds; 0 if it was never cooled."""
        breaker = self._deployments.get(deployment_id)
        return breaker.until_s if breaker is not None else 0.0

    def probing(self, deployment: Deployment, now_s: float) -> None:
        """A call goes there: if a breaker is half open, this is its probe and the next ones stay away."""
        for breaker in self._breakers(deployment):
            if breaker.open and breaker.until_s <= now_s:
                breaker.probe_until_s = now_s + _PROBE_S

    def _breakers(self, deployment: Deployment) -> list[_Breaker]:
        found = [self._deployments.get(deployment.id), self._models.get(_model_of(deployment))]
        found += [self._credentials.get(key) for key in _credential_of(deployment)]
        return [breaker for breaker in found if breaker is not None]

    # ----------------------------------------------------------------------------------------------------- learning
    def succeeded(self, deployment: Deployment, now_s: float) -> None:
        """It answered: whatever was thought of it, its credential and its model is over."""
        if self.quiet:
            return
        breaker = self._deployments.get(deployment.id)
        if breaker is not None:
            breaker.fade(now_s)
            breaker.total += 1.0
            breaker.in_a_row = 0
            if breaker.open and breaker.until_s <= now_s:
                breaker.open = False
                breaker.failures = 0.0
            idle = breaker.until_s <= now_s and now_s - breaker.minute_began_s >= _MINUTE_S
            if idle and not breaker.open and breaker.failures < 0.5:
                del self._deployments[deployment.id]
        if self._models:
            self._clear("model", _model_of(deployment), now_s)
        if self._credentials:
            for key in _credential_of(deployment):
                self._clear("credential", key, now_s)
        self._know()

    def _clear(self, scope: Scope, key: tuple[str, str], now_s: float) -> None:
        breaker = self._groups[scope].pop(key, None)
        if breaker is not None and breaker.until_s > now_s:
            self._note(scope, key)

    def gave_up(self, deployment: Deployment) -> None:
        """The call ended for a reason that says nothing of the deployment (the client left): the next one may probe."""
        if not self.quiet:
            for breaker in self._breakers(deployment):
                breaker.probe_until_s = 0.0

    def failed(
        self, deployment: Deployment, fault: Fault, *, now_s: float, cooldown_s: float, again: bool = False
    ) -> None:
        """`again`: the same call had failed there before, so that it counts as no further one in a row."""
        before = self.blocked(deployment, now_s)
        self._learn(deployment, fault, now_s, cooldown_s, again=again)
        self._know()
        if before is None and self.blocked(deployment, now_s) is not None and len(self.cooled) < _MOST:
            by_status = self.cooled.setdefault(deployment.id, {})
            by_status[str(fault.status)] = by_status.get(str(fault.status), 0) + 1

    def _learn(self, deployment: Deployment, fault: Fault, now_s: float, cooldown_s: float, *, again: bool) -> None:
        kind = fault.kind
        self._trim(now_s)
        # A stated time of 0 means «try again», not «never rest».
        rest_s = fault.retry_after_s or cooldown_s
        if rest_s <= 0:
            return
        allowed = self._allowed(deployment, fault, now_s) if deployment.allowed_fails else None
        if allowed:
            return
        if kind == "rate_limit":
            breaker = self._deployments.setdefault(deployment.id, _Breaker())
            breaker.rest(fault, now_s, rest_s, probe=False, soft=not fault.retry_after_s)
            self._note("deployment", deployment.id)
        elif kind == "not_found":
            self._rest("model", _model_of(deployment), fault, now_s, rest_s)
        elif kind in _OF_CREDENTIAL:
            self._blame_credential(deployment, fault, now_s, rest_s)
        elif kind in _OF_DEPLOYMENT:
            breaker = self._deployments.setdefault(deployment.id, _Breaker())
            if self._count(breaker, fault, now_s, rest_s, again=again, at_once=allowed is False):
                self._note("deployment", deployment.id)
        else:
            # It read the request and refused it: it is alive, and so is its credential.
            self.succeeded(deployment, now_s)

    def _allowed(self, deployment: Deployment, fault: Fault, now_s: float) -> bool | None:
        """Whether this failure is one of those that the operator allows in a minute; None: nobody says how many are. A
        number for all does not hold for what is sure: a time that is named, a refused credential, a missing model.
        """
        kind, allowed = fault.kind, deployment.allowed_fails
        most = allowed.get(kind)
        if most is None and (kind in _OF_DEPLOYMENT or (kind == "rate_limit" and not fault.retry_after_s)):
            most = allowed.get("default")
        if most is None or kind not in _COUNTED:
            return None
        breaker = self._deployments.setdefault(deployment.id, _Breaker())
        return not breaker.too_many(most, now_s) and not breaker.open

    def _blame_credential(self, deployment: Deployment, fault: Fault, now_s: float, rest_s: float) -> None:
        whole, here = _credential_of(deployment)
        if fault.kind == "permission":
            # One model may be closed to a credential that is good for others; a second refusal says it is not.
            elsewhere = any(
                key != here and _belongs(key, whole) and breaker.until_s > now_s
                for key, breaker in self._credentials.items()
            )
            self._rest("credential", here, fault, now_s, rest_s)
            if not elsewhere:
                return
        self._rest("credential", whole, fault, now_s, rest_s)

    def _rest(self, scope: Scope, key: tuple[str, str], fault: Fault, now_s: float, rest_s: float) -> None:
        self._groups[scope].setdefault(key, _Breaker()).rest(fault, now_s, rest_s, probe=True)
        self._note(scope, key)

    def _count(
        self, breaker: _Breaker, fault: Fault, now_s: float, rest_s: float, *, again: bool, at_once: bool
    ) -> bool:
        """Whether it opened. `at_once`: more have been counted than are allowed."""
        breaker.fade(now_s)
        breaker.failures += 1.0
        breaker.total += 1.0
        if not again:
            breaker.in_a_row += 1
        breaker.fault = fault
        if breaker.until_s > now_s:
            return False
        if breaker.open:
            # The probe failed: it stays open, twice as long each time.
            grown_s = max(rest_s, min(breaker.rest_s * 2, _LONGEST_GROWN_S))
            breaker.rest(fault, now_s, grown_s, probe=True)
        # A little tolerance: failures fade between the first and the fifth.
        elif (
            at_once
            or breaker.in_a_row >= _IN_A_ROW
            or (breaker.failures > _FAILURES - 0.5 and breaker.failures >= _SHARE * breaker.total)
        ):
            breaker.rest(fault, now_s, rest_s, probe=True)
        return breaker.until_s > now_s

    # ----------------------------------------------------------------------------------------------- among neighbours
    def _note(self, scope: Scope, key: Any) -> None:
        if self.shares:
            self._untold.add((scope, key))

    def restate(self) -> None:
        """All that rests is news again: whoever listened may have forgotten it."""
        if self.shares:
            self._untold.update((scope, key) for scope, breakers in self._groups.items() for key in breakers)

    def news(self, now_s: float) -> list[Rest]:
        """Who has begun, or ended before its time, to be left alone since this was last asked."""
        found: list[Rest] = []
        for scope, key in self._untold:
            names = (key,) if isinstance(key, str) else key
            breaker = self._groups[scope].get(key)
            if breaker is None:
                found.append(Rest(scope=scope, names=names))
            elif breaker.until_s > now_s:
                found.append(
                    Rest(
                        scope=scope,
                        names=names,
                        left_s=breaker.until_s - now_s,
                        rest_s=breaker.rest_s,
                        probe=breaker.open,
                        soft=breaker.soft,
                        kind=breaker.fault.kind,
                        status=breaker.fault.status,
                        message=mask(breaker.fault.message)[:_TOLD_CHARS],
                    )
                )
        self._untold.clear()
        return found

    def hear(self, rest: Rest, now_s: float) -> None:
        """What another worker has learned. It is told to nobody again."""
        key = rest.names[0] if rest.scope == "deployment" else rest.names
        breakers = self._groups[rest.scope]
        if rest.left_s <= 0:
            breakers.pop(key, None)
            self._know()
            return
        self._trim(now_s)
        breaker = breakers.setdefault(key, _Breaker())
        self._know()
        if now_s + rest.left_s > breaker.until_s:
            fault = Fault(kind=rest.kind, status=rest.status, message=rest.message)
            breaker.rest(fault, now_s, rest.left_s, probe=rest.probe, soft=rest.soft)
            breaker.rest_s = rest.rest_s

    def _trim(self, now_s: float) -> None:
        """Clients may name any number of upstream models where a provider is open: memory has an end."""
        for breakers in self._groups.values():
            if len(breakers) >= _MOST:
                for key in [key for key, breaker in breakers.items() if breaker.until_s <= now_s] or list(breakers):
                    del breakers[key]

    def keep(self, deployment_ids: set[str]) -> None:
        """Forgets deployments that are gone."""
        for gone in self._deployments.keys() - deployment_ids:
            del self._deployments[gone]
        self._know()

    def state_of(self, deployment: Deployment, now_s: float) -> Literal["closed", "open", "half_open"]:
        """Of its breakers alone."""
        if self._resting(deployment, now_s) is not None:
            return "open"
        return "half_open" if any(breaker.open for breaker in self._breakers(deployment)) else "closed"


def _model_of(deployment: Deployment) -> tuple[str, str]:
    # What a client's own credential may not see, ours may.
    own = deployment.clients_own
    return deployment.id if own else deployment.base_url, deployment.upstream_model


def _credential_of(deployment: Deployment) -> tuple[tuple[str, str], tuple[str, str]]:
    """The credential, and the credential at this one model. The secret itself is what tells credentials apart; only a
    hash of it is kept, as other nodes are told of it.
    """
    credential = deployment.credential
    if OWN_MARK in deployment.id:
        # What an address that a client chose thinks of our credential says nothing of it elsewhere.
        who = deployment.id
    else:
        who = _hashed(credential.value) if credential.value else credential.reference or deployment.base_url
    return (deployment.provider, who), (f"{deployment.provider}\n{deployment.upstream_model}", who)


@lru_cache(_MOST)
def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _belongs(key: tuple[str, str], whole: tuple[str, str]) -> bool:
    return key[1] == whole[1] and key[0].startswith(f"{whole[0]}\n")
