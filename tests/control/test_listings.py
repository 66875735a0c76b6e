"""Upstreams behind wildcards are asked which models they have; the last good answer holds while they are away."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from tests.fakes.upstream import Behaviour, Received, Upstream, by, close_without_answer, early, html_error, json_answer

from wayport.config.load import Options, load
from wayport.config.settings import Settings
from wayport.control.listings import Listings, Lists
from wayport.control.snapshots import LocalServer, build
from wayport.core.price import Price
from wayport.pipeline.targets import path_of
from wayport.providers.plugins import signer_of
from wayport.routing.snapshot import Snapshot
from wayport.routing.table import RoutingTable
from wayport.upstream.credentials import Credentials
from wayport.upstream.transport import Transport

OPENROUTER = {
    "data": [
        {"id": "acme/new-model:free", "context_length": 4096, "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "acme/new-model", "name": "Acme: New", "pricing": {"prompt": "0.000002", "completion": "0.00001"}},
        {"id": "openai/gpt-4o"},
    ]
}


class Told:
    """Who is told of changes: keeps them."""

    def __init__(self) -> None:
        self.all: list[Lists] = []

    async def __call__(self, lists: Lists) -> None:
        self.all.append(lists)


def settings(tmp_path: Path, text: str | None, environ: dict[str, str] | None = None) -> Settings:
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    options = Options(config=str(file) if text is not None else None, data_dir=str(tmp_path / "data"))
    return load(options, {"WAYPORT_MASTER_KEY": "sk-a-master-of-these-tests", **(environ or {})})


def listings(client: Transport, told: Told, snapshot: Snapshot) -> Listings:
    found = Listings(client, Credentials(signer_of), changed=told, every_s=300.0)
    found.take(msgspec.json.encode(snapshot))
    return found


def names(snapshot: Snapshot) -> list[str]:
    return sorted(RoutingTable(snapshot).names())


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_a_wildcard_lists_what_its_upstream_has(tmp_path: Path) -> None:
    told = Told()
    async with Upstream(json_answer(OPENROUTER)) as upstream, Transport() as client:
        given = settings(
            tmp_path,
            f'providers: {{openrouter: {{base_url: "{upstream.url}/api/v1", api_key: or-secret}}}}\n'
            'models: {"openrouter/*": "openrouter/*"}\n',
        )
        before = build(given)
        await listings(client, told, before).refresh()
        (received,) = upstream.requests
        assert (received.path, received.headers["authorization"]) == ("/api/v1/models", "Bearer or-secret")
    (lists,) = told.all
    after = build(given, listed=lists)
    assert names(after) == [
        "openrouter/acme/new-model",
        "openrouter/acme/new-model:free",
        "openrouter/openai/gpt-4o",
    ]
    assert len(names(before)) != 3
    deployment = after.models["openrouter/acme/new-model"].deployments[0]
    assert deployment.upstream_model == "acme/new-model"
    assert deployment.price is not None
    assert (deployment.price.rates.input, deployment.price.source) == (2_000_000_000, "listing")
    assert json.loads(bytes(deployment.info["display_name"])) == "Acme: New"
    known = after.models["openrouter/openai/gpt-4o"].deployments[0]
    assert known.context_window == 128_000
    # What nobody lists can be called all the same.
    assert RoutingTable(after).find("openrouter/acme/of-tomorrow").deployments[0].upstream_model == "acme/of-tomorrow"


def azures(received: Received) -> Behaviour:
    if received.path != "/openai/deployments?api-version=2023-03-15-preview":
        return json_answer({"error": {"code": "404", "message": "Resource not found"}}, status=404)
    data = [
        {"object": "deployment", "id": "our-fast-one", "model": "gpt-4o-mini", "status": "succeeded"},
        {"object": "deployment", "id": "our-vectors", "model": "text-embedding-3-small", "status": "succeeded"},
        {"object": "deployment", "id": "not-there-yet", "model": "gpt-4o", "status": "running"},
    ]
    return json_answer({"object": "list", "data": data})


@pytest.mark.parametrize(("provider", "version"), [("azure", ""), ("azure", "2024-10-21"), ("azure_ai", "")])
async def test_azures_deployments_are_known_by_the_models_behind_them(
    tmp_path: Path, provider: str, version: str
) -> None:
    told = Told()
    async with Upstream(by(azures)) as upstream, Transport() as client:
        given = settings(
            tmp_path,
            f'providers: {{{provider}: {{base_url: "{upstream.url}", api_key: az-secret, '
            f'settings: {{api_version: "{version}"}}}}}}\nmodels: {{"az/*": "{provider}/*"}}\n',
        )
        await listings(client, told, build(given)).refresh()
        (received,) = upstream.requests
        assert received.headers["api-key"] == "az-secret"
    after = build(given, listed=told.all[-1])
    assert {"az/our-fast-one", "az/our-vectors"} <= set(names(after))
    assert "az/not-there-yet" not in names(after)
    fast, vectors = (after.models[f"az/{name}"].deployments[0] for name in ("our-fast-one", "our-vectors"))
    assert (fast.upstream_model, fast.context_window, fast.mode) == ("our-fast-one", 128_000, "chat")
    assert fast.price is not None
    assert fast.price.rates.input == 150_000_000
    assert vectors.mode == "embedding"
    # Whoever is in no list is called by its own name all the same.
    wild = RoutingTable(after).find("az/of-tomorrow").deployments[0]
    for deployment in (fast, wild):
        dated = f"/openai/deployments/{deployment.upstream_model}/chat/completions?api-version={version}"
        assert path_of(deployment, "chat", stream=False) == (dated if version else "/chat/completions")


async def test_workers_hear_of_it_only_when_it_changed(tmp_path: Path) -> None:
    told = Told()
    hangs_up = close_without_answer()
    # The second time because a connection that was kept is tried once more.
    answers: list[Behaviour | early] = [
        json_answer(OPENROUTER),
        html_error(502),
        json_answer(OPENROUTER),
        hangs_up,
        hangs_up,
    ]
    async with Upstream(answers) as upstream, Transport() as client:
        text = f'models: {{"r/*": {{model: "openrouter/*", base_url: "{upstream.url}", api_key: k}}}}\n'
        asking = listings(client, told, build(settings(tmp_path, text)))
        for _ in range(4):
            await asking.refresh()
        assert len(told.all) == 1
        answers.append(json_answer({"data": [{"id": "acme/only"}]}))
        await asking.refresh()
    assert [[facts.model for facts in models] for models in told.all[-1].values()] == [["acme/only"]]


async def test_an_upstream_that_is_away_from_the_start_changes_nothing(tmp_path: Path) -> None:
    told = Told()
    async with Upstream(json_answer({"error": "no"}, status=401)) as upstream, Transport() as client:
        text = f'models: {{"r/*": {{model: "openrouter/*", base_url: "{upstream.url}", api_key: k}}}}\n'
        await listings(client, told, build(settings(tmp_path, text))).refresh()
    assert told.all == []


async def test_all_pages_are_read(tmp_path: Path) -> None:
    told = Told()

    def page(received: Received) -> Behaviour:
        if "after_id=a" in received.path:
            return json_answer({"data": [{"id": "claude-z"}], "has_more": False, "last_id": "claude-z"})
        return json_answer({"data": [{"id": "claude-a"}], "has_more": True, "last_id": "a"})

    async with Upstream(by(page)) as upstream, Transport() as client:
        text = f'models: {{"c/*": {{model: "anthropic/*", base_url: "{upstream.url}", api_key: k}}}}\n'
        await listings(client, told, build(settings(tmp_path, text))).refresh()
        assert upstream.requests[0].headers["x-api-key"] == "k"
    assert [facts.model for models in told.all[0].values() for facts in models] == ["claude-a", "claude-z"]


async def test_targets_are_only_asked_for_what_they_list(tmp_path: Path) -> None:
    told = Told()
    async with (
        Upstream(json_answer({"data": [{"id": "both"}, {"id": "here"}]})) as one,
        Upstream(json_answer({"data": [{"id": "both"}, {"id": "there"}]})) as other,
        Transport() as client,
    ):
        given = settings(
            tmp_path,
            f'providers: {{one: {{base_url: "{one.url}"}}, other: {{base_url: "{other.url}"}}}}\n'
            'models: {"*": ["one/*", "other/*"]}\n',
        )
        await listings(client, told, build(given)).refresh()
    after = build(given, listed=told.all[0])
    reached = {name: [each.provider for each in after.models[name].deployments] for name in ("both", "here", "there")}
    assert reached == {"both": ["one", "other"], "here": ["one"], "there": ["other"]}
    assert "*" not in names(after)


async def test_without_a_file_open_providers_list_what_they_have(tmp_path: Path) -> None:
    told = Told()
    tags = {"models": [{"name": "qwen3:8b", "model": "qwen3:8b", "details": {"family": "qwen3"}}]}
    async with (
        Upstream(json_answer({"data": [{"id": "of-tomorrow"}]})) as upstream,
        Upstream(json_answer(tags)) as ollama,
        Transport() as client,
    ):
        given = settings(tmp_path, None, {"GROQ_API_KEY": "gsk-x", "GROQ_API_BASE": upstream.url})
        found = [LocalServer(provider="ollama", base_url=ollama.url, models=("llama3.2",))]
        before = build(given, found=found)
        await listings(client, told, before).refresh()
        assert [received.path for received in ollama.requests] == ["/api/tags"]
        assert [received.path for received in upstream.requests] == ["/models"]
    snapshot = build(given, found=found, listed=told.all[0])
    assert snapshot.models["ollama/qwen3:8b"].deployments[0].base_url == ollama.url
    after = names(snapshot)
    assert {"groq/of-tomorrow", "ollama/qwen3:8b"} <= set(after)
    assert [name for name in after if name.startswith("groq/")] == ["groq/of-tomorrow"]


async def test_a_local_model_costs_nothing_however_it_was_found(tmp_path: Path) -> None:
    async with Upstream(json_answer({"models": [{"name": "qwen3:8b"}]})) as ollama, Transport() as client:
        told = Told()
        given = settings(tmp_path, f'models: {{"o/*": {{model: "ollama/*", base_url: "{ollama.url}/v1"}}}}\n')
        await listings(client, told, build(given)).refresh()
        assert ollama.requests[0].path == "/api/tags"
    deployment = build(given, listed=told.all[0]).models["o/qwen3:8b"].deployments[0]
    assert deployment.price == Price(free=True, source="local server")
    assert deployment.base_url + deployment.paths["chat"] == f"{ollama.url}/v1/chat/completions"


async def test_it_asks_at_once_when_there_is_something_new(tmp_path: Path) -> None:
    told = Told()
    first: list[Upstream] = []

    async def never(_: float) -> None:
        await asyncio.Event().wait()

    async with Upstream(json_answer(OPENROUTER)) as upstream, Transport() as client:
        first.append(upstream)
        asking = Listings(client, Credentials(signer_of), changed=told, every_s=300.0, sleep=never)
        running = asyncio.ensure_future(asking.run())
        text = f'models: {{"r/*": {{model: "openrouter/*", base_url: "{upstream.url}", api_key: k}}}}\n'
        asking.take(msgspec.json.encode(build(settings(tmp_path, text))))
        await upstream.until(lambda: len(upstream.requests) == 1)
        while not told.all:
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_zero_seconds_means_never(tmp_path: Path) -> None:
    text = 'server: {discover_models_s: 0}\nmodels: {"r/*": "openrouter/*"}\n'
    assert settings(tmp_path, text).server.discover_models_s == 0
    async with Transport() as client:
        await Listings(client, Credentials(signer_of), changed=Told(), every_s=0.0).run()
