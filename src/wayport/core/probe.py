"""Questions that are asked only to see whether a deployment answers: how, and what becomes of them."""

from msgspec import Struct

from wayport.core.errors import FaultClass


class ProbeWay(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How a deployment is asked whether it answers."""

    off: bool = False
    """not in the background"""
    model: str | None = None
    """the upstream model that is asked, if not its own"""
    timeout_s: float | None = None
    max_tokens: int | None = None


class Probed(Struct, kw_only=True, frozen=True, omit_defaults=True):
    error: str | None = None
    """None: it answered"""
    kind: FaultClass | None = None
    status: int = 0
    took_ms: float = 0.0
    age_s: float = 0.0
    """how long ago that was, when it is told"""
