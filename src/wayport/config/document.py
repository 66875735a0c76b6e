"""Reads YAML (and so JSON) into plain values and remembers where each one stands.

Own construction, not PyYAML's: no tags, dates stay text (`api_version: 2024-10-21`), a key given twice is noticed.
"""

from pathlib import Path as FilePath
from typing import Any

import yaml
from msgspec import Struct, field

from wayport.config.problems import ConfigError, Path, Problem

_MOST_VALUES = 500_000
"""aliases of aliases may unfold without end; no configuration has this many values"""

_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_KEPT_AS_TEXT = frozenset({"tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"})


class Document(Struct, kw_only=True):
    """A file's content. `root` is a mapping; `places` has file and line of every key and value by path."""

    file: str
    root: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)
    repeated: list[Path] = field(default_factory=list)
    """keys that stand twice in one mapping; the last one counts"""

    def place(self, path: Path) -> str:
        """Where `path` stands, or the nearest thing around it that does."""
        for length in range(len(path), -1, -1):
            if found := self.places.get(path[:length]):
                return found
        return self.file

    def problem(self, path: Path, text: str, key: str) -> Problem:
        return Problem(text=text, key=key, place=self.place(path))


def read_document(file: FilePath, *, shown_as: str | None = None) -> Document:
    """Raises `ConfigError` when the file is missing, unreadable, not YAML or not a mapping."""
    name = shown_as or str(file)
    try:
        text = file.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(text=f"cannot be read: {error.strerror}", place=name)]) from None
    return parse_document(text, name)


def is_file(file: FilePath) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name that is too long, say
        return False


def parse_document(text: bytes, name: str) -> Document:
    reader = _Reader(name)
    try:
        root = reader.read(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        # The mark's snippet would show the line itself, which may hold a secret.
        raise ConfigError([Problem(text=f"not valid YAML: {error.problem or 'syntax error'}", place=place)]) from None
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "reason", None) or "it is not text in UTF-8"
        raise ConfigError([Problem(text=f"not valid YAML: {reason}", place=name)]) from None
    except RecursionError:
        raise ConfigError([Problem(text="nested too deeply", place=name)]) from None
    if root is None:
        root = {}
    if not isinstance(root, dict):
        raise ConfigError([Problem(text="must be a mapping of settings, not a list or a single value", place=name)])
    return Document(file=name, root=root, places=reader.places, repeated=reader.repeated)


class _Reader:
    def __init__(self, name: str) -> None:
        self.name = name
        self.places: dict[Path, str] = {}
        self.repeated: list[Path] = []
        self._open: list[yaml.Node] = []
        self._constructor = yaml.constructor.SafeConstructor()

    def read(self, text: bytes) -> Any:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            return None if node is None else self._value(node, ())
        finally:
            loader.dispose()

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self.places.setdefault(path, f"{self.name}:{node.start_mark.line + 1}")
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if any(node is outer for outer in self._open):
            raise _fault("a value contains itself", node)
        if len(self.places) > _MOST_VALUES:
            raise _fault("aliases unfold to too many values", node)
        self._open.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _fault("a key must be a single word", key_node)
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if not isinstance(source, yaml.MappingNode):
                        raise _fault("`<<` takes a mapping", source)
                    # Of several merged mappings the first one wins, as YAML's merge type says.
                    merged = {**self._value(source, path), **merged}
                continue
            key = key_node.value
            here = (*path, key)
            if key in own:
                self.repeated.append(here)
            self.places[here] = f"{self.name}:{key_node.start_mark.line + 1}"
            own[key] = self._value(value_node, here)
        return {**merged, **own}

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return self._constructor.construct_yaml_bool(node)
        if node.tag == _INT:
            return self._constructor.construct_yaml_int(node)
        if node.tag == _FLOAT:
            return self._constructor.construct_yaml_float(node)
        if node.tag in _KEPT_AS_TEXT:
            return node.value
        raise _fault("tags are not used here", node)


def _fault(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)
