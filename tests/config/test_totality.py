"""Whatever stands in a file: it becomes settings and a snapshot, or a `ConfigError`. Nothing else is ever raised."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from wayport.config import schema
from wayport.config.litellm_models import known_keys
from wayport.config.load import Options, load
from wayport.config.problems import ConfigError
from wayport.config.settings import from_json, to_json
from wayport.control.snapshots import build

ENVIRON = {"SET": "value", "EMPTY": "", "OPENAI_API_KEY": "k", "PORT_OF_MINE": "80"}

words = st.sampled_from([
    "openai/gpt-4o", "gpt-4o", "*", "openai/*", "m", "none", "true", "", "${SET}", "${UNSET}", "${PORT_OF_MINE}",
    "os.environ/SET", "os.environ/UNSET", "http://localhost:4000", "https://x.example/v1", "openai_chat", "lab", "1", "-1",
    "1e400", "nan", "10.0.0.0/8", "sk-1234", "azure", "bedrock/converse/x", "//", "http://[", "postgres://h/d", "x" * 300,
])  # fmt: skip
scalars = st.one_of(st.none(), st.booleans(), st.integers(-5, 10**20), st.floats(), words, st.text(max_size=6))


def values(keys: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=4)),
        max_leaves=12,
    )


def schema_keys() -> Iterator[str]:
    for model in vars(schema).values():
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from model.model_fields


OWN = st.sampled_from(sorted({*schema_keys(), "api_base", "timeout", "json", "lab", "m", "gpt-4o"}))
LITELLM = st.sampled_from(
    sorted(
        {
            *known_keys("params"), *known_keys("settings"), "model", "api_key", "model_name", "litellm_params", "model_info",
            "fallbacks", "default_fallbacks", "model_group_alias", "credential_name", "credential_values", "id", "mode",
            "input_cost_per_token", "tiered_pricing", "max_input_tokens", "num_retries", "groq_key", "extra_body", "m", "*",
        }
    )
)  # fmt: skip
HOST = st.sampled_from(
    ["enabled", "port", "providers", "models", "fallbacks", "router", "provider", "model", "api_key", "m"]
)

own_files = st.dictionaries(st.sampled_from(sorted(schema.ConfigIn.model_fields)), values(OWN), max_size=5)
entries = st.fixed_dictionaries(
    {"model_name": scalars, "litellm_params": st.dictionaries(LITELLM, values(LITELLM), max_size=5)},
    optional={"model_info": values(LITELLM)},
)
litellm_files = st.fixed_dictionaries(
    {"model_list": st.lists(entries, max_size=3) | values(LITELLM)},
    optional={
        name: values(st.sampled_from(sorted(known_keys(name))))
        for name in ("litellm_settings", "router_settings", "general_settings")
    }
    | {name: values(LITELLM) for name in ("credential_list", "environment_variables", "include", "callback_settings")},
)
host_files = st.fixed_dictionaries(
    {"litellm": st.dictionaries(HOST, values(HOST), max_size=6).map(lambda d: {**d, "enabled": True})}
)


def try_to_load(content: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "config.yaml"
        # JSON is YAML, but for the spelling of what is not finite.
        file.write_text(json.dumps(content).replace("NaN", ".nan").replace("Infinity", ".inf"))
        try:
            found = load(Options(config=str(file), data_dir=folder), ENVIRON)
            assert from_json(to_json(found)).content_hash == found.content_hash
            build(found)
        except ConfigError as error:
            assert error.problems, "an error that says nothing"  # noqa: PT017 (both ways out are right)


@pytest.mark.parametrize("files", [own_files, litellm_files, host_files], ids=["own", "litellm", "host"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_file_is_right_or_a_config_error(files: st.SearchStrategy[dict[str, Any]], data: st.DataObject) -> None:
    try_to_load(data.draw(files))


EXAMPLES = sorted((Path(__file__).parent / "examples").iterdir())


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a value, itself left out."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from leaves(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], into: Any) -> Any:
    if not path:
        return into
    if isinstance(value, dict):
        return {key: changed(item, path[1:], into) if key == path[0] else item for key, item in value.items()}
    return [changed(item, path[1:], into) if index == path[0] else item for index, item in enumerate(value)]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_right_file_with_one_thing_replaced_is_right_or_a_config_error(example: Path, data: st.DataObject) -> None:
    content = yaml.safe_load(example.read_text())
    path = data.draw(st.sampled_from(list(leaves(content))))
    try_to_load(changed(content, path, data.draw(values(st.sampled_from(["model", "provider", "m", "api_key"])))))
