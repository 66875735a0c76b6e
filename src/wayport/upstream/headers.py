"""Which headers go upstream, and which of the upstream's come back.

Upstream goes what is configured, what the credential needs, and of the client's headers only what `CLIENT_HEADERS` names
for the upstream's dialect. Everything else stays here: the client's key, cookies, hop-by-hop and forwarding headers, its
user agent and SDK telemetry (`x-stainless-*`, `x-goog-api-client`), and

* `idempotency-key`: upstream it would be one name space under our one credential, so that two clients who chose the same
  key could be given each other's answers;
* `anthropic-version`: it names the format that our dialect speaks, a constant of the provider;
* `openai-organization`, `openai-project`: they decide whose account pays, which is the operator's to configure;
* `traceparent`, `tracestate`, `baggage`: who calls what within a company is no business of a provider. Where the operator
  wants the first two upstream (`tracing.propagate`), pipeline/tracing.py makes them of the call.

Back come when to try again, the upstream's own request ids and its rate limits; for those who come from LiteLLM the rest
too, as `llm_provider-*`, as far as there is room. Cookies and hop-by-hop headers never do.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlsplit

from wayport import __version__
from wayport.core.errors import CredentialMissing
from wayport.dialects.neutral import DialectName
from wayport.providers.provider import AuthStyle
from wayport.upstream.heads import Headers
from wayport.upstream.origin import origin_of

CLIENT_HEADERS: Mapping[DialectName, tuple[bytes, ...]] = {
    # They choose features of the request's format and belong to it.
    "anthropic_messages": (b"anthropic-beta",),
    "openai_chat": (b"openai-beta",),
    "openai_responses": (b"openai-beta",),
}

USER_AGENT = f"wayport/{__version__}"

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_SAFE_IN_PATH = "/:@!$&'()*+,;=~-._%"
_SAFE_IN_QUERY = _SAFE_IN_PATH + "?"

# Decided by the transport alone: a wrong one would let two requests run into each other.
_TRANSPORTS_OWN = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ going up
def constant_headers(
    *, auth: AuthStyle, credential: str, headers: Mapping[str, str], content_type: str = "application/json"
) -> dict[str, str]:
    """What every request of a deployment carries, names in lower case. Configured headers win over our own."""
    lines = {
        "user-agent": USER_AGENT,
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": content_type,
    }
    # Secrets come out of files with a line end more often than not.
    credential = credential.strip()
    if auth.where == "header" and credential:
        lines[auth.name.lower()] = f"{auth.prefix}{credential}"
    lines.update((name.lower(), value) for name, value in headers.items())
    return lines


def render_head(method: str, url: str, headers: Mapping[str, str]) -> bytes:
    """Request line and header lines, as the transport takes them.

    Raises `CredentialMissing` (the operator's fault) for a header that no request can carry.
    """
    origin, _ = origin_of(url)
    lines = [f"{method} {_target(url)} HTTP/1.1\r\nhost: {headers.get('host') or origin.authority}\r\n".encode()]
    for name, value in headers.items():
        if name != "host":
            lines.append(_line(name, value))
    return b"".join(lines)


def head_for(
    *,
    method: str,
    url: str,
    auth: AuthStyle,
    credential: str,
    headers: Mapping[str, str],
    content_type: str = "application/json",
) -> bytes:
    """The constant head of a deployment's requests, its credential among it: made once, kept, written as it is.

    `url` is whole; where the credential goes in the query, it is added here.
    """
    if auth.where == "query" and credential:
        pair = f"{quote(auth.name, safe='')}={quote(credential.strip(), safe='')}"
        url = f"{url}{'&' if '?' in url else '?'}{pair}"
    constant = constant_headers(auth=auth, credential=credential, headers=headers, content_type=content_type)
    return render_head(method, url, constant)


def _target(url: str) -> str:
    """Path and query as they stand in a request line."""
    if url.startswith("unix:"):
        path, _, query = origin_of(url)[1].partition("?")
    else:
        parts = urlsplit(url)
        path, query = parts.path, parts.query
    path = quote(path, safe=_SAFE_IN_PATH) or "/"
    return f"{path}?{quote(query, safe=_SAFE_IN_QUERY)}" if query else path


def _line(name: str, value: str) -> bytes:
    if not _NAME.fullmatch(name) or name in _TRANSPORTS_OWN:
        raise CredentialMissing(f"The header {name!r} cannot be sent upstream: remove it.", code="header_invalid")
    data = value.strip().encode("utf-8", "replace")
    if _BAD_VALUE.search(data):
        raise CredentialMissing(
            f"The header `{name}` holds a line break or another control character: correct its value.",
            code="header_invalid",
        )
    return b"%b: %b\r\n" % (name.encode(), data)


def forwarded(
    dialect: DialectName,
    header: Callable[[bytes], bytes | None],
    *,
    taken: bytes = b"",
    betas: Callable[[str], bool] | None = None,
) -> bytes:
    """The lines of the client's headers that go upstream.

    `dialect`: the upstream's. `header` looks up the client's by its lower-case name. `taken`: lines that go anyway; a
    header among them is not sent twice. `betas`: which `anthropic-beta` values the target takes; None: all.
    """
    names = CLIENT_HEADERS.get(dialect)
    if names is None:
        return b""
    lines = b""
    for name in names:
        value = header(name)
        if value is None or _BAD_VALUE.search(value) or b"\n%b:" % name in taken or taken.startswith(b"%b:" % name):
            continue
        if name == b"anthropic-beta" and betas is not None:
            value = b",".join(beta for beta in map(bytes.strip, value.split(b",")) if betas(beta.decode("latin-1")))
        if value:
            lines += b"%b: %b\r\n" % (name, value)
    return lines


# --------------------------------------------------------------------------------------------------------- coming back
BACK_BYTES = 3 * 1024
"""with our own lines, all stay below the 4 KB that proxies in front of us take"""

_BACK = frozenset({
    b"retry-after", b"retry-after-ms", b"x-should-retry",
    # Each provider's name for the id that its support asks for.
    b"x-request-id", b"request-id", b"apim-request-id", b"x-ms-request-id", b"x-amzn-requestid", b"x-goog-request-id",
    b"x-groq-id", b"x-generation-id", b"x-debug-trace-id", b"x-mistral-correlation-id", b"cf-ray",
})  # fmt: skip
_NAMES, _NAME_BYTES = 1024, 64
_BACK_FAMILIES = (b"x-ratelimit-", b"anthropic-ratelimit-")
_NEVER = frozenset({
    # Between the upstream and us, or about bytes that we change:
    b"connection", b"content-encoding", b"content-length", b"keep-alive", b"proxy-authenticate", b"te", b"trailer",
    b"transfer-encoding", b"upgrade",
    # Secrets, and what only a browser at the upstream's own address should heed:
    b"set-cookie", b"set-cookie2", b"www-authenticate", b"strict-transport-security", b"alt-svc", b"nel", b"report-to",
    b"reporting-endpoints", b"content-security-policy", b"clear-site-data", b"public-key-pins",
})  # fmt: skip


class _ComesBack(dict[bytes, bool]):
    """Whether a header does, by its name; remembered, as it is asked of every header of an answer."""

    def __missing__(self, name: bytes) -> bool:
        if len(self) >= _NAMES:
            self.clear()
        comes = name in _BACK or name.startswith(_BACK_FAMILIES)
        if len(name) <= _NAME_BYTES:
            self[name] = comes
        return comes


_comes_back = _ComesBack()


def passed_on(head: Headers, *, compat: bool) -> bytes:
    """The lines of an upstream's headers that the client sees. `compat`: the rest as `llm_provider-*` as well."""
    passed = head.passed.get(compat)
    if passed is None:
        passed = head.passed[compat] = _lines(head.pairs, compat=compat)
    return passed


def _lines(headers: Sequence[tuple[bytes, bytes]], *, compat: bool) -> bytes:
    named = [pair for pair in headers if _comes_back[pair[0]]]
    if compat:
        others = [pair for pair in headers if pair[0] not in _NEVER and not _comes_back[pair[0]]]
        # LiteLLM gives all of them by this name, those above too; where there is no room for both, one is enough.
        named += [(b"llm_provider-" + name, value) for name, value in (*others, *named)]
    lines = b"".join([piece for name, value in named for piece in (name, b": ", value, b"\r\n")])
    # The parser has refused line breaks in values; here is seen that it did.
    breaks = lines.count(b"\n")
    if len(lines) <= BACK_BYTES and breaks == lines.count(b"\r") == len(named) and lines.find(b"\0") < 0:
        return lines
    return _fitting([b"%b: %b\r\n" % pair for pair in named])


def _fitting(lines: list[bytes]) -> bytes:
    """As many of the lines as there is room for."""
    kept = []
    room = BACK_BYTES
    for line in lines:
        if len(line) <= room and not _BAD_VALUE.search(line, 0, len(line) - 2):
            kept.append(line)
            room -= len(line)
    return b"".join(kept)
