"""`wayport check F` tells the plan, what is missing, and everything that is wrong."""

import os
from pathlib import Path

import pytest

from wayport.cli.check import check

EXAMPLES = Path(__file__).parent.parent / "config" / "examples"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):  # noqa: TID251 (a test may clean its own process)
        if name.endswith(("_API_KEY", "_API_BASE", "_MASTER_KEY")):
            monkeypatch.delenv(name)


def test_prints_the_plan_and_what_is_missing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-shown")
    assert check(EXAMPLES / "host_config.yml") == 0
    out = capsys.readouterr().out
    assert "host configuration, 4 models" in out
    assert "default  ->  openai/gpt-4o  https://api.openai.com/v1  [env OPENAI_API_KEY]" in out
    assert "  2.  ->  gwdg_saia/llama-3.3-70b  https://chat-ai.academiccloud.de/v1  [MISSING: set GWDG_API_KEY]" in out
    assert "missing: GWDG_API_KEY (for default, fast, code, reasoning)" in out
    assert "keyless" in out
    assert "sk-not-shown" not in out


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.stem)
def test_every_example_is_right(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(example) == 0
    assert capsys.readouterr().err == ""


def test_variables_may_come_from_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys"
    file.write_text("export OPENAI_API_KEY=sk-x\n")
    assert check(EXAMPLES / "agents_stack.yaml", env_files=[file]) == 0
    assert "[env OPENAI_API_KEY]" in capsys.readouterr().out


def test_a_disabled_host_configuration_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yml"
    file.write_text("litellm: {enabled: false}\n")
    assert check(file) == 0
    assert capsys.readouterr().out == "not enabled\n"


def test_tells_every_problem_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("models:\n  a: opnai/x\n  b: opnai/y\n")
    assert check(file) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(str(file)) for line in lines] == [
        ":2: `opnai` is no provider that Wayport knows; did you mean `openai`?",
        ":3: `opnai` is no provider that Wayport knows; did you mean `openai`?",
        ": 2 problems",
    ]


def test_a_missing_file_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(tmp_path / "nowhere.yaml") == 1
    assert "cannot be read: No such file or directory" in capsys.readouterr().err


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert check(EXAMPLES / "own.yaml") == 0
    out = capsys.readouterr().out
    assert "deployment" in out
    assert "credential" in out
    assert "openrouter/*" in out


def test_aliases_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    check(EXAMPLES / "own.yaml")
    assert "alias claude-* -> fast" in capsys.readouterr().out
