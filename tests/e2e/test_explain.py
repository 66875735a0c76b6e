"""A call is explained whichever worker is asked, as the program is started by users."""

import asyncio
from pathlib import Path
from typing import Any

from tests.fakes.served import serving
from tests.fakes.upstream import Upstream, json_answer

BUSY = json_answer({"error": {"message": "busy"}}, status=503)
GOOD = json_answer({
    "id": "c", "object": "chat.completion", "created": 1, "model": "x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
})  # fmt: skip


async def test_every_worker_explains_a_call_that_one_of_them_made(tmp_path: Path) -> None:
    async with Upstream([BUSY]) as first, Upstream([GOOD]) as second:
        config = tmp_path / "config.yaml"
        config.write_text(f"""
providers: {{one: {{api_base: {first.url}/v1, api_key: k}}, two: {{api_base: {second.url}/v1, api_key: k}}}}
models: {{m: [one/x, two/x]}}
""")
        async with serving(tmp_path / "data", "--config", str(config), "--workers", "2") as served:
            headers = {"authorization": f"Bearer {served.key}", "connection": "close"}
            body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
            answered = await served.http.post("/v1/chat/completions", json=body, headers=headers)
            path = f"/v1/calls/{answered.headers['x-wayport-call-id']}/explain"
            seen: list[dict[str, Any]] = []
            # Connections of their own are spread over the workers; the one that did not make the call asks the request log.
            while len(seen) < 12:
                told = await served.http.get(path, headers=headers)
                if told.status_code == 200:
                    seen.append(told.json())
                else:
                    await asyncio.sleep(0.05)
            assert all([a["provider"] for a in each["attempts"]] == ["one", "two"] for each in seen)
            assert len({str(each["explanation"]) for each in seen}) == 1
