"""Who of a group may be called for this request now. Each filter takes candidates away and says why."""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from wayport.routing.group import Candidate, Group
from wayport.routing.health import Blocked, Health
from wayport.routing.live import WHOLE_SHARE
from wayport.routing.needs import Needs, lacks
from wayport.routing.snapshot import Deployment

Removed = dict[str, str]
"""deployment id to why it is not a candidate"""

TOLD = 16
"""so many are told one by one"""
NOT_PERMITTED = "not for this key"
_DEFAULT = "default"


def by_tags(able: Sequence[Candidate], tags: Iterable[str], *, match_any: bool, removed: Removed) -> list[Candidate]:
    """A request's tags lead to deployments that have one (or all) of them, else to those tagged `default`.

    `!tag` on a deployment keeps requests with that tag away. Requests without tags go to `default` ones if there are any,
    else to those without tags, else to all.
    """
    asked = set(tags)
    kept: list[Candidate] = []
    if asked:
        meets = any if match_any else all
        kept = [c for c in able if meets(tag in c.deployment.tags for tag in asked) and not _refuses(c, asked)]
    if not kept:
        kept = [c for c in able if _DEFAULT in c.deployment.tags and not _refuses(c, asked)]
    if not kept:
        kept = [c for c in able if not _positive(c) and not _refuses(c, asked)]
    if not kept and not asked:
        kept = list(able)
    _note(able, kept, removed, "tags")
    return kept


def _positive(candidate: Candidate) -> bool:
    return any(not tag.startswith("!") for tag in candidate.deployment.tags)


def _refuses(candidate: Candidate, asked: set[str]) -> bool:
    return any(tag[:1] == "!" and tag[1:] in asked for tag in candidate.deployment.tags)


def _note(able: Sequence[Candidate], kept: Sequence[Candidate], removed: Removed, why: str) -> None:
    if len(kept) < len(able):
        staying = {candidate.deployment.id for candidate in kept}
        removed.update({c.deployment.id: why for c in able if c.deployment.id not in staying})


def by_region(able: Sequence[Candidate], region: str, removed: Removed) -> list[Candidate]:
    """`eu` is `eu`, `eu-west-1` and `europe-west4`."""
    kept = [c for c in able if (c.deployment.region or "").lower().startswith(region)]
    _note(able, kept, removed, f"region: not in {region}")
    return kept


def by_needs(able: Sequence[Candidate], needs: Needs, *, strict: bool, removed: Removed) -> list[Candidate]:
    kept = []
    for candidate in able:
        lacking = lacks(candidate.deployment, needs, strict=strict)
        if lacking is None:
            kept.append(candidate)
        else:
            removed[candidate.deployment.id] = lacking
    return kept


def by_permission(
    able: Sequence[Candidate], may_use: Callable[[Deployment], bool], removed: Removed
) -> list[Candidate]:
    kept = [candidate for candidate in able if may_use(candidate.deployment)]
    _note(able, kept, removed, NOT_PERMITTED)
    return kept


def priced(able: Sequence[Candidate], removed: Removed) -> list[Candidate]:
    kept = [candidate for candidate in able if candidate.price is not None]
    _note(able, kept, removed, "unpriced")
    return kept


def by_limits(
    able: Sequence[Candidate], group: Group, now_s: float, removed: Removed, *, sure: bool = False
) -> Sequence[Candidate]:
    """`sure`: a slot that would have to be leased first does not count, and is wished for."""
    # One look at all of them for each kind of limit that there is; nearly always nobody is found.
    suspects = []
    if group.counted:
        suspects = [c for c in able if c.live.weighed >= WHOLE_SHARE]
    if group.parallel:
        suspects += [c for c in able if (x := c.live).in_flight >= c.most_calls or x.slots is not None]
    full: set[str] = set()
    for candidate in suspects:
        deployment, live = candidate.deployment, candidate.live
        most = deployment.max_parallel
        if most is not None and live.in_flight >= most:
            removed[deployment.id] = f"max_parallel: {most} calls in flight"
        elif most is not None and (slots := live.slots) is not None and slots.full(sure=sure):
            removed[deployment.id] = f"max_parallel: {most} calls in flight, with those of others"
            if sure:
                slots.wish()
        elif deployment.rpm is not None and live.requests >= deployment.rpm and live.requests_now(now_s):
            removed[deployment.id] = f"rpm: {deployment.rpm} requests in this minute"
        elif deployment.tpm is not None and live.tokens >= deployment.tpm and live.tokens_now(now_s):
            removed[deployment.id] = f"tpm: {deployment.tpm} tokens in this minute"
        else:
            continue
        full.add(deployment.id)
    return [candidate for candidate in able if candidate.id not in full] if full else able


class Healthy(Struct):
    ready: list[Candidate]
    soft: list[tuple[float, Candidate]]
    """resting, though nobody said for how long"""
    soonest: Blocked | None


def by_health(able: Sequence[Candidate], health: Health, now_s: float, removed: Removed) -> Healthy:
    rests, resting = health.rests, health.resting(now_s, at_most=len(able))
    if resting is None:
        free = [c for c in able if not rests(c.deployment, now_s)]
    else:
        free = [c for c in able if c.id not in resting]
    found = Healthy(free, [], None)
    if len(found.ready) == len(able):
        return found
    # Why not: a few are told, and only where nobody is ready each of them matters.
    passed = 0
    for candidate in able:
        if passed < len(free) and candidate is free[passed]:
            passed += 1
            continue
        if free and len(removed) >= TOLD:
            break
        blocked = health.blocked(candidate.deployment, now_s)
        if blocked is None:
            continue
        removed[candidate.deployment.id] = _why(blocked, now_s)
        if found.soonest is None or blocked.until_s < found.soonest.until_s:
            found.soonest = blocked
        if blocked.soft:
            found.soft.append((blocked.until_s, candidate))
    return found


def _why(blocked: Blocked, now_s: float) -> str:
    if blocked.scope in ("budget", "probe"):
        return blocked.fault.message
    return f"{blocked.scope} left alone for {blocked.until_s - now_s:.1f} s after {blocked.fault.kind}"


def lowest_order(able: Sequence[Candidate], removed: Removed) -> Sequence[Candidate]:
    first = min(candidate.order for candidate in able)
    kept = [candidate for candidate in able if candidate.order == first]
    _note(able, kept, removed, f"order: {first} comes first")
    return kept
