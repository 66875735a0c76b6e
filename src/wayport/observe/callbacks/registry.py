"""From a name in the configuration to a callback. A new one is one file and one line in `_MAKERS`.

What it needs and does not find turns it off, said once at start. Makers import what they make: an HTTP client takes
6 MB, which nobody pays for who tells nobody of calls.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from wayport.config.settings import CallbackSettings
from wayport.core.clock import Clock, SystemClock
from wayport.core.secret import Secret
from wayport.observe.callbacks import custom
from wayport.observe.callbacks.base import Callback
from wayport.observe.callbacks.file import File


class Off(Exception):
    """This callback cannot run; the message says what is missing."""


class Wish(Struct, frozen=True, kw_only=True):
    """What makers are given."""

    name: str
    params: Mapping[str, Raw]
    variable: Callable[[str], str]
    """an environment variable's value; empty when unset"""
    clock: Clock = SystemClock()
    folder: Path | None = None
    """of the configuration"""

    @property
    def kind(self) -> str:
        return self.text("callback_type") or self.name

    def text(self, param: str, *variables: str) -> str:
        """A parameter, else the first of these variables that is set; a parameter may refer to one (`os.environ/X`)."""
        raw = self.params.get(param)
        if raw is not None:
            value = msgspec.json.decode(raw)
            if value is not None:
                return str(value)
        return next((found for name in variables if (found := self.variable(name))), "")

    def mapping(self, param: str) -> dict[str, str]:
        raw = self.params.get(param)
        found: Any = msgspec.json.decode(raw) if raw is not None else {}
        return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def make(wish: Wish) -> Callback:
    """Raises `Off`."""
    kind = _MAKERS.get(wish.kind)
    if kind is not None:
        return kind.make(wish)
    if "." in wish.name:
        try:
            return custom.load(wish.name, wish.folder)
        except custom.CallableMistake as mistake:
            raise Off(str(mistake)) from mistake
    known = ", ".join(sorted({*_MAKERS, *SWITCHES}))
    raise Off(f"there is no such callback; there are {known} and `module.name` of your own")


def make_for_team(name: str, variables: Mapping[str, str], *, variable: Callable[[str], str], clock: Clock) -> Callback:
    """A team's own, of one of TEAM_KINDS. Raises `Off`."""
    kind = _MAKERS[name]
    params = {known: Raw(msgspec.json.encode(variables[known])) for known in kind.variables if known in variables}
    return kind.make(
        Wish(
            name=name,
            params=params,
            variable=lambda asked: variable(asked) if asked in kind.operators else "",
            clock=clock,
        )
    )


def _langfuse(wish: Wish) -> Callback:
    from wayport.observe.callbacks.langfuse import Langfuse  # noqa: PLC0415 (see the top of this file)

    public = _needed(wish, "LANGFUSE_PUBLIC_KEY", "langfuse_public_key")
    secret = wish.text("langfuse_secret") or _needed(wish, "LANGFUSE_SECRET_KEY", "langfuse_secret_key")
    host = wish.text("langfuse_host", "LANGFUSE_HOST", "LANGFUSE_BASE_URL")
    return Langfuse(host=host, public_key=public, secret_key=Secret(secret))


def _sentry(wish: Wish) -> Callback:
    from wayport.observe.callbacks.sentry import DsnMistake, Sentry  # noqa: PLC0415 (as above)

    dsn = _needed(wish, "SENTRY_DSN", "dsn")
    try:
        return Sentry(dsn=Secret(dsn), environment=wish.text("environment", "SENTRY_ENVIRONMENT"))
    except DsnMistake as mistake:
        raise Off(str(mistake)) from mistake


class _Otel(Struct, frozen=True):
    endpoint: str
    headers: dict[str, str]
    service: str
    share: float


def traced_share(callbacks: Iterable[CallbackSettings], variable: Callable[[str], str]) -> float | None:
    """Of the traces, how many the `otel` callback tells; None where it is not configured or off."""
    for wanted in callbacks:
        wish = Wish(name=wanted.name, params=wanted.params, variable=variable)
        if wish.kind == "otel" and "success" in wanted.on:
            with suppress(Off):
                return _read_otel(wish).share
    return None


def _otel(wish: Wish) -> Callback:
    from wayport.observe.callbacks.otel import Otel  # noqa: PLC0415 (as above)

    read = _read_otel(wish)
    return Otel(endpoint=read.endpoint, headers=read.headers, service=read.service, share=read.share)


def _read_otel(wish: Wish) -> _Otel:
    endpoint = wish.text("traces_endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if not endpoint:
        base = wish.text("endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_ENDPOINT")
        if not base:
            raise Off("OTEL_EXPORTER_OTLP_ENDPOINT is not set")
        endpoint = base if base.rstrip("/").endswith("/v1/traces") else f"{base.rstrip('/')}/v1/traces"
    written = wish.text("headers", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_HEADERS")
    pairs = (pair.partition("=") for pair in written.split(",") if "=" in pair)
    share = wish.text("sample", "OTEL_TRACES_SAMPLER_ARG")
    try:
        share_number = float(share) if share else 1.0
    except ValueError:
        raise Off(f"the share of traces must be a number, not {share!r}") from None
    return _Otel(
        endpoint=endpoint,
        headers={name.strip(): value.strip() for name, _, value in pairs},
        service=wish.text("service_name", "OTEL_SERVICE_NAME"),
        share=share_number,
    )


def _webhook(wish: Wish) -> Callback:
    from wayport.observe.callbacks.webhook import Webhook  # noqa: PLC0415 (as above)

    url = wish.text("url") or wish.text("endpoint", "GENERIC_LOGGER_ENDPOINT")
    if not url:
        raise Off("it needs `url` (or the variable GENERIC_LOGGER_ENDPOINT)")
    secret = wish.text("secret", "WAYPORT_WEBHOOK_SECRET")
    form = wish.text("log_format") or "json_array"
    if form not in ("json_array", "ndjson", "single"):
        raise Off("`log_format` is json_array, ndjson or single")
    return Webhook(
        url=url,
        secret=Secret(secret) if secret else None,
        headers=wish.mapping("headers"),
        form=form,  # type: ignore[arg-type]  # looked at just above
        name=wish.name,
        clock=wish.clock,
    )


def _file(wish: Wish) -> Callback:
    path = wish.text("path")
    if not path:
        raise Off("it needs `path`")
    return File((wish.folder or Path()) / Path(path).expanduser())


def _needed(wish: Wish, variable: str, param: str) -> str:
    found = wish.text(param, variable)
    if not found:
        raise Off(f"{variable} is not set")
    return found


class Variable(Struct, frozen=True, kw_only=True):
    """What a team's own callback of a kind is given, beside its kind's name."""

    secret: bool = False
    address: bool = False
    """leads somewhere: only for those to tell who may send anything anywhere"""


class Kind(Struct, frozen=True):
    make: Callable[[Wish], Callback]
    variables: Mapping[str, Variable] = {}
    """none: a team cannot have one of its own"""
    operators: frozenset[str] = frozenset()
    """the operator's environment variables that hold for teams, too, where they say nothing: never a secret"""


_WEBHOOK = Kind(
    _webhook,
    {
        # An address may be a secret itself: whoever knows it, may post there.
        "url": Variable(secret=True, address=True),
        "endpoint": Variable(secret=True, address=True),
        "secret": Variable(secret=True),
        "log_format": Variable(),
    },
)
_MAKERS: Mapping[str, Kind] = {
    "langfuse": Kind(
        _langfuse,
        {
            "langfuse_public_key": Variable(),
            "langfuse_secret_key": Variable(secret=True),
            "langfuse_secret": Variable(secret=True),
            "langfuse_host": Variable(address=True),
        },
        operators=frozenset({"LANGFUSE_HOST", "LANGFUSE_BASE_URL"}),
    ),
    "sentry": Kind(_sentry, {"dsn": Variable(secret=True, address=True), "environment": Variable()}),
    "otel": Kind(
        _otel,
        {
            "endpoint": Variable(address=True),
            "traces_endpoint": Variable(address=True),
            "headers": Variable(secret=True),
            "service_name": Variable(),
            "sample": Variable(),
        },
    ),
    "webhook": _WEBHOOK,
    "generic_api": _WEBHOOK,
    "file": Kind(_file),
}
TEAM_KINDS: Mapping[str, Mapping[str, Variable]] = {
    name: kind.variables for name, kind in _MAKERS.items() if kind.variables
}
"""the callbacks that a team may have of its own, with what they take"""
SWITCHES = frozenset({"prometheus"})
"""names that are no callbacks of ours: metrics are always on"""
