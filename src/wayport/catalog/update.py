"""A refreshed catalogue: read, checked as a whole, and put into the data directory in one step.

Two formats are taken: our own (`models.json` of a newer release) and LiteLLM's price map. A file that is no good
changes nothing.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from wayport.catalog.catalog import BUNDLED, INSTALLED, Catalog, CatalogFile, bundled
from wayport.catalog.facts import ModelFacts
from wayport.catalog.overrides import override

_LEAST_MODELS = 50
"""a file with fewer is a mistake, not a catalogue"""

_PRICE_MAP = "price map"
_NOT_MODELS = frozenset({"sample_spec"})
_SUFFIXES = (
    "-language-models",
    "-text-models",
    "-chat-models",
    "-vision-models",
    "-embedding-models",
    "_chat",
    "_converse",
)
"""what LiteLLM's provider names say of the kind of model"""


class Update(Struct, kw_only=True, frozen=True):
    """What an update would bring, or has brought."""

    version: str
    models: int
    added: int
    removed: int
    repriced: int


class NotACatalog(ValueError):
    """The file is neither format; says what is wrong with it."""


def read(data: bytes, *, name: str = "") -> bytes:
    """The catalogue that `data` holds, in our own format. Raises `NotACatalog`."""
    try:
        head = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise NotACatalog(f"{name or 'the file'} is no JSON: {error}") from None
    if not isinstance(head, dict):
        raise NotACatalog(f"{name or 'the file'} must be a JSON object")
    if "models" in head and "version" in head:
        try:
            catalog = Catalog(data)
        except msgspec.ValidationError as error:
            raise NotACatalog(f"{name or 'the file'}: {error}") from None
        count = len(catalog.models)
        ours = data
    else:
        ours, count = _from_price_map(head, name)
    if count < _LEAST_MODELS:
        raise NotACatalog(f"{name or 'the file'} has {count} models; a catalogue has at least {_LEAST_MODELS}")
    return ours


def install(data: bytes, data_dir: Path, *, name: str = "") -> Update:
    """Checks `data` and makes it the catalogue of `data_dir`. Raises `NotACatalog`."""
    ours = read(data, name=name)
    target = data_dir / INSTALLED
    try:
        before = Catalog(target.read_bytes())
    except (OSError, msgspec.DecodeError):
        before = bundled()
    data_dir.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=data_dir, prefix=".catalog-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(ours)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return difference(before, Catalog(ours))


def difference(before: Catalog, after: Catalog) -> Update:
    old = {(facts.provider, facts.model): facts.prices for facts in before.models}
    new = {(facts.provider, facts.model): facts.prices for facts in after.models}
    return Update(
        version=after.version,
        models=len(new),
        added=len(new.keys() - old.keys()),
        removed=len(old.keys() - new.keys()),
        repriced=sum(1 for key in new.keys() & old.keys() if new[key] != old[key]),
    )


def _from_price_map(entries: Mapping[str, Any], name: str) -> tuple[bytes, int]:
    """LiteLLM's map from name to keys, laid over the bundled catalogue (which has what the map has not: families, kin)."""
    found: dict[tuple[str, str], ModelFacts] = {}
    for key, row in entries.items():
        if key in _NOT_MODELS or not isinstance(row, dict) or "litellm_provider" not in row:
            continue
        provider = _provider(str(row["litellm_provider"]))
        model = key.removeprefix(f"{provider}/")
        try:
            facts = override(None, row, provider=provider, model=model)
        except (TypeError, ValueError) as error:
            raise NotACatalog(f"{name or 'the price map'}: {key}: {error}") from None
        prices = tuple(structs.replace(dated, price=structs.replace(dated.price, source="")) for dated in facts.prices)
        found[provider, model] = structs.replace(facts, prices=prices, source=_PRICE_MAP)
    if not found:
        raise NotACatalog(f"{name or 'the file'} is neither a catalogue of Wayport's nor a price map")
    base = msgspec.json.decode(BUNDLED.read_bytes(), type=CatalogFile)
    for known in base.models:
        own = found.get((known.provider, known.model))
        if own is None:
            found[known.provider, known.model] = known
        else:
            found[known.provider, known.model] = structs.replace(
                known, prices=own.prices or known.prices, source=_PRICE_MAP if own.prices else known.source
            )
    merged = structs.replace(base, version=f"{base.version}+price-map", models=tuple(found.values()))
    return msgspec.json.encode(merged), len(merged.models)


def _provider(name: str) -> str:
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name
