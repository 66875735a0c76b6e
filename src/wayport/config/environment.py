"""Variables that are settings: ours (`WAYPORT_*`) and the names that LiteLLM's users have set already.

A table, from which the documentation is generated. Of several names the first that is set wins; all of them win over the
file. An empty variable counts as unset.
"""

import difflib
import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, structs

from wayport.config.auth import plain_host
from wayport.config.database import async_database_url
from wayport.config.fields import as_flag, as_number, network, path_prefix
from wayport.config.problems import Problem
from wayport.config.settings import Settings
from wayport.core.secret import Secret


class Variable(Struct, kw_only=True, frozen=True):
    names: tuple[str, ...]
    put: tuple[str, str]
    """group of `Settings` (empty: itself) and field"""
    parse: Callable[[str], Any]
    """raises ValueError with what the value must be; the value itself is never told"""
    doc: str


class _Ignored(Exception):
    """The variable means something else here."""


def _flag(value: str) -> bool:
    flag = as_flag(value)
    if flag is None:
        raise ValueError("must be true or false")
    return flag


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if value.startswith(("tcp://", "udp://")):
            # Kubernetes sets NAME_PORT for every service NAME, ours among them.
            raise _Ignored
        number = as_number(value)
        if number is None or number != int(number) or not least <= number <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(number)

    return parse


def _seconds(value: str) -> float:
    number = as_number(value)
    if number is None or number < 0:
        raise ValueError("must be a number of seconds")
    return number


def _days(value: str) -> float:
    number = as_number(value)
    if number is None or not 0 <= number <= 36_500:
        raise ValueError("must be a number of days")
    return number


def _choice(*words: str, also: Mapping[str, str] | None = None) -> Callable[[str], str]:
    def parse(value: str) -> str:
        word = (also or {}).get(value.lower(), value.lower())
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return parse


def _listed(value: str) -> tuple[str, ...]:
    return tuple(word for part in value.split(",") if (word := part.strip()))


def _networks(value: str) -> tuple[str, ...]:
    return tuple(network(word) for word in _listed(value))


def host_like(value: str) -> str:
    """`HOST` is the machine's name in some shells; only an address or `localhost` is meant for us."""
    host = plain_host(value)
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise _Ignored from None


def database_secret(value: str) -> Secret:
    return Secret(async_database_url(value))


_LEVELS = _choice(
    "debug", "info", "warning", "error",
    also={"warn": "warning", "critical": "error", "fatal": "error", "trace": "debug"},
)  # fmt: skip

TABLE = (
    Variable(
        names=("WAYPORT_PORT", "LITELLM_PORT", "PORT"), put=("server", "port"), parse=_whole(1, 65535),
        doc="port to listen on",
    ),
    Variable(
        names=("WAYPORT_WORKERS", "NUM_WORKERS"), put=("server", "workers"), parse=_whole(1, 256), doc="data workers"
    ),
    Variable(names=("WAYPORT_TLS_CERT", "SSL_CERTFILE_PATH"), put=("server", "tls_cert"), parse=str, doc="certificate file"),
    Variable(names=("WAYPORT_TLS_KEY", "SSL_KEYFILE_PATH"), put=("server", "tls_key"), parse=str, doc="its key"),
    Variable(
        names=("WAYPORT_CORS_ORIGINS",), put=("server", "cors_origins"), parse=_listed,
        doc="web origins that may call from a browser, separated by commas",
    ),
    Variable(
        names=("WAYPORT_TRUSTED_PROXIES",), put=("server", "trusted_proxies"), parse=_networks,
        doc="addresses and networks whose `x-forwarded-for` is believed",
    ),
    Variable(
        names=("WAYPORT_CLIENT_NETWORKS",), put=("server", "client_networks"), parse=_networks,
        doc="networks that are not public and that a client's `api_base` may lead to",
    ),
    Variable(
        names=("WAYPORT_ROOT_PATH", "SERVER_ROOT_PATH"), put=("server", "root_path"), parse=path_prefix,
        doc="path below which a balancer serves Wayport",
    ),
    Variable(
        names=("WAYPORT_DISCOVER_MODELS_S",), put=("server", "discover_models_s"), parse=_seconds,
        doc="seconds between looks at which models there are behind wildcards; 0: never",
    ),
    Variable(names=("WAYPORT_GRACE_S",), put=("server", "grace_s"), parse=_seconds, doc="seconds that running calls get at the end"),
    Variable(
        names=("WAYPORT_PROBE_LOCAL_SERVERS",), put=("server", "probe_local_servers"), parse=_flag,
        doc="look for Ollama, vLLM and LM Studio at start, without a config file",
    ),
    Variable(names=("WAYPORT_REDIS_URL", "REDIS_URL"), put=("storage", "redis_url"), parse=Secret, doc="what nodes share"),
    Variable(
        names=("WAYPORT_SALT_KEY", "LITELLM_SALT_KEY"), put=("auth", "salt_key"), parse=Secret,
        doc="encrypts credentials in the database",
    ),
    Variable(names=("WAYPORT_SPOOL_SYNC",), put=("spool", "sync"), parse=_choice("os", "1s", "always"), doc="see `spool.sync`"),
    Variable(names=("WAYPORT_SPOOL_ON_FULL",), put=("spool", "on_full"), parse=_choice("serve", "refuse"), doc="see `spool.on_full`"),
    Variable(
        names=("WAYPORT_LOG_LEVEL", "LITELLM_LOG_LEVEL", "LITELLM_LOG"), put=("logging", "level"), parse=_LEVELS,
        doc="debug, info, warning or error",
    ),
    Variable(
        names=("WAYPORT_RESPONSES_KEEP_DAYS",), put=("responses", "keep_days"), parse=_days,
        doc="see `responses.keep_days`",
    ),
    Variable(names=("WAYPORT_MEDIA_FETCH",), put=("media", "fetch"), parse=_flag, doc="see `media.fetch`"),
    Variable(
        names=("WAYPORT_COMPAT",), put=("", "compat"), parse=_choice("wayport", "litellm"), doc="see `server.compat`"
    ),
    Variable(
        names=("WAYPORT_RESPONSE_MODEL",), put=("", "response_model"), parse=_choice("requested", "upstream"),
        doc="see `server.response_model`",
    ),
    Variable(names=("WAYPORT_DROP_PARAMS",), put=("", "drop_params"), parse=_flag, doc="see `server.drop_params`"),
    Variable(
        names=("WAYPORT_IMPLICIT_MODELS",), put=("", "implicit_models"), parse=_flag, doc="see `server.implicit_models`"
    ),
)  # fmt: skip


class Told(Struct, kw_only=True, frozen=True):
    """Variables that do not simply replace a field: loading itself asks for them."""

    names: tuple[str, ...]
    doc: str


CONFIG = Told(names=("WAYPORT_CONFIG", "CONFIG_FILE_PATH"), doc="the config file")
HOST = Told(names=("WAYPORT_HOST", "HOST"), doc="address to listen on; `HOST` only if it is an address or `localhost`")
DEFAULT_HOST = Told(
    names=("WAYPORT_DEFAULT_HOST",), doc="address when nothing else names one; the container image sets `0.0.0.0`"
)
MASTER_KEY = Told(
    names=("WAYPORT_MASTER_KEY", "LITELLM_MASTER_KEY"),
    doc="the administrator's key; `WAYPORT_MASTER_KEY` may hold several, separated by commas",
)
AUTH = Told(names=("WAYPORT_AUTH",), doc="`none`: nobody is asked for a key, on loopback only; `key`: never keyless")
ALLOW_WEAK = Told(names=("WAYPORT_ALLOW_WEAK_MASTER_KEY",), doc="see `auth.allow_weak_master_key`")
DATA_DIR = Told(names=("WAYPORT_DATA_DIR",), doc="see `storage.data_dir`")
DATABASE_URL = Told(names=("WAYPORT_DATABASE_URL", "DATABASE_URL"), doc="see `storage.database_url`")
DRAIN_DELAY = Told(names=("WAYPORT_DRAIN_DELAY_S",), doc="see `server.drain_delay_s`")
LOG_JSON = Told(names=("WAYPORT_LOG_JSON", "JSON_LOGS"), doc="see `logging.json`")
TOLD = (
    CONFIG, HOST, DEFAULT_HOST, MASTER_KEY, AUTH, ALLOW_WEAK, DATA_DIR, DATABASE_URL, DRAIN_DELAY, LOG_JSON,
)  # fmt: skip

OWN_PREFIX = "WAYPORT_"


class Found(Struct, kw_only=True):
    """The first of a variable's names that is set."""

    name: str = ""
    value: str = ""


def find(told: Told, environ: Mapping[str, str]) -> Found:
    for name in told.names:
        if value := environ.get(name, "").strip():
            return Found(name=name, value=value)
    return Found()


def parsed(found: Found, parse: Callable[[str], Any], problems: list[Problem]) -> Any:
    """The variable's value, or None when it is unset, wrong (then there is a problem) or not meant for us."""
    if not found.name:
        return None
    try:
        return parse(found.value)
    except _Ignored:
        return None
    except ValueError as error:
        problems.append(Problem(key=found.name, text=str(error), place="environment"))
        return None


def flag_of(told: Told, environ: Mapping[str, str], problems: list[Problem]) -> bool | None:
    flag: bool | None = parsed(find(told, environ), _flag, problems)
    return flag


def seconds_of(told: Told, environ: Mapping[str, str], problems: list[Problem]) -> float | None:
    seconds: float | None = parsed(find(told, environ), _seconds, problems)
    return seconds


def choice_of(told: Told, words: tuple[str, ...], environ: Mapping[str, str], problems: list[Problem]) -> str | None:
    choice: str | None = parsed(find(told, environ), _choice(*words), problems)
    return choice


def overlay(settings: Settings, environ: Mapping[str, str], problems: list[Problem]) -> Settings:
    """`settings` with every variable of the table that is set."""
    for variable in TABLE:
        for name in variable.names:
            value = parsed(find(Told(names=(name,), doc=""), environ), variable.parse, problems)
            if value is None:
                continue
            group, field = variable.put
            if group:
                changed = structs.replace(getattr(settings, group), **{field: value})
                settings = structs.replace(settings, **{group: changed})
            else:
                settings = structs.replace(settings, **{field: value})
            break
    return settings


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Warnings for variables that look like one of ours, but are none."""
    known = {name for variable in (*TABLE, *TOLD) for name in variable.names if name.startswith(OWN_PREFIX)}
    warnings = []
    for name in sorted(environ):
        if name.startswith(OWN_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.88)
            if near:
                warnings.append(f"environment: {name} is no setting; did you mean {near[0]}?")
    return warnings
