"""The `litellm:` section of a host configuration that belongs to another tool."""

from pathlib import Path

import pytest
from tests.config.conftest import Load

from wayport.config.problems import ConfigError

EXAMPLE = (Path(__file__).parent / "examples" / "host_config.yml").read_text()


def test_chains_keep_their_order_and_providers_their_addresses(load_text: Load) -> None:
    settings = load_text(EXAMPLE, {"OPENAI_API_KEY": "o", "GWDG_API_KEY": "g"})
    chains = {model.name: [(d.provider, d.target) for d in model.deployments] for model in settings.models}
    assert chains["default"] == [("openai", "gpt-4o"), ("gwdg_saia", "llama-3.3-70b")]
    assert chains["reasoning"] == [("gwdg_saia", "deepseek-r1"), ("openai", "o1")]
    assert all(model.ordered for model in settings.models)
    saia = settings.providers["gwdg_saia"].connection
    assert saia.base_url == "https://chat-ai.academiccloud.de/v1"
    assert saia.credential is not None
    assert saia.credential.reference == "env GWDG_API_KEY"


def test_its_other_keys_are_nobodys_business(load_text: Load) -> None:
    warnings = load_text(EXAMPLE).warnings
    assert not any("image" in warning or "mounts" in warning for warning in warnings)


def test_the_defaults(load_text: Load) -> None:
    settings = load_text(
        "litellm: {enabled: true, providers: {openai: }, models: {m: [{provider: openai, model: x}]}}\n"
    )
    router = settings.router
    assert settings.server.port == 4000
    assert (router.num_retries, router.request_timeout_s, router.cooldown_s) == (3, 120.0, 60.0)
    rules = router.fallbacks
    assert (rules.on_rate_limit, rules.on_context_window, rules.on_error) == (True, True, True)
    assert settings.response_model == "upstream"
    assert settings.offer_declared
    assert not settings.implicit_models


def test_what_is_written_replaces_the_defaults(load_text: Load) -> None:
    text = """
litellm:
  enabled: true
  port: 4010
  fallbacks: {on_rate_limit: false, on_context_window: false, on_error: false}
  router: {num_retries: 1, timeout: 30, retry_after_seconds: 5}
"""
    settings = load_text(text)
    rules = settings.router.fallbacks
    assert settings.server.port == 4010
    assert (settings.router.num_retries, settings.router.request_timeout_s, settings.router.cooldown_s) == (
        1,
        30.0,
        5.0,
    )
    assert (rules.on_rate_limit, rules.on_context_window, rules.on_error) == (False, False, False)


def test_the_port_variable_wins(load_text: Load) -> None:
    assert load_text(EXAMPLE, {"LITELLM_PORT": "4999"}).server.port == 4999


@pytest.mark.parametrize(
    "text",
    ["litellm: {enabled: false}\n", "litellm: {models: {}}\n", "litellm:\n", "litellm: {enabled: no, port: x}\n"],
)
def test_it_is_off_unless_it_says_so(load_text: Load, text: str) -> None:
    assert not load_text(text).enabled


def test_a_log_level_by_the_old_name(load_text: Load) -> None:
    assert load_text(EXAMPLE, {"LITELLM_LOG_LEVEL": "DEBUG"}).logging.level == "debug"


def test_unknown_keys_inside_are_warned_about(load_text: Load) -> None:
    text = "litellm:\n  enabled: true\n  prot: 1\n  providers: {openai: {api_kye: x}}\n  router: {retries: 1}\n"
    warnings = [warning.partition("config.yaml")[2] for warning in load_text(text).warnings]
    assert ":3: litellm.prot: unknown key; it is ignored; did you mean `port`?" in warnings
    assert ":4: litellm.providers.openai.api_kye: unknown key; it is ignored; did you mean `api_key`?" in warnings
    assert ":5: litellm.router.retries: unknown key; it is ignored; did you mean `num_retries`?" in warnings


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("port: many", ":3: litellm.port: must be a whole number from 1 to 65535"),
        ("models: {m: []}", ":3: litellm.models.m: needs at least one {provider, model}"),
        ("models: {m: [{provider: openai}]}", ":3: litellm.models.m[0]: `model` is missing"),
        ("models: {m: [3]}", ":3: litellm.models.m[0]: must be a mapping"),
        ("providers: [openai]", ":3: litellm.providers: must be a mapping"),
        ("fallbacks: {on_error: maybe}", ":3: litellm.fallbacks.on_error: must be true or false"),
    ],
)
def test_wrong_values_are_errors_with_their_place(load_text: Load, section: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"litellm:\n  enabled: true\n  {section}\n")
    assert told in [str(problem).partition("config.yaml")[2] for problem in caught.value.problems]
