"""Presenting credentials that are more than a constant: signatures, and tokens that expire.

A constant credential needs nothing of this: `headers.head_for` writes it into the deployment's head once. A signer is made
once per provider and settings and kept, so that the token that it renews survives a reload of the configuration.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from msgspec import Struct

from wayport.core.errors import CredentialMissing
from wayport.core.net import TlsSettings
from wayport.providers.provider import AuthStyle, MakeSigner, Outgoing, Signer
from wayport.upstream.headers import constant_headers, render_head
from wayport.upstream.origin import Origin, origin_of

_MOST_SIGNERS = 4096
_NO_CONSTANT = AuthStyle(where="none")


class Signed(Struct, frozen=True):
    """Where a signed request goes, and its head. A signer may have moved it to another host."""

    origin: Origin
    head: bytes


class Credentials:
    """Keeps one signer per provider and settings."""

    def __init__(self, maker_of: Callable[[str], MakeSigner | None]) -> None:
        """`maker_of`: a provider's name to its signer, None for providers that have none."""
        self._maker_of = maker_of
        self._signers: OrderedDict[tuple[str, frozenset[tuple[str, str]]], Signer] = OrderedDict()

    def signer(self, provider: str, settings: Mapping[str, str]) -> Signer:
        key = (provider, frozenset(settings.items()))
        known = self._signers.get(key)
        if known is not None:
            self._signers.move_to_end(key)
            return known
        make = self._maker_of(provider)
        if make is None:
            raise CredentialMissing(f"The provider `{provider}` has no way to sign requests.")
        signer = self._signers[key] = make(settings)
        if len(self._signers) > _MOST_SIGNERS:
            self._signers.popitem(last=False)
        return signer

    async def sign(
        self,
        *,
        provider: str,
        settings: Mapping[str, str],
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        lines: bytes = b"",
        method: str = "POST",
        tls: TlsSettings | None = None,
        proxy: str | None = None,
    ) -> Signed:
        """The head of one request, signed as it is going to be sent.

        `headers`: the deployment's; `lines`: further ones of this call. Raises what the signer raises
        (`CredentialMissing`, `UpstreamFault`).
        """
        signer = self.signer(provider, settings)
        constant = constant_headers(auth=_NO_CONSTANT, credential="", headers={**headers, **_read(lines)})
        outgoing = Outgoing(method=method, url=url, headers=constant, body=body)
        await signer.sign(outgoing)
        origin, _ = origin_of(outgoing.url, tls=tls, proxy=proxy)
        return Signed(origin, render_head(method, outgoing.url, outgoing.headers))


def _read(lines: bytes) -> dict[str, str]:
    """Header lines as a mapping; a repeated one becomes a list."""
    headers: dict[str, str] = {}
    for line in lines.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            value = value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
