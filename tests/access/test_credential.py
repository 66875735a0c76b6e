import base64

import pytest

from wayport.access.credential import find_key

IN_ORDER = [
    b"x-litellm-api-key",
    b"authorization",
    b"api-key",
    b"x-api-key",
    b"x-goog-api-key",
    b"ocp-apim-subscription-key",
]


def test_the_first_place_in_order_wins() -> None:
    headers = {name: b"sk-" + name for name in IN_ORDER}
    for name in IN_ORDER:
        assert find_key(headers.get, query=b"key=sk-query") == b"sk-" + name
        del headers[name]
    assert find_key(headers.get, query=b"alt=sse&key=sk-query") == b"sk-query"
    assert find_key(headers.get) is None


@pytest.mark.parametrize("name", IN_ORDER)
@pytest.mark.parametrize("empty", [b"", b"  ", b"Bearer", b"Bearer ", b"bearer   "])
def test_an_empty_place_is_passed_over(name: bytes, empty: bytes) -> None:
    headers = {name: empty}
    assert find_key(headers.get) is None
    assert find_key((headers | {b"x-goog-api-key": b"sk-other"} if name != b"x-goog-api-key" else headers).get) == (
        b"sk-other" if name != b"x-goog-api-key" else None
    )


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b"Bearer sk-1", b"sk-1"),
        (b"bearer sk-1", b"sk-1"),
        (b"BEARER  sk-1 ", b"sk-1"),
        (b"sk-1", b"sk-1"),
        (b"Basic " + base64.b64encode(b"pk-lf:sk-1"), b"sk-1"),
        (b"Basic " + base64.b64encode(b"sk-1:"), b"sk-1"),
        (b"Basic " + base64.b64encode(b"sk-1:x"), b"sk-1"),
        (b"Basic nonsense!", None),
        (b"Bearer sk-1\t", b"sk-1"),
        (b"Bearer  sk-1 ", b"sk-1"),
    ],
)
def test_schemes(value: bytes, key: bytes | None) -> None:
    assert find_key({b"authorization": value}.get) == key


def test_where_the_operator_named_a_header_no_other_counts() -> None:
    headers = {b"x-corp-key": b"Bearer sk-corp", b"authorization": b"Bearer sk-other"}
    assert find_key(headers.get, own_names=[b"x-corp-key"]) == b"sk-corp"
    del headers[b"x-corp-key"]
    assert find_key(headers.get, own_names=[b"x-corp-key"], query=b"key=sk-q") is None


def test_a_browsers_websocket_brings_it_as_a_sub_protocol() -> None:
    headers = {b"sec-websocket-protocol": b"realtime, openai-insecure-api-key.sk-ws, openai-beta.realtime-v1"}
    assert find_key(headers.get) == b"sk-ws"
    assert find_key({b"sec-websocket-protocol": b"realtime"}.get) is None
