"""Fetching what a target cannot: images, documents and audio by URL become data in the request.

A client chooses the URL, so the fetch must not become its hand inside our network. What must stay true: only public
addresses are connected to, exactly the one that was checked, on ports 80 and 443, on every redirect again; only listed
types come in, by their header and by their first bytes; size, time, and how many run at once are bounded; nothing of ours
(no credential, no cookie) goes out. Hosts that the operator trusts are exempt from the checks of address and port.
"""

import asyncio
import ipaddress
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from wayport.core.errors import BadRequest
from wayport.core.net import Timeouts
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import Audio, Document, Image, Media, Message, Part, Request, ToolResult
from wayport.upstream.headers import USER_AGENT, render_head
from wayport.upstream.origin import Origin, origin_of
from wayport.upstream.sniff import type_of
from wayport.upstream.transport import Answer, Transport, TransportFault

_MAX_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_AT_ONCE = 4
_PORTS = frozenset({80, 443})
# Servers that do not know the type of what they serve say so in one of these ways; then the first bytes decide alone.
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/x-download"})
_SAME_TYPE = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "application/x-pdf": "application/pdf",
    "audio/mp3": "audio/mpeg",
    "audio/wave": "audio/wav",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
}


class MediaRules(Struct, kw_only=True, frozen=True):
    fetch: bool = True
    max_bytes: int = 20 * 1024 * 1024
    """of one file"""
    max_request_bytes: int = 50 * 1024 * 1024
    """of all files of one request"""
    timeout_s: float = 10.0
    """of one file, redirects and all"""
    types: tuple[str, ...] = (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "application/pdf",
        "audio/mpeg",
        "audio/wav",
        "audio/ogg",
        "audio/flac",
        "audio/mp4",
    )
    hosts: tuple[str, ...] = ()
    """names (with all below them) and addresses that may be asked although they are not public, and on any port"""
    hosts_only: bool = False
    """nothing but `hosts` is asked"""


class Fetched(Struct, frozen=True):
    media_type: str
    data: bytes


class Refused(Exception):
    """Why a URL is not fetched or its content not taken; a sentence without a subject, for the client."""


class Fetcher(Protocol):
    async def __call__(self, url: str) -> Fetched:
        """Raises `Refused`."""
        ...


# ------------------------------------------------------------------------------------------------------------ requests
async def inline(request: Request, profile: Profile, fetch: Fetcher, *, max_bytes: int) -> Request:
    """The request with the data of all media that the target cannot fetch itself; the one given stays as it is.

    The same URL is fetched once. Raises `BadRequest` that names the field and the host.
    """
    wanted = _wanted(request, profile)
    if not wanted:
        return request
    urls = list(dict.fromkeys(url for _, url, _ in wanted))
    tasks = {url: asyncio.ensure_future(fetch(url)) for url in urls}
    got: dict[str, Media] = {}
    total = 0
    try:
        for field, url, family in wanted:
            try:
                fetched = await tasks[url]
            except Refused as why:
                raise _bad(field, url, str(why)) from None
            if not fetched.media_type.startswith(family):
                raise _bad(field, url, f"is {fetched.media_type}, which cannot stand in this place")
            if url in got:
                continue
            total += len(fetched.data)
            if total > max_bytes:
                raise _bad(field, url, f"makes the request's files larger than {max_bytes} bytes together")
            data = b64encode(fetched.data).decode("ascii")
            got[url] = Media(kind="base64", value=data, media_type=fetched.media_type)
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    messages = [_with_data(message, profile, got) for message in request.messages]
    return replace(request, messages=messages)


def _bad(field: str, url: str, why: str) -> BadRequest:
    host = urlsplit(url).hostname or "its address"
    return BadRequest(f"`{field}`: the file at {host} {why}.", param=field, code="media_not_usable")


def _is_wanted(part: Part, profile: Profile) -> bool:
    if isinstance(part, Image):
        return profile.images == "data" and part.source.kind == "url"
    return isinstance(part, Document | Audio) and profile.documents == "data" and part.source.kind == "url"


def _wanted(request: Request, profile: Profile) -> list[tuple[str, str, str]]:
    """Field and URL of each file to fetch, and how its media type must begin."""
    if profile.images != "data" and profile.documents != "data":
        return []
    found: list[tuple[str, str, str]] = []
    for field, message in _named(request):
        for index, part in enumerate(message.parts):
            inner = part.parts if isinstance(part, ToolResult) else [part]
            found.extend(
                (f"{field}.content[{index}]", one.source.value, _FAMILIES[type(one)])
                for one in inner
                if isinstance(one, Image | Document | Audio) and _is_wanted(one, profile)
            )
    return found


_FAMILIES: dict[type, str] = {Image: "image/", Audio: "audio/", Document: ""}

# Where a dialect keeps its conversation, and whether system prompts stand outside of it.
_PLACES = {
    "openai_chat": ("messages", False),
    "anthropic_messages": ("messages", True),
    "gemini_content": ("contents", True),
    "openai_responses": ("input", True),
    "bedrock_converse": ("messages", True),
    "cohere_chat": ("messages", False),
}


def _named(request: Request) -> Iterator[tuple[str, Message]]:
    """Each message with the field that holds it, as the client wrote it."""
    place, system_apart = _PLACES.get(request.dialect, ("messages", False))
    index = 0
    for message in request.messages:
        yield f"{place}[{index}]", message
        if not (system_apart and index == 0 and message.role == "system"):
            index += 1


def _with_data(message: Message, profile: Profile, got: dict[str, Media]) -> Message:
    parts = [_part_with_data(part, profile, got) for part in message.parts]
    if all(new is old for new, old in zip(parts, message.parts, strict=True)):
        return message
    return replace(message, parts=parts)


def _part_with_data(part: Part, profile: Profile, got: dict[str, Media]) -> Part:
    if isinstance(part, ToolResult):
        parts = [_part_with_data(inner, profile, got) for inner in part.parts]
        return part if parts == part.parts else replace(part, parts=parts)
    if isinstance(part, Image | Document | Audio) and _is_wanted(part, profile):
        source = part.source
        fetched = got[source.value]
        return replace(part, source=replace(fetched, filename=source.filename))
    return part


# ------------------------------------------------------------------------------------------------------------ fetching
class MediaFetcher:
    """Fetches by the rules. One per worker: it bounds how many fetches run at once."""

    def __init__(
        self,
        transport: Transport,
        rules: MediaRules,
        *,
        is_public: Callable[[str], bool] | None = None,
        ports: frozenset[int] = _PORTS,
    ) -> None:
        self._transport = transport
        self._rules = rules
        self._is_public = is_public or public
        self._ports = ports
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._timeouts = Timeouts(
            connect_s=rules.timeout_s, first_byte_s=rules.timeout_s, idle_s=rules.timeout_s, total_s=rules.timeout_s
        )

    @staticmethod
    def needed(request: Request, profile: Profile) -> bool:
        """Whether `inline` would fetch anything."""
        return bool(_wanted(request, profile))

    async def inline(self, request: Request, profile: Profile) -> Request:
        return await inline(request, profile, self, max_bytes=self._rules.max_request_bytes)

    async def __call__(self, url: str) -> Fetched:
        rules = self._rules
        if not rules.fetch:
            raise Refused("is not fetched, because fetching is switched off here: send its data in place of its URL")
        async with self._slots:
            try:
                async with asyncio.timeout(rules.timeout_s):
                    return await self._follow(url)
            except TimeoutError:
                raise Refused(f"did not come within {rules.timeout_s:g} s") from None
            except TransportFault as fault:
                raise Refused(_reason(fault, rules)) from None

    async def _follow(self, url: str) -> Fetched:
        for _ in range(_MAX_REDIRECTS + 1):
            answer = await self._ask(url)
            if answer.status not in _REDIRECTS:
                return await self._take(answer)
            answer.abort()
            location = answer.header(b"location")
            if not location:
                raise Refused("redirects to nowhere")
            try:
                url = urljoin(url, location.decode("utf-8", "replace"))
            except ValueError:
                raise Refused("redirects to no usable URL") from None
        raise Refused(f"redirects more than {_MAX_REDIRECTS} times")

    async def _ask(self, url: str) -> Answer:
        if not url.lower().startswith(("http://", "https://")):
            raise Refused("has no http or https URL")
        try:
            origin, _ = origin_of(url)
        except ValueError:
            raise Refused("has no usable URL") from None
        origin = await self._checked(origin)
        head = render_head("GET", url, {"user-agent": USER_AGENT, "accept": "*/*", "accept-encoding": "identity"})
        return await self._transport.send(origin, head, b"", timeouts=self._timeouts)

    async def _checked(self, origin: Origin) -> Origin:
        """The origin with the one address that may be connected to."""
        trusted = any(_names(host, origin.host) for host in self._rules.hosts)
        if self._rules.hosts_only and not trusted:
            raise Refused(f"leads to {origin.host}, which is not among the hosts that may be asked")
        if not trusted and origin.port not in self._ports:
            raise Refused(f"leads to port {origin.port}; only 80 and 443 are asked")
        for address in await self._transport.resolver.resolve(origin.host, origin.port):
            ip = str(address.sockaddr[0])
            if trusted or self._is_public(ip):
                return Origin(origin.scheme, origin.host, origin.port, address=ip)
        raise Refused(f"leads to {origin.host}, which has no public address")

    async def _take(self, answer: Answer) -> Fetched:
        rules = self._rules
        if answer.status != 200:
            answer.abort()
            raise Refused(f"was answered with status {answer.status}")
        said = (answer.header(b"content-type") or b"").decode("latin-1").partition(";")[0].strip().lower()
        said = _SAME_TYPE.get(said, said)
        if said not in rules.types and said not in _UNTYPED:
            answer.abort()
            raise Refused(f"is of type {said[:60]!r}; taken are {', '.join(rules.types)}")
        length = answer.header(b"content-length") or b""
        if length.isdigit() and int(length) > rules.max_bytes:
            answer.abort()
            raise Refused(f"is larger than {rules.max_bytes} bytes")
        data = await answer.read(rules.max_bytes)
        found = type_of(data)
        if found not in rules.types:
            raise Refused(f"is {found or 'something else'} by its first bytes; taken are {', '.join(rules.types)}")
        return Fetched(found, data)


def _reason(fault: TransportFault, rules: MediaRules) -> str:
    match fault.fault.kind:
        case "timeout":
            return f"did not come within {rules.timeout_s:g} s"
        case "connect":
            return "cannot be fetched: no connection to its host"
        case "malformed" if "larger than" in fault.fault.message:
            return f"is larger than {rules.max_bytes} bytes"
        case _:
            return "cannot be fetched: its host did not give a whole answer"


def _names(trusted: str, host: str) -> bool:
    trusted = trusted.strip().lower().removeprefix("*").lstrip(".")
    return bool(trusted) and (host == trusted or host.endswith(f".{trusted}"))


# What `is_global` lets through and no client has business with.
_CLOSED = tuple(
    map(
        ipaddress.ip_network,
        (
            "168.63.129.16/32",  # Azure's wire server: a public number that every machine there reaches as its own host
            "192.0.0.0/24",  # protocol assignments; Oracle's clouds keep their metadata there
            "192.88.99.0/24",  # the old way into 6to4
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST_V6 = ipaddress.ip_network("2000::/3")


def public(address: str) -> bool:
    """Whether an address belongs to the open internet, whatever it is wrapped in."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return public(str(inner))
        if ip not in _UNICAST_V6 or ip.teredo is not None:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _CLOSED))
