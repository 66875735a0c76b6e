"""What lists of models tell: price, window, capabilities and the name for people, from the catalogue."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.fakes.gateway import Gateway, gateway

from wayport.core.tasks import Tasks

CONFIG = """
models:
  fast:
    deployments:
      - {model: openai/gpt-4o, api_key: sk-secret-one, rpm: 10}
      - {model: anthropic/claude-3-5-sonnet-20241022, api_key: sk-secret-two, rpm: 5, tpm: 1000}
  plain: {model: up/unknown, base_url: "http://127.0.0.1:9/v1"}
  secret: {deployments: [{model: openai/gpt-4, api_key: k}], hidden: true}
"""


async def told(wayport: Gateway, path: str, key: str) -> dict[str, Any]:
    answer = await wayport.http.get(path)
    assert answer.status_code == 200, answer.text
    assert "sk-secret" not in answer.text
    return {entry[key]: entry for entry in answer.json()["data"]}


async def test_the_list_of_models_tells_what_is_known() -> None:
    async with gateway(CONFIG) as wayport:
        found = await told(wayport, "/v1/models", "id")
        fast = found["fast"]
        assert (fast["object"], fast["owned_by"]) == ("model", "openai")
        assert (fast["display_name"], fast["mode"]) == ("GPT-4o", "chat")
        assert (fast["max_input_tokens"], fast["max_output_tokens"]) == (128_000, 16_384)
        assert (fast["input_cost_per_token"], fast["output_cost_per_token"]) == (2.5e-06, 1e-05)
        assert {"vision", "function_calling"} <= set(fast["capabilities"])
        assert "input_cost_per_token" not in found["plain"]
        assert "secret" not in found


async def test_litellms_list_keeps_its_four_keys() -> None:
    text = "model_list: [{model_name: m, litellm_params: {model: openai/gpt-4o, api_key: k}}]"
    async with gateway(text) as wayport:
        found = await told(wayport, "/v1/models", "id")
        assert found["m"].keys() == {"id", "object", "created", "owned_by"}
        info = await told(wayport, "/model/info", "model_name")
        assert info["m"]["model_info"]["input_cost_per_token"] == 2.5e-06
        assert info["m"]["model_info"]["display_name"] == "GPT-4o"


async def test_a_group_takes_its_deployments_together() -> None:
    async with gateway(CONFIG) as wayport:
        found = await told(wayport, "/model_group/info", "model_group")
        fast = found["fast"]
        assert fast["providers"] == ["openai", "anthropic"]
        assert fast["max_input_tokens"] == 200_000
        assert (fast["input_cost_per_token"], fast["output_cost_per_token"]) == (3e-06, 1.5e-05)
        assert (fast["rpm"], fast["tpm"]) == (15, 1000)
        assert fast["supports_vision"] is True
        assert found["plain"]["input_cost_per_token"] is None
        assert "secret" not in found


@pytest.mark.parametrize(("asked", "names"), [("fast", {"fast"}), ("nobody", set())])
async def test_one_group_may_be_asked_for(asked: str, names: set[str]) -> None:
    async with gateway(CONFIG) as wayport:
        assert (await told(wayport, f"/model_group/info?model_group={asked}", "model_group")).keys() == names


async def test_a_key_sees_its_own_models_only() -> None:
    async with gateway(CONFIG) as wayport:
        key = wayport.keys.add("sk-of-a-user-0123456789", models=("plain",))
        answer = await wayport.http.get("/model_group/info", headers={"authorization": f"Bearer {key}"})
        assert [group["model_group"] for group in answer.json()["data"]] == ["plain"]


async def test_access_groups_are_listed_for_who_asks_for_them() -> None:
    text = """
model_list:
- {model_name: m, litellm_params: {model: openai/gpt-4o, api_key: k}, model_info: {access_groups: [beta]}}
- {model_name: n, litellm_params: {model: openai/gpt-4o, api_key: k}}
"""
    async with gateway(text) as wayport:
        assert [*await told(wayport, "/models", "id")] == ["m", "n"]
        assert [*await told(wayport, "/models?include_model_access_groups=True", "id")] == ["m", "n", "beta"]
        assert [*await told(wayport, "/models?only_model_access_groups=true", "id")] == ["beta"]
        for models, listed in ((("beta",), ["beta"]), (("m",), []), (("n",), [])):
            key = wayport.keys.add(f"sk-key-of-{'-'.join(models)}-0123456789", models=models)
            answer = await wayport.http.get(
                "/models?only_model_access_groups=true", headers={"authorization": f"Bearer {key}"}
            )
            assert [each["id"] for each in answer.json()["data"]] == listed


async def test_the_paths_that_there_are() -> None:
    async with gateway("models: {}\n") as wayport:
        answer = await wayport.http.get("/routes", headers={"authorization": ""})
        routes = {route["path"]: route["methods"] for route in answer.json()["routes"]}
        assert routes["/v1/chat/completions"] == ["POST"]


async def test_what_was_written_of_a_deployment_is_told_but_no_secret() -> None:
    text = """
model_list:
- model_name: m
  litellm_params: {model: gpt-4o-mini, api_key: sk-secret-three, input_cost_per_token: 0.00001, max_input_tokens: 4096, timeout: 5,
    extra_headers: {x-team: sk-secret-four}, region_name: eu, stop: word, organization: sk-secret-five}
"""
    async with gateway(text) as wayport:
        params = (await told(wayport, "/model/info", "model_name"))["m"]["litellm_params"]
        params.pop("api_base")
        assert params == {
            "model": "gpt-4o-mini", "input_cost_per_token": 1e-05, "max_input_tokens": 4096, "timeout": 5, "region_name": "eu",
        }  # fmt: skip


BLOCKED = """
model_list:
- {model_name: m, litellm_params: {model: openai/gpt-4o, api_key: k}}
- {model_name: m, litellm_params: {model: groq/llama-3.1-8b-instant, api_key: k}, model_info: {id: shut, blocked: true}}
- {model_name: gone, litellm_params: {model: groq/llama-3.1-8b-instant, api_key: k}, model_info: {blocked: true}}
"""


async def test_what_is_blocked_is_shown_as_such_and_cannot_be_called() -> None:
    async with gateway(BLOCKED) as wayport:
        found = (await wayport.http.get("/model/info")).json()["data"]
        shown = [(each["model_name"], each["model_info"].get("blocked", False)) for each in found]
        assert [each for each in shown if "/" not in each[0]] == [("m", False), ("m", True), ("gone", True)]
        assert (await wayport.http.get("/model/info?litellm_model_id=shut")).json()["data"][0]["model_info"]["blocked"]
        assert "gone" not in [each["id"] for each in (await wayport.http.get("/v1/models")).json()["data"]]
        refused = await wayport.ask({"model": "gone", "messages": [{"role": "user", "content": "Hi"}]})
        assert refused.status_code == 400
        key = wayport.keys.add("sk-elsewhere", models=("other",))
        hidden = await wayport.http.get("/model/info", headers={"authorization": f"Bearer {key}"})
        assert hidden.json()["data"] == []


async def test_what_is_not_there_has_litellms_status() -> None:
    async with gateway(BLOCKED) as wayport:
        assert (await wayport.http.get("/v1/models/nope")).status_code == 404
        assert (await wayport.http.get("/model/info?litellm_model_id=nope")).status_code == 400


async def test_patterns_in_whose_place_models_are_listed_are_named_when_asked_for() -> None:
    config = "model_list:\n- {model_name: 'anthropic/*', litellm_params: {model: 'anthropic/*', api_key: k}}\n"
    async with gateway(config) as wayport:

        async def names(query: str = "", key: str | None = None) -> list[str]:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            found = (await wayport.http.get(f"/v1/models{query}", headers=headers)).json()["data"]
            return [each["id"] for each in found]

        assert "anthropic/*" not in await names()
        assert "anthropic/*" in await names("?return_wildcard_routes=true")
        key = wayport.keys.add("sk-of-somebody", models=("other",))
        assert await names("?return_wildcard_routes=true", key) == []


async def test_a_call_of_what_is_not_known_yet_waits_for_the_models_of_the_database() -> None:
    late = "models: {late: wayport/echo, early: wayport/echo}"
    async with gateway("models: {early: wayport/echo}") as wayport, gateway(late) as other, Tasks() as tasks:
        worker = wayport.worker
        worker.expect_models()

        async def ask(model: str) -> int:
            return (await wayport.ask({"model": model, "messages": [{"role": "user", "content": "Hi"}]})).status_code

        assert await ask("early") == 200
        asked = [tasks.start(ask(model), name=model) for model in ("late", "never")]
        listing = tasks.start(wayport.http.get("/v1/models"), name="list")
        async with asyncio.timeout(10):
            while worker.load.calls < 3:
                await asyncio.sleep(0)
        assert not any(task.done() for task in (*asked, listing))
        worker.take_snapshot(msgspec.json.encode(other.worker.pipeline.table.snapshot))
        worker.models_came()
        assert [await task for task in asked] == [200, 404]
        assert "late" in [each["id"] for each in (await listing).json()["data"]]
        assert await ask("never") == 404
