"""LiteLLM's config.yaml as it is: what it means, what is warned about, and nothing that stops a start for no reason."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.config.conftest import Load

from wayport.config.problems import ConfigError
from wayport.config.settings import DeploymentSettings, ModelSettings, Settings
from wayport.core.strategy import StrategyArgs


def model(settings: Settings, name: str) -> ModelSettings:
    return next(model for model in settings.models if model.name == name)


def only(settings: Settings) -> DeploymentSettings:
    (found,) = settings.models
    (deployment,) = found.deployments
    return deployment


def entry(params: str, more: str = "", name: str = "m") -> str:
    return f"model_list:\n  - model_name: {name}\n    litellm_params: {{{params}}}\n{more}"


def decoded(values: dict[str, msgspec.Raw]) -> dict[str, Any]:
    return {key: msgspec.json.decode(value) for key, value in values.items()}


def revealed(deployment: DeploymentSettings) -> dict[str, str]:
    return {name: value.reveal() for name, value in deployment.connection.settings.items()}


# --------------------------------------------------------------------------------------------- model_list
def test_repeated_names_form_a_balanced_group(load_text: Load) -> None:
    text = """
model_list:
  - {model_name: m, litellm_params: {model: openai/a, weight: 2, rpm: 5, tpm: 100, max_parallel_requests: 3, tags: [x]}}
  - {model_name: m, litellm_params: {model: azure/b, order: 2, region_name: eu}}
"""
    found = model(load_text(text), "m")
    first, second = found.deployments
    assert not found.ordered
    assert (first.weight, first.rpm, first.tpm, first.max_parallel, first.tags) == (2.0, 5, 100, 3, ("x",))
    assert (second.order, second.region) == (2, "eu")
    assert second.place.endswith("config.yaml:4")


def test_other_parameters_go_upstream_and_control_parameters_do_not(load_text: Load) -> None:
    text = entry(
        "model: openai/a, temperature: 0.5, max_tokens: 10, top_k: 4, extra_body: {guided: true}, "
        "no_log: true, cooldown_time: 3, stop: null"
    )
    settings = load_text(text)
    assert decoded(only(settings).params) == {"temperature": 0.5, "max_tokens": 10, "top_k": 4, "guided": True}
    (warning,) = [text for text in settings.warnings if "not used yet" in text]
    assert warning.endswith("accepted, not used yet: litellm_params.no_log")
    assert only(settings).cooldown_s == 3


def test_the_address_the_headers_and_the_timeouts(load_text: Load) -> None:
    text = entry(
        "model: openai/a, api_base: 'https://x/v1/', extra_headers: {X-A: b}, headers: {c: 4}, timeout: 30, "
        "stream_timeout: 5, ssl_verify: false, drop_params: false, use_chat_completions_api: true"
    )
    connection = only(load_text(text)).connection
    assert connection.base_url == "https://x/v1"
    assert {name: value.reveal() for name, value in connection.headers.items()} == {"x-a": "b", "c": "4"}
    assert (connection.timeouts.total_s, connection.timeouts.first_byte_s) == (30.0, 5.0)
    assert connection.tls is not None
    assert not connection.tls.verify
    assert (connection.drop_params, connection.dialect) == (False, "openai_chat")


def test_settings_of_providers_are_kept_as_text(load_text: Load) -> None:
    text = entry(
        "model: azure/a, api_version: 2024-10-21, tenant_id: t, client_secret: s, vertex_credentials: {type: sa}, "
        "aws_region_name: us-east-1, aws_bedrock_runtime_endpoint: https://bedrock.example"
    )
    deployment = only(load_text(text))
    assert revealed(deployment) == {
        "api_version": "2024-10-21",
        "tenant_id": "t",
        "client_secret": "s",
        "vertex_credentials": '{"type":"sa"}',
        "aws_region_name": "us-east-1",
        "aws_bedrock_runtime_endpoint": "https://bedrock.example",
    }
    assert deployment.region == "us-east-1"
    assert deployment.connection.base_url == "https://bedrock.example"


def test_each_organisation_is_a_deployment(load_text: Load) -> None:
    (found,) = load_text(entry("model: openai/a, organization: [org-1, org-2]")).models
    assert [d.connection.headers["openai-organization"].reveal() for d in found.deployments] == ["org-1", "org-2"]


def test_prices_and_facts_stand_in_either_mapping(load_text: Load) -> None:
    text = """
model_list:
  - model_name: m
    litellm_params: {model: openai/a, input_cost_per_token: 1e-6}
    model_info: {id: my-id, input_cost_per_token: 9, output_cost_per_token: 0.000002, base_model: gpt-4o, mode: embedding, max_input_tokens: 5, note: x, access_groups: [beta]}
"""
    (found,) = load_text(text).models
    (deployment,) = found.deployments
    facts = decoded(deployment.notes.facts)
    assert (facts["input_cost_per_token"], facts["output_cost_per_token"]) == ("1e-6", 0.000002)
    assert (facts["mode"], facts["max_input_tokens"]) == ("embedding", 5)
    assert (deployment.id, deployment.notes.base_model, found.access_groups) == ("my-id", "gpt-4o", ("beta",))
    assert decoded(deployment.notes.info)["note"] == "x"
    assert deployment.params == {}


def test_a_blocked_deployment_is_left_out(load_text: Load) -> None:
    text = "model_list:\n  - {model_name: m, blocked: true, litellm_params: {model: openai/a}}\n"
    settings = load_text(text)
    assert settings.models == ()
    assert "blocked" in settings.warnings[0]


def test_star_to_star_opens_everything(load_text: Load) -> None:
    settings = load_text("model_list:\n  - {model_name: '*', litellm_params: {model: '*'}}\n")
    assert settings.implicit_models
    assert settings.models == ()


def test_a_model_list_opens_nothing_by_itself(load_text: Load) -> None:
    assert not load_text(entry("model: openai/a")).implicit_models
    assert load_text(entry("model: openai/a", "general_settings: {implicit_models: true}")).implicit_models


# --------------------------------------------------------------------------------------------- credentials
def test_a_missing_credential_is_named_and_hides_the_usual_one(load_text: Load) -> None:
    credential = only(
        load_text(entry("model: openai/a, api_key: os.environ/MY_KEY"), {"OPENAI_API_KEY": "other"})
    ).connection.credential
    assert credential is not None
    assert (credential.missing, credential.value.reveal()) == (("MY_KEY",), "")


STORED = """
credential_list:
  - credential_name: shared
    credential_values: {api_key: os.environ/SHARED, api_base: https://shared/v1}
    credential_info: {custom_llm_provider: openai}
"""


def test_a_stored_credential_is_used_and_the_entry_wins(load_text: Load) -> None:
    text = entry("model: a, litellm_credential_name: shared, api_base: https://own/v1", STORED)
    deployment = only(load_text(text, {"SHARED": "key"}))
    assert deployment.provider == "openai"
    assert deployment.connection.base_url == "https://own/v1"
    assert deployment.connection.credential is not None
    assert deployment.connection.credential.reference == "env SHARED"


def test_an_unknown_stored_credential_makes_the_deployment_unavailable(load_text: Load) -> None:
    settings = load_text(entry("model: openai/a, litellm_credential_name: shraed", STORED))
    credential = only(settings).connection.credential
    assert credential is not None
    assert credential.missing == ("credential shraed",)
    assert any("there is no credential `shraed`; did you mean `shared`?" in warning for warning in settings.warnings)


def test_default_parameters_lie_under_every_entry(load_text: Load) -> None:
    text = entry(
        "model: openai/a, top_p: 1", "router_settings: {default_litellm_params: {temperature: 0, top_p: 2, api_key: k}}"
    )
    deployment = only(load_text(text))
    assert decoded(deployment.params) == {"temperature": 0, "top_p": 1}
    assert deployment.connection.credential is not None


def test_a_providers_key_in_the_library_settings(load_text: Load) -> None:
    settings = load_text("litellm_settings: {groq_key: os.environ/G, vertex_project: p}\n", {"G": "g"})
    credential = settings.providers["groq"].connection.credential
    assert credential is not None
    assert credential.value.reveal() == "g"
    assert settings.defaults.settings["vertex_project"].reveal() == "p"


# ------------------------------------------------------------------------------------- routing and settings
FALLBACKS = """
model_list:
  - {model_name: a, litellm_params: {model: openai/a}}
  - {model_name: b, litellm_params: {model: openai/b}}
  - {model_name: c, litellm_params: {model: openai/c}}
"""


def test_every_form_of_fallbacks(load_text: Load) -> None:
    text = (
        FALLBACKS
        + """
router_settings:
  fallbacks: [{a: [b, c]}, {"*": [c]}]
  default_fallbacks: [b]
  context_window_fallbacks: [{b: [a]}, {"*": [c]}]
litellm_settings:
  content_policy_fallbacks: [{c: a}]
  fallbacks: [{b: [{model: c, temperature: 0}]}]
  default_fallbacks: c
"""
    )
    settings = load_text(text)
    assert model(settings, "a").fallbacks == ("b", "c")
    assert model(settings, "b").fallbacks == ("c",)
    assert model(settings, "b").context_window_fallbacks == ("a",)
    assert model(settings, "c").content_policy_fallbacks == ("a",)
    assert settings.router.fallbacks.default == ("c", "b")
    assert settings.router.fallbacks.context_window == ("c",)
    assert any("its other keys are not used yet" in warning for warning in settings.warnings)


@pytest.mark.parametrize("section", ["litellm_settings", "router_settings"])
def test_fallbacks_true_means_any_other(load_text: Load, section: str) -> None:
    settings = load_text(FALLBACKS + f"{section}: {{fallbacks: true}}\n")
    assert settings.router.fallbacks.any_other
    assert settings.router.fallbacks.default == ()


def test_a_fallback_that_leads_nowhere_is_warned_about(load_text: Load) -> None:
    settings = load_text(FALLBACKS + "router_settings: {fallbacks: [{aa: [b]}]}\n")
    assert "fallbacks: there is no model `aa`; did you mean `a`?" in settings.warnings


def test_aliases_may_be_hidden(load_text: Load) -> None:
    text = FALLBACKS + "router_settings: {model_group_alias: {x: a, y: {model: b, hidden: true}}}\n"
    aliases = load_text(text).aliases
    assert {name: (alias.to, alias.hidden) for name, alias in aliases.items()} == {"x": ("a", False), "y": ("b", True)}


def test_router_settings_win_over_library_settings(load_text: Load) -> None:
    text = (
        FALLBACKS
        + """
router_settings: {num_retries: 3, timeout: 120, retry_after_seconds: 60, routing_strategy: least-busy, stream_timeout: 7}
litellm_settings: {num_retries: 9, request_timeout: 9, max_fallbacks: 2}
"""
    )
    router = load_text(text).router
    assert (router.num_retries, router.request_timeout_s, router.cooldown_s) == (3, 120.0, 60.0)
    assert (router.strategy, router.first_byte_timeout_s, router.fallbacks.max_hops) == ("least-busy", 7.0, 2)


def test_when_breakers_open_and_what_strategies_are_told(load_text: Load) -> None:
    text = """
model_list:
  - model_name: a
    litellm_params: {model: openai/a}
    model_info: {allowed_fails: 9, allowed_fails_policy: {TimeoutErrorAllowedFails: 1}, cooldown_time: 8}
  - {model_name: b, litellm_params: {model: openai/b, rpm: 7}}
router_settings:
  allowed_fails_policy: {InternalServerErrorAllowedFails: 4, BadRequestErrorAllowedFails: 1000, Nonsense: 1}
  cooldown_time: 30
  routing_strategy_args: {ttl: 60, lowest_latency_buffer: 0.5, rpm: 20, speed: 3}
  routing_groups: [{models: [b], routing_strategy_args: {max_latency_list_size: 4}}]
litellm_settings: {allowed_fails: 2}
"""
    settings = load_text(text)
    router = settings.router
    assert router.allowed_fails == {"default": 2, "server": 4, "connect": 4, "cut": 4, "malformed": 4}
    assert router.strategy_args == StrategyArgs(ttl_s=60, lowest_latency_buffer=0.5)
    own = model(settings, "a").deployments[0]
    assert (own.allowed_fails, own.cooldown_s, own.rpm) == ({"default": 9, "timeout": 1}, 8, 20)
    assert (model(settings, "b").deployments[0].rpm, model(settings, "a").strategy_args) == (7, None)
    assert model(settings, "b").strategy_args == StrategyArgs(samples=4)
    warned = [warning for warning in settings.warnings if "unknown key" in warning]
    assert len(warned) == 2
    assert "Nonsense" in "".join(warned)
    assert "speed" in "".join(warned)


def test_library_settings_alone(load_text: Load) -> None:
    text = (
        FALLBACKS
        + "litellm_settings: {num_retries: 2, request_timeout: 9, drop_params: false, json_logs: true, set_verbose: true}\n"
    )
    settings = load_text(text, terminal=True)
    assert (settings.router.num_retries, settings.router.request_timeout_s) == (2, 9.0)
    assert (settings.drop_params, settings.logging.json, settings.logging.level) == (False, True, "debug")


def test_general_settings(load_text: Load) -> None:
    text = """
general_settings:
  master_key: os.environ/MASTER
  database_url: os.environ/DB
  max_request_size_mb: 5
  max_in_flight_requests_per_worker: 7
  litellm_key_header_name: X-Litellm-Key
  trusted_proxy_ranges: [10.0.0.0/8]
router_settings: {redis_host: cache, redis_port: 6380, redis_password: "p@ss"}
"""
    settings = load_text(text, {"MASTER": "a-long-master-key", "DB": "postgresql://h/d?pgbouncer=true"})
    assert settings.auth.source == "env MASTER"
    assert settings.storage.database_url.reveal() == "postgresql+asyncpg://h/d?pgbouncer=true"
    assert (settings.server.limits.body_bytes, settings.server.limits.calls_in_flight) == (5 * 1024**2, 7)
    assert settings.auth.header_names == ("x-litellm-key",)
    assert settings.server.trusted_proxies == ("10.0.0.0/8",)
    assert settings.storage.redis_url is not None
    assert settings.storage.redis_url.reveal() == "redis://:p%40ss@cache:6380/0"


def test_compatibility_is_on(load_text: Load) -> None:
    settings = load_text(FALLBACKS)
    assert (settings.compat, settings.response_model) == ("litellm", "requested")


def test_callbacks_with_their_phases_and_parameters(load_text: Load) -> None:
    text = """
litellm_settings: {callbacks: [otel], success_callback: [langfuse, prometheus], failure_callback: [sentry, langfuse]}
callback_settings: {otel: {message_logging: false}}
"""
    callbacks = {callback.name: callback for callback in load_text(text).callbacks}
    assert callbacks["langfuse"].on == ("success", "failure")
    assert callbacks["prometheus"].on == ("success",)
    assert callbacks["sentry"].on == ("failure",)
    assert decoded(callbacks["otel"].params) == {"message_logging": False}


# ------------------------------------------------------------------------------------- environment_variables
def test_variables_of_the_file_are_set_before_anything_is_resolved(load_text: Load) -> None:
    text = entry(
        "model: openai/a, api_key: os.environ/FROM_FILE",
        "environment_variables: {FROM_FILE: '${FROM_PROCESS}-x', N: 3, B: true}",
    )
    settings = load_text(text, {"FROM_PROCESS": "p"})
    credential = only(settings).connection.credential
    assert credential is not None
    assert credential.value.reveal() == "p-x"
    assert (settings.variable("N"), settings.variable("B")) == ("3", "true")
    assert settings.added_environ == ("B", "FROM_FILE", "N")


def test_an_unset_variable_stays_unset_and_is_never_the_literal(load_text: Load) -> None:
    settings = load_text("environment_variables:\n  SENTRY_DSN: ${SENTRY_DSN}\n  OTHER: os.environ/NOPE\n")
    assert settings.environ == {}


def test_a_variable_may_refer_to_its_own_name(load_text: Load) -> None:
    settings = load_text(
        "environment_variables: {LANGFUSE_PUBLIC_KEY: '${LANGFUSE_PUBLIC_KEY}'}\n", {"LANGFUSE_PUBLIC_KEY": "pk"}
    )
    assert settings.variable("LANGFUSE_PUBLIC_KEY") == "pk"
    assert settings.added_environ == ()


# --------------------------------------------------------------------------------------------------- include
def test_included_lists_are_appended_and_other_keys_replaced(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        entry("model: openai/b", name="second") + "litellm_settings: {num_retries: 5}\n"
    )
    text = (
        "include: [models.yaml]\n"
        + entry("model: openai/a", name="first")
        + "litellm_settings: {num_retries: 1, drop_params: false}\n"
    )
    settings = load_text(text)
    assert [found.name for found in settings.models] == ["first", "second"]
    assert settings.models[1].deployments[0].place == "models.yaml:2"
    assert (settings.router.num_retries, settings.drop_params) == (5, True)
    assert str(tmp_path / "models.yaml") in {source.path for source in settings.sources}


def test_a_missing_include_is_an_error_with_its_line(load_text: Load) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml:2: include: there is no file nowhere\.yaml"):
        load_text("include:\n  - nowhere.yaml\n")
    with pytest.raises(ConfigError, match="there is no file x"):
        load_text(f"include: [{'x' * 300}]\n")


def test_files_may_not_include_each_other_for_ever(load_text: Load, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("include: [config.yaml]\n")
    with pytest.raises(ConfigError, match="includes itself"):
        load_text("include: [other.yaml]\nmodel_list: []\n")


# -------------------------------------------------------------------------------------- warnings and errors
def test_unknown_keys_are_warned_about_with_the_nearest_name(load_text: Load) -> None:
    text = entry("model: openai/a", "litellm_settings: {num_retires: 2}\nrouter_settings: {xyzzy: 1}\nmdoel_list: []\n")
    warnings = [warning.partition("config.yaml")[2] for warning in load_text(text).warnings]
    assert ":4: litellm_settings.num_retires: unknown key; it is ignored; did you mean `num_retries`?" in warnings
    assert ":5: router_settings.xyzzy: unknown key; it is ignored" in warnings
    assert ":6: mdoel_list: unknown key; it is ignored; did you mean `model_list`?" in warnings


def test_what_is_known_and_not_used_yet_is_one_warning(load_text: Load) -> None:
    text = entry(
        "model: openai/a",
        "litellm_settings: {cache: true, cache_params: {type: redis}}\ngeneral_settings: {proxy_batch_write_at: 9}\n",
    )
    warnings = [warning for warning in load_text(text).warnings if "not used yet" in warning]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        "general_settings.proxy_batch_write_at, litellm_settings.cache, litellm_settings.cache_params"
    )


def test_our_keys_in_a_litellm_file_are_warned_about(load_text: Load) -> None:
    warnings = load_text(entry("model: openai/a", "server: {port: 5000}\n")).warnings
    assert any("`server` is Wayport's and is ignored" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model_list:\n  - {litellm_params: {model: openai/a}}\n", ":2: model_list[0]: `model_name` is missing"),
        ("model_list:\n  - {model_name: a}\n", ":2: model_list[0]: `litellm_params.model` is missing"),
        ("model_list: {a: b}\n", ":1: model_list: must be a list"),
        ("model_list:\n  - x\n", ":2: model_list[0]: must be a mapping"),
        ("litellm_settings: {num_retries: many}\n", ":1: litellm_settings.num_retries: must be a whole number of at least 0"),
        ("router_settings: {fallbacks: [a]}\n", ":1: router_settings.fallbacks: must be a list of `{model: [other models]}`"),
        ("general_settings: yes please\n", ":1: general_settings: must be a mapping"),
        ("router_settings: {model_group_alias: {a: [b]}}\n", ":1: router_settings.model_group_alias.a: must be a model's name, or {model, hidden}"),
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_errors_with_their_place(load_text: Load, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert told in [str(problem).partition("config.yaml")[2] for problem in caught.value.problems]


def test_litellms_budgets_of_the_proxy_of_end_users_and_of_tags(load_text: Load) -> None:
    text = """
litellm_settings:
  max_budget: 100
  budget_duration: 30d
  max_end_user_budget: 0.5
  max_end_user_budget_id: standard
  tag_budget_config: {"product:chat": {max_budget: 5, budget_duration: 1d}}
general_settings: {master_key: sk-long-enough-for-anyone, global_max_parallel_requests: 40}
"""
    settings = load_text(text)
    limits = settings.limits
    assert limits.gateway == {"max_budget": 100.0, "budget_duration": "30d", "max_parallel_requests": 40}
    assert limits.end_users == {"max_budget": 0.5, "budget_id": "standard"}
    assert limits.tags == {"product:chat": {"max_budget": 5.0, "budget_duration": "1d"}}
    assert not [warning for warning in settings.warnings if "budget" in warning or "parallel" in warning]
    # LiteLLM's 0 means: none.
    assert load_text("litellm_settings: {max_budget: 0, budget_duration: 30d}").limits.gateway == {}


@pytest.mark.parametrize(("flag", "propagate"), [("", "never"), ("false", "never"), ("true", "client")])
def test_traces_go_upstream_where_litellms_flag_says_so(load_text: Load, flag: str, propagate: str) -> None:
    more = f"litellm_settings: {{forward_traceparent_to_llm_provider: {flag}}}\n" if flag else ""
    assert load_text(entry("model: openai/a", more)).tracing.propagate == propagate


def test_what_is_made_over_http_gets_what_litellms_settings_say(load_text: Load) -> None:
    text = """
litellm_settings:
  default_key_generate_params: {max_budget: 1.5, duration: 30d, models: [a], metadata: {from: config}, odd: 1}
  upperbound_key_generate_params: {max_budget: 10, budget_duration: 30d, tpm_limit: 1000}
  default_internal_user_params: {user_role: internal_user, models: [a], teams: [blue, red]}
  max_internal_user_budget: 4
  internal_user_budget_duration: 7d
  default_team_params: {rpm_limit: 5, team_member_permissions: [/key/info]}
  default_team_settings: [{team_id: t, max_budget: 7, success_callback: [langfuse]}]
general_settings: {disable_auto_add_proxy_admin_to_teams: true}
"""
    settings = load_text(text)
    made = settings.management
    assert made.for_keys == {"max_budget": 1.5, "duration": "30d", "models": ["a"], "metadata": {"from": "config"}}
    assert made.most_for_keys == {"max_budget": 10.0, "budget_duration": "30d", "tpm_limit": 1000}
    assert made.for_users == {
        "user_role": "internal_user", "models": ["a"], "teams": [{"team_id": "blue"}, {"team_id": "red"}],
    }  # fmt: skip
    assert made.for_internal_users == {"max_budget": 4.0, "budget_duration": "7d"}
    assert made.for_teams == {"rpm_limit": 5, "team_member_permissions": ["/key/info"], "max_budget": 7.0}
    assert not made.creator_joins
    assert all(any(name in warning for warning in settings.warnings) for name in ("odd", "success_callback"))
    with_roles = "litellm_settings: {default_internal_user_params: {teams: [{team_id: a, max_budget_in_team: 2}]}}"
    assert load_text(with_roles).management.for_users["teams"] == [{"team_id": "a", "max_budget_in_team": 2.0}]


@pytest.mark.parametrize(
    "params",
    [
        "default_key_generate_params: {max_budget: much}",
        "upperbound_key_generate_params: {duration: forever}",
        "default_internal_user_params: {user_role: king}",
        "default_internal_user_params: {teams: [{user_role: admin}]}",
        "default_internal_user_params: {teams: [{team_id: a, user_role: king}]}",
        "internal_user_budget_duration: often",
        "default_team_params: {max_budget: 1e12}",
    ],
)
def test_what_cannot_be_given_is_an_error(load_text: Load, params: str) -> None:
    with pytest.raises(ConfigError):
        load_text(f"litellm_settings: {{{params}}}")
