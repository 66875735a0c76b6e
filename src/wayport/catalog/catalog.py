"""The catalogue: facts of models by provider and name, read once from one file, offline.

It belongs to the control plane: a worker gets prices and windows inside its snapshot. Names are looked for as they are
first, and then under ever looser spellings; a looser one never beats an exact one.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import msgspec

from wayport.catalog.facts import ModelFacts
from wayport.core.price import Price

BUNDLED = Path(__file__).with_name("models.json")
INSTALLED = "catalog.json"
"""name of a refreshed file in the data directory"""

_PREFIXES = re.compile(r"^(?:models/|publishers/[^/]+/models/|accounts/[^/]+/models/)")
_REGIONS = re.compile(r"^(?:us-gov|us|eu|apac|jp|au|ca|in|sa|global|regional)\.")
_ARN = re.compile(r"^arn:aws[^:]*:bedrock:.*/")
_LOOSE_ENDS = (
    re.compile(r"-latest$"),
    re.compile(r"@(?:default|latest|\d{3,8})$"),
    re.compile(r"-v\d+(?::\d+)?(?::\d+k)?$"),
    re.compile(r":\d+$"),
    re.compile(r"-\d{4}-\d{2}-\d{2}$"),
    re.compile(r"-\d{8}$"),
    re.compile(r"-(?:preview-)?\d{2}-\d{2,4}$"),
    re.compile(r"-preview$"),
)
"""How a dated name ends; what is left names the family. A year and month alone (`-2402`) is no such end: makers who write
it so change prices from one to the next."""


class CatalogFile(msgspec.Struct, kw_only=True, frozen=True):
    version: str
    models: tuple[ModelFacts, ...]
    sources: dict[str, str] = {}
    kin: dict[str, tuple[str, ...]] = {}
    likeness: dict[str, tuple[str, ...]] = {}
    vendors: dict[str, str] = {}
    resellers: tuple[str, ...] = ()
    families: dict[str, str] = {}


_decoder = msgspec.json.Decoder(CatalogFile)


class Catalog:
    def __init__(self, data: bytes) -> None:
        """Raises `msgspec.ValidationError` that names the place when `data` is not a catalogue."""
        file = _decoder.decode(data)
        self.version = file.version
        self.models = file.models
        self._file = file
        self._exact: dict[str, dict[str, ModelFacts]] = {}
        self._patterns: dict[str, list[tuple[str, ModelFacts]]] = {}
        for facts in file.models:
            by_name = self._exact.setdefault(facts.provider, {})
            by_name[facts.model.lower()] = facts
            if facts.match is not None:
                self._patterns.setdefault(facts.provider, []).append((facts.match, facts))
        for facts in file.models:
            by_name = self._exact[facts.provider]
            for name in facts.names:
                by_name.setdefault(name, facts)

    def lookup(self, provider: str, model: str) -> ModelFacts | None:
        """What is known of `model` at `provider`; the facts' own name may be that of its family.

        Prices of another provider are taken over only where the reseller charges the same.
        """
        name = model.lower().removeprefix(f"{provider}/")
        spellings = list(_spellings(name))
        if (found := self._find(provider, spellings)) is not None:
            return found
        for kin in self._file.kin.get(provider, ()):
            if (found := self._find(kin, spellings)) is not None:
                return found
        for alike in self._file.likeness.get(provider, ()):
            if (found := self._find(alike, [*spellings, *_without_vendor(spellings)])) is not None:
                return msgspec.structs.replace(found, prices=())
        vendor, slash, rest = name.partition("/")
        if slash and provider in self._file.resellers and vendor in self._file.vendors:
            rest = rest.partition(":")[0]
            return self._find(self._file.vendors[vendor], list(_spellings(rest)))
        return None

    def lookup_base(self, provider: str, base_model: str) -> ModelFacts | None:
        """Facts for a `base_model` as operators write it: a name at this provider, or `provider/model`."""
        prefix, slash, rest = base_model.partition("/")
        if slash and (prefix in self._exact or prefix in self._file.kin):
            found = self.lookup(prefix, rest)
            if found is not None:
                return found
        return self.lookup(provider, base_model)

    def price_for(self, provider: str, model: str, *, day: date | None = None) -> Price | None:
        facts = self.lookup(provider, model)
        return None if facts is None else self.price_of(facts, day=day)

    def price_of(self, facts: ModelFacts, *, day: date | None = None) -> Price | None:
        """The price that holds on `day` (today, UTC, if not given), with its source and version."""
        price = facts.price_at(day or datetime.now(tz=UTC).date())
        if price is None:
            return None
        version = self._file.sources.get(facts.source, self.version)
        return msgspec.structs.replace(price, source=f"{facts.source} {version}".strip(), version=version)

    def families(self) -> Mapping[str, str]:
        """Bare catalogue and family names to `provider/model`."""
        return self._file.families

    def _find(self, provider: str, spellings: list[str]) -> ModelFacts | None:
        exact = self._exact.get(provider)
        if exact is None:
            return None
        patterns = self._patterns.get(provider, ())
        for spelling in spellings:
            if (found := exact.get(spelling)) is not None:
                return found
            for pattern, facts in patterns:
                if _compiled(pattern).search(spelling):
                    return facts
        return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _spellings(name: str) -> Iterator[str]:
    """`name`, and then what is left when prefixes, regions, versions and dates are taken away one after another."""
    seen = {name}
    yield name
    for prefix in (_PREFIXES, _ARN, _REGIONS):
        if (shorter := prefix.sub("", name)) not in seen:
            seen.add(shorter)
            yield shorter
            name = shorter
    shortened = True
    while shortened:
        shortened = False
        for end in _LOOSE_ENDS:
            if (shorter := end.sub("", name)) != name:
                name = shorter
                shortened = True
                if name not in seen:
                    seen.add(name)
                    yield name


def _without_vendor(spellings: list[str]) -> Iterator[str]:
    """`anthropic.claude-…`, `databricks-claude-…`, `openai/gpt-…` without what stands before the model's own name."""
    for spelling in spellings:
        for separator in ("/", "."):
            vendor, found, rest = spelling.partition(separator)
            if found and vendor.isalpha():
                yield rest


def load(data_dir: Path | None = None) -> Catalog:
    """The refreshed catalogue of the data directory if there is a readable one, else the one that came with Wayport."""
    if data_dir is not None and (installed := data_dir / INSTALLED).is_file():
        try:
            return Catalog(installed.read_bytes())
        except msgspec.DecodeError:
            return bundled()
    return bundled()


@cache
def bundled() -> Catalog:
    return Catalog(BUNDLED.read_bytes())


def lookup(provider: str, model: str) -> ModelFacts | None:
    return bundled().lookup(provider, model)


def price_for(provider: str, model: str) -> Price | None:
    return bundled().price_for(provider, model)


def families() -> Mapping[str, str]:
    return bundled().families()
