"""What the three readers share: a resolved document with its places, and what they find wrong or worth saying."""

from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from wayport.config.document import Document
from wayport.config.problems import Path, Problem, dotted
from wayport.config.secrets import References
from wayport.config.settings import Credential, Settings
from wayport.core.secret import Secret


class Written(Struct, kw_only=True):
    """What a file says, before environment and command line have their say. None: it does not say."""

    settings: Settings = Settings()
    auth_none: bool = False
    master_keys: tuple[Secret, ...] = ()
    master_key_source: str = "config"
    master_key_unset: tuple[str, ...] = ()
    """a master key is written, but these variables are unset"""
    allow_weak_master_key: bool = False
    database_url: Secret | None = None
    data_dir: str | None = None
    drain_delay_s: float | None = None
    json_lines: bool | None = None


class Reading(Struct, kw_only=True):
    document: Document
    values: dict[str, Any]
    """the document with its references resolved"""
    references: References
    folder: FilePath
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def problem(self, path: Path, text: str) -> None:
        self.problems.append(self.document.problem(path, text, dotted(path)))

    def warn(self, path: Path, text: str) -> None:
        self.warnings.append(str(self.document.problem(path, text, dotted(path))))

    def place(self, path: Path) -> str:
        return self.document.place(path)

    def file_path(self, written: str | None) -> str | None:
        """A path as it holds from anywhere: relative ones start beside the configuration."""
        return None if written is None else str(self.folder / FilePath(written).expanduser())

    def credential(self, path: Path, value: str | None) -> Credential | None:
        """The credential written at `path`; None if nothing is written there."""
        if missing := self.references.unset(path):
            return Credential(reference=self.references.source(path), missing=missing)
        if value is None:
            return None
        return Credential(value=Secret(value), reference=self.references.source(path))

    def unset_below(self, path: Path) -> tuple[str, ...]:
        """The unset variables of everything below `path`."""
        found = (
            name
            for at, expanded in self.references.found.items()
            if at[: len(path)] == path and expanded.value is None
            for name in expanded.missing
        )
        return tuple(dict.fromkeys(found))

    def unset_at(self, paths: Iterable[Path]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for path in paths for name in self.unset_below(path)))

    def values_at(self, path: Path) -> dict[str, Any]:
        """The mapping at `path`; empty if there is none."""
        value: Any = self.values
        for part in path:
            if isinstance(value, dict) and isinstance(part, str):
                value = value.get(part)
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                value = value[part]
            else:
                return {}
        return value if isinstance(value, dict) else {}


_SECRET_WORDS = ("key", "secret", "token", "password", "credential")


def is_secret_setting(name: str) -> bool:
    """Whether a provider's setting is (part of) a credential: then nothing else may stand in for it in silence."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def raw(value: Any) -> Raw:
    """A value as JSON text."""
    return Raw(msgspec.json.encode(value))


def raws(values: dict[str, Any]) -> dict[str, Raw]:
    return {key: raw(value) for key, value in values.items()}


def text(value: Any) -> str:
    """A scalar as it would have been written: settings of providers are texts, whatever YAML made of them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return str(value)
