"""The header lines of an answer: call id, model, deployment, attempts, cost, what was dropped; and the twins that those
who come from LiteLLM look for.
"""

from collections.abc import Sequence

from wayport import __version__
from wayport.access.gauges import Account, Gauge
from wayport.core.clock import SystemClock
from wayport.core.errors import RateLimited, UpstreamFault, WayportError
from wayport.core.money import usd_text
from wayport.pipeline.call import Call
from wayport.routing.snapshot import Deployment

JSON = b"content-type: application/json\r\n"
STREAM = b"content-type: %b\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"

_BAD = str.maketrans({"\r": None, "\n": None, "\0": None})
_VERSION = __version__.encode()
_NAMES_BYTES = 1024
_DAY_S = 86_400

steady_s = SystemClock.steady_s


def clean(text: str) -> bytes:
    """A header value that cannot break out of its line; what is not ASCII is escaped."""
    return text.translate(_BAD).encode("ascii", "backslashreplace")


def head_lines(call: Call, content_type: bytes, passed_on: bytes = b"") -> bytes:
    """`passed_on`: header lines of the upstream that the client may see."""
    compat = call.snapshot is not None and call.snapshot.compat == "litellm"
    made = len(call.attempts)
    deployment = call.deployment
    parts = [
        content_type,
        b"x-wayport-call-id: %b\r\nx-wayport-attempts: %d\r\n" % (call.id.encode(), made),
        b"" if deployment is None else about(deployment, compat=compat),
    ]
    cost = call.cost
    if cost is not None and cost.total_nano_usd is not None:
        usd = usd_text(cost.total_nano_usd).encode()
        parts.append(b"x-wayport-cost-usd: %b\r\n" % usd)
        if compat:
            parts.append(b"x-litellm-response-cost: %b\r\n" % usd)
    if compat:
        fallbacks = sum(1 for a in call.attempts if a.reason == "fallback") if made > 1 else 0
        parts.append(
            b"x-litellm-call-id: %b\r\nx-litellm-version: %b\r\n"
            b"x-litellm-attempted-retries: %d\r\nx-litellm-attempted-fallbacks: %d\r\n"
            % (call.id.encode(), _VERSION, max(0, made - 1 - fallbacks), fallbacks)
        )
    if call.dropped:
        parts.append(b"x-wayport-dropped-params: %b\r\n" % _names(call.dropped))
    reservation = call.reservation or call.charged
    if reservation is not None and ((account := reservation.account).requests or account.tokens):
        parts.append(limit_lines(account))
        if b"x-ratelimit-" in passed_on:
            # The key's own are what its client goes by, and each name stands once.
            kept = [line for line in passed_on.splitlines(keepends=True) if not line.startswith(b"x-ratelimit-")]
            passed_on = b"".join(kept)
    if call.lowered_to is not None:
        parts.append(b"x-wayport-output-limit: %d\r\n" % call.lowered_to)
    parts.append(passed_on)
    return b"".join(parts)


def limit_lines(account: Account) -> bytes:
    """What is left of the tightest limit on requests, and of that on tokens, as OpenAI's clients read it."""
    now_s = steady_s()
    lines = b""
    if requests := account.requests:
        gauge = requests[0] if len(requests) == 1 else min(requests, key=_left)
        lines = _REQUESTS % (gauge.limit, max(0, gauge.free + gauge.left), _resets_s(gauge.ends_s - now_s))
    if tokens := account.tokens:
        gauge = tokens[0] if len(tokens) == 1 else min(tokens, key=_left)
        lines += _TOKENS % (gauge.limit, max(0, gauge.free + gauge.left), _resets_s(gauge.ends_s - now_s))
    return lines


_REQUESTS, _TOKENS = (
    b"x-ratelimit-limit-%b: %%d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%ds\r\n" % (kind, kind, kind)
    for kind in (b"requests", b"tokens")
)


def _resets_s(in_s: float) -> float:
    # An endless window has no end to tell.
    return max(0, min(in_s, _DAY_S))


def _left(gauge: Gauge) -> int:
    return gauge.free + gauge.left


def about(deployment: Deployment, *, compat: bool) -> bytes:
    """The lines that say who answers."""
    if deployment.clients_own:
        # Seen once, and with a credential that is not ours to keep.
        return _about_lines(deployment, compat=compat)
    key = (id(deployment), compat)
    known = _about.get(key)
    if known is None:
        if len(_about) >= _DEPLOYMENTS:
            _about.clear()
        known = _about[key] = (deployment, _about_lines(deployment, compat=compat))
    return known[1]


_DEPLOYMENTS = 4096
_about: dict[tuple[int, bool], tuple[Deployment, bytes]] = {}
"""by the deployment's identity, which is kept alive with it"""


def _about_lines(deployment: Deployment, *, compat: bool) -> bytes:
    model, deployment_id = deployment.model, deployment.id
    lines = b"x-wayport-model: %b\r\nx-wayport-deployment: %b\r\n" % (clean(model), clean(deployment_id))
    if compat:
        lines += (
            b"x-litellm-model-id: %b\r\nx-litellm-model-group: %b\r\nx-litellm-model-name: %b\r\n"
            b"x-litellm-model-api-base: %b\r\n"
            % (
                clean(deployment_id),
                clean(model),
                clean(f"{deployment.provider}/{deployment.upstream_model}"),
                clean(deployment.base_url),
            )
        )
        if deployment.region is not None:
            lines += b"x-litellm-model-region: %b\r\n" % clean(deployment.region)
    return lines


def _names(names: Sequence[str]) -> bytes:
    return clean(",".join(dict.fromkeys(names)))[:_NAMES_BYTES]


def error_head(call: Call, error: WayportError) -> bytes:
    """Head of an error answer: whether trying again can help, and after how long."""
    upstream = error.passed_on if isinstance(error, UpstreamFault) else b""
    lines = b""
    if b"x-should-retry:" not in upstream:
        lines = b"x-should-retry: true\r\n" if error.retryable else b"x-should-retry: false\r\n"
    if isinstance(error, RateLimited) and error.limits:
        lines += error.limits
    if error.retry_after_s is not None and b"retry-after:" not in upstream:
        lines += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
    return head_lines(call, JSON, lines + upstream)
