"""A token is fetched once for all who wait, renewed before its end, and an old one serves while it holds."""

import asyncio

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.token_service import TokenService

from wayport.core.errors import CredentialMissing, UpstreamFault
from wayport.providers.tokens import RenewedToken, Token, fetch_json, refused


class Source:
    """Hands out numbered tokens, each valid for an hour, or fails when told to."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked = 0
        self.broken = False

    def __call__(self) -> Token:
        self.asked += 1
        if self.broken:
            raise refused("no token", "the service is away", kind="connect")
        return Token(f"token-{self.asked}", self.clock.now_s() + 3600)


async def test_many_waiters_ask_once() -> None:
    clock = ManualClock()
    source = Source(clock)
    token = RenewedToken(source, clock)
    assert set(await asyncio.gather(*(token.get() for _ in range(20)))) == {"token-1"}
    assert source.asked == 1


async def test_a_token_is_renewed_before_its_end() -> None:
    clock = ManualClock()
    source = Source(clock)
    token = RenewedToken(source, clock)
    await token.get()
    clock.advance(3200)
    assert await token.get() == "token-1"
    clock.advance(200)
    assert await token.get() == "token-2"


async def test_an_old_token_serves_while_the_service_is_away() -> None:
    clock = ManualClock()
    source = Source(clock)
    token = RenewedToken(source, clock)
    await token.get()
    source.broken = True
    clock.advance(3400)
    assert await token.get() == "token-1"
    clock.advance(190)
    with pytest.raises(UpstreamFault) as failed:
        await token.get()
    assert failed.value.fault.kind == "connect"
    source.broken = False
    assert await token.get() == "token-4"


async def test_a_first_token_that_cannot_be_had_is_an_error() -> None:
    clock = ManualClock()
    source = Source(clock)
    source.broken = True
    with pytest.raises(UpstreamFault):
        await RenewedToken(source, clock).get()


def test_a_refusal_is_masked_and_blames_the_credential() -> None:
    with TokenService(lambda asked: (401, {"error": "bad key hunter2hunter2"})) as service:
        with pytest.raises(UpstreamFault) as failed:
            fetch_json("no token", service.url, form={"apikey": "hunter2hunter2"}, secrets=("hunter2hunter2",))
        assert service.asked[0].form() == {"apikey": "hunter2hunter2"}
    assert failed.value.fault.kind == "authentication"
    assert "hunter2" not in str(failed.value)


def test_a_service_that_is_away_is_a_connection_fault() -> None:
    with pytest.raises(UpstreamFault) as failed:
        fetch_json("no token", "http://127.0.0.1:9")
    assert failed.value.fault.kind == "connect"
    assert not failed.value.fault.body_sent


def test_only_http_addresses_are_asked() -> None:
    with pytest.raises(CredentialMissing):
        fetch_json("no token", "file:///etc/passwd")
