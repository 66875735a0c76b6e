"""What workers tell each other of the deployments that they share: who is left alone, what was used, what leads where.

Times are durations, as clocks differ. Whatever is told twice does no harm, and what is lost is learned by oneself.
"""

from typing import Literal

from msgspec import Struct

from wayport.core.errors import FaultClass

Scope = Literal["deployment", "credential", "model"]


class Rest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Somebody is left alone, or (`left_s` 0) no longer."""

    scope: Scope
    names: tuple[str, ...]
    """a deployment's id; provider and hash of a credential; address and name of an upstream model"""
    left_s: float = 0.0
    rest_s: float = 0.0
    """how long it was meant to be: the next time is longer"""
    probe: bool = False
    """one call goes first when it is over"""
    soft: bool = False
    kind: FaultClass = "server"
    status: int = 0
    message: str = ""


class Used(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What went to a deployment since it was last told."""

    deployment: str
    requests: int = 0
    tokens: int = 0


class News(Struct, kw_only=True, frozen=True, omit_defaults=True):
    rests: tuple[Rest, ...] = ()
    used: tuple[Used, ...] = ()
    pins: tuple[tuple[str, str, float], ...] = ()
    """what leads back to a deployment (a session, a stored answer, a prompt), to which, and since when (epoch seconds)"""

    def __bool__(self) -> bool:
        return bool(self.rests or self.used or self.pins)
