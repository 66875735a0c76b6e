"""Items of the Responses dialect made from what other dialects' models said: the same whole and at the end of a stream."""

import re
from collections.abc import Sequence
from typing import Any

from wayport.dialects.neutral import Citation, Image, Reasoning, TokenLogprob, ToolCall
from wayport.dialects.openai_responses_parts import encode_annotation, encode_logprobs, url_of
from wayport.dialects.openai_responses_seals import seal_reasoning

_NO_ID = re.compile(r"[^A-Za-z0-9_]")
# OpenAI refuses ids of input items above 64 characters: room for a prefix and a number.
_SUFFIX_CHARS = 48


def client_response_id(response_id: str) -> str:
    """The id under which a client of this dialect knows an answer: as it is, or made of what another dialect calls it."""
    return response_id if response_id.startswith("resp_") else "resp_" + _NO_ID.sub("", response_id)


class ItemIds:
    """Ids of the items of one answer: the same for the same answer, whole or streamed."""

    __slots__ = ("_suffix",)

    def __init__(self, response_id: str) -> None:
        self._suffix = _NO_ID.sub("", response_id.removeprefix("resp_"))[-_SUFFIX_CHARS:]

    def make(self, prefix: str, index: int) -> str:
        return f"{prefix}_{self._suffix}_{index}"


def text_content(text: str, citations: Sequence[Citation], logprobs: Sequence[TokenLogprob]) -> dict[str, Any]:
    return {
        "type": "output_text",
        "annotations": [encode_annotation(each, len(text)) for each in citations],
        "logprobs": encode_logprobs(logprobs),
        "text": text,
    }


def refusal_content(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, content: list[Any], status: str) -> dict[str, Any]:
    return {"id": item_id, "type": "message", "status": status, "content": content, "role": "assistant"}


def call_item(call: ToolCall, item_id: str, status: str, arguments: str) -> dict[str, Any]:
    custom = call.kind == "custom"
    item: dict[str, Any] = {
        "id": item_id,
        "type": "custom_tool_call" if custom else "function_call",
        "status": status,
        "input" if custom else "arguments": arguments,
        "call_id": call.id,
        "name": call.name,
    }
    if call.namespace is not None:
        item["namespace"] = call.namespace
    return item


def call_prefix(call: ToolCall) -> str:
    return "ctc" if call.kind == "custom" else "fc"


def carrier_item(item_id: str, sealed: str) -> dict[str, Any]:
    """The reasoning item that carries the signature on a call or a text: these have no field for one here."""
    return {"id": item_id, "type": "reasoning", "summary": [], "encrypted_content": sealed}


def reasoning_item(part: Reasoning, item_id: str) -> dict[str, Any]:
    """Thoughts of another dialect. They stand in the summary, which every client shows; their signatures are sealed."""
    shown = part.summary if part.summary is not None else [part.text] if part.text else []
    item: dict[str, Any] = {
        "id": item_id,
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in shown],
    }
    if part.summary is not None and part.text:
        item["content"] = [{"type": "reasoning_text", "text": part.text}]
    item["encrypted_content"] = seal_reasoning(part)
    return item


def image_item(part: Image, item_id: str) -> dict[str, Any]:
    """A picture that a model made, where OpenAI's own picture tool would put it."""
    item: dict[str, Any] = {
        "id": item_id,
        "type": "image_generation_call",
        "status": "completed",
        "result": part.source.value,
    }
    encoding = (part.source.media_type or "").removeprefix("image/")
    if encoding in ("png", "jpeg", "webp", "gif"):
        item["output_format"] = encoding
    return item


def image_words(part: Image) -> str:
    """A picture that is only an address."""
    return f"![image]({url_of(part.source)})"
