"""`wayport serve`: loads the configuration, says what it found, and runs the gateway until told to stop."""

import asyncio
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from wayport import __version__
from wayport.config.auth import ensure_master_key, with_master_key
from wayport.config.load import Options, load, process_environment
from wayport.config.problems import ConfigError
from wayport.config.settings import Settings
from wayport.control.snapshots import build
from wayport.observe import logs
from wayport.providers import extras
from wayport.providers.registry import builtin
from wayport.routing.snapshot import Snapshot
from wayport.server.listen import AddressInUse
from wayport.server.run import Supervisor
from wayport.server.waiting import Waiting


class Start(NamedTuple):
    settings: Settings
    snapshot: Snapshot
    fresh_key: str
    """the admin key, if it was made just now and a person looks"""


def run(
    waiting: Waiting,
    *,
    config: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    data_dir: Path | None = None,
    env_files: tuple[Path, ...] = (),
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> int:
    """0: ended as asked; 2: the configuration or the command line is wrong. `waiting` is used or given up."""
    terminal = sys.stdout.isatty()
    options = Options(
        config=_text(config),
        host=host,
        port=port,
        workers=workers,
        data_dir=_text(data_dir),
        env_files=tuple(str(file) for file in env_files),
        tls_cert=_text(tls_cert),
        tls_key=_text(tls_key),
        terminal=terminal,
    )
    start = _prepare(options)
    if isinstance(start, int):
        waiting.give_up()
        return start
    settings, snapshot, fresh_key = start
    logs.configure(level=settings.logging.level, console=not settings.logging.json)
    for warning in (*snapshot.warnings, *_missing_packages(snapshot)):
        _complain(f"warning: {warning}")
    supervisor = Supervisor(
        settings,
        msgspec.json.encode(snapshot),
        options=msgspec.json.encode(options),
        on_ready=lambda bound: _welcome(settings, snapshot, bound, fresh_key),
        console=terminal,
        waiting=waiting,
        read_again=lambda: _snapshot_now(options),
    )
    try:
        return asyncio.run(supervisor.run())
    except AddressInUse as error:
        _complain(f"{error}. Choose another with --port.")
        return 2


def _prepare(options: Options) -> Start | int:
    """What to run, or the exit code of a start that is none."""
    try:
        settings = load(options, process_environment())
        if not settings.enabled:
            _say("not enabled")
            return 0
        fresh_key = ""
        if settings.auth.generate:
            key = ensure_master_key(settings.storage.data_dir)
            settings = with_master_key(settings, key)
            # The one moment to show it, and only to a person.
            fresh_key = key.value.reveal() if key.created and options.terminal else ""
        else:
            Path(settings.storage.data_dir).mkdir(mode=0o700, parents=True, exist_ok=True)
        return Start(settings, build(settings), fresh_key)
    except ConfigError as error:
        for problem in error.problems:
            _complain(str(problem))
    except OSError as error:
        _complain(f"the data directory cannot be used: {error}")
    return 2


def _snapshot_now(options: Options) -> bytes | None:
    """The snapshot that the configuration gives now; None while it is wrong, which the control process tells."""
    try:
        return msgspec.json.encode(build(load(options, process_environment())))
    except (ConfigError, OSError):
        return None


def _missing_packages(snapshot: Snapshot) -> Iterator[str]:
    """One sentence for each optional package that a configured credential needs and that is not installed."""
    told = set()
    registry = builtin()
    for model in (*snapshot.models.values(), *snapshot.wildcards):
        for deployment in model.deployments:
            provider = registry.get(deployment.provider)
            extra = provider.extra if provider is not None and deployment.signed else None
            if extra is not None and extra not in told and extras.missing(extra):
                told.add(extra)
                yield f"{deployment.provider} needs an optional package: pip install 'wayport[{extra}]'"


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _welcome(settings: Settings, snapshot: Snapshot, port: int, fresh: str) -> None:
    """Where it is, where the admin key is, and a line that answers when pasted."""
    scheme = "https" if settings.server.tls_cert else "http"
    host = settings.server.host if settings.server.host not in ("0.0.0.0", "::") else "127.0.0.1"  # noqa: S104 (compared)
    shown = f"[{host}]" if ":" in host else host
    url = f"{scheme}://{shown}:{port}{settings.server.root_path}"
    names = [name for name, model in snapshot.models.items() if not model.hidden]
    _say(f"Wayport {__version__} on {url}  ({len(names)} models, logs below)")
    if settings.auth.mode == "keyless":
        _say(f"No key is needed: {settings.auth.reason}")
        header = ""
    else:
        source = settings.auth.source
        if fresh:
            _say(f"Admin key: {fresh}  (made just now, kept in {source.removeprefix('file ')}; not shown again)")
        else:
            _say(f"Admin key: in {source}")
        header = f'-H "Authorization: Bearer {_reference(source)}" '
    insecure = "-k " if scheme == "https" else ""
    body = '{"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}]}'
    _say(f"Try: curl {insecure}{url}/v1/chat/completions {header}-H 'Content-Type: application/json' -d '{body}'")


def _reference(source: str) -> str:
    """The key in shell words: read from where it is kept, never written out."""
    kind, _, name = source.partition(" ")
    match kind:
        case "file":
            return f"$(cat {shlex.quote(str(Path(name).resolve()))})"
        case "env":
            return f"${name}"
        case _:
            return "YOUR_MASTER_KEY"
