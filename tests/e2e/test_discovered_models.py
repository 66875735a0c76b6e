"""Real processes: what an upstream lists is what `/v1/models` lists, and every discovered model can be called."""

import asyncio
from pathlib import Path

from tests.fakes.served import serving
from tests.fakes.upstream import Behaviour as Answering
from tests.fakes.upstream import Received, Upstream, by, json_answer

LIST = {"data": [{"id": "acme/one"}, {"id": "acme/two"}]}
CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "acme/two",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip


def answering(received: Received) -> Answering:
    return json_answer(LIST if received.path.endswith("/models") else CHAT)


async def test_a_wildcards_models_are_listed_and_answer(tmp_path: Path) -> None:
    async with Upstream(by(answering)) as upstream:
        config = tmp_path / "config.yaml"
        config.write_text(
            f'providers: {{openrouter: {{base_url: "{upstream.url}/v1", api_key: k}}}}\n'
            'models: {"openrouter/*": "openrouter/*"}\n'
        )
        async with serving(tmp_path / "data", "--config", str(config)) as wayport:
            headers = {"authorization": f"Bearer {wayport.key}"}
            names: set[str] = set()
            async with asyncio.timeout(50):
                while names != {"openrouter/acme/one", "openrouter/acme/two"}:
                    listed = await wayport.http.get("/v1/models", headers=headers)
                    names = {entry["id"] for entry in listed.json()["data"]}
                    await asyncio.sleep(0.05)
            body = {"model": "openrouter/acme/two", "messages": [{"role": "user", "content": "Hello"}]}
            answer = await wayport.http.post("/v1/chat/completions", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
        assert upstream.requests[-1].json()["model"] == "acme/two"
