"""The configuration in force: loaded again on SIGHUP, on demand and when a file of it changes; taken whole or not at all."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from wayport.config.load import Options, load
from wayport.config.problems import ConfigError
from wayport.config.settings import Settings
from wayport.config.watch import Watched
from wayport.control import discovery
from wayport.control.listings import Lists
from wayport.control.snapshots import LocalServer, build
from wayport.routing.snapshot import Snapshot

log = logging.getLogger("wayport.control")

LOOK_EVERY_S = 2.0

More = Callable[[Settings], Awaitable[Settings]]

Probe = Callable[[Settings], Awaitable[Sequence[LocalServer]]]


class Configuration:
    """Hands every new snapshot, as JSON, to `push`. `more` adds the models of the database."""

    def __init__(
        self,
        settings: Settings,
        *,
        options: Options,
        environment: Callable[[], Mapping[str, str]],
        version: int,
        push: Callable[[bytes], None],
        more: More | None = None,
        probe: Probe = discovery.probe,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.settings = settings
        self.refused: str | None = None
        """why the newest configuration is not in force"""
        self._options = options
        self._environment = environment
        self._version = version
        self._push = push
        self._more = more
        self._probe = probe
        self._sleep = sleep
        self._watched = Watched(settings)
        self._found: Sequence[LocalServer] = ()
        self._listed: Lists = {}
        self._one_at_a_time = asyncio.Lock()

    async def watch(self) -> None:
        """Loads again whenever a file has changed. Ends only by cancellation."""
        if discovery.wanted(self.settings):
            # Local servers are looked for here, so that no start waits for them.
            await self._look_for_servers()
        while True:
            if self._watched.changed():
                await self.reload()
            await self._sleep(LOOK_EVERY_S)

    async def reload(self) -> str | None:
        """Loads everything again; returns why it was not taken. What is wrong changes nothing."""
        async with self._one_at_a_time:
            try:
                settings = await asyncio.to_thread(load, self._options, self._environment())
                if self._more is not None:
                    settings = await self._more(settings)
                found = await self._probe(settings) if discovery.wanted(settings) else ()
                snapshot = await asyncio.to_thread(
                    build, settings, found=found, listed=self._listed, version=self._version + 1
                )
            except ConfigError as error:
                self.refused = "; ".join(str(problem) for problem in error.problems)
                log.error("the new configuration is wrong; the old one stays", extra={"problems": self.refused})  # noqa: TRY400 (the problems say it all)
                return self.refused
            self._found = found
            self._take(settings, snapshot)
            return None

    async def take_lists(self, listed: Lists) -> None:
        """Upstreams have told which models they have: a new snapshot of the same configuration."""
        async with self._one_at_a_time:
            self._listed = listed
            snapshot = await asyncio.to_thread(
                build, self.settings, found=self._found, listed=listed, version=self._version + 1
            )
            self._take(self.settings, snapshot)

    async def _look_for_servers(self) -> None:
        async with self._one_at_a_time:
            found = await self._probe(self.settings)
            if found:
                log.info("found local servers", extra={"servers": discovery.describe(found)})
                self._found = found
                snapshot = build(self.settings, found=found, listed=self._listed, version=self._version + 1)
                self._take(self.settings, snapshot)

    def _take(self, settings: Settings, snapshot: Snapshot) -> None:
        waiting = [name for name in ("server", "storage", "spool", "auth") if _differs(name, self.settings, settings)]
        if waiting:
            log.warning("some settings change only with a restart", extra={"sections": waiting})
        self._version = snapshot.version
        self._watched = Watched(settings)
        self.settings = settings
        self.refused = None
        self._push(msgspec.json.encode(snapshot))
        log.info("configuration in force", extra={"version": snapshot.version, "models": len(snapshot.models)})


def _differs(section: str, before: Settings, after: Settings) -> bool:
    old, new = getattr(before, section), getattr(after, section)
    if section == "auth" and new.generate:
        # The generated key is put in at start, not by loading.
        new = msgspec.structs.replace(new, master_keys=old.master_keys, source=old.source)
    return bool(old != new)
