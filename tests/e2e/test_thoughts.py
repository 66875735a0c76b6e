"""What a client drops comes back whichever worker process its next turn comes to."""

from pathlib import Path

import httpx
from tests.fakes.served import serving
from tests.fakes.upstream import Upstream, json_answer
from tests.pipeline.test_thoughts import ASK, GEMINI, conversation

_TURNS = 8


async def test_every_worker_of_a_node_has_the_thoughts_of_the_others(tmp_path: Path) -> None:
    async with Upstream([json_answer(GEMINI)] * (_TURNS + 1)) as upstream:
        config = tmp_path / "config.yaml"
        config.write_text(
            f"providers: {{gemini: {{api_base: '{upstream.url}', api_key: x}}}}\n"
            "models: {m: gemini/gemini-3-pro-preview}\n"
            "server: {drain_delay_s: 0}\n"
        )
        async with serving(tmp_path / "data", "--config", str(config), "--workers", "2") as served:
            await served.until_managed()
            headers = {"authorization": f"Bearer {served.key}"}
            first = await served.http.post("/v1/chat/completions", json=ASK, headers=headers)
            turn = conversation(first.json()["choices"][0]["message"]["tool_calls"][0])
            for _ in range(_TURNS):
                # A connection each: the kernel gives them to either worker.
                async with httpx.AsyncClient(base_url=served.url, trust_env=False, timeout=20) as http:
                    answered = await http.post("/v1/chat/completions", json=turn, headers=headers)
                    assert answered.status_code == 200
        parts = [request.json()["contents"][1]["parts"][0] for request in upstream.requests[1:]]
        assert [part.get("thoughtSignature") for part in parts] == ["c2lnbmF0dXJl"] * _TURNS
