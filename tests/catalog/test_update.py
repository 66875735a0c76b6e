"""A refreshed catalogue is taken whole or not at all."""

import json
from pathlib import Path

import msgspec
import pytest

from wayport.catalog.catalog import BUNDLED, INSTALLED, bundled, load
from wayport.catalog.update import NotACatalog, install, read


def test_a_newer_file_of_ours_is_installed(tmp_path: Path) -> None:
    newer = msgspec.json.decode(BUNDLED.read_bytes())
    newer["version"] = "2027-01"
    for row in newer["models"]:
        if (row["provider"], row["model"]) == ("openai", "gpt-4"):
            row["prices"] = [{"price": {"rates": {"input": 1, "output": 2}}}]
    newer["models"].append({"provider": "openai", "model": "gpt-9"})
    update = install(msgspec.json.encode(newer), tmp_path)
    assert (update.version, update.added, update.removed, update.repriced) == ("2027-01", 1, 0, 1)
    catalog = load(tmp_path)
    price = catalog.price_for("openai", "gpt-4")
    assert price is not None
    assert price.rates.input == 1
    assert [path.name for path in tmp_path.iterdir()] == [INSTALLED]


def test_a_price_map_is_laid_over_what_is_known(tmp_path: Path) -> None:
    prices = {
        "sample_spec": {"litellm_provider": "one of https://docs", "input_cost_per_token": 0.0},
        "gpt-4": {"litellm_provider": "openai", "input_cost_per_token": 5e-05, "output_cost_per_token": 1e-4},
        "vertex_ai/new-model": {
            "litellm_provider": "vertex_ai-language-models",
            "mode": "chat",
            "max_input_tokens": 1000,
            "input_cost_per_token": 1e-06,
            "output_cost_per_token": 2e-06,
            "supports_vision": True,
        },
    }
    update = install(json.dumps(prices).encode(), tmp_path)
    assert (update.added, update.repriced) == (1, 1)
    catalog = load(tmp_path)
    price, new = catalog.price_for("openai", "gpt-4"), catalog.lookup("vertex_ai", "new-model")
    assert price is not None
    assert new is not None
    assert (price.rates.input, price.source) == (50_000_000_000, f"price map {catalog.version}")
    assert (new.context_window, new.input_modalities) == (1000, ("image",))
    assert catalog.families() == bundled().families()
    facts = catalog.lookup("openai", "gpt-4")
    assert facts is not None
    assert facts.context_window == 8192


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "no JSON"),
        (b"[]", "JSON object"),
        (b"{}", "neither"),
        (b'{"version":"1","models":[]}', "0 models"),
        (b'{"version":"1","models":[{"provider":1}]}', r"models\[0\]"),
        (b'{"m":{"litellm_provider":"openai","input_cost_per_token":"dear"}}', "input_cost_per_token"),
    ],
)
def test_what_is_no_catalogue_changes_nothing(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(NotACatalog, match=said):
        install(data, tmp_path, name="prices.json")
    assert list(tmp_path.iterdir()) == []


def test_reading_alone_writes_nothing() -> None:
    assert read(BUNDLED.read_bytes()) == BUNDLED.read_bytes()
