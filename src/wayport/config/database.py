"""Database URLs as people and platforms write them, with the asynchronous driver named. Parameters are left as they are."""

import re
from pathlib import Path as FilePath

_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///", re.IGNORECASE)


def async_database_url(url: str) -> str:
    """Raises `ValueError` for a database that Wayport does not know; its text never holds the URL."""
    url = url.strip()
    if _SQLITE.match(url):
        return _SQLITE.sub("sqlite+aiosqlite:///", url, count=1)
    if _POSTGRES.match(url):
        return _POSTGRES.sub("postgresql+asyncpg://", url, count=1)
    raise ValueError("must begin with postgresql:// (or postgres://), or with sqlite:///")


def sqlite_url(data_dir: str) -> str:
    return f"sqlite+aiosqlite:///{FilePath(data_dir) / 'wayport.db'}"
