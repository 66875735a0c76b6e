"""`wayport providers`, `wayport models`, `wayport catalog update`: what there is, from the command line."""

import json
import os
from pathlib import Path

import pytest
from tests.fakes.token_service import TokenService
from typer.testing import CliRunner

from wayport.catalog.catalog import BUNDLED, INSTALLED
from wayport.cli.catalog import update
from wayport.cli.main import app
from wayport.cli.models import models
from wayport.cli.providers import providers
from wayport.providers import registry


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):  # noqa: TID251 (a test may clean its own process)
        if name.endswith(("_API_KEY", "_API_BASE", "_TOKEN")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WAYPORT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def test_all_providers_are_listed_with_what_they_want(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROQ_API_KEY", "gsk-not-shown")
    assert providers() == 0
    out = capsys.readouterr().out
    lines = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert {row.name for row in registry.all()} - {"wayport"} <= lines.keys()
    assert "  set  " in lines["groq"]
    assert "  set  " not in lines["deepseek"]
    assert "DEEPSEEK_API_KEY" in lines["deepseek"]
    assert "gsk-not-shown" not in out


@pytest.mark.parametrize("name", [row.name for row in registry.all()])
def test_each_tells_about_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert providers(name) == 0
    assert capsys.readouterr().out.startswith(f"{name}: ")


def test_one_tells_variables_dialects_and_models(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_API_KEY", "azure-not-shown")
    assert providers("azure_openai") == 0
    out = capsys.readouterr().out
    assert "AZURE_API_KEY (set), AZURE_OPENAI_API_KEY (not set)" in out
    assert "AZURE_API_VERSION (not set)" in out
    assert "openai_chat, openai_responses" in out
    assert "wayport[azure]" in out
    assert "azure-not-shown" not in out
    assert providers("gwdg_saia") == 0
    assert "https://chat-ai.academiccloud.de/v1" in capsys.readouterr().out


def test_an_unknown_one_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert providers("grok") == 1
    assert "groq" in capsys.readouterr().err


def test_models_are_listed_with_window_and_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert models("anthropic/claude-3-5-sonnet-20241022", retired=True) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("anthropic/"))
    assert "200,000" in line
    assert line.split()[3:5] == ["3", "15"]
    assert "Claude 3.5 Sonnet" in line


def test_no_model_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert models("no-such-model-anywhere") == 1
    assert "no model like" in capsys.readouterr().err


def test_a_catalogue_is_taken_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert update(str(BUNDLED)) == 0
    assert (tmp_path / "data" / INSTALLED).read_bytes() == BUNDLED.read_bytes()
    assert "0 new, 0 gone, 0 with other prices" in capsys.readouterr().out


def test_a_catalogue_is_taken_from_an_address(tmp_path: Path) -> None:
    with TokenService(lambda _: (200, json.loads(BUNDLED.read_bytes()))) as service:
        assert update(service.url, into=tmp_path / "other") == 0
    assert (tmp_path / "other" / INSTALLED).is_file()


@pytest.mark.parametrize("source", ["missing.json", "broken.json", "ftp://example.com/x", "http://127.0.0.1:1/x"])
def test_what_is_no_catalogue_changes_nothing(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text('{"models": []')
    assert update(source) == 1
    assert "stays as it was" in capsys.readouterr().err
    assert not (tmp_path / "data" / INSTALLED).exists()


def test_an_error_of_the_server_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with TokenService(lambda _: (404, {})) as service:
        assert update(service.url) == 1
    assert "404" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["providers", "groq"], ["models", "gpt-4o"], ["catalog", "--help"]])
def test_the_command_line_knows_them(words: list[str]) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
