"""The header lines that tell a client what is left of its limits: of the tightest, and nothing that cannot be."""

import math

import pytest

from wayport.access.gauges import Account, Gauge, account_of
from wayport.access.principal import Principal, RateOf
from wayport.core.clock import SystemClock
from wayport.pipeline.answer_head import limit_lines

_DAY_S = 86_400


def gauge(of: RateOf, limit: int, *, free: int, ends_in_s: float) -> Gauge:
    made = Gauge(f"key:k|{of}", "requests" if of == "requests" else "tokens", limit, scope="key", name="k", of=of)
    made.free, made.ends_s = free, SystemClock.steady_s() + ends_in_s
    return made


def account(*gauges: Gauge) -> Account:
    return account_of(Principal(kind="key"), (), gauges)


def lines_of(kind: str, limit: int, left: int, resets_s: int) -> bytes:
    return (
        f"x-ratelimit-limit-{kind}: {limit}\r\nx-ratelimit-remaining-{kind}: {left}\r\n"
        f"x-ratelimit-reset-{kind}: {resets_s}s\r\n"
    ).encode()


def test_only_limits_that_there_are_are_told() -> None:
    requests = gauge("requests", 9, free=7, ends_in_s=30.9)
    tokens = gauge("tokens", 1000, free=300, ends_in_s=20.9)
    of_requests, of_tokens = lines_of("requests", 9, 7, 30), lines_of("tokens", 1000, 300, 20)
    assert limit_lines(account()) == b""
    assert limit_lines(account(requests)) == of_requests
    assert limit_lines(account(tokens)) == of_tokens
    assert limit_lines(account(tokens, requests)) == of_requests + of_tokens


@pytest.mark.parametrize(
    ("free", "ends_in_s", "left", "resets_s"),
    [(-5, 9.9, 0, 9), (5, -3.0, 5, 0), (5, math.inf, 5, _DAY_S), (-5, math.inf, 0, _DAY_S), (0, 2 * _DAY_S, 0, _DAY_S)],
)
def test_debts_past_ends_and_endless_windows_are_told_as_what_a_client_can_use(
    free: int, ends_in_s: float, left: int, resets_s: int
) -> None:
    only = account(gauge("requests", 9, free=free, ends_in_s=ends_in_s))
    assert limit_lines(only) == lines_of("requests", 9, left, resets_s)


def test_the_tightest_of_several_is_told() -> None:
    """With what the lender has left: that is this client's, too."""
    own, team = gauge("input_tokens", 100, free=60, ends_in_s=9.9), gauge("tokens", 90, free=10, ends_in_s=5.9)
    assert limit_lines(account(own, team)) == lines_of("tokens", 90, 10, 5)
    team.left = 70
    assert limit_lines(account(own, team)) == lines_of("tokens", 100, 60, 9)
