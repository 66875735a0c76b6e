"""The routing facts in force, as the control process asks for them: prices and deployments."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from wayport.core.errors import ModelNotFound
from wayport.core.price import Price
from wayport.routing.snapshot import Snapshot
from wayport.routing.table import RoutingTable

_decode = msgspec.json.Decoder(Snapshot).decode


class Place(NamedTuple):
    """A deployment, as metrics name it."""

    id: str
    provider: str
    upstream_model: str
    model: str = ""
    """the name under which it is called"""
    rpm: int | None = None
    tpm: int | None = None


class Facts:
    """Decoded when asked for, and again when there are new ones."""

    def __init__(self, newest: Callable[[], bytes]) -> None:
        self._newest = newest
        self._of: bytes = b""
        self._table: RoutingTable | None = None
        self._names: tuple[RoutingTable, dict[str, str]] | None = None

    @property
    def table(self) -> RoutingTable:
        newest = self._newest()
        if self._table is None or newest is not self._of:
            self._of, self._table = newest, RoutingTable(_decode(newest))
        return self._table

    def price_of(self, model: str) -> Price | None:
        """Of the first deployment that has one."""
        try:
            found = self.table.find(model)
        except ModelNotFound:
            return None
        return next((d.price for d in found.deployments if d.price is not None), None)

    def model_of(self, deployment_id: str) -> str | None:
        """The name under which the deployment is called."""
        if self._names is None or self._names[0] is not self.table:
            models = self.table.snapshot.models.values()
            self._names = (self.table, {d.id: model.name for model in models for d in model.deployments})
        return self._names[1].get(deployment_id)

    def deployments(self) -> Iterator[Place]:
        """Those that can be called."""
        for model in self.table.snapshot.models.values():
            for deployment in model.deployments:
                if deployment.base_url:
                    yield Place(
                        deployment.id,
                        deployment.provider,
                        deployment.upstream_model,
                        model=model.name,
                        rpm=deployment.rpm,
                        tpm=deployment.tpm,
                    )
