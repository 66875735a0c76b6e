from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from wayport.config.load import Options, load
from wayport.config.settings import Settings
from wayport.control.configuration import Configuration
from wayport.control.snapshots import LocalServer
from wayport.routing.snapshot import Snapshot

CONFIG = """
model_list:
  - model_name: {name}
    litellm_params: {{model: openai/gpt-4o, api_key: sk-upstream}}
general_settings:
  master_key: sk-a-master-of-these-tests
"""


class Enough(Exception):
    """Ends a watch that never ends by itself."""


class World:
    def __init__(self, tmp_path: Path, *, with_file: bool = True, looks: int = 1) -> None:
        self.file = tmp_path / "config.yaml"
        self.write("first")
        self.options = Options(config=str(self.file) if with_file else None, data_dir=str(tmp_path / "data"))
        self.environ: dict[str, str] = {}
        self.pushed: list[Snapshot] = []
        self.found: list[LocalServer] = []
        self.probed = 0
        self.looks = looks
        self.between: list[str] = []
        """contents written between looks at the file"""
        self.configuration = Configuration(
            load(self.options, self.environ),
            options=self.options,
            environment=lambda: self.environ,
            version=4,
            push=lambda json: self.pushed.append(msgspec.json.decode(json, type=Snapshot)),
            probe=self.probe,
            sleep=self.sleep,
        )

    def write(self, name: str) -> None:
        self.file.write_text(CONFIG.format(name=name))

    async def probe(self, _: Settings) -> Sequence[LocalServer]:
        self.probed += 1
        return self.found

    async def sleep(self, _: float) -> None:
        self.looks -= 1
        if self.looks <= 0:
            raise Enough
        if self.between:
            self.file.write_text(self.between.pop(0))

    @property
    def names(self) -> list[set[str]]:
        return [set(snapshot.models) - {"wayport/echo"} for snapshot in self.pushed]


async def test_a_reload_pushes_the_next_version(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("second")
    assert await world.configuration.reload() is None
    assert world.names == [{"second"}]
    assert world.pushed[0].version == 5


async def test_what_is_wrong_changes_nothing_and_is_told(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.file.write_text("model_list: 7")
    refused = await world.configuration.reload()
    assert refused is not None
    assert "config.yaml:1" in refused
    assert world.configuration.refused == refused
    assert world.pushed == []
    world.write("mended")
    assert await world.configuration.reload() is None
    assert world.configuration.refused is None
    assert world.names == [{"mended"}]


async def test_a_file_is_loaded_once_for_each_change_of_its_content(tmp_path: Path) -> None:
    world = World(tmp_path, looks=6)
    world.between = [
        CONFIG.format(name="second"),
        CONFIG.format(name="second"),
        "model_list: 7",
        CONFIG.format(name="third"),
    ]
    with pytest.raises(Enough):
        await world.configuration.watch()
    assert world.names == [{"second"}, {"third"}]
    assert [snapshot.version for snapshot in world.pushed] == [5, 6]


async def test_a_change_while_nobody_looked_is_seen_at_the_first_look(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.write("meanwhile")
    with pytest.raises(Enough):
        await world.configuration.watch()
    assert world.names == [{"meanwhile"}]


async def test_what_needs_a_restart_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = World(tmp_path)
    await world.configuration.reload()
    assert "restart" not in caplog.text
    world.environ["WAYPORT_PORT"] = "4711"
    await world.configuration.reload()
    assert "change only with a restart" in caplog.text


async def test_local_servers_are_looked_for_only_without_a_file(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(Enough):
        await world.configuration.watch()
    assert world.probed == 0

    bare = World(tmp_path, with_file=False)
    bare.found = [LocalServer(provider="ollama", base_url="http://127.0.0.1:11434/v1", models=("llama3.2",))]
    with pytest.raises(Enough):
        await bare.configuration.watch()
    assert bare.probed == 1
    assert any("llama3.2" in name for name in bare.names[0])


async def test_without_a_file_and_local_servers_nothing_is_pushed(tmp_path: Path) -> None:
    bare = World(tmp_path, with_file=False)
    with pytest.raises(Enough):
        await bare.configuration.watch()
    assert bare.pushed == []
