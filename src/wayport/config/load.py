"""Loads the configuration: file, environment and command line into one `Settings`. The only reader of the environment.

What wins: command line, `WAYPORT_*`, LiteLLM's names, the file, the default. Loading changes nothing in the world; it
either gives settings that are right or raises `ConfigError` with everything that is wrong.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from msgspec import Struct, structs

from wayport.config import environment as env
from wayport.config.auth import Wish, decide
from wayport.config.database import async_database_url, sqlite_url
from wayport.config.document import Document, is_file, read_document
from wayport.config.envfile import read_env_file
from wayport.config.host import SECTION, read_host
from wayport.config.litellm import read_litellm, with_includes
from wayport.config.problems import ConfigError, Problem
from wayport.config.provider_files import with_provider_files
from wayport.config.reading import Reading, Written, text
from wayport.config.secrets import expand, resolve
from wayport.config.settings import Settings, Spelling
from wayport.config.watch import content_hash, source
from wayport.core.secret import Secret

_LITELLM_KEYS = frozenset({
    "model_list", "litellm_settings", "router_settings", "general_settings", "environment_variables", "include",
    "credential_list", "callback_settings", "default_vertex_config", "files_settings", "finetune_settings",
    "assistant_settings", "vector_store_registry",
})  # fmt: skip
_OWN_KEYS = frozenset(
    {"providers", "provider_files", "models", "aliases", "router", "server", "auth", "storage", "spool", "environment"}
)


class Options(Struct, kw_only=True, frozen=True):
    """What the command line says. None: nothing."""

    config: str | None = None
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    data_dir: str | None = None
    env_files: tuple[str, ...] = ()
    tls_cert: str | None = None
    tls_key: str | None = None
    log_level: str | None = None
    terminal: bool = False
    """a person is looking: lines instead of JSON, no waiting at the end"""


def process_environment() -> dict[str, str]:
    return dict(os.environ)  # noqa: TID251 (this is the one reader)


def export(settings: Settings) -> None:
    """Puts variables that files set into the process, for libraries that read their own (botocore, google-auth).

    Only in a process that does not load again: there they would hide what the files say next time.
    """
    for name in settings.added_environ:
        os.environ[name] = settings.variable(name)  # noqa: TID251 (the one place that also writes it)


def load(options: Options, environ: Mapping[str, str]) -> Settings:
    """Raises `ConfigError`."""
    process = {name: value for name, value in environ.items() if _is_text(name) and _is_text(value)}
    return _Loading(options, process).settings()


class _Loading:
    def __init__(self, options: Options, process: dict[str, str]) -> None:
        self.options = options
        self.process = process
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self.files: list[FilePath] = []
        self.environ: dict[str, str] = process

    def settings(self) -> Settings:
        named = self.options.config or env.find(env.CONFIG, self.process).value
        file = FilePath(named) if named else None
        self.environ = self._with_env_files(file)
        # An `.env` may name the config file, if nothing else does; it is then the only `.env` that is read.
        if file is None and (named := env.find(env.CONFIG, self.environ).value):
            file = FilePath(named)
        written = self._written(file) if file is not None else Written(settings=Settings())
        if not written.settings.enabled:
            return structs.replace(written.settings, file=str(file))
        settings = self._finished(written, file)
        if self.problems:
            raise ConfigError(sorted(self.problems, key=_in_reading_order))
        return settings

    def _with_env_files(self, file: FilePath | None) -> dict[str, str]:
        """The process's variables over those of the files; of these the last named one wins, `.env` comes first."""
        folder = file.parent if file is not None else FilePath()
        values: dict[str, str] = {}
        automatic = folder / ".env"
        for path, wanted in [(automatic, False), *((FilePath(name), True) for name in self.options.env_files)]:
            self.files.append(path)
            found = read_env_file(path, self.process, wanted=wanted)
            values.update(found.values)
            self.warnings += found.warnings
        return {**values, **self.process}

    def _written(self, file: FilePath) -> Written:
        self.files.append(file)
        document = read_document(file)
        spelling = spelling_of(document.root)
        if spelling == "litellm":
            document, included = with_includes(document, file.parent)
            self.files += included
        elif spelling == "wayport":
            document, provider_files = with_provider_files(document, file.parent)
            self.files += provider_files
        reading = self._resolved(document, file, spelling)
        written = self._read(reading, spelling)
        self.files += [FilePath(path) for path in reading.references.files]
        self.problems += reading.problems
        self.warnings += reading.warnings
        return written

    def _resolved(self, document: Document, file: FilePath, spelling: Spelling) -> Reading:
        section = {"litellm": "environment_variables", "wayport": "environment"}.get(spelling, "")
        self._apply_variables(document, section)
        values, references = resolve(document.root, self.environ, folder=file.parent)
        return Reading(document=document, values=values, references=references, folder=file.parent)

    def _apply_variables(self, document: Document, section: str) -> None:
        """Variables that the file itself sets: before any other reference in it is resolved."""
        written = document.root.get(section)
        if not isinstance(written, dict):
            return
        before = dict(self.environ)
        for name, value in written.items():
            expanded = expand(value, before, folder=None).value if isinstance(value, str) else value
            if expanded is not None:
                self.environ = {**self.environ, name: text(expanded)}

    def _read(self, reading: Reading, spelling: Spelling) -> Written:
        if spelling == "host":
            return read_host(reading)
        if spelling == "litellm":
            self.warnings += _mixed(reading)
            return read_litellm(reading)
        # pydantic costs more than everything else here together; only our own format needs it.
        from wayport.config.own import read_own  # noqa: PLC0415

        return read_own(reading)

    def _finished(self, written: Written, file: FilePath | None) -> Settings:
        settings = env.overlay(written.settings, self.environ, self.problems)
        settings = self._overlay_options(settings)
        data_dir = self._data_dir(written)
        terminal = self.options.terminal
        drain = env.seconds_of(env.DRAIN_DELAY, self.environ, self.problems)
        drain = drain if drain is not None else written.drain_delay_s
        json_lines = env.flag_of(env.LOG_JSON, self.environ, self.problems)
        json_lines = json_lines if json_lines is not None else written.json_lines
        settings = structs.replace(
            settings,
            file=str(file) if file is not None else None,
            storage=structs.replace(
                settings.storage, data_dir=data_dir, database_url=self._database_url(written, data_dir)
            ),
            logging=structs.replace(settings.logging, json=not terminal if json_lines is None else json_lines),
            server=structs.replace(
                settings.server, drain_delay_s=drain if drain is not None else 0.0 if terminal else 5.0
            ),
        )
        settings = self._with_auth(settings, written)
        self._check_tls(settings)
        return self._with_sources(settings)

    def _overlay_options(self, settings: Settings) -> Settings:
        options = self.options
        server: dict[str, Any] = {
            name: value
            for name in ("port", "workers", "tls_cert", "tls_key")
            if (value := getattr(options, name)) is not None
        }
        if options.port is not None and not 0 <= options.port <= 65535:
            self.problems.append(Problem(key="--port", text="must be from 0 to 65535", place="command line"))
        if options.workers is not None and not 1 <= options.workers <= 256:
            self.problems.append(Problem(key="--workers", text="must be from 1 to 256", place="command line"))
        settings = structs.replace(settings, server=structs.replace(settings.server, **server))
        if options.log_level is not None:
            level = options.log_level.lower()
            if level not in ("debug", "info", "warning", "error"):
                told = "must be debug, info, warning or error"
                self.problems.append(Problem(key="--log-level", text=told, place="command line"))
            settings = structs.replace(settings, logging=structs.replace(settings.logging, level=level))
        return settings

    def _data_dir(self, written: Written) -> str:
        named = self.options.data_dir or env.find(env.DATA_DIR, self.environ).value or written.data_dir
        if named:
            return str(FilePath(named).expanduser().absolute())
        home = self.process.get("XDG_DATA_HOME") or ""
        if not home and self.process.get("HOME"):
            home = str(FilePath(self.process["HOME"]) / ".local" / "share")
        return str((FilePath(home) / "wayport").absolute()) if home else str(FilePath("wayport-data").absolute())

    def _database_url(self, written: Written, data_dir: str) -> Secret:
        found = env.find(env.DATABASE_URL, self.environ)
        url, key = (found.value, found.name) if found.name else ("", "database_url")
        if not url and written.database_url is not None:
            url = written.database_url.reveal()
        if not url:
            return Secret(sqlite_url(data_dir))
        try:
            return Secret(async_database_url(url))
        except ValueError as error:
            place = "environment" if found.name else ""
            self.problems.append(Problem(key=key, text=str(error), place=place))
            return Secret("")

    def _with_auth(self, settings: Settings, written: Written) -> Settings:
        mode = env.choice_of(env.AUTH, ("none", "key"), self.environ, self.problems)
        keys, key_source = self._master_keys(written)
        weak = env.flag_of(env.ALLOW_WEAK, self.environ, self.problems)
        wish = Wish(
            spelling=settings.spelling,
            host=self._host(settings),
            default_host=env.find(env.DEFAULT_HOST, self.environ).value or "127.0.0.1",
            none=mode == "none" or (written.auth_none and mode is None),
            none_source="WAYPORT_AUTH=none" if mode == "none" else "auth: none",
            key_demanded=mode == "key",
            master_keys=keys,
            master_key_source=key_source,
            master_key_unset=written.master_key_unset,
            allow_weak=written.allow_weak_master_key if weak is None else weak,
        )
        decision = decide(wish, settings.auth)
        self.problems += decision.problems
        self.warnings += decision.warnings
        server = structs.replace(settings.server, host=decision.host)
        return structs.replace(settings, auth=decision.auth, server=server)

    def _host(self, settings: Settings) -> str:
        if self.options.host:
            return self.options.host
        own, other = (env.Told(names=(name,), doc="") for name in env.HOST.names)
        if found := env.find(own, self.environ).value:
            return found
        address: str | None = env.parsed(env.find(other, self.environ), env.host_like, self.problems)
        return address or settings.server.host

    def _master_keys(self, written: Written) -> tuple[tuple[Secret, ...], str]:
        found = env.find(env.MASTER_KEY, self.environ)
        if not found.name:
            return written.master_keys, written.master_key_source
        several = found.name.startswith(env.OWN_PREFIX)
        words = [word.strip() for word in found.value.split(",")] if several else [found.value]
        keys = tuple(Secret(word) for word in words if word)
        if written.master_keys and not set(written.master_keys) & set(keys):
            self.warnings.append(f"{found.name} is the master key; the one in the file is another one and is not used")
        return keys, f"env {found.name}"

    def _check_tls(self, settings: Settings) -> None:
        cert, key = settings.server.tls_cert, settings.server.tls_key
        if key and not cert:
            self.problems.append(Problem(key="server.tls_cert", text="is missing: there is only `tls_key`"))
        for name, file in (("tls_cert", cert), ("tls_key", key)):
            if file and not is_file(FilePath(file)):
                self.problems.append(Problem(key=f"server.{name}", text=f"there is no file {file}"))

    def _with_sources(self, settings: Settings) -> Settings:
        sources = tuple({item.path: item for item in map(source, self.files)}.values())
        added = tuple(sorted(name for name, value in self.environ.items() if self.process.get(name) != value))
        warnings = dict.fromkeys((*self.warnings, *env.misspelt(self.environ)))
        return structs.replace(
            settings,
            warnings=tuple(warnings),
            sources=sources,
            content_hash=content_hash(sources),
            environ={name: Secret(value) for name, value in self.environ.items()},
            added_environ=added,
        )


def spelling_of(root: dict[str, Any]) -> Spelling:
    """Which of the three spellings a file is written in, told by its shape."""
    if root.keys() & _LITELLM_KEYS and not (SECTION in root and "model_list" not in root):
        return "litellm"
    return "host" if SECTION in root else "wayport"


def _mixed(reading: Reading) -> list[str]:
    ours = sorted(reading.values.keys() & _OWN_KEYS)
    if not ours:
        return []
    names = ", ".join(f"`{name}`" for name in ours)
    return [f"{reading.document.file}: this file is in LiteLLM's spelling; {names} is Wayport's and is ignored"]


def _is_text(value: str) -> bool:
    """Variables may hold any bytes; those that are not text cannot travel as JSON and are of no use to us."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_reading_order(problem: Problem) -> tuple[str, int, str]:
    match = re.fullmatch(r"(.*):(\d+)", problem.place)
    return (match[1], int(match[2]), problem.key) if match else (problem.place, 0, problem.key)
