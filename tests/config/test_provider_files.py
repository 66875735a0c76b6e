"""Providers that come as files of their own."""

import json
from pathlib import Path

import pytest

from wayport.config.load import Options, load
from wayport.config.problems import ConfigError
from wayport.config.settings import Settings
from wayport.config.watch import Watched
from wayport.control.snapshots import build

ACME = {
    "name": "acme",
    "base_url": "https://llm.acme.example/v1",
    "api_key": "${ACME_KEY}",
    "dialect": "openai_chat",
    "auth_header": {"name": "x-acme-key", "prefix": ""},
    "headers": {"x-team": "research"},
    "paths": {"chat": "/talk"},
    "models": ["large"],
    "prices": {"*": {"input": 0.5, "output": 1.5}},
}


def loaded(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    (tmp_path / "config.yaml").write_text(text)
    options = Options(config=str(tmp_path / "config.yaml"), data_dir=str(tmp_path / "data"))
    return load(options, {"WAYPORT_MASTER_KEY": "sk-a-master-of-these-tests", **(environ or {})})


@pytest.mark.parametrize("written", ["provider_files: [acme.json]", "providers: {acme: {file: acme.json}}"])
def test_a_file_is_a_provider(tmp_path: Path, written: str) -> None:
    (tmp_path / "acme.json").write_text(json.dumps(ACME))
    snapshot = build(loaded(tmp_path, f"{written}\nmodels: {{m: acme/small}}\n", {"ACME_KEY": "k"}))
    deployment = snapshot.models["m"].deployments[0]
    assert deployment.base_url + deployment.paths["chat"] == "https://llm.acme.example/v1/talk"
    assert (deployment.auth.name, deployment.auth.prefix, deployment.credential.value) == ("x-acme-key", "", "k")
    assert deployment.credential.reference == "env ACME_KEY"
    assert deployment.headers["x-team"] == "research"
    assert deployment.price is not None
    assert deployment.price.rates.input == 500_000_000
    assert "acme/large" in snapshot.models


def test_name_and_address_are_enough(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text("name: tiny\nbase_url: http://127.0.0.1:9/v1\n")
    snapshot = build(loaded(tmp_path, "provider_files: tiny.yaml\nmodels: {m: tiny/x}\n"))
    assert snapshot.models["m"].deployments[0].missing == ()


def test_a_directory_holds_many(tmp_path: Path) -> None:
    folder = tmp_path / "providers"
    folder.mkdir()
    (folder / "one.yaml").write_text("base_url: http://127.0.0.1:1\n")
    (folder / "two.json").write_text('{"name": "second", "base_url": "http://127.0.0.1:2"}')
    (folder / "readme.txt").write_text("not one")
    settings = loaded(tmp_path, "provider_files: [providers]\nmodels: {a: one/x, b: second/x}\n")
    assert set(settings.providers) == {"one", "second"}


def test_what_the_configuration_says_wins(tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_text(json.dumps(ACME))
    text = "providers: {acme: {file: acme.json, base_url: 'https://other.example/v1'}}\nmodels: {m: acme/x}\n"
    assert (
        build(loaded(tmp_path, text, {"ACME_KEY": "k"})).models["m"].deployments[0].base_url
        == "https://other.example/v1"
    )


def test_a_change_of_the_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_text(json.dumps(ACME))
    watched = Watched(loaded(tmp_path, "provider_files: [acme.json]\n"))
    assert not watched.changed()
    (tmp_path / "acme.json").write_text(json.dumps({**ACME, "base_url": "https://new.example"}))
    assert watched.changed()


@pytest.mark.parametrize(
    ("text", "files", "told"),
    [
        ("provider_files: [gone.json]", {}, "config.yaml:1: provider_files.0: there is no file gone.json"),
        ("providers: {acme: {file: 7}}", {}, "must be the name of a file"),
        ("provider_files: {a: b}", {}, "must be a list of files and directories"),
        ("provider_files: [a.json]", {"a.json": '{"name": "a", "base_uri": "http://h"}'}, "base_uri"),
        ("provider_files: [a.json]", {"a.json": '{"name": 7}'}, "must be the provider's name"),
        ("provider_files: [a.json]", {"a.json": '{"providers": {}}'}, "holds one provider"),
        ("provider_files: [a.json]", {"a.json": "{"}, "a.json"),
        (
            "providers: {a: {base_url: 'http://h'}}\nprovider_files: [a.yaml]",
            {"a.yaml": "base_url: http://x"},
            "already",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, text: str, files: dict[str, str], told: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, text)
    assert told in "; ".join(str(problem) for problem in error.value.problems)


def test_a_mistake_in_the_file_is_told_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text("name: acme\nbase_url: https://h/v1\ndialect: klingon\n")
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, "provider_files: [acme.yaml]\n")
    assert str(error.value.problems[0]).startswith("acme.yaml:3")
