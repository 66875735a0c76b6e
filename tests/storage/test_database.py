import asyncio
import stat
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.tcp_proxy import TcpProxy

from wayport.core.clock import SystemClock
from wayport.core.errors import Unavailable
from wayport.core.tasks import Tasks
from wayport.storage.address import Address, read_address
from wayport.storage.database import Database
from wayport.storage.tables import meta, spend

_VALUE_OF_A = sa.select(meta.c.value).where(meta.c.name == "a")


async def _briefly(_: float) -> None:
    await asyncio.sleep(0)


async def test_what_is_written_is_read(address: Address) -> None:
    async with opened(address) as database:
        async with database.write() as connection:
            await connection.execute(sa.insert(meta).values(name="a", value="1"))
        async with database.read() as connection:
            assert (await connection.execute(_VALUE_OF_A)).scalar_one() == "1"


async def test_an_error_in_the_block_takes_everything_back(address: Address) -> None:
    async with opened(address) as database:
        with suppress(ZeroDivisionError):
            async with database.write() as connection:
                await connection.execute(sa.insert(meta).values(name="a", value="1"))
                raise ZeroDivisionError
        async with database.read() as connection:
            assert (await connection.execute(_VALUE_OF_A)).first() is None


async def test_a_wrong_statement_is_not_taken_for_a_lost_database(address: Address) -> None:
    async with opened(address) as database:
        with pytest.raises(sa.exc.DBAPIError):
            async with database.write() as connection:
                await connection.execute(sa.insert(meta).values(name="a", value=None))
        assert database.state.status == "connected"


async def test_concurrent_writers_wait_for_each_other(address: Address) -> None:
    async def add(database: Database) -> None:
        async with database.write() as connection:
            insert = database.insert(spend).values(scope="key", holder="h", spend_nano_usd=1, calls=1, updated_s=1.0)
            await connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["scope", "holder"],
                    set_={"spend_nano_usd": spend.c.spend_nano_usd + insert.excluded.spend_nano_usd},
                )
            )

    async with opened(address) as database:
        await asyncio.gather(*(add(database) for _ in range(50)))
        async with database.read() as connection:
            assert (await connection.execute(sa.select(spend.c.spend_nano_usd))).scalar_one() == 50


async def test_two_sqlite_processes_worth_of_engines_share_one_file(tmp_path: Path) -> None:
    address = read_address(None, tmp_path)
    async with opened(address) as one, opened(address) as two:
        for database, name in ((one, "a"), (two, "b"), (one, "c")):
            async with database.write() as connection:
                await connection.execute(sa.insert(meta).values(name=name, value="1"))
        async with two.read() as connection:
            assert (await connection.execute(sa.select(sa.func.count()).select_from(meta))).scalar_one() == 4


async def test_readers_cannot_write_on_sqlite(tmp_path: Path) -> None:
    async with opened(read_address(None, tmp_path)) as database:
        with pytest.raises(Unavailable):
            async with database.read() as connection:
                await connection.execute(sa.insert(meta).values(name="a", value="1"))


async def test_the_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    async with opened(read_address(None, tmp_path / "new")):
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new").iterdir()}
    assert modes["wayport.db"] == 0o600
    assert set(modes.values()) == {0o600}


async def test_while_the_first_try_to_connect_is_under_way_readers_and_writers_wait_for_it(address: Address) -> None:
    database = Database(address, clock=SystemClock())
    async with Tasks() as tasks:
        tasks.start(database.run(), name="database")
        await asyncio.sleep(0)
        assert database.state.status == "waiting"
        async with database.write() as connection:
            await connection.execute(sa.insert(meta).values(name="a", value="1"))
        async with database.read() as connection:
            assert (await connection.execute(_VALUE_OF_A)).scalar_one() == "1"
        await database.close()


async def test_a_directory_that_cannot_be_written_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    database = Database(
        read_address(None, tmp_path / "file" / "data"), clock=SystemClock(), sleep=_briefly, jitter=lambda: 0.0
    )
    async with Tasks() as tasks:
        tasks.start(database.run(), name="database")
        while database.state.error is None:
            await asyncio.sleep(0)
        (tmp_path / "file").unlink()
        async with asyncio.timeout(20):
            await database.connected()
        await database.close()


async def test_a_database_that_comes_late_and_goes_and_comes_again(postgresql: str, tmp_path: Path) -> None:
    parts = urlsplit(postgresql)
    async with TcpProxy(parts.hostname or "", parts.port or 5432) as proxy, Tasks() as tasks:
        netloc = f"{parts.username}:geheim-1234@127.0.0.1:{proxy.port}"
        address = read_address(urlunsplit(parts._replace(netloc=netloc)), tmp_path)
        database = Database(address, clock=SystemClock(), sleep=_briefly, jitter=lambda: 0.0)
        tasks.start(database.run(), name="database")
        async with asyncio.timeout(30):
            while database.state.error is None:
                await asyncio.sleep(0)
            assert database.state.status == "waiting"
            assert "geheim" not in repr(database.state)
            with pytest.raises(Unavailable, match="not reachable"):
                async with database.read():
                    pass
            await proxy.listen()
            await database.connected()
            async with database.write() as connection:
                await connection.execute(sa.insert(meta).values(name="a", value="1"))

            await proxy.vanish()
            with pytest.raises(Unavailable):
                async with database.read() as connection:
                    await connection.execute(sa.select(meta))
            assert database.state.status == "waiting"

            await proxy.listen()
            await database.connected()
            async with database.read() as connection:
                assert (await connection.execute(_VALUE_OF_A)).scalar_one() == "1"
        await database.close()


@pytest.mark.parametrize("what", ["login", "database"])
async def test_a_refused_login_is_waited_for_too(postgresql: str, tmp_path: Path, what: str) -> None:
    parts = urlsplit(postgresql)
    if what == "login":
        parts = parts._replace(netloc=f"nobody_here:geheim99@{parts.netloc.rpartition('@')[2]}")
    else:
        parts = parts._replace(path="/nowhere_at_all")
    database = Database(read_address(urlunsplit(parts), tmp_path), clock=SystemClock(), sleep=_briefly)
    async with Tasks() as tasks:
        tasks.start(database.run(), name="database")
        async with asyncio.timeout(20):
            while database.state.error is None:
                await asyncio.sleep(0)
        assert "nobody_here" in database.state.error or "nowhere_at_all" in database.state.error
        assert "geheim99" not in database.state.error
    await database.close()


async def test_behind_a_pooler_statements_are_not_kept(postgresql: str, tmp_path: Path) -> None:
    address = read_address(f"{postgresql}?pgbouncer=true&sslmode=prefer&channel_binding=prefer", tmp_path)
    async with opened(address) as database:
        for number in range(3):
            async with database.write() as connection:
                await connection.execute(sa.insert(meta).values(name=f"n{number}", value="1"))
                left = await connection.execute(sa.text("SELECT count(*) FROM pg_prepared_statements"))
                assert left.scalar_one() <= 1


async def test_a_connection_that_the_server_ends_is_a_lost_database(postgresql: str, tmp_path: Path) -> None:
    async with opened(read_address(postgresql, tmp_path)) as database:
        with pytest.raises(Unavailable):
            async with database.write() as connection:
                await connection.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
        async with asyncio.timeout(20):
            await database.connected()
        async with database.read() as connection:
            assert (await connection.execute(sa.select(1))).scalar_one() == 1
