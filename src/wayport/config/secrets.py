"""References to values that stand elsewhere: `${VAR}`, `${VAR:-default}`, `${file:/path}`, `os.environ/VAR`.

An unset variable never leaves its reference behind as text: the value is unset, and says which variable would set it.
A variable that is set but empty counts as unset. `$${VAR}` is the text `${VAR}`.
"""

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct, field

from wayport.config.problems import Path

_REFERENCE = re.compile(
    r"\$(?P<escaped>\$\{)"
    r"|\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}"
)
_OLD_PREFIX = "os.environ/"


class Expanded(Struct, kw_only=True, frozen=True):
    """What became of one text. `value` None: unset, for want of each of `missing`."""

    value: str | None
    references: tuple[str, ...] = ()
    """what it was made from: `env OPENAI_API_KEY`, `file /run/secrets/openai`; may be shown"""
    missing: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class References(Struct, kw_only=True):
    """What was found while a whole document was resolved, by path."""

    found: dict[Path, Expanded] = field(default_factory=dict)

    def unset(self, path: Path) -> tuple[str, ...]:
        """The variables without which the value at `path` is unset; empty if it is set or refers to nothing."""
        at = self.found.get(path)
        return at.missing if at is not None and at.value is None else ()

    def source(self, path: Path) -> str:
        """Where the value at `path` came from, as it may be shown: `env X`, or `config` for a literal."""
        at = self.found.get(path)
        return ", ".join(at.references) if at is not None and at.references else "config"

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(file for at in self.found.values() for file in at.files))


def expand(text: str, environ: Mapping[str, str], *, folder: FilePath | None = None) -> Expanded:
    """Never raises. `folder`: where relative `file:` paths start."""
    if text.startswith(_OLD_PREFIX) and len(text) > len(_OLD_PREFIX):
        name = text.removeprefix(_OLD_PREFIX)
        value = environ.get(name) or None
        return Expanded(value=value, references=(f"env {name}",), missing=() if value else (name,))
    if "${" not in text:
        return Expanded(value=text)
    references: list[str] = []
    missing: list[str] = []
    files: list[str] = []

    def put(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        if match["file"]:
            file = (folder or FilePath()) / match["file"]
            references.append(f"file {match['file']}")
            files.append(str(file))
            content = _read(file)
            if not content:
                missing.append(f"file {match['file']}")
            return content
        name, default = match["name"], match["default"]
        references.append(f"env {name}")
        value = environ.get(name, "")
        if not value and default is not None:
            return str(default)
        if not value:
            missing.append(name)
        return value

    value = _REFERENCE.sub(put, text)
    return Expanded(
        value=None if missing else value,
        references=tuple(dict.fromkeys(references)),
        missing=tuple(dict.fromkeys(missing)),
        files=tuple(files),
    )


def _read(file: FilePath) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def resolve(
    root: dict[str, Any], environ: Mapping[str, str], *, folder: FilePath | None = None
) -> tuple[dict[str, Any], References]:
    """`root` with every reference in it replaced; unset values become None. Keys are left as they are."""
    references = References()

    def walk(value: Any, path: Path) -> Any:
        if isinstance(value, str):
            done = expand(value, environ, folder=folder)
            if done.references:
                references.found[path] = done
            return done.value
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(value)]
        return value

    return {key: walk(value, (key,)) for key, value in root.items()}, references
