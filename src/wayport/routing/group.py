"""A model's deployments as routing sees them: worked out once for a snapshot, so that a choice among a thousand is cheap."""

from itertools import accumulate

from msgspec import Raw

from wayport.routing.live import Live, LiveStates
from wayport.routing.snapshot import Deployment, Model

_TRUE = b"true"
_NO_LIMIT = (1 << 30) - 1
"""small enough to be compared fast; what comes to it is looked at closely"""
AUTO = "auto"
"""the name under which a client leaves the choice of the model to us"""


class Candidate:
    """A deployment that could be called, with its live state."""

    __slots__ = ("deployment", "id", "live", "most_calls", "order", "price", "share")

    def __init__(self, deployment: Deployment, live: Live, share: float) -> None:
        self.deployment = deployment
        self.id = deployment.id
        self.live = live
        self.most_calls = _NO_LIMIT if deployment.max_parallel is None else deployment.max_parallel
        self.order = deployment.order or 0
        self.share = share
        """of the calls that a shuffle gives it"""
        self.price = price_of(deployment)
        if live.weights is None:
            live.weigh(deployment)


class Group:
    __slots__ = (
        "able", "counted", "cumulative", "limited", "lives", "model", "narrowest", "orders", "parallel", "single", "tagged",
    )  # fmt: skip

    def __init__(self, model: Model, deployments: tuple[Deployment, ...], lives: LiveStates) -> None:
        able = [deployment for deployment in deployments if not deployment.missing]
        self.model = model
        self.lives = lives
        self.able = tuple(
            Candidate(deployment, lives.of(deployment.id), share)
            for deployment, share in zip(able, shares(able), strict=True)
        )
        if (samples := model.strategy_args.samples) is not None:
            for candidate in self.able:
                candidate.live.alpha = 2 / (samples + 1)
        self.cumulative = list(accumulate(candidate.share for candidate in self.able))
        self.counted = any(d.rpm is not None or d.tpm is not None for d in able)
        self.parallel = any(d.max_parallel is not None for d in able)
        self.limited = self.counted or self.parallel
        for candidate in self.able:
            if candidate.deployment.max_parallel is not None:
                candidate.live.slots = lives.slots_of(candidate.deployment)
        self.tagged = any(d.tags for d in able)
        self.orders = len({c.order for c in self.able}) > 1
        self.narrowest = min((d.context_window for d in able if d.context_window is not None), default=None)
        """the least context window, in tokens; None: nobody has stated one"""
        simple = not (self.limited or self.tagged or (self.narrowest is not None and model.context_window_fallbacks))
        self.single = self.able[0] if len(deployments) == 1 and self.able and simple and model.name != AUTO else None
        """the only one there is, and nothing to be asked about it"""


def shares(deployments: list[Deployment]) -> list[float]:
    """What LiteLLM's simple-shuffle goes by: `weight` if any has one, else `rpm`, else `tpm`, else all alike."""
    for field in ("weight", "rpm", "tpm"):
        found = [getattr(deployment, field) for deployment in deployments]
        if any(value is not None for value in found):
            stated = [float(value or 0.0) for value in found]
            if sum(stated) > 0:
                return stated
    return [1.0] * len(deployments)


def price_of(deployment: Deployment) -> int | None:
    """Nano-dollars for a million tokens in and a million out; None: unpriced."""
    price = deployment.price
    if price is None:
        return None
    if price.free:
        return 0
    rates = price.rates
    if rates.input is None and rates.output is None:
        return None
    return (rates.input or 0) + (rates.output or 0)


def states(deployment: Deployment, capability: str) -> bool | None:
    """Whether a deployment is known to have a capability (`supports_vision`); None: nobody says."""
    stated: Raw | None = deployment.info.get(capability)
    if stated is not None:
        return bytes(stated) == _TRUE
    # Whoever knows some of its capabilities would have named this one.
    return False if any(key.startswith("supports_") for key in deployment.info) else None
