"""Names to addresses, remembered for a short while."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain, zip_longest
from typing import Any, NamedTuple

from wayport.core.clock import Clock
from wayport.upstream.faults import TransportFault

FRESH_S = 30.0
FRESH_FAILURE_S = 1.0
_MOST_NAMES = 1024
_MOST_GUESTS = 1
"""The system's resolver has two threads for all of a worker (libuv's, half of its pool), and a slow name holds one for as long as it likes."""


class TooManyLookUps(Exception):
    """Names that clients wrote are being looked up already."""


class Address(NamedTuple):
    family: int
    sockaddr: tuple[str, int] | tuple[str, int, int, int]


class _Known(NamedTuple):
    until_s: float
    found: "asyncio.Future[list[Address]]"


LookUp = Callable[..., Awaitable[Any]]
"""`getaddrinfo` of an event loop"""


class Resolver:
    """Asks the system's resolver once per name and half minute; calls that come meanwhile wait for the same answer."""

    def __init__(self, clock: Clock, *, getaddrinfo: LookUp | None = None) -> None:
        self._getaddrinfo = getaddrinfo
        self._steady_s = clock.steady_s
        self._known: dict[tuple[str, int], _Known] = {}
        self._guests = 0
        """look-ups under way of names that clients wrote"""

    async def resolve(self, host: str, port: int, *, guest: bool = False) -> list[Address]:
        """Addresses to try, in order: both families in turn, as the system prefers them. Raises `TransportFault`.

        `guest`: a client wrote the name. Raises `TooManyLookUps` instead of beginning one too many.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        key = (host, port)
        known = self._known.get(key)
        if known is None or (known.found.done() and self._steady_s() >= known.until_s):
            if guest and self._guests >= _MOST_GUESTS:
                raise TooManyLookUps
            if len(self._known) >= _MOST_NAMES:
                self._known = {k: v for k, v in self._known.items() if not v.found.done()}
            found = asyncio.ensure_future(self._look_up(host, port))
            known = self._known[key] = _Known(FRESH_S, found)
            found.add_done_callback(lambda _: self._answered(key, found))
            if guest:
                self._guests += 1
                found.add_done_callback(self._guest_left)
        # A caller that leaves must not take the look-up away from the others.
        return await asyncio.shield(known.found)

    def _answered(self, key: tuple[str, int], found: "asyncio.Future[list[Address]]") -> None:
        if found.cancelled():
            self._known.pop(key, None)
            return
        fresh_s = FRESH_S if found.exception() is None else FRESH_FAILURE_S
        self._known[key] = _Known(self._steady_s() + fresh_s, found)

    def _guest_left(self, _: object) -> None:
        # Only now: whoever waited for it may have left long before, and the thread was busy all the same.
        self._guests -= 1

    def worked(self, host: str, port: int, address: Address) -> None:
        """This one can be reached: it is tried first while the answer is fresh."""
        known = self._known.get((host, port))
        if known is not None and known.found.done() and not known.found.cancelled() and not known.found.exception():
            addresses = known.found.result()
            if addresses[0] != address and address in addresses:
                addresses.remove(address)
                addresses.insert(0, address)

    async def _look_up(self, host: str, port: int) -> list[Address]:
        getaddrinfo = self._getaddrinfo or asyncio.get_running_loop().getaddrinfo
        try:
            infos = await getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise TransportFault("connect", f"Cannot resolve {host}: {reason}.", body_sent=False) from None
        return _in_turn(host, infos)


def _literal(host: str, port: int) -> Address | None:
    """The address itself, if `host` is one."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if "%" in host:
        return None
    if version == 4:
        return Address(socket.AF_INET, (host, port))
    return Address(socket.AF_INET6, (host, port, 0, 0))


def _in_turn(host: str, infos: Iterable[tuple[Any, ...]]) -> list[Address]:
    addresses = list(dict.fromkeys(Address(int(family), tuple(sockaddr)) for family, _, _, _, sockaddr in infos))
    if not addresses:
        raise TransportFault("connect", f"Cannot resolve {host}: it has no address.", body_sent=False)
    first = addresses[0].family
    preferred = [address for address in addresses if address.family == first]
    others = [address for address in addresses if address.family != first]
    return [address for address in chain.from_iterable(zip_longest(preferred, others)) if address is not None]
