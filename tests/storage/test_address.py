from pathlib import Path

import pytest

from wayport.core.errors import BadRequest
from wayport.storage.address import read_address

DATA = Path("/data")


def test_without_a_url_it_is_sqlite_in_the_data_directory() -> None:
    address = read_address(None, DATA)
    assert address.kind == "sqlite"
    assert address.path == DATA / "wayport.db"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///own.db", "/data/own.db"),
        ("sqlite:////var/lib/own.db", "/var/lib/own.db"),
        ("sqlite+aiosqlite:////var/lib/a%20b.db", "/var/lib/a%20b.db"),
    ],
)
def test_sqlite_urls(url: str, path: str) -> None:
    assert read_address(url, DATA).path == Path(path)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_spelling_of_the_postgresql_scheme(scheme: str) -> None:
    address = read_address(f"{scheme}://u:pw@db.internal:5433/litellm", DATA)
    assert address.kind == "postgresql"
    assert address.dsn.reveal() == "postgresql://u:pw@db.internal:5433/litellm"


def test_parameters_of_other_clients_do_not_reach_the_driver() -> None:
    address = read_address(
        "postgresql://u:pw@db/x?schema=gate&connection_limit=12&pool_timeout=20&connect_timeout=3"
        "&sslmode=require&channel_binding=require&pgbouncer=true",
        DATA,
    )
    assert address.dsn.reveal() == "postgresql://u:pw@db/x?sslmode=require"
    assert address.server_settings == {"application_name": "wayport", "search_path": '"gate"'}
    assert address.pool_size == 12
    assert address.connect_timeout_s == 3
    assert address.pooled_by_transaction


def test_the_drivers_own_spellings_mean_the_same() -> None:
    address = read_address("postgresql+asyncpg://u:pw@db/x?ssl=require&prepared_statement_cache_size=0", DATA)
    assert address.dsn.reveal() == "postgresql://u:pw@db/x?sslmode=require"
    assert address.pooled_by_transaction
    assert "sslmode=disable" in read_address("postgresql://db/x?ssl=false", DATA).dsn.reveal()


def test_nothing_shown_holds_the_password() -> None:
    address = read_address("postgresql://u:geheim%21zwei@db/x", DATA)
    assert "geheim" not in address.shown
    assert "geheim" not in repr(address)
    assert address.masked("password geheim!zwei is wrong") == "password *** is wrong"
    assert address.masked("cannot parse geheim%21zwei") == "cannot parse ***"


def test_another_kind_of_database_is_refused_with_what_would_work() -> None:
    with pytest.raises(BadRequest, match="postgresql://"):
        read_address("mysql://u:p@db/x", DATA)
