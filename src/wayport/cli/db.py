"""`wayport db upgrade` and `wayport db rotate-salt-key`: the database by hand, while no gateway need run."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from wayport.access.models_store import PURPOSE, rotate
from wayport.config.auth import salt_key
from wayport.config.load import Options, load, process_environment
from wayport.config.problems import ConfigError
from wayport.config.settings import Settings
from wayport.core.clock import SystemClock
from wayport.core.secret import Secret
from wayport.core.tasks import Tasks
from wayport.storage.address import Address, read_address
from wayport.storage.cipher import Cipher, NotReadable
from wayport.storage.database import Database
from wayport.storage.migrate import upgrade as bring_up_to_date

_CONNECT_S = 20.0

Work = Callable[[Address, Settings], Coroutine[Any, Any, str]]


def upgrade(*, config: Path | None, data_dir: Path | None, env_files: tuple[Path, ...]) -> int:
    """0: the database is up to date; 1: it, or the configuration, is not usable."""

    async def work(address: Address, _: Settings) -> str:
        revision = await bring_up_to_date(address)
        return f"{address.shown}: revision {revision}\n"

    return _with_settings(config, data_dir, env_files, work)


def rotate_salt_key(*, old: str, config: Path | None, data_dir: Path | None, env_files: tuple[Path, ...]) -> int:
    """Seals models and credentials anew under the salt key that is configured now."""

    async def work(address: Address, settings: Settings) -> str:
        new = Cipher(salt_key(settings), purpose=PURPOSE)
        async with Tasks() as tasks:
            database = Database(address, clock=SystemClock())
            tasks.start(database.run(), name="database")
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await database.connected()
                done = await rotate(database, old=Cipher(Secret(old), purpose=PURPOSE), new=new)
            finally:
                await database.close()
        return f"sealed anew: {done.models} models, {done.credentials} credentials, callbacks of {done.teams} teams\n"

    return _with_settings(config, data_dir, env_files, work)


def _with_settings(config: Path | None, data_dir: Path | None, env_files: tuple[Path, ...], work: Work) -> int:
    options = Options(
        config=str(config) if config else None,
        data_dir=str(data_dir) if data_dir else None,
        env_files=tuple(str(file) for file in env_files),
    )
    try:
        settings = load(options, process_environment())
    except ConfigError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 1
    storage = settings.storage
    address = read_address(storage.database_url.reveal() or None, Path(storage.data_dir))
    try:
        told = asyncio.run(work(address, settings))
    except NotReadable:
        sys.stderr.write("The old salt key is not the one that sealed this database; nothing was changed.\n")
        return 1
    except TimeoutError:
        sys.stderr.write(f"{address.shown} does not answer.\n")
        return 1
    except Exception as error:  # noqa: BLE001 (a driver's error in its own words, without the password)
        sys.stderr.write(f"{address.shown}: {address.masked(str(error))}\n")
        return 1
    sys.stdout.write(str(told))
    return 0
