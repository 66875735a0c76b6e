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
_DAY_S = 86_400.0
_FIRST_ATTEMPT = b"\r\nx-wayport-attempts: 1\r\n"

steady_s = SystemClock.steady_s


def clean(text: str) -> bytes:
    """A header value that cannot break out of its line; what is not ASCII is escaped."""
    return text.translate(_BAD).encode("ascii", "backslashreplace")


def head_lines(call: Call, content_type: bytes, passed_on: bytes = b"") -> bytes:
    """`passed_on`: header lines of the upstream that the client may see."""
    compat = call.snapshot is not None and call.snapshot.compat == "litellm"
    made = len(call.attempts)
    deployment = call.deployment
    # Pieces that are joined at the end: each format costs as much as that.
    parts = [
        content_type,
        b"x-wayport-call-id: ",
        call.id.encode(),
        _FIRST_ATTEMPT if made == 1 else b"\r\nx-wayport-attempts: %d\r\n" % made,
    ]
    if deployment is not None:
        known = _about.get((id(deployment), compat))
        parts.append(_learn_about(deployment, compat=compat) if known is None else known[1])
    cost = call.cost
    if cost is not None and cost.total_nano_usd is not None:
        usd = usd_text(cost.total_nano_usd).encode()
        parts += (b"x-wayport-cost-usd: ", usd, b"\r\n")
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
        if passed_on.find(b"x-ratelimit-") >= 0:
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
    requests, tokens = account.requests, account.tokens
    if not tokens:
        return _REQUESTS % _standing(requests, now_s) if requests else b""
    if not requests:
        return _TOKENS % _standing(tokens, now_s)
    return _BOTH % (*_standing(requests, now_s), *_standing(tokens, now_s))


_REQUESTS, _TOKENS = (
    b"x-ratelimit-limit-%b: %%d\r\nx-ratelimit-remaining-%b: %%d\r\nx-ratelimit-reset-%b: %%ds\r\n" % (kind, kind, kind)
    for kind in (b"requests", b"tokens")
)
_BOTH = _REQUESTS + _TOKENS


def _standing(gauges: tuple[Gauge, ...], now_s: float) -> tuple[int, int, float]:
    """The tightest of them: its limit, what is left of it, and after how many seconds it begins anew."""
    gauge = gauges[0] if len(gauges) == 1 else min(gauges, key=_left)
    left, resets_s = gauge.free + gauge.left, gauge.ends_s - now_s
    if left < 0 or resets_s < 0.0 or resets_s > _DAY_S:
        # An endless window has no end to tell.
        left, resets_s = max(0, left), max(0.0, min(resets_s, _DAY_S))
    return gauge.limit, left, resets_s


def _left(gauge: Gauge) -> int:
    return gauge.free + gauge.left


_DEPLOYMENTS = 4096
_about: dict[tuple[int, bool], tuple[Deployment, bytes]] = {}
"""the lines that say who answers, by the deployment's identity, which is kept alive with them, and whether LiteLLM's are
among them"""


def _learn_about(deployment: Deployment, *, compat: bool) -> bytes:
    lines = _about_lines(deployment, compat=compat)
    # A client's own is seen once, and with a credential that is not ours to keep.
    if not deployment.clients_own:
        if len(_about) >= _DEPLOYMENTS:
            _about.clear()
        _about[id(deployment), compat] = (deployment, lines)
    return lines


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
