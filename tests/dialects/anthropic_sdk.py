"""What the official anthropic SDK would send and collect, for tests that ask it."""

from typing import Any

import anthropic
import httpx2
import pydantic
from anthropic.types.beta import message_create_params

PLAIN: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(message_create_params.MessageCreateParamsNonStreaming)
STREAMED: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(message_create_params.MessageCreateParamsStreaming)


def accept(body: dict[str, Any]) -> None:
    """Raises `pydantic.ValidationError` if the SDK's types do not allow this request. Looks at all of it."""
    _walk((STREAMED if body.get("stream") else PLAIN).validate_python(body))


def _walk(value: Any) -> None:
    # The SDK's `Iterable`s are checked only as they are walked through.
    if isinstance(value, dict):
        for inner in value.values():
            _walk(inner)
    elif not isinstance(value, str | bytes) and hasattr(value, "__iter__"):
        for inner in value:
            _walk(inner)


def served(content: bytes, content_type: str) -> anthropic.Anthropic:
    """The official client, with an answer already on its way."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        del request
        return httpx2.Response(200, headers={"content-type": content_type}, content=content)

    http = anthropic.DefaultHttpxClient(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(api_key="none", max_retries=0, http_client=http)


def collect(stream: bytes) -> Any:
    """The message that the SDK collects from a stream, as JSON values. Raises what the SDK raises."""
    with (
        served(stream, "text/event-stream") as client,
        client.beta.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]) as told,
    ):
        return told.get_final_message().to_dict(mode="json", warnings=False)


def receive(body: bytes) -> Any:
    """The message that the SDK makes of a whole answer, as JSON values."""
    with served(body, "application/json") as client:
        message = client.beta.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}])
    return message.to_dict(mode="json", warnings=False)
