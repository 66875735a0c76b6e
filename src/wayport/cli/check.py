"""`wayport check F`: is this configuration right, and what would it do? Prints the plan; starts and changes nothing."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from wayport.config.load import Options, load, process_environment
from wayport.config.problems import ConfigError
from wayport.config.settings import Settings
from wayport.control.snapshots import build
from wayport.routing.snapshot import Deployment, Model, Snapshot

_SPELLINGS = {"wayport": "Wayport's format", "litellm": "LiteLLM's format", "host": "host configuration", "none": ""}


class Row(Struct, frozen=True):
    """One deployment as people read it."""

    model: str
    target: str
    address: str
    credential: str


def check(config: Path, *, env_files: Sequence[Path] = ()) -> int:
    """0: it would start (missing credentials do not stop it); 1: it would not."""
    options = Options(config=str(config), env_files=tuple(str(file) for file in env_files), terminal=True)
    try:
        settings = load(options, process_environment())
        if not settings.enabled:
            _say("not enabled")
            return 0
        snapshot = build(settings)
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        count = len(error.problems)
        sys.stderr.write(f"{config}: {count} {'problem' if count == 1 else 'problems'}\n")
        return 1
    _print(settings, snapshot)
    return 0


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def _print(settings: Settings, snapshot: Snapshot) -> None:
    _say(f"{settings.file}: {_SPELLINGS[settings.spelling]}, {len(settings.models)} models")
    scheme = "https" if settings.server.tls_cert else "http"
    _say(f"listens on {scheme}://{settings.server.host}:{settings.server.port}, {who_may(settings)}")
    _say()
    rows = list(plan(settings, snapshot))
    if sys.stdout.isatty():
        _print_table(rows)
    else:
        _print_lines(rows)
    aliases = {name: target for name, target in snapshot.aliases.items() if name in settings.aliases}
    for name, target in aliases.items():
        _say(f"alias {name} -> {target}")
    if (missing := missing_variables(settings, snapshot)) or snapshot.warnings:
        _say()
    for line in missing:
        _say(f"missing: {line}")
    for warning in snapshot.warnings:
        _say(f"warning: {warning}")


def who_may(settings: Settings) -> str:
    auth = settings.auth
    if auth.mode == "keyless":
        return f"keyless ({auth.reason})"
    if auth.generate:
        return f"master key: generated at the first start ({auth.reason})"
    return f"master key: {auth.source}"


def _written(settings: Settings, snapshot: Snapshot) -> Iterator[Model]:
    """The models that are written; what a wildcard stands for is not listed one by one."""
    wildcards = {model.name: model for model in snapshot.wildcards}
    for item in settings.models:
        model = snapshot.models.get(item.name) or wildcards.get(item.name)
        if model is not None:
            yield model
    for provider in settings.providers.values():
        for name in provider.offered:
            if (model := snapshot.models.get(f"{provider.name}/{name}")) is not None:
                yield model


def plan(settings: Settings, snapshot: Snapshot) -> Iterator[Row]:
    for model in _written(settings, snapshot):
        for number, deployment in enumerate(model.deployments):
            # A chain is tried from top to bottom; the deployments of a group stand side by side.
            name = model.name if number == 0 else f"  {number + 1}." if model.ordered else "  or"
            yield Row(
                name, f"{deployment.provider}/{deployment.upstream_model}", deployment.base_url, _credential(deployment)
            )
    if snapshot.implicit_models:
        yield Row("provider/model", "any provider whose credential is there", "", "")


def _credential(deployment: Deployment) -> str:
    if deployment.missing:
        return f"MISSING: set {' or '.join(deployment.missing)}"
    return deployment.credential.reference or ("signed" if deployment.signed else "none needed")


def missing_variables(settings: Settings, snapshot: Snapshot) -> list[str]:
    """What to set, and which models wait for it."""
    waiting: dict[str, list[str]] = {}
    for model in _written(settings, snapshot):
        for deployment in model.deployments:
            if deployment.missing:
                names = waiting.setdefault(" or ".join(deployment.missing), [])
                if model.name not in names:
                    names.append(model.name)
    return [f"{variables} (for {', '.join(names)})" for variables, names in waiting.items()]


def _print_lines(rows: Sequence[Row]) -> None:
    for row in rows:
        _say("  ".join(part for part in (row.model, "->", row.target, row.address, f"[{row.credential}]") if part))


def _print_table(rows: Sequence[Row]) -> None:
    from rich.console import Console  # noqa: PLC0415 (slow to import, and only a terminal needs it)
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("model", "deployment", "address", "credential"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        style = "yellow" if row.credential.startswith("MISSING") else None
        table.add_row(row.model, row.target, row.address, row.credential, style=style)
    Console().print(table)
