"""What an operator may tell a routing strategy."""

from msgspec import Struct


class StrategyArgs(Struct, kw_only=True, frozen=True, omit_defaults=True):
    lowest_latency_buffer: float | None = None
    """`latency-based-routing`: those slower than the fastest by at most this share take part in its calls"""
    ttl_s: float | None = None
    """`latency-based-routing`: an older measurement says nothing"""
    samples: int | None = None
    """over how many answers speed is smoothed"""


PLAIN = StrategyArgs()
