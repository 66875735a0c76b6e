"""Lists of models in every shape that providers write them in."""

import json
from typing import Any

import pytest

from wayport.providers.discovery import listed, next_page


def models_of(page: Any) -> list[str]:
    return [facts.model for facts in listed("p", json.dumps(page).encode())]


@pytest.mark.parametrize(
    "page",
    [
        {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]},
        [{"id": "a"}, {"id": "b"}],
        {"models": [{"name": "models/a"}, {"name": "models/b"}]},
        {"models": [{"name": "a", "model": "a"}, {"name": "b", "model": "b"}]},
        {"data": [{"id": "a"}, {"id": "b"}, {"id": "a"}, {"object": "odd"}, "odd"]},
    ],
)
def test_every_shape_gives_the_names(page: Any) -> None:
    assert models_of(page) == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'{"data":{}}', b"1"])
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="list of models"):
        listed("p", body)


def test_a_list_may_tell_windows_and_prices() -> None:
    page = {
        "data": [
            {
                "id": "acme/m",
                "name": "Acme: M",
                "context_length": 128000,
                "top_provider": {"max_completion_tokens": 8192},
                "pricing": {"prompt": "0.000001", "completion": "0.000002", "input_cache_read": "0.0000001"},
            },
            {"id": "acme/m:free", "pricing": {"prompt": "0", "completion": "0"}},
            {"id": "acme/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        ]
    }
    priced, free, routed = listed("p", json.dumps(page).encode())
    assert (priced.display_name, priced.context_window, priced.max_output_tokens) == ("Acme: M", 128_000, 8_192)
    rates = priced.prices[0].price.rates
    assert (rates.input, rates.output, rates.cache_read) == (1_000_000_000, 2_000_000_000, 100_000_000)
    assert free.prices[0].price.free
    assert routed.prices == ()


def test_google_says_what_a_model_can_do() -> None:
    page = {
        "models": [
            {"name": "models/g", "displayName": "G", "inputTokenLimit": 1000, "outputTokenLimit": 10,
             "supportedGenerationMethods": ["generateContent", "countTokens"]},
            {"name": "models/e", "supportedGenerationMethods": ["embedContent"]},
        ]
    }  # fmt: skip
    chat, embedding = listed("p", json.dumps(page).encode())
    assert (chat.display_name, chat.context_window, chat.max_output_tokens, chat.mode) == ("G", 1000, 10, "chat")
    assert embedding.mode == "embedding"


@pytest.mark.parametrize(
    ("path", "page", "following"),
    [
        ("/models", {"data": []}, None),
        ("/models", [], None),
        ("/models?pageSize=5", {"models": [], "nextPageToken": "a/b"}, "/models?pageSize=5&pageToken=a%2Fb"),
        ("/v1/models", {"data": [], "has_more": True, "last_id": "x"}, "/v1/models?after_id=x"),
        ("/v1/models", {"data": [], "has_more": False, "last_id": "x"}, None),
        ("/v1/models", {"models": [], "next_page_token": "t"}, "/v1/models?page_token=t"),
    ],
)
def test_a_list_may_go_on(path: str, page: Any, following: str | None) -> None:
    assert next_page(path, json.dumps(page).encode()) == following
