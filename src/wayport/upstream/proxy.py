"""Which requests go by a proxy, and what is said to it."""

import ipaddress
from base64 import b64encode
from collections.abc import Callable
from typing import Literal, cast
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from wayport.upstream.origin import Origin

_PORTS: dict[str, int] = {"http": 80, "https": 443}


class Proxy(Struct, frozen=True):
    """One HTTP proxy. Its `repr` shows no password."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    authorization: bytes | None = None
    """the value of `proxy-authorization`"""

    def __str__(self) -> str:
        return f"proxy {self.host}:{self.port}"

    __repr__ = __str__

    def lines(self) -> bytes:
        """The header lines that it wants to see."""
        return b"" if self.authorization is None else b"proxy-authorization: %b\r\n" % self.authorization

    def absolute(self, head: bytes, origin: Origin) -> bytes:
        """A request head for a plain `http` origin, as a proxy expects it: the whole URL in the first line."""
        method, target = head.split(b" ", 1)
        line, rest = target.split(b"\r\n", 1)
        return b"%b http://%b%b\r\n%b%b" % (method, origin.authority.encode(), line, self.lines(), rest)


def proxy_of(url: str) -> Proxy:
    """Reads `http://user:password@host:port`; the scheme may be missing. Raises `ValueError` with a sentence."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"the proxy `{shown}` is not an http or https one, and no other kind is known")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError(f"the proxy `{shown}` has no usable host and port")
    authorization = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(pair.encode())
    # Where no port is named, curl and Python take the scheme's own.
    return Proxy(cast("Literal['http', 'https']", scheme), host, port or _PORTS[scheme], authorization)


class ProxyRules(Struct, kw_only=True, frozen=True):
    """What HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say, read by the configuration. Loopback goes direct always.

    An entry of `none` is a name (it and all below it), `.name` or `*.name` (the same), an address, a network in CIDR
    notation, each with an optional `:port`, or `*`.
    """

    http: str | None = None
    https: str | None = None
    all: str | None = None
    none: tuple[str, ...] = ()

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """Raises `ValueError` when the proxy that would be used is not written as one."""
        if origin.scheme == "unix" or origin.proxy == "":
            return None
        url = origin.proxy
        if url is None:
            url = (self.https if origin.scheme == "https" else self.http) or self.all
            if not url or _is_loopback(origin.host) or any(_covers(entry, origin) for entry in self.none):
                return None
        return proxy_of(url)

    def __repr__(self) -> str:
        # The URLs may hold passwords.
        return f"ProxyRules(http={bool(self.http)}, https={bool(self.https)}, all={bool(self.all)}, none={self.none})"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _covers(entry: str, origin: Origin) -> bool:
    entry = entry.strip().lower()
    if entry == "*":
        return True
    name, port = _split_port(entry)
    if not name or (port is not None and port != origin.port):
        return False
    address = _address(origin.host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(name.strip("[]"), strict=False)
        except ValueError:
            return False
    name = name.removeprefix("*").lstrip(".")
    return origin.host == name or origin.host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, int | None]:
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        return name, int(port)
    return entry, None


def proxy_rules(variable: Callable[[str], str]) -> ProxyRules:
    """The usual variables, lower case first, as curl and Python read them."""

    def either(name: str) -> str | None:
        return variable(name.lower()) or variable(name) or None

    none = tuple(entry.strip() for entry in (either("NO_PROXY") or "").split(",") if entry.strip())
    return ProxyRules(http=either("HTTP_PROXY"), https=either("HTTPS_PROXY"), all=either("ALL_PROXY"), none=none)
