# ruff: noqa: INP001 (a program for people, not a package)
"""Writes the tables of docs/configuration.md from the schema and the list of variables. `--check`: only compares.

What stands between the markers is generated; the text around them is written by hand.
"""

import ast
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from wayport.config import schema
from wayport.config.environment import TABLE, TOLD

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
_BEGIN = "<!-- generated: {name} (tools/generate_settings_docs.py) -->"
_END = "<!-- end of generated text -->"

SECTIONS = (
    ("providers.<name>", schema.ProviderIn),
    ("models.<name>", schema.ModelIn),
    ("models.<name>.deployments[]", schema.DeploymentIn),
    ("models.<name>.deployments[].health_check", schema.ProbeIn),
    ("prices", schema.PricesIn),
    ("prices.tiers[]", schema.TierIn),
    ("timeouts", schema.TimeoutsIn),
    ("tls", schema.UpstreamTlsIn),
    ("providers.<name>.api_keys[]", schema.PooledKeyIn),
    ("providers.<name>.budget", schema.BudgetIn),
    ("auth_header", schema.AuthHeaderIn),
    ("providers.<name>.models.<model>", schema.ModelFactsIn),
    ("router", schema.RouterIn),
    ("router.strategy_args", schema.StrategyArgsIn),
    ("router.fallbacks", schema.FallbacksIn),
    ("router.queue", schema.QueueIn),
    ("health_checks", schema.HealthChecksIn),
    ("server", schema.ServerIn),
    ("server.limits", schema.LimitsIn),
    ("auth", schema.AuthIn),
    ("storage", schema.StorageIn),
    ("spool", schema.SpoolIn),
    ("logging", schema.LoggingIn),
    ("media", schema.MediaIn),
    ("limits", schema.HolderLimitsIn),
    ("limits.gateway", schema.BoundsIn),
    ("responses", schema.ResponsesIn),
    ("callbacks[]", schema.CallbackIn),
    ("metrics", schema.MetricsIn),
    ("tracing", schema.TracingIn),
    ("bodies", schema.BodiesIn),
    ("retention", schema.RetentionIn),
    ("alerts", schema.AlertsIn),
    ("alerts.targets[]", schema.AlertTargetIn),
    ("alerts.smtp", schema.SmtpIn),
)

_PLURAL = {"text": "words", "whole number": "whole numbers"}


def docstrings() -> dict[str, dict[str, str]]:
    """Class to field to the string below it; the class's own under the empty name."""
    tree = ast.parse(Path(schema.__file__).read_text())
    found: dict[str, dict[str, str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            own = found[node.name] = {"": ast.get_docstring(node) or ""}
            for before, after in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(before, ast.AnnAssign)
                    and isinstance(before.target, ast.Name)
                    and isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                    and isinstance(after.value.value, str)
                ):
                    own[before.target.id] = after.value.value
    return found


DOCS = docstrings()


def told(model: type[BaseModel], field: str) -> str:
    """The documentation of a field, wherever among the model's ancestors it stands. A line of text."""
    for ancestor in model.__mro__:
        if text := DOCS.get(ancestor.__name__, {}).get(field):
            return " ".join(text.split())
    return ""


def tables() -> str:
    lines: list[str] = ["### The file", "", *table(schema.ConfigIn)]
    for name, model in SECTIONS:
        lines += ["", f"### `{name}`", ""]
        if text := DOCS.get(model.__name__, {}).get(""):
            lines += [" ".join(text.split()), ""]
        lines += table(model)
    return "\n".join(lines)


def table(model: type[BaseModel]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    own = model.__annotations__
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] not in own):
        keys = " or ".join(f"`{key}`" for key in spellings(name, field))
        yield f"| {keys} | {kind(field.annotation)} | {default(name, field)} | {escaped(told(model, name))} |"


def spellings(name: str, field: FieldInfo) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [choice for choice in alias.choices if isinstance(choice, str)]
    return [alias] if isinstance(alias, str) else [name]


def kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return kind(annotation.__origin__)
    if origin in (Union, types.UnionType):
        return " or ".join(kind(part) for part in arguments if part is not type(None))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in arguments)
    if origin is list:
        inner = arguments[0]
        return "list" if is_section(inner) else f"list of {_PLURAL.get(kind(inner), kind(inner))}"
    if origin is dict:
        return "mapping" if arguments[1] is Any or is_section(arguments[1]) else f"name: {kind(arguments[1])}"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, "section" if is_section(annotation) else "amount in dollars")


def is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def default(name: str, field: FieldInfo) -> str:
    value = field.default
    if isinstance(value, int) and name.endswith("_bytes"):
        for unit, size in (("GB", 1024**3), ("MB", 1024**2), ("KB", 1024)):
            if value >= size:
                return f"`{value // size}{unit}`"
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ("", [], {}) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def variables() -> str:
    rows = [(told.names, told.doc) for told in TOLD] + [(variable.names, variable.doc) for variable in TABLE]
    lines = ["| variable | also | meaning |", "|---|---|---|"]
    for names, doc in sorted(rows):
        lines.append(f"| `{names[0]}` | {', '.join(f'`{name}`' for name in names[1:])} | {escaped(doc)} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    return text.replace("|", "\\|")


def with_tables(page: str) -> str:
    for name, text in (("settings", tables()), ("variables", variables())):
        begin = _BEGIN.format(name=name)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(_END)
        if not found or not ended:
            raise SystemExit(f"{PAGE}: the markers of {name!r} are missing")
        page = f"{before}{begin}\n{text}\n{_END}{after}"
    return page


def main() -> int:
    page = PAGE.read_text()
    current = with_tables(page)
    if current == page:
        return 0
    if "--check" in sys.argv[1:]:
        sys.stderr.write(f"{PAGE} is not current: run tools/generate_settings_docs.py\n")
        return 1
    PAGE.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
