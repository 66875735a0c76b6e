"""A configuration becomes a snapshot: whom each model reaches, with what, at which price, and what is missing."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wayport.config.load import Options, load
from wayport.config.problems import ConfigError
from wayport.control.snapshots import LocalServer, build, star_of
from wayport.core.errors import ModelNotFound
from wayport.routing.snapshot import Deployment, Snapshot
from wayport.routing.table import RoutingTable

EXAMPLES = Path(__file__).parent.parent / "config" / "examples"
DAY = date(2026, 11, 20)
USD_PER_MILLION = 1_000_000_000


def snapshot_of(
    text: str | Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    found: tuple[LocalServer, ...] = (),
    **options: Any,
) -> Snapshot:
    file = None
    if isinstance(text, Path):
        file = text
    elif text is not None:
        file = Path(options.pop("folder")) / "config.yaml"
        file.write_text(text)
    settings = load(Options(config=str(file) if file else None, data_dir="/nowhere", **options), environ or {})
    return build(settings, day=DAY, found=found)


class Written:
    """Snapshots of configurations that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def snapshot(self, text: str, environ: Mapping[str, str] | None = None, **options: Any) -> Snapshot:
        return snapshot_of(text, environ, folder=self.folder, **options)

    def one(self, text: str, environ: Mapping[str, str] | None = None) -> Deployment:
        """The only deployment of the model `m`."""
        snapshot = self.snapshot(text, environ)
        model = snapshot.models.get("m") or snapshot.wildcards[0]
        (deployment,) = model.deployments
        return deployment

    def problems(self, text: str, environ: Mapping[str, str] | None = None, **options: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            self.snapshot(text, environ, **options)
        return [str(problem).rpartition("config.yaml")[2] for problem in caught.value.problems]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory's own `.env` is not the tests' business."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def reached(snapshot: Snapshot, name: str) -> list[tuple[str, str]]:
    return [(d.provider, d.upstream_model) for d in RoutingTable(snapshot).find(name).deployments]


def litellm(params: str) -> str:
    return f"model_list:\n  - model_name: m\n    litellm_params: {{{params}}}\n"


# ------------------------------------------------------------------------------------ the brought documents
KEYS = {
    "OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a", "GOOGLE_API_KEY": "g", "GWDG_API_KEY": "w",
    "REPLICATE_API_KEY": "r", "MISTRAL_API_KEY": "mi", "OPENROUTER_API_KEY": "or", "GOOGLE_CLOUD_PROJECT": "p",
    "API_KEY_ENV_VAR": "x",
}  # fmt: skip


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.stem)
def test_every_example_builds_with_and_without_credentials(example: Path) -> None:
    bare, whole = snapshot_of(example), snapshot_of(example, KEYS)
    assert bare.models.keys() <= whole.models.keys()
    assert all(not d.missing for model in whole.models.values() for d in model.deployments)


def test_agents_find_the_alias_by_provider_and_model() -> None:
    snapshot = snapshot_of(EXAMPLES / "agents_stack.yaml", {"OPENAI_API_KEY": "k", "GOOGLE_API_KEY": "g"})
    assert reached(snapshot, "openai/gpt-4o") == [("openai", "gpt-4o")]
    assert RoutingTable(snapshot).find("openai/gpt-4o").name == "gpt-4o"
    assert list(RoutingTable(snapshot).names()) == ["gpt-4o", "gemini-pro"]
    (gemini,) = snapshot.models["gemini-pro"].deployments
    assert (gemini.credential.reference, gemini.dialect) == ("env GOOGLE_API_KEY", "gemini_content")
    with pytest.raises(ModelNotFound):
        RoutingTable(snapshot).find("openai/gpt-4")


def test_a_host_configuration_is_chains_and_its_providers_stand_open() -> None:
    snapshot = snapshot_of(EXAMPLES / "host_config.yml", KEYS)
    assert snapshot.models["default"].ordered
    assert reached(snapshot, "default") == [("openai", "gpt-4o"), ("gwdg_saia", "llama-3.3-70b")]
    assert reached(snapshot, "gwdg_saia/qwq-32b") == [("gwdg_saia", "qwq-32b")]
    assert reached(snapshot, "anthropic/claude-3-haiku-20240307") == [("anthropic", "claude-3-haiku-20240307")]
    assert reached(snapshot, "openai/gpt-4o") == [("openai", "gpt-4o")]
    assert list(RoutingTable(snapshot).names()) == ["default", "fast", "code", "reasoning"]
    with pytest.raises(ModelNotFound):
        RoutingTable(snapshot).find("mistral/mistral-medium")
    assert (snapshot.response_model, snapshot.router.cooldown_s) == ("upstream", 60.0)


def test_the_generated_configuration_strips_an_unknown_prefix() -> None:
    snapshot = snapshot_of(EXAMPLES / "host_generated.yaml", KEYS)
    first, second = snapshot.models["default"].deployments
    assert (first.order, second.order) == (1, 2)
    assert (second.provider, second.upstream_model, second.base_url) == (
        "gwdg_saia", "llama-3.3-70b", "https://chat-ai.academiccloud.de/v1",
    )  # fmt: skip
    assert second.credential.reference == "env GWDG_API_KEY"
    assert snapshot.router.num_retries == 3


def test_a_bare_name_goes_to_its_maker_and_a_wildcard_lists_what_it_covers() -> None:
    snapshot = snapshot_of(EXAMPLES / "managed_resource.yaml", KEYS)
    assert reached(snapshot, "gpt-3.5-turbo") == [("openai", "gpt-3.5-turbo")]
    assert reached(snapshot, "openrouter/some-lab/new-model") == [("openrouter", "some-lab/new-model")]
    names = list(RoutingTable(snapshot).names())
    assert "openrouter/*" not in names
    assert sum(name.startswith("openrouter/") for name in names) > 100
    listed = snapshot.models["openrouter/meta-llama/llama-3.3-70b-instruct"].deployments[0]
    assert listed.price is not None


def test_replicate_keeps_both_slashes() -> None:
    snapshot = snapshot_of(EXAMPLES / "chat_application.yaml", KEYS)
    assert reached(snapshot, "llama-2-70b") == [("replicate", "meta/llama-2-70b-chat")]
    assert snapshot.router.fallbacks.any_other
    assert snapshot.models["gpt-4"].deployments[0].context_window == 8192


# ------------------------------------------------------------------------------------------- no config file
def test_without_a_file_the_credentials_decide_what_is_listed() -> None:
    snapshot = snapshot_of(None, {"ANTHROPIC_API_KEY": "k"})
    names = list(RoutingTable(snapshot).names())
    assert "wayport/echo" in names
    assert any(name.startswith("anthropic/claude-") for name in names)
    assert not any(name.startswith("openai/") for name in names)


@pytest.mark.parametrize(
    ("name", "provider"), [("gpt-3.5-turbo", "openai"), ("claude-3-haiku", "anthropic"), ("gemini-flash", "gemini")]
)
def test_without_a_file_bare_and_family_names_go_to_their_own_provider(name: str, provider: str) -> None:
    snapshot = snapshot_of(None, KEYS)
    assert reached(snapshot, name)[0][0] == provider


def test_without_a_file_a_missing_credential_is_named() -> None:
    (deployment,) = RoutingTable(snapshot_of(None)).find("gemini/gemini-2.5-flash").deployments
    assert deployment.missing == ("GEMINI_API_KEY", "GOOGLE_API_KEY")


def test_models_of_the_catalogue_have_their_own_price_and_profile_although_nobody_configured_them() -> None:
    snapshot = snapshot_of(None, {"OPENAI_API_KEY": "k"})
    deployment = RoutingTable(snapshot).find("openai/gpt-4o").deployments[0]
    assert deployment.price is not None
    assert deployment.price.rates.input == 2.5 * USD_PER_MILLION
    plain = RoutingTable(snapshot).find("openai/gpt-4o").deployments[0].profile
    assert RoutingTable(snapshot).find("openai/o1-mini").deployments[0].profile != plain


def test_echo_is_always_there_and_free(written: Written) -> None:
    for snapshot in (snapshot_of(None), written.snapshot("models: {m: openai/gpt-4o}\n")):
        (echo,) = snapshot.models["wayport/echo"].deployments
        assert echo.price is not None
        assert echo.price.free
        assert not echo.missing
    assert "wayport/echo" not in list(RoutingTable(written.snapshot("models: {m: openai/gpt-4o}\n")).names())


def test_local_servers_that_were_found_are_models() -> None:
    found = (LocalServer(provider="ollama", base_url="http://127.0.0.1:11434", models=("llama3.2", "qwen3:8b")),)
    snapshot = snapshot_of(None, found=found)
    (deployment,) = RoutingTable(snapshot).find("ollama/qwen3:8b").deployments
    assert (deployment.base_url, deployment.auth.where, deployment.missing) == ("http://127.0.0.1:11434", "none", ())
    assert deployment.price is not None
    assert deployment.price.free
    assert "ollama/llama3.2" in list(RoutingTable(snapshot).names())


def test_star_to_star_opens_every_provider_and_bare_name(written: Written) -> None:
    snapshot = written.snapshot("model_list: [{model_name: '*', litellm_params: {model: '*'}}]\n", KEYS)
    assert reached(snapshot, "gpt-4o") == [("openai", "gpt-4o")]
    assert reached(snapshot, "mistral/brand-new") == [("mistral", "brand-new")]


def test_implicit_models_open_what_no_model_covers(written: Written) -> None:
    text = "models: {gpt-4o: openai/gpt-4o-mini}\nserver: {implicit_models: true}\n"
    snapshot = written.snapshot(text, KEYS)
    assert reached(snapshot, "gpt-4o") == [("openai", "gpt-4o-mini")]
    assert reached(snapshot, "openai/gpt-4o") == [("openai", "gpt-4o")]
    assert list(RoutingTable(snapshot).names()) == ["gpt-4o"]


# -------------------------------------------------------------------------------- credentials and addresses
def test_the_providers_own_variables_are_the_last_resort(written: Written) -> None:
    text = "providers: {openai: {api_key: '${MINE}'}}\nmodels: {m: openai/gpt-4o}\n"
    assert written.one(text, {"MINE": "k", "OPENAI_API_KEY": "o"}).credential.reference == "env MINE"
    assert written.one(text, {"OPENAI_API_KEY": "o"}).missing == ("MINE",)
    assert written.one("models: {m: openai/gpt-4o}\n", {"OPENAI_API_KEY": "o"}).credential.value == "o"
    assert written.one("models: {m: openai/gpt-4o}\n").missing == ("OPENAI_API_KEY",)


def test_the_deployments_own_credential_wins_over_the_providers(written: Written) -> None:
    text = "providers: {openai: {api_key: a}}\nmodels: {m: {model: openai/gpt-4o, api_key: b}}\n"
    deployment = written.one(text)
    assert (deployment.credential.value, deployment.credential.reference) == ("b", "config")
    assert "b" not in repr(deployment.credential).replace("UpstreamCredential", "")


@pytest.mark.parametrize("variable", ["OPENAI_API_BASE", "OPENAI_BASE_URL"])
def test_a_variable_moves_a_provider(written: Written, variable: str) -> None:
    environ = {variable: "https://proxy.example/v1/", "OPENAI_API_KEY": "k"}
    assert written.one("models: {m: openai/gpt-4o}\n", environ).base_url == "https://proxy.example/v1"


def test_any_provider_is_moved_by_its_name(written: Written) -> None:
    environ = {
        "MISTRAL_API_BASE": "https://proxy.example/v1",
        "LAB_API_BASE": "http://10.0.0.9:8000/v1",
        "MISTRAL_API_KEY": "k",
    }
    text = "providers: {lab: {}}\nmodels: {a: mistral/x, b: lab/y}\n"
    snapshot = written.snapshot(text, environ)
    assert snapshot.models["a"].deployments[0].base_url == "https://proxy.example/v1"
    assert snapshot.models["b"].deployments[0].base_url == "http://10.0.0.9:8000/v1"


def test_what_the_file_says_wins_over_the_variable(written: Written) -> None:
    text = "providers: {openai: {base_url: https://file.example/v1}}\nmodels: {m: openai/gpt-4o}\n"
    assert (
        written.one(text, {"OPENAI_API_BASE": "https://env.example", "OPENAI_API_KEY": "k"}).base_url
        == "https://file.example/v1"
    )


def test_the_listening_address_of_a_local_server_is_understood(written: Written) -> None:
    deployment = written.one("models: {m: ollama/llama3}\n", {"OLLAMA_HOST": "0.0.0.0"})
    assert deployment.base_url == "http://127.0.0.1:11434"


@pytest.mark.parametrize(
    "address", ["http://localhost:4000", "http://127.0.0.1:4000/v1", "http://[::1]:4000", "http://0.0.0.0:4000"]
)
def test_our_own_listener_is_refused(written: Written, address: str) -> None:
    (told,) = written.problems("models: {m: openai/gpt-4o}\n", {"OPENAI_API_BASE": address, "OPENAI_API_KEY": "k"})
    assert told.startswith(":1: OPENAI_API_BASE is Wayport's own address (port 4000): calls would run in a circle.")


def test_our_own_listener_is_told_where_the_provider_is_declared(written: Written) -> None:
    text = "server: {port: 4100, host: 10.0.0.1}\nmodels: {m: openai/gpt-4o}\nproviders:\n  openai: {base_url: 'http://10.0.0.1:4100'}\n"
    (told,) = written.problems(text, {"OPENAI_API_KEY": "k"})
    assert told.startswith(":4: the address is Wayport's own address (port 4100)")


def test_another_port_is_somebody_else(written: Written) -> None:
    assert (
        written.one("models: {m: {model: openai/x, base_url: 'http://localhost:4001'}}\n").base_url
        == "http://localhost:4001"
    )


def test_without_a_file_the_circle_is_told_by_the_variable() -> None:
    with pytest.raises(ConfigError, match="OPENAI_API_BASE is Wayport's own address"):
        snapshot_of(None, {"OPENAI_API_BASE": "http://localhost:4000", "OPENAI_API_KEY": "k"})


@pytest.mark.parametrize("address", ["lab.example/v1", "ftp://lab.example", "http://u:p@lab.example"])
def test_addresses_that_are_none(written: Written, address: str) -> None:
    (told,) = written.problems(litellm(f"model: openai/x, api_base: '{address}'"))
    assert "the address" in told
    assert address not in told


# ------------------------------------------------------------------------------------------ custom providers
def test_any_name_with_an_address_is_openai_compatible(written: Written) -> None:
    text = "providers: {lab: {base_url: http://10.0.0.5:8000/v1}}\nmodels: {m: lab/qwen3-32b}\n"
    deployment = written.one(text)
    assert (deployment.dialect, deployment.paths["chat"], deployment.auth.where) == (
        "openai_chat",
        "/chat/completions",
        "none",
    )
    assert written.one(text, {"LAB_API_KEY": "k"}).credential.reference == "env LAB_API_KEY"


def test_a_custom_provider_may_speak_another_dialect(written: Written) -> None:
    text = "providers: {lab: {base_url: https://lab.example, dialect: anthropic_messages, api_key: k}}\nmodels: {m: lab/claude}\n"
    deployment = written.one(text)
    assert (deployment.dialect, deployment.paths["chat"]) == ("anthropic_messages", "/v1/messages")
    assert deployment.auth.name == "x-api-key"


def test_a_known_provider_may_be_spoken_to_in_another_dialect_that_it_offers(written: Written) -> None:
    text = "providers: {openai: {dialect: openai_responses, api_key: k}}\nmodels: {m: openai/gpt-4o}\n"
    deployment = written.one(text)
    assert (deployment.dialect, deployment.paths["chat"]) == ("openai_responses", "/responses")
    assert deployment.base_url == "https://api.openai.com/v1"


def test_a_custom_provider_may_behave_like_a_known_one(written: Written) -> None:
    text = "providers: {my-groq: {like: groq, api_key: k}}\nmodels: {m: my-groq/llama}\n"
    deployment = written.one(text)
    assert (deployment.provider, deployment.base_url) == ("my-groq", "https://api.groq.com/openai/v1")


def test_auth_header_headers_paths_and_timeouts_reach_the_deployment(written: Written) -> None:
    text = """
providers:
  lab:
    base_url: http://10.0.0.5/v1
    api_key: k
    auth_header: x-key
    headers: {x-a: provider, x-b: provider}
    paths: {chat: /talk}
    timeouts: {connect_s: 1, total_s: 9}
    tls: {verify: false}
    proxy: none
models:
  m: {model: lab/x, headers: {x-b: own}, timeouts: {total_s: 3}}
"""
    deployment = written.one(text)
    assert (deployment.auth.name, deployment.auth.prefix) == ("x-key", "")
    assert deployment.headers == {"x-a": "provider", "x-b": "own"}
    assert deployment.paths["chat"] == "/talk"
    assert (deployment.timeouts.connect_s, deployment.timeouts.total_s, deployment.timeouts.idle_s) == (1, 3, 120.0)
    assert deployment.tls is not None
    assert deployment.proxy == ""


def test_offered_models_are_called_by_provider_and_name(written: Written) -> None:
    text = "providers: {lab: {base_url: http://10.0.0.5/v1, models: {a: {prices: {input: 1, output: 2}}, b: {}}}}\n"
    snapshot = written.snapshot(text)
    assert list(RoutingTable(snapshot).names()) == ["lab/a", "lab/b"]
    price = snapshot.models["lab/a"].deployments[0].price
    assert price is not None
    assert (price.rates.input, price.rates.output) == (USD_PER_MILLION, 2 * USD_PER_MILLION)
    with pytest.raises(ModelNotFound):
        RoutingTable(snapshot).find("lab/c")


# ------------------------------------------------------------------------------------------ LiteLLM's spellings
def test_an_address_without_a_prefix_names_the_provider_by_its_host(written: Written) -> None:
    deployment = written.one(litellm("model: my-model, api_base: 'http://10.0.0.7:9000/v1'"))
    assert (deployment.provider, deployment.upstream_model) == ("10.0.0.7:9000", "my-model")


def test_the_custom_provider_key_names_the_provider(written: Written) -> None:
    deployment = written.one(litellm("model: org/model, custom_llm_provider: groq, api_key: k"))
    assert (deployment.provider, deployment.upstream_model) == ("groq", "org/model")
    deployment = written.one(litellm("model: groq/model, custom_llm_provider: groq, api_key: k"))
    assert deployment.upstream_model == "model"


@pytest.mark.parametrize(
    ("params", "model", "dialect"),
    [
        ("model: openai/responses/gpt-5, api_key: k", "gpt-5", "openai_responses"),
        ("model: openai/responses/gpt-5, api_key: k, use_chat_completions_api: true", "gpt-5", "openai_chat"),
        ("model: bedrock/converse/anthropic.claude-3-haiku-20240307-v1:0, aws_region_name: us-east-1", "anthropic.claude-3-haiku-20240307-v1:0", "bedrock_converse"),
        ("model: bedrock/invoke/anthropic.claude-3-haiku-20240307-v1:0, aws_region_name: us-east-1", "anthropic.claude-3-haiku-20240307-v1:0", "anthropic_messages"),
    ],
)  # fmt: skip
def test_spellings_that_choose_an_api(written: Written, params: str, model: str, dialect: str) -> None:
    deployment = written.one(litellm(params))
    assert (deployment.upstream_model, deployment.dialect) == (model, dialect)


def test_a_forced_dialect_has_its_own_path_whatever_the_models_rules_say(written: Written) -> None:
    deployment = written.one(litellm("model: bedrock/openai.gpt-5, aws_region_name: us-east-1"))
    assert deployment.dialect == "openai_responses"
    text = "models: {m: {model: bedrock/openai.gpt-5, dialect: bedrock_converse, settings: {aws_region_name: us-east-1}}}\n"
    deployment = written.one(text)
    assert (deployment.dialect, deployment.paths["chat"]) == ("bedrock_converse", "/model/{model}/converse")


def test_the_responses_api_has_its_own_path(written: Written) -> None:
    assert written.one(litellm("model: openai/responses/gpt-5, api_key: k")).paths["chat"] == "/responses"


def test_the_bedrock_endpoint_is_the_address(written: Written) -> None:
    deployment = written.one(
        litellm("model: bedrock/x, aws_bedrock_runtime_endpoint: 'https://vpce.example', aws_region_name: eu-central-1")
    )
    assert deployment.base_url == "https://vpce.example"
    assert deployment.credential.settings["aws_region_name"] == "eu-central-1"
    assert deployment.signed
    assert deployment.region == "eu-central-1"


def test_vertex_settings_fill_the_address(written: Written) -> None:
    deployment = written.one(
        litellm("model: vertex_ai/gemini-2.5-flash, vertex_project: p, vertex_location: europe-west1")
    )
    assert deployment.base_url == "https://europe-west1-aiplatform.googleapis.com"
    assert deployment.missing == ()


def test_an_unknown_provider_in_litellms_file_stops_nothing(written: Written) -> None:
    snapshot = written.snapshot(litellm("model: nobody_knows/x, api_key: k"))
    assert snapshot.models["m"].deployments[0].missing == ("NOBODY_KNOWS_API_BASE",)
    assert any("`nobody_knows` is no provider that Wayport knows" in warning for warning in snapshot.warnings)


def test_an_id_of_ones_own_is_kept(written: Written) -> None:
    text = "model_list: [{model_name: m, litellm_params: {model: openai/a, api_key: k}, model_info: {id: mine, note: hello}}]\n"
    deployment = written.one(text)
    assert deployment.id == "mine"
    assert msgspec.json.decode(deployment.info["note"]) == "hello"


def test_twins_and_different_literal_credentials_are_told_apart(written: Written) -> None:
    entry = "  - {model_name: m, litellm_params: {model: openai/a, api_key: %s}}\n"
    text = "model_list:\n" + entry % "one" + entry % "two" + entry % "one"
    deployments = written.snapshot(text).models["m"].deployments
    assert len({deployment.id for deployment in deployments}) == 3


def test_ids_survive_a_reload_and_a_rotated_credential(written: Written) -> None:
    text = "models: {m: openai/gpt-4o}\n"
    first, second = (written.one(text, {"OPENAI_API_KEY": key}) for key in ("old", "new"))
    assert first.id == second.id
    assert written.one(text, {"OPENAI_API_KEY": "old"}) == first


# ---------------------------------------------------------------------------------------- prices and windows
def test_the_operators_price_stands_over_the_catalogues(written: Written) -> None:
    deployment = written.one("models: {m: {model: openai/gpt-4o, prices: {output: 1.5}}}\n")
    assert deployment.price is not None
    assert (deployment.price.rates.input, deployment.price.rates.output) == (
        2.5 * USD_PER_MILLION,
        1.5 * USD_PER_MILLION,
    )
    deployment = written.one(litellm("model: openai/gpt-4o, input_cost_per_token: 1e-6, output_cost_per_token: 2e-6"))
    assert deployment.price is not None
    assert (deployment.price.rates.input, deployment.price.rates.cache_read) == (USD_PER_MILLION, None)


def test_a_base_model_lends_price_and_window(written: Written) -> None:
    text = "models: {m: {model: lab/my-own-name, base_model: openai/gpt-4o}}\nproviders: {lab: {base_url: https://lab.example/v1}}\n"
    deployment = written.one(text)
    assert deployment.price is not None
    assert deployment.context_window == 128_000


def test_windows_and_modes_can_be_stated(written: Written) -> None:
    deployment = written.one(
        "models: {m: {model: openai/new-one, context_window: 7, max_output_tokens: 3, mode: embedding}}\n"
    )
    assert (deployment.context_window, deployment.max_output_tokens, deployment.mode) == (7, 3, "embedding")


def test_a_model_that_nobody_priced_is_unpriced_and_not_free(written: Written) -> None:
    assert written.one("models: {m: openai/brand-new-model}\n").price is None
    assert written.one("models: {m: {model: lab/x, base_url: https://lab.example/v1, provider: lab}}\n").price is None


def test_a_profile_can_be_corrected(written: Written) -> None:
    deployment = written.one("models: {m: {model: openai/gpt-4o, profile: {images: none, tool_id_chars: 9}}}\n")
    assert (deployment.profile.images, deployment.profile.tool_id_chars) == ("none", 9)


def test_information_is_shown_under_litellms_names(written: Written) -> None:
    shown = {key: msgspec.json.decode(value) for key, value in written.one("models: {m: openai/gpt-4o}\n").info.items()}
    assert (shown["max_input_tokens"], shown["supports_vision"], shown["input_cost_per_token"]) == (
        128_000,
        True,
        0.0000025,
    )


# ------------------------------------------------------------------------------------ wildcards and aliases
def test_the_most_specific_wildcard_comes_first(written: Written) -> None:
    text = "models: {'*': openai/*, 'claude-*': anthropic/claude-*, 'claude-3-*': openrouter/anthropic/claude-3-*}\n"
    snapshot = written.snapshot(text, {})
    assert [model.name for model in snapshot.wildcards] == ["claude-3-*", "claude-*", "*"]
    assert reached(snapshot, "claude-3-x") == [("openrouter", "anthropic/claude-3-x")]
    assert reached(snapshot, "claude-9") == [("anthropic", "claude-9")]
    assert reached(snapshot, "new-model") == [("openai", "new-model")]


def test_what_the_catalogue_adds_never_hides_what_is_written(written: Written) -> None:
    text = (
        "models: {'*': openai/*, 'gpt-4o*': openrouter/openai/gpt-4o*, gpt-4: mistral/x}\naliases: {gpt-4.1: gpt-4}\n"
    )
    snapshot = written.snapshot(text, KEYS)
    assert reached(snapshot, "gpt-4o") == [("openrouter", "openai/gpt-4o")]
    assert reached(snapshot, "gpt-4") == [("mistral", "x")]
    assert reached(snapshot, "gpt-4.1") == [("mistral", "x")]
    assert reached(snapshot, "gpt-5") == [("openai", "gpt-5")]


def test_alias_patterns_and_hidden_aliases(written: Written) -> None:
    text = "models: {fast: openai/gpt-4o-mini}\naliases: {'claude-*': fast, quick: fast}\n"
    snapshot = written.snapshot(text)
    assert reached(snapshot, "claude-anything") == [("openai", "gpt-4o-mini")]
    assert list(RoutingTable(snapshot).names()) == ["fast", "quick"]
    text = litellm("model: openai/a") + "router_settings: {model_group_alias: {x: {model: m, hidden: true}, y: m}}\n"
    assert list(RoutingTable(written.snapshot(text)).names()) == ["m", "y"]


def test_a_chain_is_not_what_one_of_its_links_is_called(written: Written) -> None:
    snapshot = written.snapshot(
        "models: {default: [openai/gpt-4o, openai/gpt-4], gpt-4: [openai/gpt-4, openai/gpt-4o]}\n"
    )
    assert "openai/gpt-4o" not in snapshot.aliases
    assert snapshot.aliases["openai/gpt-4"] == "gpt-4"


@pytest.mark.parametrize(
    ("pattern", "name", "star"),
    [
        ("a/*", "a/b", "b"),
        ("*-x", "y-x", "y"),
        ("a*c", "abc", "b"),
        ("a*a", "a", None),
        ("a", "a", None),
        ("a/*", "b/c", None),
    ],
)
def test_stars(pattern: str, name: str, star: str | None) -> None:
    assert star_of(pattern, name) == star


# ------------------------------------------------------------------------------------------ policy, warnings
def test_fallback_rules_reach_the_snapshot(written: Written) -> None:
    text = """
model_list:
  - {model_name: a, litellm_params: {model: openai/a}}
  - {model_name: b, litellm_params: {model: openai/b}}
router_settings:
  fallbacks: [{a: [b]}, {"*": [b]}]
  context_window_fallbacks: [{"*": [b]}]
  routing_strategy: latency-based-routing
"""
    snapshot = written.snapshot(text)
    assert snapshot.models["a"].fallbacks == ("b",)
    assert snapshot.models["a"].context_window_fallbacks == ("b",)
    assert snapshot.models["b"].context_window_fallbacks == ()
    assert snapshot.router.fallbacks.default == ("b",)
    assert snapshot.router.strategy == "latency-based-routing"


def test_fallbacks_that_lead_nowhere_are_warned_about(written: Written) -> None:
    snapshot = written.snapshot("models: {a: {model: openai/a, fallbacks: [openai/nope]}}\n")
    assert "fallbacks of `a`: there is no model `openai/nope`" in " ".join(snapshot.warnings)


def test_everything_wrong_is_told_at_once_with_its_line(written: Written) -> None:
    text = """models:
  a: opnai/gpt-4o
  b: {provider: grok, model: x}
  c: {model: openai/x, profile: {imagess: none}}
  d: openrouter/*
providers:
  nobody: {}
  lab: {like: azur, base_url: http://x}
"""
    assert written.problems(text) == [
        ":7: providers.nobody: is no provider that Wayport knows; give it a `base_url` (or set NOBODY_API_BASE)",
        ":8: providers.lab.like: there is no provider `azur`; did you mean `azure`?",
        ":2: `opnai` is no provider that Wayport knows; did you mean `openai`?",
        ":3: there is no provider `grok`; did you mean `groq`?",
        ":4: a profile has no key `imagess`; did you mean `images`?",
        ":5: `openrouter/*` needs a model name with a `*`, too",
    ]


def test_a_snapshot_travels_as_json() -> None:
    snapshot = snapshot_of(EXAMPLES / "own.yaml", KEYS)
    again = msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot)
    assert msgspec.json.encode(again) == msgspec.json.encode(snapshot)
    assert again.models["balanced"].deployments[1].params["temperature"] == msgspec.Raw(b"0.2")


def test_building_twice_gives_the_same_bytes() -> None:
    first, second = (msgspec.json.encode(snapshot_of(EXAMPLES / "managed_resource.yaml", KEYS)) for _ in range(2))
    assert first == second
