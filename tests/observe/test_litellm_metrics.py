"""Every metric that LiteLLM documents has a value here, with its labels, or is named as absent with the reason."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.fakes.receiver import receiver
from tests.fakes.served import Served, serving
from tests.fakes.upstream import Upstream, by, json_answer, sse
from tests.pipeline.test_chat import ASK, DONE, OPENING, chunk

from wayport.observe.metric_names import ABSENT

_USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 3, "cache_write_tokens": 7},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 2},
}
_WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "up-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_CONFIG = """
providers:
  good: {{api_base: {good}/v1, api_key: k, budget: {{max_usd: 100, per: 1d}}}}
  bad: {{api_base: {bad}/v1, api_key: k}}
models:
  m: {{deployments: [{{provider: good, model: up-1, prices: {{input: 2.5, output: 10}}, rpm: 1000, tpm: 100000}}]}}
  free: {{deployments: [{{provider: good, model: up-2, prices: {{input: 0, output: 0}}}}]}}
  broken: {{deployments: [{{provider: bad, model: up-3, prices: {{input: 1, output: 1}}}}], fallbacks: [m]}}
  lost: {{deployments: [{{provider: bad, model: up-4, prices: {{input: 1, output: 1}}}}], fallbacks: [worse]}}
  worse: {{deployments: [{{provider: bad, model: up-5, prices: {{input: 1, output: 1}}}}]}}
router:
  num_retries: 0
callbacks:
  - {{name: webhook, params: {{url: "{hook}/calls"}}}}
metrics: {{end_user: true}}
server: {{drain_delay_s: 0, grace_s: 1}}
"""


def _documented() -> dict[str, tuple[str, set[str]]]:
    """Name to kind and labels, as LiteLLM 1.109 has them."""
    lines = Path(__file__).with_name("litellm_metrics.tsv").read_text().splitlines()
    rows = (line.split("\t") for line in lines)
    return {name: (kind, set(labels.split(",")) - {""}) for name, kind, labels in rows}


def test_what_is_absent_is_documented_with_its_reason() -> None:
    page = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()
    assert set(ABSENT) < set(_documented())
    missing = [name for name, why in ABSENT.items() if f"`{name}`" not in page or why not in page]
    assert not missing


async def _managed(wayport: Served, path: str, body: Mapping[str, Any]) -> Any:
    headers = {"authorization": f"Bearer {wayport.key}"}
    answered = await wayport.http.post(path, json=body, headers=headers)
    assert answered.status_code == 200, answered.text
    return answered.json()


async def _limited_key(wayport: Served) -> str:
    """A key with every kind of limit and budget on it and above it."""
    money = {"max_budget": 5.0, "budget_duration": "1d"}
    rates = {"rpm_limit": 1000, "tpm_limit": 100_000}
    of_model = {"model_rpm_limit": {"m": 500}, "model_tpm_limit": {"m": 50_000}}
    user = {"user_id": "ann", "user_email": "ann@example.com", "auto_create_key": False, **money}
    await _managed(wayport, "/user/new", user)
    organization = await _managed(wayport, "/organization/new", {"organization_alias": "Org", **money})
    team = {
        "team_id": "reds",
        "team_alias": "Reds",
        "organization_id": organization["organization_id"],
        "members_with_roles": [{"role": "user", "user_id": "ann"}],
        **money,
        **rates,
    }
    await _managed(wayport, "/team/new", team)
    project = await _managed(wayport, "/project/new", {"project_alias": "P", "team_id": "reds", **of_model})
    await _managed(wayport, "/customer/new", {"user_id": "customer-1", **money})
    key = {"key_alias": "ci", "user_id": "ann", "team_id": "reds", "project_id": project["project_id"]}
    made = await _managed(wayport, "/key/generate", {**key, **money, **rates, **of_model})
    return str(made["key"])


async def _families(wayport: Served) -> dict[str, Metric]:
    headers = {"authorization": f"Bearer {wayport.key}"}
    text = (await wayport.http.get("/metrics", headers=headers)).text
    return {family.name: family for family in text_string_to_metric_families(text) if family.samples}


def _used(found: Mapping[str, Metric]) -> tuple[float, str]:
    samples = found["litellm_api_key_rate_limit_used_metric"].samples
    (used,) = (sample for sample in samples if sample.labels["rate_limit_type"] == "requests")
    return used.value, used.labels["api_key_alias"]


async def test_every_documented_metric_has_a_value_and_its_labels(tmp_path: Path) -> None:
    busy = json_answer({"error": {"message": "busy"}}, status=500)
    stream = sse(OPENING, chunk({"content": "Hi"}), chunk({}, "stop"), chunk(None, usage=_USAGE), DONE)
    good = by(lambda request: stream if b'"stream": true' in request.body else json_answer(_WHOLE))
    async with Upstream(good) as up, Upstream(busy) as down, receiver() as hook:
        hook.answers = [(503, b"")] * 1000
        config = tmp_path / "config.yaml"
        config.write_text(_CONFIG.format(good=up.url, bad=down.url, hook=hook.url))
        async with serving(tmp_path / "data", "--config", str(config)) as wayport:
            await wayport.until_managed()
            headers = {"authorization": f"Bearer {await _limited_key(wayport)}"}
            asked: list[dict[str, Any]] = [{}, {"stream": True}, {"model": "free"}, {"model": "broken"}]
            for more in [*asked, *[{"model": "lost"}] * 3]:
                body = {**ASK, "max_tokens": 100, "user": "customer-1", **more}
                answered = await wayport.http.post("/v1/chat/completions", json=body, headers=headers)
                assert answered.status_code == (500 if more.get("model") == "lost" else 200), answered.text
            wanted = {name: row for name, row in _documented().items() if name not in ABSENT}
            async with asyncio.timeout(20):
                found = await _families(wayport)
                # Workers state what they used a little later.
                while not {name.removesuffix("_total") for name in wanted} <= set(found) or _used(found) != (7, "ci"):
                    await asyncio.sleep(0.1)
                    found = await _families(wayport)
    for name, (kind, labels) in wanted.items():
        family = found[name.removesuffix("_total")]
        assert family.type == kind, name
        assert set(family.samples[0].labels) - {"le"} == labels, name
    (left,) = found["litellm_remaining_api_key_budget_metric"].samples
    (most,) = found["litellm_api_key_max_budget_metric"].samples
    assert 0 < left.value < most.value == 5.0
