"""Which models there are behind wildcards and open providers: asked of each upstream in the background.

What must stay true: nobody waits for it, the last good list stays while an upstream is away, and workers hear of it only
when something has changed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping

import msgspec
from msgspec import Struct

from wayport.catalog.facts import ModelFacts
from wayport.core.errors import WayportError
from wayport.core.net import Timeouts
from wayport.providers.discovery import listed, next_page
from wayport.routing.snapshot import Deployment, ImplicitProvider, Model
from wayport.upstream.credentials import Credentials
from wayport.upstream.headers import head_for
from wayport.upstream.origin import origin_of
from wayport.upstream.transport import Transport, TransportFault

log = logging.getLogger("wayport.control")

Lists = Mapping[str, tuple[ModelFacts, ...]]
"""the models that a template's upstream lists, by the template deployment's id"""

_TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=15.0, idle_s=15.0, total_s=30.0)
_LIST_BYTES = 16 * 1024 * 1024
_MOST_PAGES = 20
_AT_ONCE = 8


class _Templates(Struct, frozen=True):
    """What we read of a snapshot."""

    wildcards: tuple[Model, ...] = ()
    implicit: dict[str, ImplicitProvider] = {}

    def __iter__(self) -> Iterator[Deployment]:
        for model in self.wildcards:
            yield from (each for each in model.deployments if "*" in each.upstream_model)
        yield from (implicit.template for implicit in self.implicit.values() if implicit.asked)


class Listings:
    """`changed` is told all lists whenever one of them differs from what it was told before."""

    def __init__(
        self,
        transport: Transport,
        credentials: Credentials,
        *,
        changed: Callable[[Lists], Awaitable[None]],
        every_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._credentials = credentials
        self._changed = changed
        self._every_s = every_s
        self._sleep = sleep
        self._templates: dict[str, Deployment] = {}
        self._lists: dict[str, tuple[ModelFacts, ...]] = {}
        self._new = asyncio.Event()
        self._room = asyncio.Semaphore(_AT_ONCE)

    def take(self, snapshot: bytes) -> None:
        """A snapshot is in force: its templates are asked for from now on, new ones at once."""
        found = {
            template.id: template
            for template in msgspec.json.decode(snapshot, type=_Templates)
            if template.base_url and not template.missing and "models" in template.paths
        }
        if found.keys() - self._templates.keys():
            self._new.set()
        self._templates = found

    async def run(self) -> None:
        """Asks now, whenever there are new templates, and again after every interval. Ends only by cancellation."""
        if self._every_s <= 0:
            return
        while True:
            self._new.clear()
            await self.refresh()
            waits = [asyncio.ensure_future(self._new.wait()), asyncio.ensure_future(self._sleep(self._every_s))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
                await asyncio.gather(*waits, return_exceptions=True)

    async def refresh(self) -> None:
        """Asks all upstreams once, each address and credential once."""
        groups: dict[tuple[str, str, str], list[Deployment]] = {}
        for template in self._templates.values():
            groups.setdefault((template.provider, template.base_url, template.credential.value), []).append(template)
        answers = await asyncio.gather(*(self._of(group[0]) for group in groups.values()))
        lists = {key: value for key, value in self._lists.items() if key in self._templates}
        for group, models in zip(groups.values(), answers, strict=True):
            if models is not None:
                lists.update((template.id, models) for template in group)
        if lists != self._lists:
            self._lists = lists
            await self._changed(lists)

    async def _of(self, template: Deployment) -> tuple[ModelFacts, ...] | None:
        """The models of one upstream, in one order whatever order it has; None if it is away."""
        found: dict[str, ModelFacts] = {}
        path: str | None = template.paths["models"]
        try:
            async with self._room:
                for _ in range(_MOST_PAGES):
                    body = await self._get(template, path or "")
                    found.update((facts.model, facts) for facts in listed(template.provider, body))
                    path = next_page(template.paths["models"], body)
                    if path is None:
                        break
        except (TransportFault, WayportError, ValueError) as error:
            log.info("no list of models", extra={"provider": template.provider, "reason": str(error)[:300]})
            return None
        return tuple(found[name] for name in sorted(found))

    async def _get(self, template: Deployment, path: str) -> bytes:
        """Raises `ValueError` for anything but a success."""
        # A list may stand elsewhere than below what is called.
        url = path if "://" in path else template.base_url.rstrip("/") + path
        origin, _ = origin_of(url, tls=template.tls, proxy=template.proxy)
        if template.signed:
            signed = await self._credentials.sign(
                provider=template.behaves_like or template.provider,
                settings=template.credential.settings,
                url=url,
                body=b"",
                headers=template.headers,
                method="GET",
                tls=template.tls,
                proxy=template.proxy,
            )
            origin, head = signed.origin, signed.head
        else:
            head = head_for(
                method="GET",
                url=url,
                auth=template.auth,
                credential=template.credential.value,
                headers=template.headers,
            )
        answer = await self._transport.send(origin, head, b"", timeouts=_TIMEOUTS)
        body = await answer.read(_LIST_BYTES)
        if answer.status != 200:
            raise ValueError(f"status {answer.status}")
        return body
