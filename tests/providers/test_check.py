"""`wayport check` takes a configuration that names every provider: written from the rows, so that new ones are in it."""

from pathlib import Path

import pytest
import yaml

from wayport.cli.check import check
from wayport.config.load import Options, load
from wayport.control.snapshots import build
from wayport.providers import registry
from wayport.providers.provider import Provider

ROWS = [row for row in registry.all() if row.name != "wayport"]


def entry(provider: Provider) -> dict[str, object]:
    """As an operator would write it: an address where there is none, a credential where one is wanted, all settings."""
    written: dict[str, object] = {}
    if provider.needs_base:
        written["base_url"] = "https://given.example.com/v1"
    if provider.credential_env:
        written["api_key"] = f"${{{provider.credential_env[0]}}}"
    settings = {name: f"${{{variables[0]}}}" for name, variables in provider.settings_env.items()}
    if settings:
        written["settings"] = settings
    return written


def whole() -> str:
    config = {
        "providers": {row.name: entry(row) for row in ROWS},
        "models": {f"of-{row.name}": f"{row.name}/some-model" for row in ROWS},
    }
    return yaml.safe_dump(config)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAYPORT_MASTER_KEY", "sk-a-master-of-these-tests")
    for row in ROWS:
        for variable in (*row.credential_env, *row.base_env, *sum(row.settings_env.values(), ())):
            monkeypatch.delenv(variable, raising=False)


def test_every_provider_may_stand_in_one_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in ROWS:
        for variables in row.settings_env.values():
            monkeypatch.setenv(variables[0], "a-setting")
        for variable in row.credential_env:
            monkeypatch.setenv(variable, "a-secret")
    (tmp_path / "config.yaml").write_text(whole())
    assert check(tmp_path / "config.yaml") == 0
    told = capsys.readouterr()
    assert told.err == ""
    for row in ROWS:
        assert f"of-{row.name}  ->  {row.name}/" in told.out
    assert "MISSING" not in told.out
    assert "a-secret" not in told.out


def test_without_a_single_variable_it_says_what_is_missing_and_is_no_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(whole())
    assert check(tmp_path / "config.yaml") == 0
    out = capsys.readouterr().out
    for row in ROWS:
        if row.credential_env and not row.keyless and row.signer is None:
            assert row.credential_env[0] in out, row.name


def test_litellms_own_prefixes_are_taken(tmp_path: Path) -> None:
    names = [name for row in ROWS for name in (row.name, *row.aliases)]
    entries = [
        {
            "model_name": f"of-{name}",
            "litellm_params": {"model": f"{name}/some-model", "api_base": "https://h.example/v1"},
        }
        for name in names
    ]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model_list": entries}))
    settings = load(
        Options(config=str(tmp_path / "config.yaml"), data_dir=str(tmp_path)),
        {"LITELLM_MASTER_KEY": "sk-0123456789abcdef"},
    )
    snapshot = build(settings)
    known = registry.builtin()
    for name in names:
        found = known.get(name)
        assert found is not None
        assert snapshot.models[f"of-{name}"].deployments[0].provider == found.name
