"""Signed requests: one signer per provider and settings, and a head that is what was signed."""

from collections.abc import Mapping

import pytest
from tests.fakes.upstream import Upstream, json_answer
from tests.upstream.calls import LIMIT, SOON, transport

from wayport.core.errors import CredentialMissing
from wayport.core.net import TlsSettings
from wayport.providers.provider import MakeSigner, Outgoing
from wayport.upstream.credentials import Credentials


class Counting:
    """Signs with a number, and remembers what it saw."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self.settings = settings
        self.seen: list[Outgoing] = []
        self.moves_to = settings.get("host")

    async def sign(self, outgoing: Outgoing) -> None:
        self.seen.append(outgoing)
        outgoing.headers["authorization"] = f"Signed {len(self.seen)}"
        if self.moves_to:
            outgoing.url = outgoing.url.replace("api.test", self.moves_to)


def maker_of(provider: str) -> MakeSigner | None:
    return Counting if provider == "signing" else None


def test_a_signer_is_kept_as_long_as_its_settings_are_the_same() -> None:
    credentials = Credentials(maker_of)
    one = credentials.signer("signing", {"region": "eu", "key": "1"})
    assert credentials.signer("signing", {"key": "1", "region": "eu"}) is one
    assert credentials.signer("signing", {"key": "2", "region": "eu"}) is not one


def test_a_provider_without_a_signer_is_named() -> None:
    with pytest.raises(CredentialMissing, match="`plain` has no way to sign"):
        Credentials(maker_of).signer("plain", {})


def test_the_oldest_of_too_many_signers_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayport.upstream.credentials._MOST_SIGNERS", 2)
    credentials = Credentials(maker_of)
    one, two = (credentials.signer("signing", {"n": n}) for n in "12")
    assert credentials.signer("signing", {"n": "1"}) is one
    credentials.signer("signing", {"n": "3"})
    assert credentials.signer("signing", {"n": "1"}) is one
    assert credentials.signer("signing", {"n": "2"}) is not two


async def test_the_signer_sees_the_request_as_it_is_sent() -> None:
    credentials = Credentials(maker_of)
    tls = TlsSettings(ca_file="/ca")
    signed = await credentials.sign(
        provider="signing",
        settings={"host": "eu.api.test"},
        url="https://api.test/v1/x?y=1",
        body=b"{}",
        headers={"X-Own": "1", "Authorization": "old"},
        lines=b"anthropic-beta: a\r\nanthropic-beta: b\r\n",
        tls=tls,
        proxy="",
    )
    head = signed.head.decode()
    assert head.startswith("POST /v1/x?y=1 HTTP/1.1\r\nhost: eu.api.test\r\n")
    assert "\r\nauthorization: Signed 1\r\n" in head
    assert "\r\nx-own: 1\r\n" in head
    assert "\r\nanthropic-beta: a, b\r\n" in head
    assert (signed.origin.host, signed.origin.tls, signed.origin.proxy) == ("eu.api.test", tls, "")
    signer = credentials.signer("signing", {"host": "eu.api.test"})
    assert isinstance(signer, Counting)
    seen = signer.seen[0]
    assert (seen.method, seen.body, seen.headers["content-type"]) == ("POST", b"{}", "application/json")


async def test_a_signed_request_can_be_sent() -> None:
    async with Upstream(json_answer(1)) as upstream, transport() as client:
        signed = await Credentials(maker_of).sign(
            provider="signing", settings={}, url=f"{upstream.url}/v1/x", body=b"{}", headers={}
        )
        answer = await client.send(signed.origin, signed.head, b"{}", timeouts=SOON)
        assert await answer.read(LIMIT) == b"1"
        assert upstream.requests[0].headers["authorization"] == "Signed 1"


async def test_what_a_signer_writes_cannot_break_the_request() -> None:
    class Evil:
        def __init__(self, settings: Mapping[str, str]) -> None: ...

        async def sign(self, outgoing: Outgoing) -> None:
            outgoing.headers["authorization"] = "a\r\nx-evil: 1"

    with pytest.raises(CredentialMissing):
        await Credentials(lambda _: Evil).sign(provider="x", settings={}, url="https://h/", body=b"", headers={})
