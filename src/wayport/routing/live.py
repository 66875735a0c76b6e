"""What one worker sees of its deployments now: calls in flight, how fast they answer, what they used this minute.

State is kept by the deployment's id, so it survives a reload. No I/O; time is given by whoever asks.
"""

from collections import deque
from collections.abc import Callable, Mapping

from wayport.core.usage import Usage
from wayport.routing.news import Used
from wayport.routing.slots import Slots
from wayport.routing.snapshot import OWN_MARK, Deployment

_ALPHA = 0.2
FORGET_S = 60.0
"""a sample counts half after this time, a third after twice as long, so that who was slow once is tried again"""
_TIMEOUT_PENALTY = 4.0
_SLOWEST_TOKEN_S = 10.0
_SLOWEST_FIRST_S = 600.0
MINUTE_S = 60.0
_BUDGET_WINDOW_S = 10.0
_BUDGET_SHARE = 0.2
_BUDGET_FLOOR = 10
_MOST = 8192
WHOLE_SHARE = 10**12
"""of a limit"""


class Minutes:
    """Whose minute ends next: a choice among a thousand need not ask each of them whether it is over."""

    def __init__(self) -> None:
        self._ends: deque[tuple[float, Live]] = deque()

    def began(self, live: "Live", now_s: float) -> None:
        self.end(now_s)
        self._ends.append((now_s + MINUTE_S, live))

    def end(self, now_s: float) -> None:
        """Those that are over by now weigh nothing any more."""
        ends = self._ends
        while ends and ends[0][0] <= now_s:
            ended_s, live = ends.popleft()
            if live.minute_began_s + MINUTE_S == ended_s:
                live.stop_weighing()


class Live:
    """One deployment. Whoever calls `begin` calls `end`."""

    __slots__ = (
        "_of_request",
        "_of_token",
        "_owed_requests",
        "_owed_tokens",
        "_retries",
        "_runs",
        "_starts",
        "_told_requests",
        "_told_tokens",
        "_window_began_s",
        "alpha",
        "first_s",
        "in_flight",
        "minute_began_s",
        "minutes",
        "requests",
        "seen_s",
        "slots",
        "token_s",
        "tokens",
        "weighed",
        "weights",
    )

    def __init__(self, minutes: Minutes) -> None:
        self.in_flight = 0
        self.slots: Slots | None = None
        """of its `max_parallel`, where this worker shares that with others"""
        self.alpha = _ALPHA
        """weight of the newest sample"""
        self.token_s = 0.0
        """seconds per output token, smoothed; 0: nothing known"""
        self.first_s = 0.0
        """seconds to the first token of a stream, smoothed; 0: nothing known"""
        self.seen_s = 0.0
        self.requests = 0
        """begun in this minute"""
        self.tokens = 0
        """used in this minute"""
        self.weights: tuple[int, int] | None = None
        """the share of its limit that one request is, and one token, in parts of WHOLE_SHARE; None: nobody has said"""
        self._runs = False
        """this minute, as `minutes` has it"""
        self._of_request = self._of_token = 0
        """the weights; nothing weighs anything in a minute that is over"""
        self.weighed = 0
        """this minute's requests and tokens as a share of their limits"""
        self.minutes = minutes
        self.minute_began_s = float("-inf")
        self._window_began_s = 0.0
        self._starts = 0
        self._retries = 0
        self._told_requests = 0
        """of `requests`: those that others know of, or that are theirs"""
        self._told_tokens = 0
        self._owed_requests = 0
        """of minutes that are over: those that others have not been told of"""
        self._owed_tokens = 0

    def begin(self, now_s: float) -> None:
        """A call goes there."""
        self.in_flight += 1
        if now_s - self.minute_began_s >= MINUTE_S:
            self._turn_minute(now_s)
        self.requests += 1
        self.weighed += self._of_request
        if now_s - self._window_began_s >= _BUDGET_WINDOW_S:
            self._window_began_s = now_s
            self._starts = self._retries = 0
        self._starts += 1

    def begin_again(self, now_s: float) -> None:
        """A call goes there that has been there before."""
        self.begin(now_s)
        self._starts -= 1
        self._retries += 1

    def end(self) -> None:
        self.in_flight -= 1

    def answered(self, now_s: float, took_s: float, usage: Usage | None, first_s: float | None = None) -> None:
        """A clean answer: `took_s` for all of it, `first_s` to its first token if it was a stream."""
        self.seen_s = now_s
        if first_s is not None:
            self.first_s = self._mixed(self.first_s, first_s)
            took_s -= first_s
        if usage is None:
            return
        output_tokens = usage.output_tokens
        tokens = usage.input_tokens + output_tokens
        self.tokens += tokens
        self.weighed += tokens * self._of_token
        if output_tokens > 0:
            self.token_s = self._mixed(self.token_s, took_s / output_tokens)

    def used(self, tokens: int) -> None:
        """An answer that broke off still used them."""
        self.tokens += tokens
        self.weighed += tokens * self._of_token

    def timed_out(self, now_s: float) -> None:
        """It let a call wait for nothing: from now on it looks much slower, until it is asked again."""
        self.token_s = min(max(self.token_s, 0.01) * _TIMEOUT_PENALTY, _SLOWEST_TOKEN_S)
        self.first_s = min(max(self.first_s, 0.5) * _TIMEOUT_PENALTY, _SLOWEST_FIRST_S)
        self.seen_s = now_s

    def _mixed(self, before: float, sample: float) -> float:
        return sample if before == 0.0 else before + self.alpha * (sample - before)

    def pace_s(self, now_s: float, *, stream: bool) -> float:
        """How slow it is by what is known: of first tokens for streams, per token otherwise. 0: nothing known."""
        known = (self.first_s or self.token_s) if stream else (self.token_s or self.first_s)
        if known == 0.0:
            return 0.0
        return known * FORGET_S / (FORGET_S + now_s - self.seen_s)

    # -------------------------------------------------------------------------------------------------- this minute
    def weigh(self, deployment: Deployment) -> None:
        """Its use is weighed by these limits from now on. One that is reached is a whole share, or a little more."""
        rpm, tpm = deployment.rpm, deployment.tpm
        # Without any limit: far below any share of one, and still in order of use. Whole numbers add up exactly.
        unlimited = 0 if rpm is not None or tpm is not None else 1
        of_request = unlimited if rpm is None else _part(rpm)
        of_token = unlimited if tpm is None else _part(tpm)
        self.weights = of_request, of_token
        if self._runs:
            self._start_weighing()

    def _start_weighing(self) -> None:
        self._runs = True
        self._of_request, self._of_token = self.weights or (0, 0)
        self.weighed = self.requests * self._of_request + self.tokens * self._of_token

    def stop_weighing(self) -> None:
        """This minute is over."""
        self._runs = False
        self.weighed = self._of_request = self._of_token = 0

    def _turn_minute(self, now_s: float) -> None:
        self.minute_began_s = now_s
        self._owed_requests += self.requests - self._told_requests
        self._owed_tokens += self.tokens - self._told_tokens
        self.requests = self.tokens = self._told_requests = self._told_tokens = 0
        self._start_weighing()
        self.minutes.began(self, now_s)

    def requests_now(self, now_s: float) -> int:
        return self.requests if now_s - self.minute_began_s < MINUTE_S else 0

    def tokens_now(self, now_s: float) -> int:
        return self.tokens if now_s - self.minute_began_s < MINUTE_S else 0

    def weighed_at(self, at_s: float) -> int:
        return self.weighed if at_s - self.minute_began_s < MINUTE_S else 0

    def minute_ends_s(self, now_s: float) -> float:
        """Seconds until the present minute is over."""
        return max(0.0, self.minute_began_s + MINUTE_S - now_s)

    # ----------------------------------------------------------------------------------------------- among neighbours
    def untold(self) -> tuple[int, int]:
        """Requests and tokens that went there through us since this was last asked."""
        requests = self._owed_requests + self.requests - self._told_requests
        tokens = self._owed_tokens + self.tokens - self._told_tokens
        if requests or tokens:
            self._told_requests, self._told_tokens = self.requests, self.tokens
            self._owed_requests = self._owed_tokens = 0
        return requests, tokens

    def hear(self, now_s: float, *, requests: int, tokens: int) -> None:
        """What went there through others, lately: it counts in our present minute."""
        if now_s - self.minute_began_s >= MINUTE_S:
            self._turn_minute(now_s)
        self.requests += requests
        self._told_requests += requests
        self.tokens += tokens
        self._told_tokens += tokens
        self.weighed += requests * self._of_request + tokens * self._of_token

    # ------------------------------------------------------------------------------------------------- retry budget
    def may_retry(self, now_s: float) -> bool:
        """Whether one more second try fits the budget: a fifth of the first tries, and ten in ten seconds always."""
        if now_s - self._window_began_s >= _BUDGET_WINDOW_S:
            return True
        return self._retries < max(_BUDGET_FLOOR, _BUDGET_SHARE * self._starts)


def _part(limit: int) -> int:
    return -(-WHOLE_SHARE // limit) if limit > 0 else WHOLE_SHARE


class LiveStates:
    """Those of all deployments of a worker."""

    def __init__(self, *, slots_of: Callable[[Deployment], Slots | None] = lambda _: None) -> None:
        """`slots_of`: what we share of a deployment's `max_parallel`; None: we are alone."""
        self.slots_of = slots_of
        self._states: dict[str, Live] = {}
        self._minutes = Minutes()

    def of(self, deployment_id: str) -> Live:
        state = self._states.get(deployment_id)
        if state is None:
            if len(self._states) >= _MOST:
                # Those of clients' own credentials come and go; the others stand in groups that keep them.
                for gone in [key for key, known in self._states.items() if OWN_MARK in key and not known.in_flight]:
                    del self._states[gone]
            state = self._states[deployment_id] = Live(self._minutes)
        return state

    def news(self) -> list[Used]:
        """Of every deployment, what went there through us since this was last asked."""
        found: list[Used] = []
        for deployment_id, state in self._states.items():
            if OWN_MARK in deployment_id:
                continue
            requests, tokens = state.untold()
            if requests or tokens:
                found.append(Used(deployment=deployment_id, requests=requests, tokens=tokens))
        return found

    def in_flight(self) -> int:
        return sum(state.in_flight for state in self._states.values())

    def keep(self, deployments: Mapping[str, Deployment]) -> None:
        """Forgets deployments that are gone, unless a call is still there. The others have the limits that they have now."""
        for deployment_id, state in list(self._states.items()):
            deployment = deployments.get(deployment_id)
            if deployment is not None:
                state.weigh(deployment)
            elif state.in_flight == 0:
                del self._states[deployment_id]
