"""Answers and failures that a tester has made up (`mock_response` and its kin), for those who may.

What must stay true: without permission the parameters do nothing; nothing of them goes upstream.
"""

import asyncio
from typing import Any

import msgspec
from msgspec import Raw

from wayport.access.principal import Principal
from wayport.core.errors import BadRequest, Fault, FaultClass, UpstreamFault
from wayport.core.usage import Usage
from wayport.dialects.neutral import Choice, Part, Response, Text, ToolCall
from wayport.pipeline.call import Call
from wayport.routing.plan import DEPLOYMENTS_OWN, Step

_LONGEST_S = 600.0
_ERRORS: dict[str, tuple[FaultClass, int]] = {
    "RateLimitError": ("rate_limit", 429),
    "ContextWindowExceededError": ("context_window", 400),
    "ContentPolicyViolationError": ("content_policy", 400),
    "BadRequestError": ("bad_request", 400),
    "AuthenticationError": ("authentication", 401),
    "NotFoundError": ("not_found", 404),
    "Timeout": ("timeout", 408),
    "ServiceUnavailableError": ("overloaded", 503),
    "InternalServerError": ("server", 500),
    "APIConnectionError": ("connect", 0),
}
"""the names by which LiteLLM's testers ask for a failure: `litellm.RateLimitError`"""
_FORCED: dict[str, FaultClass] = {
    "mock_testing_fallbacks": "server",
    "mock_testing_context_fallbacks": "context_window",
    "mock_testing_content_policy_fallbacks": "content_policy",
}
"""the first model fails in this way, so that its fallbacks are seen at work"""


_ANSWERED = frozenset({"chat", "completions"})
"""what a deployment's made-up answer can answer"""


class _Metadata(msgspec.Struct):
    allow_client_mock_response: Any = False


_metadata = msgspec.json.Decoder(_Metadata)


def permitted(call: Call) -> bool:
    """Whether anything may be made up for this call: by its client's wish, or by the operator's for a deployment."""
    return by_client(call) or (call.plan is not None and DEPLOYMENTS_OWN in call.plan.wishes.mocks)


def by_client(call: Call) -> bool:
    snapshot, principal = call.snapshot, call.principal
    if snapshot is not None and snapshot.router.mocks:
        return True
    return principal is not None and _says_so(principal)


def _says_so(principal: Principal) -> bool:
    if principal.metadata is None:
        return False
    try:
        return _metadata.decode(principal.metadata).allow_client_mock_response is True
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


async def play(call: Call, step: Step, mocks: dict[str, Raw]) -> Response | None:
    """The made-up answer, or None if the call is to be made after all. Raises the made-up `UpstreamFault`."""
    asked = mocks if by_client(call) else {}
    mocks = {**step.deployment.mocks, **asked} if call.operation in _ANSWERED else asked
    delay_s = _number(mocks.get("mock_delay"))
    if delay_s:
        await asyncio.sleep(min(delay_s, _LONGEST_S))
    if step.reason != "fallback":
        for name, kind in _FORCED.items():
            if _true(mocks.get(name)):
                raise _fault(kind, 400 if kind != "server" else 500, f"`{name}` makes this model fail.")
    if _true(mocks.get("mock_testing_rate_limit_error")) and step.reason == "first":
        raise _fault("rate_limit", 429, "`mock_testing_rate_limit_error` makes this attempt fail.")
    if _true(mocks.get("mock_timeout")):
        raise _fault("timeout", 408, "`mock_timeout` makes this attempt fail.")
    text, tools = _value(mocks.get("mock_response")), _value(mocks.get("mock_tool_calls"))
    if text is None and not tools:
        return None
    if isinstance(text, str) and (error := _ERRORS.get(text.removeprefix("litellm."))) is not None:
        raise _fault(error[0], error[1], f"mock_response: {text}")
    return _response(call, text, tools)


def _fault(kind: FaultClass, status: int, message: str) -> UpstreamFault:
    return UpstreamFault(Fault(kind=kind, status=status, message=message, body_sent=False))


def _response(call: Call, text: Any, tools: Any) -> Response:
    parts: list[Part] = []
    if text is not None:
        parts.append(Text(text=text if isinstance(text, str) else msgspec.json.encode(text).decode()))
    for tool in tools or ():
        function = tool.get("function", {}) if isinstance(tool, dict) else {}
        if not isinstance(function.get("name"), str):
            raise BadRequest("`mock_tool_calls` must be tool calls as an answer has them.", param="mock_tool_calls")
        parts.append(
            ToolCall(
                id=str(tool.get("id", "call_mock")),
                name=function["name"],
                arguments=str(function.get("arguments", "{}")),
            )
        )
    words = len(str(text or "").split())
    return Response(
        dialect=call.dialect.name,
        id=call.id,
        model=call.model_asked,
        created=int(call.started_s),
        choices=[Choice(parts=parts, finish="tool_calls" if tools else "stop")],
        usage=Usage(input_tokens=call.request_bytes // 4, output_tokens=max(1, words)),
    )


def _value(raw: Raw | None) -> Any:
    return None if raw is None else msgspec.json.decode(raw)


def _true(raw: Raw | None) -> bool:
    return raw is not None and bytes(raw).strip() == b"true"


def _number(raw: Raw | None) -> float:
    value = _value(raw)
    return float(value) if isinstance(value, int | float) and value > 0 else 0.0
