"""What a request itself asks of routing, in its body or its headers: fallbacks, retries, timeouts, strategy, region.

A header beats the body. A value of the wrong kind is the client's mistake and is named.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from wayport.core.errors import BadRequest
from wayport.dialects.neutral import DialectName
from wayport.routing.strategies import known
from wayport.wire.patch import Fields

Headers = Mapping[bytes, bytes]
"""names in lower case"""

IN_BODY = frozenset(
    {
        "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "context_window_fallback_dict",
        "disable_fallbacks", "max_fallbacks", "num_retries", "timeout", "request_timeout", "stream_timeout",
        "ttft_timeout", "stream_idle_timeout", "routing", "allowed_model_region", "priority", "mock_response", "mock_tool_calls",
        "mock_delay", "mock_timeout", "mock_testing_fallbacks", "mock_testing_context_fallbacks",
        "mock_testing_content_policy_fallbacks", "mock_testing_rate_limit_error",
    }
)  # fmt: skip
IN_HEAD = frozenset(
    {
        b"x-wayport-num-retries", b"x-litellm-num-retries", b"x-wayport-timeout", b"x-litellm-timeout",
        b"x-wayport-ttft-timeout", b"x-litellm-stream-timeout", b"x-wayport-stream-idle-timeout", b"x-wayport-routing",
        b"x-wayport-region", b"x-wayport-dry-run", b"x-wayport-priority", b"x-litellm-priority",
    }
)  # fmt: skip
_MOST_RETRIES = 20
_MOST_FALLBACKS = 20
_LEAST_URGENT = 1_000_000
_TRUE = frozenset({b"true", b"1", b"yes"})

_entries = msgspec.json.Decoder(list[str | dict[str, Raw]])
_mapping = msgspec.json.Decoder(dict[str, str | list[str]])
_names = msgspec.json.Decoder(list[str] | str)


class Link(Struct, frozen=True):
    """A model to fall back to, and the fields of the request that are other there."""

    name: str
    fields: dict[str, Raw] = {}


class Wishes(Struct, frozen=True, kw_only=True):
    fallbacks: tuple[Link, ...] | None = None
    context_window: tuple[Link, ...] | None = None
    content_policy: tuple[Link, ...] | None = None
    disable_fallbacks: bool = False
    max_fallbacks: int | None = None
    num_retries: int | None = None
    total_s: float | None = None
    first_token_s: float | None = None
    idle_s: float | None = None
    strategy: str | None = None
    region: str | None = None
    dry_run: bool = False
    priority: int | None = None
    """where calls wait for a place: the lowest goes first"""
    mocks: dict[str, Raw] = {}
    """`mock_*` parameters, for those who may use them"""


NO_WISHES = Wishes()


def wishes_of(fields: Fields, headers: Headers, *, dialect: DialectName, model: str) -> Wishes:
    """Raises `BadRequest`. `model`: the name that was asked for, for fallbacks written by model."""
    asked = {} if IN_BODY.isdisjoint(fields) else fields
    if not asked and IN_HEAD.isdisjoint(headers):
        return NO_WISHES
    header = headers.get
    retries = header(b"x-wayport-num-retries") or header(b"x-litellm-num-retries")
    total = header(b"x-wayport-timeout") or header(b"x-litellm-timeout")
    first = header(b"x-wayport-ttft-timeout") or header(b"x-litellm-stream-timeout")
    idle = header(b"x-wayport-stream-idle-timeout")
    strategy = header(b"x-wayport-routing")
    region = header(b"x-wayport-region")
    priority = header(b"x-wayport-priority") or header(b"x-litellm-priority")
    dry_run = header(b"x-wayport-dry-run")
    get = asked.get
    own_fallbacks = get("fallbacks")
    if own_fallbacks is not None and dialect == "anthropic_messages" and _is_anthropics(own_fallbacks):
        own_fallbacks = None
    context = get("context_window_fallback_dict") or get("context_window_fallbacks")
    return Wishes(
        fallbacks=_links(own_fallbacks, "fallbacks", model),
        context_window=_links(context, "context_window_fallbacks", model),
        content_policy=_links(get("content_policy_fallbacks"), "content_policy_fallbacks", model),
        disable_fallbacks=_flag(get("disable_fallbacks"), "disable_fallbacks"),
        max_fallbacks=_whole(get("max_fallbacks"), "max_fallbacks", _MOST_FALLBACKS),
        num_retries=_whole(_either(retries, get("num_retries")), "num_retries", _MOST_RETRIES),
        total_s=_seconds(_either(total, get("timeout") or get("request_timeout")), "timeout"),
        first_token_s=_seconds(_either(first, get("ttft_timeout") or get("stream_timeout")), "ttft_timeout"),
        idle_s=_seconds(_either(idle, get("stream_idle_timeout")), "stream_idle_timeout"),
        strategy=_strategy(strategy, get("routing")),
        region=_word(region, get("allowed_model_region")),
        dry_run=dry_run is not None and dry_run.strip().lower() in _TRUE,
        priority=_whole(_either(priority, get("priority")), "priority", _LEAST_URGENT),
        mocks={name: value for name, value in asked.items() if name.startswith("mock_")},
    )


def _is_anthropics(raw: Raw) -> bool:
    """Anthropic has fallbacks of its own: objects with a model, or one word."""
    data = bytes(raw)
    return data[:1] == b'"' or b'"model"' in data


def _either(header: bytes | None, raw: Raw | None) -> bytes | None:
    return header if header is not None else None if raw is None else bytes(raw)


def _wrong(name: str, expected: str) -> BadRequest:
    return BadRequest(f"`{name}` must be {expected}.", param=name, code="invalid_value")


def _plain(raw: bytes) -> str:
    return raw.decode("latin-1").strip().strip('"').strip()


def _number(raw: bytes | None, name: str) -> float | None:
    if raw is None or (text := _plain(raw)) in ("null", "None", "") or text.startswith("{"):
        return None
    try:
        return float(text)
    except ValueError:
        raise _wrong(name, "a number") from None


def _whole(raw: Raw | bytes | None, name: str, most: int) -> int | None:
    value = _number(None if raw is None else bytes(raw), name)
    if value is None:
        return None
    if not 0 <= value <= 1e9 or value != int(value):
        raise _wrong(name, "a whole number that is not negative")
    return min(int(value), most)


def _seconds(raw: bytes | None, name: str) -> float | None:
    value = _number(raw, name)
    if value is None:
        return None
    if not 0 < value < 1e9:
        raise _wrong(name, "a number of seconds above 0")
    return value


def _flag(raw: Raw | None, name: str) -> bool:
    if raw is None:
        return False
    if (text := bytes(raw).strip()) not in (b"true", b"false", b"null"):
        raise _wrong(name, "true or false")
    return text == b"true"


def _word(header: bytes | None, raw: Raw | None) -> str | None:
    value = _either(header, raw)
    text = "" if value is None else _plain(value)
    return text.lower() if text and text != "null" else None


def _strategy(header: bytes | None, raw: Raw | None) -> str | None:
    name = _word(header, raw)
    if name is not None and not known(name):
        raise BadRequest(
            f"There is no routing strategy `{name[:40]}`; docs/routing.md lists them.",
            param="routing",
            code="invalid_value",
        )
    return name


def _links(raw: Raw | None, name: str, model: str) -> tuple[Link, ...] | None:
    """The forms that are in use: names, `{model, …}` with other fields, `{"a model": [names]}`."""
    if raw is None or bytes(raw).strip() == b"null":
        return None
    links: list[Link] = []
    try:
        if bytes(raw).lstrip()[:1] == b"{":
            links += _of_model(_mapping.decode(raw), model)
        else:
            for entry in _entries.decode(raw):
                if isinstance(entry, str):
                    links.append(Link(entry))
                elif "model" in entry:
                    other: dict[str, Any] = {key: value for key, value in entry.items() if key != "model"}
                    links.append(Link(msgspec.json.decode(entry["model"], type=str), other))
                else:
                    links += _of_model({key: _names.decode(value) for key, value in entry.items()}, model)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _wrong(name, "a list of models' names, or of objects with a `model`") from None
    return tuple(links[:_MOST_FALLBACKS])


def _of_model(mapping: dict[str, Any], model: str) -> list[Link]:
    names = mapping.get(model) or mapping.get("*") or []
    return [Link(names)] if isinstance(names, str) else [Link(name) for name in names]
