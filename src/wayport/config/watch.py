"""Notices that a file of the configuration has changed: by content, so that bind mounts and touched files do no harm."""

import hashlib
from collections.abc import Iterable
from pathlib import Path as FilePath

from wayport.config.settings import Settings, Source


def source(file: FilePath) -> Source:
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        digest = ""
    return Source(path=str(file.absolute()), sha256=digest)


def content_hash(sources: Iterable[Source]) -> str:
    lines = sorted(f"{item.path}\n{item.sha256}\n" for item in sources)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class Watched:
    """The files of one loading. Cheap to ask: they are small and in the page cache.

    `changed` compares with the last answer, so that a bad file is reported once and not at every look.
    """

    def __init__(self, settings: Settings) -> None:
        self._paths = [FilePath(item.path) for item in settings.sources]
        self._hash = settings.content_hash

    def changed(self) -> bool:
        now = content_hash(source(path) for path in self._paths)
        if now == self._hash:
            return False
        self._hash = now
        return True
