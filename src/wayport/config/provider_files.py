"""Providers that stand in files of their own, JSON or YAML, put into the document as if they were written there.

A file holds what an entry of `providers` holds, and perhaps its `name`. What the configuration says beside `file` wins.
"""

from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from wayport.config.document import Document, is_file, read_document
from wayport.config.problems import ConfigError, Path, Problem

_KEY = "provider_files"
_ENDINGS = frozenset({".json", ".yaml", ".yml"})


def with_provider_files(document: Document, folder: FilePath) -> tuple[Document, list[FilePath]]:
    """The document with its provider files in it, and those files. Raises `ConfigError`."""
    providers = document.root.get("providers")
    entries: dict[str, Any] = dict(providers) if isinstance(providers, dict) else {}
    if _KEY not in document.root and not any(isinstance(entry, dict) and "file" in entry for entry in entries.values()):
        return document, []
    merged = Document(file=document.file, places=dict(document.places), repeated=list(document.repeated))
    merged.root = {**document.root, "providers": entries}
    files: list[FilePath] = []
    for name, entry in list(entries.items()):
        if isinstance(entry, dict) and "file" in entry:
            path: Path = ("providers", name, "file")
            file = _file(document, path, entry["file"], folder)
            _put(merged, name, read_document(file, shown_as=str(entry["file"])), own=entry)
            files.append(file)
    for at, file in _named(document, folder):
        found = read_document(file, shown_as=_shown(file, folder))
        name = found.root.get("name", file.stem)
        if not isinstance(name, str) or not name:
            raise ConfigError([found.problem(("name",), "must be the provider's name", "name")])
        if name in entries:
            raise ConfigError([document.problem(at, f"{_shown(file, folder)}: `{name}` is declared already", _KEY)])
        _put(merged, name, found, own={})
        files.append(file)
    return merged, files


def _named(document: Document, folder: FilePath) -> Iterator[tuple[Path, FilePath]]:
    """The files of `provider_files`, those of its directories in order of their names."""
    written = document.root.get(_KEY) or []
    names = [written] if isinstance(written, str) else written
    if not isinstance(names, list):
        raise ConfigError([document.problem((_KEY,), "must be a list of files and directories", _KEY)])
    for index, name in enumerate(names):
        at: Path = (_KEY, index)
        if isinstance(name, str) and (directory := folder / FilePath(name).expanduser()).is_dir():
            yield from ((at, file) for file in sorted(directory.iterdir()) if file.suffix in _ENDINGS)
        else:
            yield at, _file(document, at, name, folder)


def _file(document: Document, at: Path, name: Any, folder: FilePath) -> FilePath:
    key = ".".join(map(str, at))
    if not isinstance(name, str):
        raise ConfigError([document.problem(at, "must be the name of a file", key)])
    file = folder / FilePath(name).expanduser()
    if not is_file(file):
        raise ConfigError([document.problem(at, f"there is no file {name}", key)])
    return file


def _put(merged: Document, name: str, found: Document, *, own: dict[str, Any]) -> None:
    here = ("providers", name)
    if "providers" in found.root:
        raise ConfigError(
            [Problem(text="holds one provider: what stands below its name, and `name`", place=found.file)]
        )
    own = {key: value for key, value in own.items() if key != "file"}
    merged.root["providers"][name] = {**{key: value for key, value in found.root.items() if key != "name"}, **own}
    merged.places.setdefault(here, found.place(()))
    for path, place in found.places.items():
        if path[:1] and path[0] not in own:
            merged.places[(*here, *path)] = place
    merged.repeated += [(*here, *path) for path in found.repeated]


def _shown(file: FilePath, folder: FilePath) -> str:
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)
