"""`.env` beside the configuration, and every `--env-file`."""

from pathlib import Path

import pytest

from wayport.config.envfile import read_env_file
from wayport.config.load import Options, load
from wayport.config.problems import ConfigError

CONFIG = """
models:
  m: {model: openai/gpt-4o, api_key: "${KEY}"}
"""


def key_of(folder: Path, environ: dict[str, str], *env_files: Path) -> str:
    file = folder / "config.yaml"
    file.write_text(CONFIG)
    settings = load(Options(config=str(file), env_files=tuple(map(str, env_files))), environ)
    credential = settings.models[0].deployments[0].connection.credential
    assert credential is not None
    return credential.value.reveal()


def test_the_file_beside_the_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=beside\n")
    assert key_of(tmp_path, {}) == "beside"


def test_lines_may_start_with_export_and_be_quoted(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# keys\nexport KEY='quoted value' # comment\n\n")
    assert key_of(tmp_path, {}) == "quoted value"


def test_the_process_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=beside\n")
    assert key_of(tmp_path, {"KEY": "process"}) == "process"


def test_named_files_win_over_the_one_beside_and_the_last_one_over_all(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=beside\n")
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("KEY=first\n")
    second.write_text("KEY=second\n")
    assert key_of(tmp_path, {}, first) == "first"
    assert key_of(tmp_path, {}, first, second) == "second"


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        key_of(tmp_path, {}, tmp_path / "nowhere")


def test_values_may_refer_to_others_and_unset_ones_stay_unset(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=one\nB=${A}-two\nC=${NOWHERE}\nD=${HOME_OF}\n")
    found = read_env_file(file, {"HOME_OF": "process"}, wanted=False)
    assert found.values == {"A": "one", "B": "one-two", "D": "process"}


def test_a_line_that_is_none_is_named_and_skipped(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("GOOD=1\nthis is no line with sk-secret\nBARE\n")
    found = read_env_file(file, {}, wanted=False)
    assert found.values == {"GOOD": "1"}
    assert [warning.rpartition(".env")[2] for warning in found.warnings] == [
        ":2: not `NAME=value`; the line is ignored",
        ":3: not `NAME=value`; the line is ignored",
    ]


def test_a_folder_of_that_name_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert "ignored" in read_env_file(tmp_path / ".env", {}, wanted=False).warnings[0]


def test_variables_from_files_are_exported_for_libraries(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AWS_PROFILE=lab\nHOME=/other\n")
    file = tmp_path / "config.yaml"
    file.write_text("models: {}\n")
    settings = load(Options(config=str(file)), {"HOME": "/home/me"})
    assert settings.added_environ == ("AWS_PROFILE",)
    assert settings.variable("AWS_PROFILE") == "lab"
    assert settings.variable("HOME") == "/home/me"


def test_without_a_config_file_it_is_the_one_in_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WAYPORT_PORT=4777\nWAYPORT_CONFIG=\n")
    assert load(Options(), {}).server.port == 4777
    (tmp_path / "other.yaml").write_text("server: {host: 10.0.0.1}\n")
    (tmp_path / ".env").write_text("WAYPORT_CONFIG=other.yaml\n")
    assert load(Options(), {}).server.host == "10.0.0.1"
