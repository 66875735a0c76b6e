"""Several credentials of one provider share its calls."""

from pathlib import Path

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Received, Upstream, by, json_answer

from wayport.config.load import Options, load
from wayport.config.problems import ConfigError
from wayport.control.snapshots import build
from wayport.routing.snapshot import Model

CONFIG = """
providers:
  up: {api_base: "http://127.0.0.1:9/v1", api_keys: ["${ONE}", {api_key: "${TWO}", weight: 3}, "${UNSET}"]}
  other: {api_base: "http://127.0.0.1:9/v1", api_key: k}
models:
  chain: [up/x, other/y]
  group: {strategy: power-of-two, deployments: [up/x, other/y]}
  own: {model: up/x, api_key: mine}
"""
ENVIRON = {"ONE": "k1", "TWO": "k2"}
ASK = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def built(tmp_path: Path, text: str = CONFIG) -> dict[str, Model]:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return build(load(Options(config=str(file), data_dir=str(tmp_path)), ENVIRON)).models


def test_each_credential_becomes_a_deployment_with_its_share(tmp_path: Path) -> None:
    models = built(tmp_path)
    group = models["group"].deployments
    assert [(d.credential.value, d.weight) for d in group] == [("k1", 0.25), ("k2", 0.75), ("k", 1.0)]
    assert len({d.id for d in group}) == 3
    assert [d.credential.value for d in models["own"].deployments] == ["mine"]


def test_a_key_and_keys_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="stands beside `api_key`"):
        built(tmp_path, CONFIG.replace("api_keys: [", "api_key: k, api_keys: ["))


def test_without_any_key_it_is_said_which_is_missing(tmp_path: Path) -> None:
    text = CONFIG.replace("${ONE}", "${NONE}").replace("${TWO}", "${NIL}")
    assert built(tmp_path, text)["chain"].deployments[0].missing == ("NONE",)


async def test_a_chains_link_shares_its_calls_and_a_refused_credential_is_left_alone() -> None:
    def answer_of(received: Received) -> object:
        if received.headers["authorization"] == "Bearer bad":
            return json_answer({"error": {"message": "invalid"}}, status=401)
        said = {"role": "assistant", "content": received.headers["authorization"][-2:]}
        choices = [{"index": 0, "message": said, "finish_reason": "stop"}]
        return json_answer({"id": "c", "object": "chat.completion", "created": 1, "model": "x", "choices": choices})

    async with Upstream(by(answer_of)) as upstream:  # type: ignore[arg-type]  # behaviours, told by what arrived
        config = f"""
providers:
  up: {{api_base: {upstream.url}/v1, api_keys: [k1, k2, bad]}}
  other: {{api_base: {upstream.url}/v1, api_key: k9}}
models: {{m: [up/x, other/y]}}
router: {{num_retries: 0}}
"""
        async with gateway(config) as wayport:
            told = [(await wayport.ask(ASK)).json()["choices"][0]["message"]["content"] for _ in range(40)]
            assert set(told) == {"k1", "k2"}
            refused = [r for r in upstream.requests if r.headers["authorization"] == "Bearer bad"]
            assert len(refused) == 1
