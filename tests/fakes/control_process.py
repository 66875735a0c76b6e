"""A real control process, started as the supervisor starts it, and a worker's ends of its two sockets."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec

from wayport.config.load import Options, load
from wayport.config.settings import Settings, to_json
from wayport.control.client import SocketControl
from wayport.control.snapshots import build
from wayport.core.tasks import Tasks

MASTER = "sk-master-of-the-control-tests"
ROOT = Path(__file__).parents[2]

CONFIG = """
model_list:
  - model_name: {name}
    litellm_params: {{model: openai/gpt-4o, api_key: sk-upstream}}
general_settings:
  master_key: sk-master-of-the-control-tests
"""


class ControlProcess:
    """One data directory with its configuration; the process on it is started, killed and started again."""

    def __init__(self, directory: Path, database_url: str | None, environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.config = directory / "config.yaml"
        self.write_config("first")
        self._options = Options(config=str(self.config), data_dir=str(self.data_dir))
        self._environ = {**({"DATABASE_URL": database_url} if database_url else {}), **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "control.log"
        self.snapshots: list[bytes] = []
        self.invalidated: list[Sequence[str] | None] = []
        self.database: list[str] = []

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def write_config(self, name: str) -> None:
        self.config.write_text(CONFIG.format(name=name))

    def settings(self) -> Settings:
        return load(self._options, self._environ)

    def start(self) -> None:
        settings = self.settings()
        given = {
            "settings": msgspec.Raw(to_json(settings)),
            "snapshot": msgspec.Raw(msgspec.json.encode(build(settings))),
            "node": "n1",
            "control_socket": str(self.directory / "control.sock"),
            "admin_socket": str(self.directory / "admin.sock"),
            "options": self._options,
        }
        with tempfile.TemporaryFile() as file, self.log.open("ab") as log:
            file.write(msgspec.json.encode(given))
            file.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "wayport.control.main", str(file.fileno())],
                pass_fds=(file.fileno(),),
                stderr=log,
                cwd=ROOT,
                env={**self._environ, "PATH": os.defpath, "PYTHONPATH": str(ROOT / "src")},
            )

    def tell(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, 20)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(self.directory / "admin.sock")),
            base_url="http://control",
            headers={"authorization": f"Bearer {MASTER}"},
            timeout=20,
        )

    async def answers(self) -> None:
        """Waits until the admin API is there and the database behind it."""
        async with self.client() as client, asyncio.timeout(20):
            while True:
                try:
                    if (await client.get("/key/list")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.01)


@asynccontextmanager
async def control_process(
    directory: Path, database_url: str | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[ControlProcess, SocketControl]]:
    """A started process and a worker that is connecting to it."""
    process = ControlProcess(directory, database_url, environ)
    process.start()
    try:
        async with Tasks() as tasks:
            worker = SocketControl(
                str(directory / "control.sock"),
                worker=0,
                on_snapshot=process.snapshots.append,
                on_invalidated=process.invalidated.append,
                on_database=process.database.append,
                timeout_s=20,
                first_timeout_s=20,
            )
            tasks.start(worker.run(), name="worker")
            yield process, worker
    finally:
        process.kill()


async def until(fact: Callable[[], object], *, at_most_s: float = 20) -> None:
    async with asyncio.timeout(at_most_s):
        while not fact():
            await asyncio.sleep(0.005)
