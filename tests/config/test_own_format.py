"""Wayport's own format: short and long spellings, and what an operator is told when something is wrong."""

from typing import Any

import msgspec
import pytest
from tests.config.conftest import Load

from wayport.config.problems import ConfigError
from wayport.config.settings import AuthHeader, ModelSettings, Settings


def model(settings: Settings, name: str) -> ModelSettings:
    return next(model for model in settings.models if model.name == name)


def targets(found: ModelSettings) -> list[tuple[str | None, str]]:
    return [(deployment.provider, deployment.target) for deployment in found.deployments]


def problems(load_text: Load, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_text(text, environ)
    return [str(problem).partition("config.yaml")[2] or str(problem) for problem in caught.value.problems]


def decoded(values: dict[str, msgspec.Raw]) -> dict[str, Any]:
    return {key: msgspec.json.decode(value) for key, value in values.items()}


# -------------------------------------------------------------------------------------------------- models
def test_one_target_in_short(load_text: Load) -> None:
    found = model(load_text("models: {fast: openai/gpt-4o-mini}"), "fast")
    assert targets(found) == [(None, "openai/gpt-4o-mini")]
    assert found.ordered


def test_a_chain_mixes_short_and_long_links(load_text: Load) -> None:
    text = "models:\n  default: [openai/gpt-4o, {provider: gwdg_saia, model: llama-3.3-70b}]\n"
    found = model(load_text(text), "default")
    assert targets(found) == [(None, "openai/gpt-4o"), ("gwdg_saia", "llama-3.3-70b")]
    assert found.ordered
    assert [deployment.place.rpartition(":")[2] for deployment in found.deployments] == ["2", "2"]


def test_a_strategy_makes_a_balanced_group(load_text: Load) -> None:
    text = """
models:
  m:
    strategy: least-busy
    num_retries: 1
    deployments: [{model: openai/a, weight: 3, rpm: 10, tags: fast}, openai/b]
  chain: {strategy: ordered, deployments: openai/a}
"""
    settings = load_text(text)
    found = model(settings, "m")
    assert (found.ordered, found.strategy, found.num_retries) == (False, "least-busy", 1)
    assert (found.deployments[0].weight, found.deployments[0].rpm, found.deployments[0].tags) == (3.0, 10, ("fast",))
    assert (model(settings, "chain").ordered, model(settings, "chain").strategy) == (True, None)


def test_one_long_target_without_a_list(load_text: Load) -> None:
    text = "models:\n  m: {model: openai/gpt-4o, params: {temperature: 0.2}, fallbacks: other}\n  other: openai/b\n"
    found = model(load_text(text), "m")
    assert found.fallbacks == ("other",)
    assert decoded(found.deployments[0].params) == {"temperature": 0.2}


def test_parameters_and_prices_of_a_model_hold_for_all_its_targets(load_text: Load) -> None:
    text = """
models:
  m:
    params: {temperature: 0.1, top_p: 1}
    prices: {input: 1, output: 2}
    deployments: [openai/a, {model: openai/b, params: {temperature: 0.9}, prices: {input: 3}}]
"""
    first, second = model(load_text(text), "m").deployments
    assert decoded(first.params) == {"temperature": 0.1, "top_p": 1}
    assert decoded(second.params) == {"temperature": 0.9, "top_p": 1}
    assert decoded(first.notes.facts) == {"input_cost_per_token": "0.000001", "output_cost_per_token": "0.000002"}
    assert decoded(second.notes.facts) == {"input_cost_per_token": "0.000003"}


def test_prices_of_every_kind_are_exact(load_text: Load) -> None:
    text = """
models:
  m:
    model: openai/a
    prices:
      input: 0.15
      cache_write_1h: "0.3"
      per_request: 0.01
      per_web_search: 0.005
      tiers: [{above_input_tokens: 200000, input: 0.3}]
      service_tiers: {flex: {input: 0.075}, batch: {output: 1}}
"""
    assert decoded(model(load_text(text), "m").deployments[0].notes.facts) == {
        "input_cost_per_token": "0.00000015",
        "cache_creation_input_token_cost_above_1hr": "0.0000003",
        "input_cost_per_request": "0.01",
        "search_context_cost_per_query": {"search_context_size_medium": "0.005"},
        "input_cost_per_token_above_200k_tokens": "0.0000003",
        "input_cost_per_token_flex": "0.000000075",
        "output_cost_per_token_batches": "0.000001",
    }


def test_free_means_a_price_of_nothing(load_text: Load) -> None:
    found = model(load_text("models: {m: {model: ollama/x, prices: {free: true}}}"), "m")
    assert set(decoded(found.deployments[0].notes.facts).values()) == {"0"}


def test_aliases_stand_at_the_model_or_by_themselves(load_text: Load) -> None:
    text = "models: {m: {model: openai/a, aliases: [n, o]}}\naliases: {'claude-*': m, p: m}\n"
    aliases = load_text(text).aliases
    assert {name: alias.to for name, alias in aliases.items()} == {"claude-*": "m", "p": "m", "n": "m", "o": "m"}


# ----------------------------------------------------------------------------------------------- providers
def test_a_provider_with_everything(load_text: Load) -> None:
    text = """
providers:
  lab:
    api_base: https://lab.example/v1/
    api_key: ${LAB}
    like: vllm
    auth_header: X-Api-Key
    headers: {X-Team: blue}
    settings: {region: eu, project: 7}
    paths: {chat: /c}
    timeouts: {first_byte_s: 5}
    tls: {verify: false, ca_file: ca.pem}
    proxy: none
    models: {a: {context_window: 10, base_model: gpt-4o}, "b-*": {}}
    prices: {"*": {input: 1}}
"""
    provider = load_text(text, {"LAB": "secret"}).providers["lab"]
    connection = provider.connection
    assert connection.base_url == "https://lab.example/v1"
    assert connection.credential is not None
    assert (connection.credential.reference, connection.credential.value.reveal()) == ("env LAB", "secret")
    assert connection.auth == AuthHeader(name="x-api-key", prefix="")
    assert connection.headers["x-team"].reveal() == "blue"
    assert {name: value.reveal() for name, value in connection.settings.items()} == {"region": "eu", "project": "7"}
    assert connection.timeouts.first_byte_s == 5
    assert connection.tls is not None
    assert connection.tls.ca_file is not None
    assert connection.tls.ca_file.endswith("/ca.pem")
    assert connection.proxy is not None
    assert connection.proxy.reveal() == ""
    assert provider.like == "vllm"
    assert provider.offered == ("a", "b-*")
    assert decoded(provider.models["a"].facts) == {"max_input_tokens": 10}
    assert decoded(provider.models["*"].facts) == {"input_cost_per_token": "0.000001"}


def test_the_authorization_header_keeps_its_scheme(load_text: Load) -> None:
    text = "providers: {a: {base_url: http://x, auth_header: Authorization}, b: {base_url: http://x, auth_header: {name: K, prefix: 'T '}}}"
    providers = load_text(text).providers
    assert providers["a"].connection.auth == AuthHeader()
    assert providers["b"].connection.auth == AuthHeader(name="k", prefix="T ")


def test_a_provider_may_be_named_and_nothing_else(load_text: Load) -> None:
    assert load_text("providers:\n  ollama:\n").providers["ollama"].connection.base_url is None


def test_an_unset_credential_names_its_variable_and_stops_nothing(load_text: Load) -> None:
    settings = load_text("providers:\n  openai: {api_key: '${NOT_SET}'}\n")
    credential = settings.providers["openai"].connection.credential
    assert credential is not None
    assert credential.missing == ("NOT_SET",)
    assert settings.warnings == ()


def test_an_unset_address_makes_the_provider_unavailable_and_an_unset_region_does_not(load_text: Load) -> None:
    text = (
        "providers:\n  lab: {base_url: 'https://${HOST_OF}/v1', settings: {region: '${REGION}', secret_key: '${S}'}}\n"
    )
    connection = load_text(text).providers["lab"].connection
    assert connection.base_url is None
    assert connection.missing == ("HOST_OF", "S")
    assert connection.unset == ("REGION",)


def test_an_unset_ordinary_setting_counts_as_not_written_and_is_told(load_text: Load) -> None:
    settings = load_text("server:\n  port: ${PORT_OF_MINE}\n")
    assert settings.server.port == 4000
    assert settings.warnings[0].endswith(
        "config.yaml:2: server.port: PORT_OF_MINE is not set; the key counts as not written"
    )


# ------------------------------------------------------------------------------------------ other sections
def test_router_server_and_the_rest(load_text: Load) -> None:
    text = """
models: {m: openai/a, n: openai/b}
router: {strategy: least-busy, num_retries: 4, timeout: 30, retry_after_seconds: 9, fallbacks: {on_error: false, default: n}}
server:
  host: 0.0.0.0
  port: "${P:-4123}"
  workers: 2
  root_path: llm/
  cors_origins: https://a.example
  trusted_proxies: [10.0.0.0/8, 192.168.1.7]
  drain_delay_s: 1
  compat: litellm
  response_model: requested
  drop_params: false
  implicit_models: true
  limits: {body_bytes: 20MB, connections: 5}
auth: {master_key: [one-very-long-key, another-long-key], header: X-Mine, salt_key: salt}
storage: {data_dir: state, database_url: "postgres://u:p@h/d", redis_url: redis://r}
spool: {sync: always, max_bytes: 1 GiB, on_full: refuse}
logging: {level: debug, json: false}
media: {fetch: false, types: image/png}
callbacks: [prometheus, {name: langfuse, on: [failure], params: {x: 1}}]
"""
    settings = load_text(text, data_dir=None)
    router, server = settings.router, settings.server
    assert (router.strategy, router.num_retries, router.request_timeout_s, router.cooldown_s) == (
        "least-busy",
        4,
        30.0,
        9.0,
    )
    assert (router.fallbacks.on_error, router.fallbacks.on_rate_limit, router.fallbacks.default) == (
        False,
        True,
        ("n",),
    )
    assert (server.host, server.port, server.workers, server.root_path) == ("0.0.0.0", 4123, 2, "/llm")
    assert server.trusted_proxies == ("10.0.0.0/8", "192.168.1.7/32")
    assert (server.drain_delay_s, server.limits.body_bytes, server.limits.connections) == (1.0, 20 * 1024**2, 5)
    assert (settings.compat, settings.response_model, settings.drop_params, settings.implicit_models) == (
        "litellm", "requested", False, True,
    )  # fmt: skip
    assert len(settings.auth.master_keys) == 2
    assert settings.auth.header_names == ("x-mine",)
    assert settings.storage.data_dir.endswith("/state")
    assert settings.storage.database_url.reveal() == "postgresql+asyncpg://u:p@h/d"
    assert (settings.spool.sync, settings.spool.max_bytes, settings.spool.on_full) == ("always", 1024**3, "refuse")
    assert (settings.logging.level, settings.logging.json) == ("debug", False)
    assert (settings.media.fetch, settings.media.types) == (False, ("image/png",))
    assert [(callback.name, callback.on) for callback in settings.callbacks] == [
        ("prometheus", ("success", "failure")), ("langfuse", ("failure",)),
    ]  # fmt: skip


@pytest.mark.parametrize(("written", "any_other", "default"), [("true", True, ()), ("[n]", False, ("n",))])
def test_short_fallback_rules(load_text: Load, written: str, any_other: bool, default: tuple[str, ...]) -> None:
    rules = load_text(f"models: {{n: openai/a}}\nrouter: {{fallbacks: {written}}}\n").router.fallbacks
    assert (rules.any_other, rules.default) == (any_other, default)


def test_variables_of_the_file_come_before_references(load_text: Load) -> None:
    text = "environment: {REGION: '${ELSEWHERE}', KEY: abc, UNSET_ONE: '${NOPE}'}\nmodels: {m: {model: openai/a, api_key: '${KEY}'}}\n"
    settings = load_text(text, {"ELSEWHERE": "eu"})
    assert settings.variable("REGION") == "eu"
    assert "UNSET_ONE" not in settings.environ
    assert settings.models[0].deployments[0].connection.credential is not None


# -------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("modles: {}\n", ":1: unknown key `modles`; did you mean `models`?"),
        ("server:\n  prot: 1\n", ":2: server: unknown key `prot`; did you mean `port`?"),
        ("router:\n  fallbacks:\n    on_eror: true\n", ":3: router.fallbacks: unknown key `on_eror`; did you mean `on_error`?"),
        ("providers:\n  x:\n    base_ur: http://x\n", ":3: providers.x: unknown key `base_ur`; did you mean `base_url`?"),
        ("models:\n  m:\n    - openai/a\n    - {model: b, wieght: 1}\n", ":4: models.m[1]: unknown key `wieght`; did you mean `weight`?"),
        ("models:\n  m: {deployments: [{model: b, wieght: 1}]}\n", ":2: models.m.deployments[0]: unknown key `wieght`; did you mean `weight`?"),
        ("models:\n  m: {model: x/y, prices: {inptu: 1}}\n", ":2: models.m.prices: unknown key `inptu`; did you mean `input`?"),
        ("server: {port: none}\n", ":1: server.port: must be a whole number"),
        ("server: {port: 70000}\n", ":1: server.port: must be less than or equal to 65535"),
        ("server: {drop_params: maybe}\n", ":1: server.drop_params: must be true or false"),
        ("server: {trusted_proxies: [here]}\n", ":1: server.trusted_proxies[0]: must be an address or a network, as 10.0.0.0/8"),
        ("logging: {level: loud}\n", ":1: logging.level: must be 'debug', 'info', 'warning' or 'error'"),
        ("models: {m: []}\n", ":1: models.m: needs at least one target, as `openai/gpt-4o`"),
        ("models: [a]\n", ":1: models: must be a mapping"),
        ("spool: fast\n", ":1: spool: must be a mapping of settings"),
        ("models: {m: {model: x/y, prices: {input: free}}}\n", ":1: models.m.prices.input: must be an amount in dollars"),
        ("providers: {x: {base_url: lab.example}}\n", ":1: providers.x.base_url: must begin with http:// or https://"),
        ("models:\n  a: x/y\n  a: x/z\n", ":3: models.a: stands twice; keep one"),
        ("models: {a: {model: x/y, fallbacks: [aa]}}\n", ":1: models.a.fallbacks: there is no model `aa`; did you mean `a`?"),
        ("models: {a: x/y}\naliases: {b: c}\n", ":2: aliases.b: there is no model `c`"),
        ("models: {a: x/y}\naliases: {a: a}\n", ":2: aliases.a: is already the name of a model"),
        ("auth: nobody\n", ":1: auth.mode: must be 'key' or 'none'"),
        ("storage: {database_url: mysql://x}\n", "database_url: must begin with postgresql:// (or postgres://), or with sqlite:///"),
    ],
)  # fmt: skip
def test_tells_what_is_wrong_where_and_what_was_meant(load_text: Load, text: str, told: str) -> None:
    assert told in problems(load_text, text)


def test_tells_everything_at_once_in_the_order_of_the_file(load_text: Load) -> None:
    text = "server:\n  prot: 1\nlogging:\n  levle: x\nmodels:\n  m: []\n"
    assert [line.split(":")[1] for line in problems(load_text, text)] == ["2", "4", "6"]


def test_no_message_holds_a_value(load_text: Load) -> None:
    text = """
providers:
  a: {api_key: [sk-secret-1], base_url: "sk-secret-2"}
  b: {api_kye: sk-secret-3, headers: {x: [sk-secret-4]}}
auth: {master_key: {x: sk-secret-5}, mode: sk-secret-6}
storage: {database_url: "sk-secret-7"}
"""
    assert "sk-secret" not in "\n".join(problems(load_text, text))


def test_examples_of_the_manual_load(load_text: Load) -> None:
    from pathlib import Path

    text = (Path(__file__).parent / "examples" / "own.yaml").read_text()
    settings = load_text(text, {"GATEWAY_KEY": "a-long-gateway-key"})
    assert settings.auth.source == "env GATEWAY_KEY"
    assert [found.name for found in settings.models] == ["default", "fast", "balanced", "openrouter/*"]


# ---------------------------------------------------------------------------------------------------- limits
def test_limits_of_the_gateway_of_models_of_end_users_and_of_tags(load_text: Load) -> None:
    text = """
limits:
  gateway: {max_budget: 500, budget_duration: 30d, rpm: 600, max_parallel: 9}
  models: {fast: {tpm: 1000, calendar: false}}
  end_users: {max_budget: 1, budget_duration: 1d}
  tags: {batch: {rpd: 5}}
"""
    limits = load_text(text).limits
    assert limits.gateway == {
        "max_budget": 500.0, "budget_duration": "30d", "calendar_aligned": True, "rpm_limit": 600,
        "max_parallel_requests": 9,
    }  # fmt: skip
    assert limits.models == {"fast": {"tpm_limit": 1000, "calendar_aligned": False}}
    assert limits.end_users == {"max_budget": 1.0, "budget_duration": "1d", "calendar_aligned": True}
    assert limits.tags == {"batch": {"rpd_limit": 5, "calendar_aligned": True}}
    unsaid = load_text("models: {}\n").limits
    assert (unsaid.gateway, unsaid.models, unsaid.end_users, unsaid.tags) == ({}, {}, {}, {})


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("gateway: {max_budget: -1}", "limits.gateway.max_budget"),
        ("gateway: {budget_duration: soon}", "limits.gateway.budget_duration"),
        ("models: {m: {rpm_limit: 5}}", "limits.models.m: unknown key `rpm_limit`"),
    ],
)
def test_a_wrong_limit_is_named(load_text: Load, written: str, key: str) -> None:
    (problem,) = problems(load_text, f"limits: {{{written}}}")
    assert key in problem
