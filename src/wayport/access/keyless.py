"""Nobody is asked for a key, so the caller must be a program on this machine: never a web page, which could make the
browser of whoever runs the gateway spend their money.
"""

from collections.abc import Collection

from wayport.access.credential import Header
from wayport.access.principal import Principal
from wayport.core.errors import PermissionDenied, UnsupportedMediaType

KEYLESS = Principal(kind="keyless", key_alias="keyless", role="proxy_admin")

_LOOPBACK = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


def guard(header: Header, *, has_body: bool, allowed_origins: Collection[bytes] = ()) -> None:
    """Raises `PermissionDenied` or `UnsupportedMediaType` unless the request can only come from a local program.

    The Host must be loopback (a name that resolves to us may belong to an attacker), an Origin our own or a configured
    one, and a body JSON: with another type a browser sends it without asking first.
    """
    host = (header(b"host") or b"").lower()
    if _name(host) not in _LOOPBACK:
        raise PermissionDenied(
            "Without keys this gateway answers only to localhost, 127.0.0.1 and [::1]. Configure a master key to reach "
            "it by another name.",
            code="host_not_allowed",
        )
    origin = header(b"origin")
    if origin is not None and not _own(origin.lower(), host) and origin not in allowed_origins:
        raise PermissionDenied(
            "Without keys this gateway refuses calls from web pages of other origins. List the origin under "
            "`server.cors_origins`, or configure a master key.",
            code="origin_not_allowed",
        )
    if has_body:
        kind = (header(b"content-type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/json" and not kind.endswith(b"+json"):
            raise UnsupportedMediaType(
                "Without keys this gateway accepts JSON only: send `content-type: application/json`.",
                param="content-type",
            )


def _name(host: bytes) -> bytes:
    if host.startswith(b"["):
        return host.partition(b"]")[0] + b"]"
    return host.partition(b":")[0].removesuffix(b".")


def _own(origin: bytes, host: bytes) -> bool:
    return origin in (b"http://" + host, b"https://" + host)
