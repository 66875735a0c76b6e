"""What the routers of models and credentials work on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from wayport.access.models_store import StoredCredentials, StoredModels
from wayport.config.settings import ModelSettings, Settings
from wayport.control.stored_fallbacks import StoredFallbacks
from wayport.control.stored_models import Entry, ModelSource
from wayport.routing.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class ModelParts:
    store: StoredModels
    credentials: StoredCredentials
    source: ModelSource
    fallbacks: StoredFallbacks
    settings: Callable[[], Settings]
    """those in force"""
    snapshot: Callable[[], Snapshot]
    """the routing facts in force"""
    changed: Callable[[], Awaitable[None]]
    """what was stored serves from now on, here and on other nodes"""

    def check(self, entry: Entry) -> ModelSettings | str:
        return self.source.check(entry, self.settings())

    def shadowed(self) -> frozenset[str]:
        return self.source.shadowed

    def wrong(self) -> Mapping[str, str]:
        return self.source.wrong
