"""Loads a configuration written in a test, with an environment that is nobody's but the test's."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from wayport.config.load import Options, load
from wayport.config.settings import Settings

Load = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory's own `.env` is not the tests' business."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def load_text(tmp_path: Path) -> Load:
    """`load_text(yaml, environ=…, **options)`; the file is `config.yaml` in `tmp_path`."""

    def run(text: str | None, environ: Mapping[str, str] | None = None, **options: object) -> Settings:
        named: dict[str, object] = {}
        if text is not None:
            file = tmp_path / "config.yaml"
            file.write_text(text)
            named["config"] = str(file)
        data_dir = {"data_dir": str(tmp_path / "data")}
        return load(Options(**{**data_dir, **named, **options}), environ or {})  # type: ignore[arg-type] # free-form in tests

    return run
