"""How long and how often things are measured."""

from typing import NamedTuple

from bench.wording import Pace


class Plan(NamedTuple):
    """A round measures each target once, in turn; figures are medians over rounds."""

    call_rounds: int = 5
    call_s: int = 4
    side_rounds: int = 2
    """of calls over TLS and translated calls"""
    side_s: int = 3
    latency_rounds: int = 4
    latency_calls: int = 2000
    first_token_calls: int = 150
    first_token_pace: Pace = Pace(3, 1)
    stream_rounds: int = 3
    side_stream_rounds: int = 2
    """of streams flat out, translated and over TLS"""
    streams: int = 500
    pace: Pace = Pace(100, 50)
    flat_out: Pace = Pace(400, 4)
    """more than one core can relay: what is delivered is what it can do"""
    tls_streams: int = 2000
    tls_pace: Pace = Pace(36, 250)
    cold_starts: int = 5


QUICK = Plan(
    call_rounds=2,
    call_s=1,
    side_rounds=1,
    side_s=1,
    latency_rounds=1,
    latency_calls=250,
    first_token_calls=50,
    stream_rounds=1,
    side_stream_rounds=1,
    pace=Pace(20, 50),
    flat_out=Pace(200, 4),
    tls_streams=400,
    tls_pace=Pace(12, 250),
    cold_starts=1,
)
