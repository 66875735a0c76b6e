"""A request that says where it goes or with whose credential is refused, and nothing is asked there."""

from typing import Any

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Upstream, json_answer

CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
ASK = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}


def config(upstream: Upstream) -> str:
    return f"providers: {{up: {{base_url: '{upstream.url}', api_key: k}}}}\nmodels: {{m: up/x}}\n"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_base", "http://169.254.169.254/latest/meta-data"),
        ("base_url", "http://127.0.0.1:1"),
        ("api_key", "sk-of-a-client"),
        ("user_config", {"model_list": []}),
        ("aws_sts_endpoint", "http://10.0.0.1"),
        ("vertex_credentials", "/etc/passwd"),
    ],
)
async def test_an_address_or_credential_of_the_clients_is_refused(name: str, value: Any, path: str) -> None:
    async with Upstream([]) as upstream, gateway(config(upstream)) as wayport:
        answer = await wayport.ask({**ASK, "input": "Hello", name: value}, path)
        assert answer.status_code == 400, answer.text
        assert f"`{name}`" in answer.text
        assert "allow_client_side_credentials" in answer.text
        assert "sk-of-a-client" not in answer.text
        assert upstream.connections == 0


async def test_one_that_holds_nothing_is_no_wish() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(config(upstream)) as wayport:
        answer = await wayport.ask({**ASK, "api_key": None, "api_base": ""})
        assert answer.status_code == 200, answer.text
        assert "api_base" not in upstream.requests[0].json()
