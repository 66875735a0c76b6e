"""The most that a call can cost, and how it is made to cost less: its input at the dearest rate, its answer at the longest.

What must stay true: whatever deployment of the plan answers, it bills no more than this (docs/limits.md names what could).
"""

import re

import msgspec
from msgspec import Raw, Struct

from wayport.access.admit import Amounts
from wayport.core.errors import BadRequest
from wayport.core.price import Price
from wayport.dialects.neutral import DialectName
from wayport.ledger.pricing import upper_bound
from wayport.pipeline.call import Call
from wayport.routing.plan import Plan
from wayport.routing.snapshot import OWN_MARK, Deployment
from wayport.routing.table import Found, RoutingTable
from wayport.routing.wishes import Wishes

_MILLION = 1_000_000
_BYTES_PER_TOKEN = 4
_EXPECTED_OUTPUT = 256
_LEAST_OUTPUT = 16
"""OpenAI takes no smaller limit"""
_MEDIA = (b"image", b"file", b"document", b"video", b"audio")
_IN_LISTS = frozenset(("openai_chat", "anthropic_messages"))
"""dialects in which only a list within the list of messages points to anything, but for `_IN_TEXT`"""
_IN_TEXT = b'"fileid:'
"""Alibaba's models take documents as the text of a message: `"content":"fileid://file-fe-1"`"""
_ELSEWHERE = re.compile(rb'"url"\s*:\s*"(?!data:)')
"""an address of any scheme, however it is spelled: `gs://`, `HTTPS://`"""
_HIDDEN = re.compile(rb"\\u00(?<=[^\\]\\u00)(?:[46][1-9A-Fa-f]|[57][0-9Aa])")
"""a letter that is written as an escape: no encoder does that, but somebody would who wants `_MEDIA` not to be found"""
_SEARCHES = 10
_SEARCHING = frozenset(
    {
        "tools", "web_search_options", "plugins",
        "fallbacks", "context_window_fallbacks", "context_window_fallback_dict", "content_policy_fallbacks",
    }
)  # fmt: skip
"""where a search can be asked for; a fallback may have tools of its own"""
_SEARCH = (b"web_search", b"googleSearch", b"google_search")
_MODELS = 4096

LIMIT_FIELDS: dict[DialectName, tuple[str, ...]] = {
    "openai_chat": ("max_completion_tokens", "max_tokens"),
    "openai_completions": ("max_tokens",),
    "openai_responses": ("max_output_tokens",),
    "anthropic_messages": ("max_tokens",),
    "gemini_content": ("maxOutputTokens",),
}
_CHOICES: dict[DialectName, tuple[str, ...]] = {
    "openai_chat": ("n",),
    "openai_completions": ("n", "best_of"),
    "gemini_content": ("candidateCount",),
}
_GEMINI = "generationConfig"
_SIZING = {name: frozenset((*LIMIT_FIELDS[name], *_CHOICES.get(name, ()))) for name in LIMIT_FIELDS}
"""fields that say how long and how many the answers may be; most calls have none of them"""

_ALL_SIZING = frozenset({_GEMINI}.union(*_SIZING.values()))

_whole = msgspec.json.Decoder(int | None).decode
_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class _Thinking(Struct):
    budget_tokens: int | None = None


_thinking = msgspec.json.Decoder(_Thinking).decode


class Bound(Struct, frozen=True):
    """The dearest of all that may answer: nano-dollars per million tokens, and per call."""

    input: int
    output: int
    fixed: int
    search: int
    longest: int | None
    """tokens of an answer whose length the client leaves open"""
    window: int | None
    """tokens of input at most"""


class Bounds:
    def __init__(self) -> None:
        self._table: RoutingTable | None = None
        self._known: dict[str, Bound | None] = {}

    def of(self, table: RoutingTable, found: Found) -> Bound | None:
        """None: some candidate has no price."""
        if table is not self._table or len(self._known) >= _MODELS:
            self._table = table
            self._known = {}
        try:
            return self._known[found.name]
        except KeyError:
            bound = self._known[found.name] = _dearest(list(_candidates(table, found)))
            return bound

    def of_plan(self, table: RoutingTable, plan: Plan) -> Bound | None:
        """As `of`; models that the request itself names, or leaves to us, count too. Raises `BadRequest` where it asks
        for longer or more answers from one of them: only those that it asks of all are in what it costs at most.
        """
        deployments = plan.found.deployments
        # What a client has changed for itself says nothing of the model that others call by the same name.
        if plan.as_configured and not (deployments and OWN_MARK in deployments[0].id):
            return self.of(table, plan.found)
        _check_links(plan.wishes)
        return _dearest(plan.possible())


def _check_links(wishes: Wishes) -> None:
    for name, links in (
        ("fallbacks", wishes.fallbacks),
        ("context_window_fallbacks", wishes.context_window),
        ("content_policy_fallbacks", wishes.content_policy),
    ):
        for link in links or ():
            if sizes := sorted(_ALL_SIZING.intersection(link.fields)):
                raise BadRequest(
                    f"`{sizes[0]}` may not stand in `{name}` where a budget binds the call: state it beside `model`, for "
                    "all models.",
                    param=f"{name}.{sizes[0]}",
                    code="size_in_fallback",
                )


def _candidates(table: RoutingTable, found: Found) -> list[Deployment]:
    """All that the plan may come to."""
    rules = table.snapshot.router.fallbacks
    reached = {found.name: found}
    following = [found]
    while following:
        model = following.pop().model
        names = {*(model.fallbacks or rules.default), *model.context_window_fallbacks, *model.content_policy_fallbacks}
        for name in names - reached.keys():
            try:
                reached[name] = table.find(name)
            except Exception:  # noqa: BLE001, S112 (a fallback that leads nowhere is passed over, as the plan does)
                continue
            following.append(reached[name])
    if rules.any_other:
        reached |= {other.name: other for other in table.others()}
    return [d for each in reached.values() for d in each.deployments if not d.missing]


def _dearest(deployments: list[Deployment]) -> Bound | None:
    bounds = [_bound_of(d) for d in deployments]
    known = [b for b in bounds if b is not None]
    if not known or len(known) < len(bounds):
        return None
    longest = [b.longest for b in known if b.output]
    windows = [b.window for b in known if b.input]
    return Bound(
        max(b.input for b in known),
        max(b.output for b in known),
        max(b.fixed for b in known),
        max(b.search for b in known),
        None if None in longest else max((n for n in longest if n is not None), default=0),
        None if None in windows else max((n for n in windows if n is not None), default=0),
    )


def _bound_of(deployment: Deployment) -> Bound | None:
    price: Price | None = deployment.price
    if price is None and not deployment.base_url:
        return Bound(0, 0, 0, 0, 0, 0)
    fixed = upper_bound(price, input_bytes=0, output_limit=0)
    if fixed is None:
        return None
    read = (upper_bound(price, input_bytes=_MILLION, output_limit=0) or 0) - fixed
    written = (upper_bound(price, input_bytes=0, output_limit=_MILLION) or 0) - fixed
    search = (upper_bound(price, input_bytes=0, output_limit=0, web_searches=1) or 0) - fixed
    return Bound(
        read,
        written,
        fixed,
        search,
        deployment.max_output_tokens or deployment.context_window,
        deployment.context_window,
    )


def tokens_of(call: Call) -> Amounts:
    """What the call is expected to use, where nothing asks what it costs."""
    limit, choices = _asked(call)
    expected = _EXPECTED_OUTPUT if limit is None else min(limit, _EXPECTED_OUTPUT)
    return Amounts(0, call.request_bytes // _BYTES_PER_TOKEN + 1, expected * choices)


def amounts_of(call: Call, bound: Bound | None) -> Amounts | None:
    """What the call is expected to use, and what it costs at most. None: nothing bounds that."""
    if bound is None:
        return None
    limit, choices = _asked(call)
    if limit is None:
        limit, expected = bound.longest if bound.output else 0, _EXPECTED_OUTPUT
        if limit is None:
            return None
    else:
        expected = min(limit, _EXPECTED_OUTPUT)
    before = _before_output(call, bound)
    if before is None:
        return None
    nano_usd = before - (-limit * choices * bound.output // _MILLION)
    return Amounts(nano_usd, call.request_bytes // _BYTES_PER_TOKEN + 1, expected * choices)


def _before_output(call: Call, bound: Bound) -> int | None:
    """What the call costs at most before it has said anything."""
    tokens = call.request_bytes
    body = call.client.body
    if bound.input and _points(body, call.dialect.name):
        if bound.window is None:
            return None
        # Nobody knows how long that is; more than fits is refused.
        tokens = max(tokens, bound.window)
    nano_usd = bound.fixed - (-tokens * bound.input // _MILLION)
    if bound.search and not _SEARCHING.isdisjoint(call.fields) and any(body.find(word) >= 0 for word in _SEARCH):
        nano_usd += _SEARCHES * bound.search
    return nano_usd


def _points(body: bytes, dialect: str) -> bool:
    """Whether there may be content that the body only points to: `"url":"https:`, `"file_id"`, `"fileUri"`."""
    if body.find(b"\\u00") >= 0 and _HIDDEN.search(body) is not None:
        return True
    # One byte is found many times as fast as five, and what most bodies do not have is looked for first.
    if dialect in _IN_LISTS and body.find(b"[", body.find(b"[") + 1) < 0:
        return body.find(_IN_TEXT) >= 0
    if (
        body.find(b'"http') < 0
        and body.find(b'"file') < 0
        and (body.find(b'"url"') < 0 or _ELSEWHERE.search(body) is None)
    ):
        return False
    return any(body.find(word) >= 0 for word in _MEDIA)


def lower(call: Call, bound: Bound, left_nano_usd: int, *, preferred: str) -> int | None:
    """Lowers the call's output limit until it costs at most so much; returns what it may cost now. None: not possible.

    `preferred`: the limit's name, where the dialect has two and the client uses neither.
    """
    if not bound.output:
        return None
    before = _before_output(call, bound)
    if before is None:
        return None
    limit, choices = _asked(call)
    allowed = (left_nano_usd - before) * _MILLION // (bound.output * choices)
    if allowed < max(_LEAST_OUTPUT, _thought(call) + _LEAST_OUTPUT) or (limit is not None and allowed >= limit):
        return None
    _write_limit(call, allowed, preferred)
    call.lowered_to = allowed
    return before + -(-allowed * choices * bound.output // _MILLION)


def _asked(call: Call) -> tuple[int | None, int]:
    """The output limit that the client states, and how many answers it wants."""
    if call.operation in {"embeddings", "count_tokens"}:
        return 0, 1
    fields = call.fields
    dialect = call.dialect.name
    if dialect == "gemini_content":
        inner = fields.get(_GEMINI)
        if inner is None:
            return None, 1
        try:
            fields = _fields(inner)
        except ValueError:
            return None, 1
    sizing = _SIZING.get(dialect)
    if sizing is None or sizing.isdisjoint(fields):
        return None, 1
    limit: int | None = None
    for name in LIMIT_FIELDS.get(dialect, ()):
        stated = _number(fields.get(name))
        if stated is not None and (limit is None or stated > limit):
            limit = stated
    choices = 1
    for name in _CHOICES.get(dialect, ()):
        if (stated := _number(fields.get(name))) is not None and stated > choices:
            choices = stated
    return limit, choices


def _number(raw: Raw | None) -> int | None:
    if raw is None:
        return None
    try:
        stated = _whole(raw)
    except ValueError:
        # Not a number: whoever reads it will say so.
        return None
    return None if stated is None or stated < 0 else stated


def _thought(call: Call) -> int:
    """Tokens of thought that the client asks for: an output limit below that is refused upstream."""
    raw = call.fields.get("thinking")
    if raw is None:
        return 0
    try:
        return _thinking(raw).budget_tokens or 0
    except ValueError:
        return 0


def _write_limit(call: Call, limit: int, preferred: str) -> None:
    value = Raw(b"%d" % limit)
    dialect = call.dialect.name
    # A call may be tried again with the client's own bytes; those stay as they are.
    fields = dict(call.fields)
    if dialect == "gemini_content":
        inner = _fields(fields.get(_GEMINI) or Raw(b"{}"))
        fields[_GEMINI] = Raw(msgspec.json.encode({**inner, "maxOutputTokens": value}))
    else:
        names = [name for name in LIMIT_FIELDS.get(dialect, ()) if name in fields]
        for name in names or [preferred if preferred in LIMIT_FIELDS.get(dialect, ()) else LIMIT_FIELDS[dialect][-1]]:
            fields[name] = value
    call.fields = fields
    call.neutral = None
