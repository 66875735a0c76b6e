"""Where the database is, read from one URL. Parameters that other clients put into it (Prisma's, libpq's) are understood
or left out, so that the URL of an existing installation works as it is. What is shown of it holds no password.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from wayport.core.errors import BadRequest
from wayport.core.secret import Secret, mask

Kind = Literal["sqlite", "postgresql"]

_POSTGRES_SCHEMES = frozenset({"postgres", "postgresql", "postgresql+asyncpg"})
_SQLITE_SCHEMES = frozenset({"sqlite", "sqlite+aiosqlite"})

# Parameters of Prisma's and libpq's URLs that mean nothing here; PostgreSQL would refuse them as unknown settings.
_IGNORED = frozenset(
    {
        "channel_binding",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "pool_timeout",
        "single_use_connections",
        "socket_timeout",
        "sslaccept",
        "sslidentity",
        "statement_cache_size",
        "tcp_user_timeout",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    kind: Kind
    shown: str
    """for people: no password"""
    path: Path | None = None
    """SQLite: the file"""
    dsn: Secret = field(default_factory=lambda: Secret(""))
    """PostgreSQL: what asyncpg understands"""
    passwords: tuple[str, ...] = field(default=(), repr=False)
    server_settings: dict[str, str] = field(default_factory=dict)
    pool_size: int = 5
    connect_timeout_s: float = 5.0
    pooled_by_transaction: bool = False
    """a pooler (PgBouncer) stands between, so prepared statements cannot be kept"""

    def masked(self, text: str) -> str:
        """`text` (an error of the driver, say) without the password."""
        return mask(text, *self.passwords)


def read_address(database_url: str | None, data_dir: Path) -> Address:
    """The address in a `DATABASE_URL`; without one, SQLite in the data directory. Raises `BadRequest` on others."""
    if not database_url:
        return _sqlite(data_dir / "wayport.db")
    scheme = database_url.partition(":")[0].lower()
    if scheme in _SQLITE_SCHEMES:
        # What follows the third slash is the path as it is: a fourth one makes it absolute.
        return _sqlite(data_dir / database_url.partition(":///")[2].partition("?")[0])
    if scheme in _POSTGRES_SCHEMES:
        return _postgresql(database_url)
    raise BadRequest(
        f"the database URL begins with {scheme!r}; Wayport knows postgresql://user:password@host/database"
        " and sqlite:///path (nothing set: SQLite in the data directory)",
        param="database_url",
    )


def _sqlite(path: Path) -> Address:
    return Address(kind="sqlite", shown=f"sqlite {path}", path=path)


def _postgresql(database_url: str) -> Address:
    parts = urlsplit(database_url)
    query = dict(parse_qsl(parts.query))
    settings = {"application_name": query.pop("application_name", "wayport")}
    if schema := query.pop("schema", None):
        settings["search_path"] = '"{}"'.format(schema.replace('"', '""'))
    pool_size = _number(query.pop("connection_limit", ""), 5)
    timeout_s = _number(query.pop("connect_timeout", ""), 5)
    pooled = query.pop("pgbouncer", "").lower() in {"1", "true"}
    # asyncpg's and SQLAlchemy's own spellings of the same things.
    pooled = query.pop("prepared_statement_cache_size", "") == "0" or pooled
    if ssl := query.pop("ssl", None):
        query.setdefault("sslmode", {"true": "require", "false": "disable"}.get(ssl.lower(), ssl))
    kept = {name: value for name, value in query.items() if name not in _IGNORED}
    host = parts.netloc.rpartition("@")[2]
    password = unquote(parts.password) if parts.password else ""
    return Address(
        kind="postgresql",
        shown=f"postgresql {host}{parts.path}",
        dsn=Secret(urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(kept), ""))),
        passwords=tuple({text for text in (password, parts.password, kept.get("password")) if text}),
        server_settings=settings,
        pool_size=max(2, pool_size),
        connect_timeout_s=float(timeout_s or 5),
        pooled_by_transaction=pooled,
    )


def _number(text: str, default: int) -> int:
    return int(text) if text.isdecimal() else default
