"""A changed file is noticed by its content."""

import os
from pathlib import Path

from wayport.config.load import Options, load
from wayport.config.watch import Watched


def watched(file: Path) -> Watched:
    return Watched(load(Options(config=str(file)), {}))


def test_changed_content_is_noticed_once(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {port: 4001}\n")
    watch = watched(file)
    assert not watch.changed()
    file.write_text("server: {port: 4002}\n")
    assert watch.changed()
    assert not watch.changed()


def test_touching_and_replacing_by_the_same_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{}\n")
    watch = watched(file)
    os.utime(file, (0, 0))
    copy = tmp_path / "copy"
    copy.write_text("{}\n")
    copy.replace(file)
    assert not watch.changed()


def test_an_env_file_that_appears_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{}\n")
    watch = watched(file)
    (tmp_path / ".env").write_text("A=1\n")
    assert watch.changed()


def test_included_files_and_secrets_in_files_are_watched(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("model_list: []\n")
    (tmp_path / "key").write_text("one-long-master-key")
    file = tmp_path / "config.yaml"
    file.write_text("include: [models.yaml]\ngeneral_settings: {master_key: '${file:key}'}\n")
    watch = watched(file)
    (tmp_path / "key").write_text("another-long-master-key")
    assert watch.changed()
    (tmp_path / "models.yaml").write_text("model_list: [] # changed\n")
    assert watch.changed()


def test_a_file_that_goes_away_is_a_change(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{}\n")
    watch = watched(file)
    file.unlink()
    assert watch.changed()


def test_the_hash_depends_on_the_content_alone(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{}\n")
    first, second = (load(Options(config=str(file)), {}) for _ in range(2))
    assert first.content_hash == second.content_hash
