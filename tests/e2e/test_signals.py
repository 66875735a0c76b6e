"""Signals that come at the wrong moment."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
from tests.fakes.served import serving
from tests.fakes.upstream import Upstream, by, json_answer


async def test_a_reload_that_is_asked_for_while_the_control_process_starts_does_not_kill_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        await served.until_answers("/openapi.json")
        (first,) = served.children("wayport.control")
        os.kill(first, signal.SIGKILL)
        while (children := served.children("wayport.control")) in ([], [first]):
            await asyncio.sleep(0.001)
        for _ in range(100):
            served.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.002)
        await served.until_answers("/openapi.json")
        assert served.children("wayport.control") == children
        assert await served.stop() == 0


async def test_a_killed_process_comes_back_with_the_configuration_of_now(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    key = "sk-the-master-key-of-this-test"
    headers = {"authorization": f"Bearer {key}"}

    def written(model: str, url: str) -> str:
        return (
            f"auth: {{master_key: {key}}}\nserver: {{drain_delay_s: 0}}\n"
            f"providers: {{up: {{api_base: {url}/v1, api_key: sk-up}}}}\nmodels: {{{model}: up/up-1}}\n"
        )

    said = {"id": "c", "object": "chat.completion", "created": 1, "model": "up-1", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ]}  # fmt: skip
    async with Upstream(by(lambda _: json_answer(said))) as upstream:
        config.write_text(written("before", upstream.url))
        async with serving(tmp_path / "data", "--config", str(config)) as served:

            async def status(model: str) -> int:
                body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
                return (await served.http.post("/v1/chat/completions", json=body, headers=headers)).status_code

            await served.until_answers("/openapi.json")
            config.write_text(written("after", upstream.url))
            served.process.send_signal(signal.SIGHUP)
            while await status("after") != 200:
                await asyncio.sleep(0.01)
            # A worker alone: nobody else could tell it of the change before its first call.
            os.kill(served.children("wayport.control")[0], signal.SIGSTOP)
            control = served.children("wayport.control")[0]
            os.kill(served.children("server.worker")[0], signal.SIGKILL)
            try:
                while True:
                    try:
                        first = await status("after")
                    except httpx.TransportError:
                        await asyncio.sleep(0.01)
                        continue
                    break
            finally:
                os.kill(control, signal.SIGCONT)
            assert first == 200
