import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests.fakes.databases import opened

from wayport.storage.address import Address, read_address
from wayport.storage.engines import open_engines
from wayport.storage.migrate import upgrade
from wayport.storage.migrations import DIRECTORY, newest
from wayport.storage.tables import meta, metadata


def _differences(connection: sa.Connection) -> list[object]:
    def ours(_: object, name: str | None, kind: str, *__: object) -> bool:
        return kind != "table" or bool(name and name.startswith("wayport_") and name != "wayport_schema")

    context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": ours})
    return list(compare_metadata(context, metadata))


async def test_migrations_make_the_tables_that_the_code_knows(address: Address) -> None:
    async with opened(address) as database, database.write() as connection:
        assert await connection.run_sync(_differences) == []


async def test_a_second_start_changes_nothing(address: Address) -> None:
    async with opened(address) as database, database.read() as connection:
        first = (await connection.execute(sa.select(meta.c.value))).scalar_one()
    assert await upgrade(address) == newest()
    async with opened(address) as database, database.read() as connection:
        assert (await connection.execute(sa.select(meta.c.value))).scalar_one() == first
        assert database.state.revision == newest()


async def test_many_starting_at_once_migrate_once(address: Address) -> None:
    assert set(await asyncio.gather(*(upgrade(address) for _ in range(4)))) == {newest()}
    async with opened(address) as database, database.read() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(meta))).scalar_one() == 1


async def test_tables_of_another_program_are_not_touched(address: Address) -> None:
    engines = open_engines(address)
    try:
        async with engines.write.begin() as connection:
            await connection.execute(sa.text('CREATE TABLE "LiteLLM_VerificationToken" (token TEXT, spend FLOAT)'))
            await connection.execute(sa.text("CREATE TABLE alembic_version (version_num TEXT)"))
            await connection.execute(sa.text("""INSERT INTO "LiteLLM_VerificationToken" VALUES ('t', 1.5)"""))
            await connection.execute(sa.text("INSERT INTO alembic_version VALUES ('theirs')"))
        await upgrade(address)
        async with engines.read.begin() as connection:
            row = (await connection.execute(sa.text('SELECT * FROM "LiteLLM_VerificationToken"'))).one()
            assert tuple(row) == ("t", 1.5)
            assert (await connection.execute(sa.text("SELECT * FROM alembic_version"))).scalar_one() == "theirs"
            names = await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
    finally:
        await engines.dispose()
    own = {"LiteLLM_VerificationToken", "alembic_version"}
    assert all(name.startswith("wayport_") for name in set(names) - own)


async def test_a_database_of_a_newer_wayport_is_used_as_it_is(address: Address) -> None:
    await upgrade(address)
    engines = open_engines(address)
    try:
        async with engines.write.begin() as connection:
            await connection.execute(sa.text("UPDATE wayport_schema SET version_num = '9999'"))
    finally:
        await engines.dispose()
    async with opened(address) as database:
        assert database.state.revision == "9999"


async def test_a_schema_named_in_the_url_holds_our_tables(postgresql: str, tmp_path: Path) -> None:
    engines = open_engines(read_address(postgresql, tmp_path))
    try:
        async with engines.write.begin() as connection:
            await connection.execute(sa.text('CREATE SCHEMA "Gate"'))
    finally:
        await engines.dispose()
    async with opened(read_address(f"{postgresql}?schema=Gate", tmp_path)) as database, database.read() as connection:
        names = await connection.run_sync(lambda c: sa.inspect(c).get_table_names(schema="Gate"))
    assert "wayport_keys" in names


def test_the_newest_revision_is_the_last_files() -> None:
    files = sorted(path.stem for path in (DIRECTORY / "versions").glob("v*.py"))
    assert newest() == files[-1][1:5]
    assert [name[1:5] for name in files] == [f"{number:04d}" for number in range(1, len(files) + 1)]


async def test_a_failing_migration_leaves_nothing_behind(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: sa.Connection) -> None:
        _.execute(sa.text("CREATE TABLE wayport_half (x TEXT)"))
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("wayport.storage.migrate._upgrade", fail)
        with pytest.raises(RuntimeError):
            await upgrade(address)
    await upgrade(address)
    engines = open_engines(address)
    try:
        async with engines.read.begin() as connection:
            names = await connection.run_sync(lambda c: sa.inspect(c).get_table_names())
    finally:
        await engines.dispose()
    assert "wayport_half" not in names
    assert "wayport_keys" in names
