"""Where a provider is: the operator's word, a variable's, or its own address; and never our own listener."""

import ipaddress
import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from msgspec import Struct

from wayport.config.settings import LOOPBACK, ServerSettings, Settings
from wayport.providers.provider import Provider

_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not bound to)
_PORTS = {"http": 80, "https": 443}


class Base(Struct, frozen=True):
    """`url` None: the provider's own address."""

    url: str | None
    source: str = ""
    """the variable that said so; empty: the configuration, or nobody"""


def variable_of(name: str, ending: str) -> str:
    """`gwdg_saia`, `_API_BASE` → `GWDG_SAIA_API_BASE`."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").upper() + ending


def moved_by_environment(provider: Provider, name: str, settings: Settings) -> Base:
    """The address that a variable names: the provider's own ones, and `<PROVIDER>_API_BASE`."""
    for variable in (*provider.base_env, variable_of(name, "_API_BASE")):
        if value := settings.variable(variable).strip():
            return Base(_with_scheme(value, provider), variable)
    return Base(None)


def _with_scheme(value: str, provider: Provider) -> str:
    """`OLLAMA_HOST` is written as a host with or without a port, and as the address to listen on."""
    own = urlsplit(provider.base_url or "")
    if "://" in value or own.scheme != "http":
        return value.rstrip("/")
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit():
        host, port = value, str(own.port or 80)
    if host in ("", *_ANY_ADDRESS):
        host = "127.0.0.1"
    return f"http://{host}:{port}{own.path}"


def wrong_with(url: str) -> str | None:
    """Why `url` cannot be a base URL. The text never holds it: a password may be inside."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme == "unix":
        return None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        return "must begin with http:// or https:// and name a host"
    if parts.username is not None:
        return "holds a user name or password: give the credential in its own setting"
    return None


def is_own(url: str, server: ServerSettings) -> bool:
    """Whether calls to `url` would come back to us."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return False
    host = (parts.hostname or "").lower()
    return port == server.port and host in set(_own_hosts(server))


def _own_hosts(server: ServerSettings) -> Iterator[str]:
    yield server.host
    if server.host in LOOPBACK or server.host in _ANY_ADDRESS:
        yield from LOOPBACK
        yield from _ANY_ADDRESS
        yield "localhost"
    if server.host in _ANY_ADDRESS:
        yield socket.gethostname().lower()


def host_of(url: str) -> str:
    """Host and port, as a name for whoever is there."""
    return url.partition("://")[2].partition("/")[0].rpartition("@")[2] or "custom"


def is_local(url: str) -> bool:
    """Whether `url` is on this machine or in a private network: a server of the operator's own."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".local", ".internal", ".localhost")) or "." not in host.strip("[]"):
        return ":" not in host or _is_private(host)
    return _is_private(host)


def _is_private(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_private or address.is_loopback
