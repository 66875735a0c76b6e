"""What a call may cost at most: content that the body only points to may be as long as the model takes."""

from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.json import encode

from wayport.dialects.neutral import DialectName
from wayport.dialects.registry import DIALECTS
from wayport.pipeline.bounds import Bound, amounts_of
from wayport.pipeline.call import began
from wayport.wire.patch import split

_WINDOW = 100_000
_BOUND = Bound(input=1_000_000, output=0, fixed=0, search=0, longest=10, window=_WINDOW)
_IMAGE = {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}
_SOURCE = {"type": "image", "source": {"type": "url", "url": "https://example.test/a.png"}}
_TEXT = 'It said "http://example.test/image.png" and "file".'


def _most(dialect: DialectName, body: dict[str, Any] | bytes) -> int:
    data = body if isinstance(body, bytes) else encode(body)
    client: Any = SimpleNamespace(body=data)
    call = began(client, DIALECTS[dialect], call_id="c", operation="chat", route="/", started_s=0.0, steady_s=0.0)
    call.fields = split(data)
    amounts = amounts_of(call, _BOUND)
    assert amounts is not None
    return amounts.nano_usd


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("openai_chat", {"model": "m", "messages": [{"role": "user", "content": [_IMAGE]}]}),
        ("openai_chat", {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [_IMAGE]}]}),
        ("openai_chat", {"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
        ("openai_chat", {"messages": [{"role": "system", "content": "fileid://f"}, {"role": "user", "content": "a"}]}),
        ("anthropic_messages", {"model": "m", "messages": [{"role": "user", "content": [_SOURCE]}]}),
        ("openai_responses", {"prompt": {"id": "p", "variables": {"x": {"type": "input_image", "image_url": "https://a"}}}}),
        ("openai_responses", {"input": [{"type": "input_file", "file_id": "f"}]}),
        ("gemini_content", {"contents": [{"parts": [{"fileData": {"fileUri": "https://a", "mimeType": "video/mp4"}}]}]}),
    ],
)  # fmt: skip
def test_content_that_is_pointed_to_may_fill_the_window(dialect: DialectName, body: dict[str, Any]) -> None:
    assert _most(dialect, body) == _WINDOW


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
def test_text_costs_no_more_than_its_bytes_whatever_it_speaks_of(dialect: DialectName) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": _TEXT}]}
    assert _most(dialect, body) == len(encode(body))


@pytest.mark.parametrize(
    "address",
    [
        b"HTTPS://example.test/a",
        b" https://example.test/a",
        b"gs://bucket/a",
        b"\\u0068ttps://example.test/a",
    ],
)
def test_an_address_is_one_however_it_is_spelled(address: bytes) -> None:
    """Else a client could have a budget bound by fewer tokens than it uses."""
    part = b'{"type":"image_url","image_url":{"url" : "%b"}}' % address
    assert _most("openai_chat", b'{"messages":[{"role":"user","content":[%b]}]}' % part) == _WINDOW
    named = (
        b'{"messages":[{"role":"user","content":[{"type":"\\u0069mage","source":{"type":"url","url":"%b"}}]}]}'
        % address
    )
    assert _most("anthropic_messages", named) == _WINDOW


def test_a_document_in_a_text_is_one_however_it_is_spelled() -> None:
    for address in (b"fileid://f", b"\\u0066ileid://f"):
        assert _most("openai_chat", b'{"messages":[{"role":"system","content":"%b"}]}' % address) == _WINDOW


@pytest.mark.parametrize(
    "content",
    [
        b'[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]',
        b'[{"type":"text","text":"an image: \\\\u0068 and \\u003ca\\u003e, \\u00e9, \\"url\\": \\"gs://a\\""}]',
    ],
    ids=["media that is sent along", "text of escapes"],
)
def test_what_is_sent_along_costs_no_more_than_its_bytes(content: bytes) -> None:
    body = b'{"messages":[{"role":"user","content":%b}]}' % content
    assert _most("openai_chat", body) == len(body)
