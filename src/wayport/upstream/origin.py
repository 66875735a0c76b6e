"""Where a connection leads: the part of a URL that decides whether two requests may share one."""

from typing import Literal, cast
from urllib.parse import urlsplit

from msgspec import Struct

from wayport.core.net import TlsSettings

Scheme = Literal["http", "https", "unix"]

_PORTS: dict[str, int] = {"http": 80, "https": 443}


class Origin(Struct, frozen=True, cache_hash=True):
    """Two requests with equal origins may share a connection. Make it once per deployment: equality is checked by identity first."""

    scheme: Scheme
    host: str
    """name or address in lower case; of a Unix socket, its path"""
    port: int
    tls: TlsSettings | None = None
    """None: verified against the system's store"""
    proxy: str | None = None
    """None: as the proxy rules say; empty: none"""
    address: str | None = None
    """connect to exactly this address instead of looking the host up (and through a tunnel, if by a proxy)"""

    @property
    def authority(self) -> str:
        """What stands in the `host` header."""
        if self.scheme == "unix":
            return "localhost"
        full = self.authority_with_port
        return full.removesuffix(f":{self.port}") if self.port == _PORTS[self.scheme] else full

    @property
    def authority_with_port(self) -> str:
        """As in a URL that leaves out nothing."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix:{self.host}" if self.scheme == "unix" else self.authority


def origin_of(url: str, *, tls: TlsSettings | None = None, proxy: str | None = None) -> tuple[Origin, str]:
    """The origin, and the path and query below it (without a trailing slash; empty for the root).

    A Unix socket is written `unix:///path/of/socket` or, with a path below it, `unix:///path/of/socket:/v1`.
    Raises `ValueError` with a sentence for the operator.
    """
    if url.startswith("unix:"):
        path, _, below = url.removeprefix("unix:").removeprefix("//").partition(":")
        if not path.startswith("/"):
            raise ValueError(f"`{url}` does not name a Unix socket: write unix:///path/of/socket")
        return Origin("unix", path, 0), below.rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"`{_shown(url)}` is not a URL: {error}") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"`{_shown(url)}` is not an http, https or unix URL")
    if parts.username is not None:
        raise ValueError(f"`{_shown(url)}` holds a user name or password: give the credential in its own setting")
    host = _ascii(parts.hostname)
    below = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    # TLS settings of a plain address mean nothing: leaving them out lets such deployments share connections.
    kept_tls = tls if scheme == "https" else None
    return Origin(cast("Scheme", scheme), host, port or _PORTS[scheme], kept_tls, proxy), below


def _ascii(host: str) -> str:
    """The host as DNS and TLS take it."""
    if ":" in host:
        return host.lower()
    try:
        # Refuses empty and overlong labels too, which neither of them would take.
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise ValueError(f"{host!r} is not a host name") from None
    if not name.isprintable() or " " in name:
        raise ValueError(f"{host!r} is not a host name")
    return name


def _shown(url: str) -> str:
    """The URL without what may be secret: user name, password, query."""
    scheme, _, rest = url.partition("://")
    rest = rest.partition("?")[0]
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"
