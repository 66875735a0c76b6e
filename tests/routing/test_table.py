"""What a model's name means."""

from typing import Any

import pytest

from wayport.core.errors import ModelNotFound
from wayport.routing.snapshot import Deployment, ImplicitProvider, Model, Snapshot
from wayport.routing.table import RoutingTable


def deployment(name: str, target: str, **more: Any) -> Deployment:
    provider, _, upstream = target.partition("/")
    return Deployment(
        id=f"id-{name}-{target}", model=name, provider=provider, upstream_model=upstream, base_url="http://x", **more
    )


def table(**more: Any) -> RoutingTable:
    models = {
        "gpt-4o": Model(name="gpt-4o", deployments=(deployment("gpt-4o", "openai/gpt-4o"),)),
        "fast": Model(name="fast", deployments=(deployment("fast", "groq/llama-3.3-70b"),)),
    }
    return RoutingTable(Snapshot(models=models, **more))


def test_an_exact_name_is_found() -> None:
    assert table().find("gpt-4o").deployments[0].provider == "openai"


def test_a_deployment_can_be_addressed_by_its_id() -> None:
    assert table().find("id-fast-groq/llama-3.3-70b").name == "fast"


def test_an_alias_pattern_leads_on() -> None:
    assert table(aliases={"claude-*": "fast"}).find("claude-sonnet-4-5").name == "fast"


def test_aliases_in_a_circle_are_not_found_instead_of_searched_for_ever() -> None:
    with pytest.raises(ModelNotFound):
        table(aliases={"a": "b", "b": "a"}).find("a")


def test_a_wildcard_fills_in_what_the_client_named() -> None:
    wildcard = Model(name="openrouter/*", deployments=(deployment("openrouter/*", "openrouter/*"),))
    found = table(wildcards=(wildcard,)).find("openrouter/meta/llama-3")
    assert (found.deployments[0].upstream_model, found.name) == ("meta/llama-3", "openrouter/meta/llama-3")


def test_the_deployment_of_a_filled_wildcard_is_the_same_each_time() -> None:
    wildcard = Model(name="openrouter/*", deployments=(deployment("openrouter/*", "openrouter/*"),))
    routes = table(wildcards=(wildcard,))
    assert routes.find("openrouter/a").deployments[0] is routes.find("openrouter/a").deployments[0]


def test_an_exact_name_wins_over_a_wildcard() -> None:
    everything = Model(name="*", deployments=(deployment("*", "openai/*"),))
    assert table(wildcards=(everything,)).find("fast").deployments[0].provider == "groq"


def test_implicit_models_open_a_provider() -> None:
    implicit = {"openai": ImplicitProvider(provider="openai", template=deployment("*", "openai/*"))}
    assert table(implicit=implicit).find("openai/o3").deployments[0].upstream_model == "o3"


def test_a_bare_family_name_goes_to_its_own_provider() -> None:
    implicit = {"anthropic": ImplicitProvider(provider="anthropic", template=deployment("*", "anthropic/*"))}
    families = {"claude-3-haiku": "anthropic/claude-3-haiku-20240307"}
    found = table(implicit=implicit, families=families).find("claude-3-haiku")
    assert found.deployments[0].upstream_model == "claude-3-haiku-20240307"


def test_an_unknown_model_is_a_404_that_names_the_nearest() -> None:
    with pytest.raises(ModelNotFound, match=r"Did you mean `gpt-4o`") as caught:
        table().find("gpt4o")
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


def test_the_404_for_an_unlisted_model_of_a_provider_names_the_switch() -> None:
    with pytest.raises(ModelNotFound, match=r"implicit_models: true"):
        table().find("openai/o3")


def test_in_litellm_mode_an_unknown_model_is_its_400() -> None:
    with pytest.raises(ModelNotFound, match=r"Invalid model name passed in model=nope") as caught:
        table(compat="litellm").find("nope")
    assert (caught.value.status, caught.value.code) == (400, "400")


def test_hidden_names_work_but_are_not_listed() -> None:
    routes = table(aliases={"old": "fast"}, hidden_aliases=frozenset({"old"}))
    assert routes.find("old").name == "fast"
    assert list(routes.names()) == ["gpt-4o", "fast"]
