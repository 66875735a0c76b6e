"""Finding what a name means: exact names, aliases, targets, wildcards, implicit models. Built once per snapshot; no I/O."""

import difflib
from collections.abc import Iterator

from msgspec.structs import replace

from wayport.core.errors import ModelNotFound
from wayport.routing.group import AUTO, Group
from wayport.routing.snapshot import Deployment, Model, Snapshot, deployment_id

_MEMORY = 4096
"""names filled in from wildcards and implicit providers that are remembered"""


class Found:
    """A name that means something: the model and its deployments, wildcards filled in."""

    __slots__ = ("auto", "deployments", "group", "model", "name", "names")

    def __init__(
        self,
        *,
        name: str,
        model: Model,
        deployments: tuple[Deployment, ...],
        auto: bool = False,
        pattern: str | None = None,
    ) -> None:
        """`pattern`: which stands for this name, where no model is written so."""
        self.name = name
        self.names = tuple(dict.fromkeys((name, model.name, pattern or name)))
        """by which limits may know it: its own, and the wildcard's that it was found by"""
        self.model = model
        self.deployments = deployments
        self.auto = auto
        """all models together, for a client that leaves the choice to us"""
        self.group: Group | None = None
        """worked out when it is first called"""


class RoutingTable:
    """All that a worker asks of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._found: dict[str, Found] = {
            name: Found(name=name, model=model, deployments=model.deployments)
            for name, model in snapshot.models.items()
        }
        self._filled: dict[str, Found] = {}
        self._ids: dict[str, Found] = {}
        self._everything: dict[str, Found] = {}
        self.mocked = any(
            deployment.mocks
            for model in (*snapshot.models.values(), *snapshot.wildcards)
            for deployment in model.deployments
        )
        """whether any deployment's answers are made up"""
        self._alias_patterns = [(pattern, target) for pattern, target in snapshot.aliases.items() if "*" in pattern]
        for model in snapshot.models.values():
            for deployment in model.deployments:
                self._ids.setdefault(deployment.id, Found(name=model.name, model=model, deployments=(deployment,)))

    def find(self, name: str) -> Found:
        """What a client's model name means. Raises `ModelNotFound` with the nearest names."""
        found = self._found.get(name) or self._filled.get(name)
        if found is not None:
            return found
        found = self._search(name, depth=0)
        if found is None:
            raise self._not_found(name)
        if len(self._filled) >= _MEMORY:
            self._filled.clear()
        self._filled[name] = found
        return found

    def knows(self, name: str) -> bool:
        return name == AUTO or name in self._found or self._search(name, depth=0) is not None

    def find_or_all(self, name: str, mode: str) -> Found:
        """As `find`; `auto`, where nothing has this name, is every listed model of this mode."""
        if name != AUTO or self._search(AUTO, depth=0) is not None:
            return self.find(name)
        found = self._everything.get(mode)
        if found is None:
            # Without an address it is built in (echo): no substitute for a model.
            able = tuple(
                deployment
                for model in self.snapshot.models.values()
                if not model.hidden
                for deployment in model.deployments
                if deployment.base_url and deployment.mode == mode and not deployment.missing
            )
            found = self._everything[mode] = Found(name=AUTO, model=Model(name=AUTO), deployments=able, auto=True)
        return found

    def _search(self, name: str, depth: int) -> Found | None:
        if depth > 8:
            return None
        if name in self._found:
            return self._found[name]
        snapshot = self.snapshot
        alias = snapshot.aliases.get(name)
        if alias is not None and alias != name:
            return self._search(alias, depth + 1)
        if name in self._ids:
            return self._ids[name]
        for pattern, target in self._alias_patterns:
            star = _match(pattern, name)
            if star is not None and target != name:
                return self._search(target.replace("*", star), depth + 1)
        for model in snapshot.wildcards:
            star = _match(model.name, name)
            if star is not None:
                return Found(name=name, model=model, deployments=tuple(_fill(d, name, star) for d in model.deployments))
        return self._implicit(name, depth)

    def _implicit(self, name: str, depth: int) -> Found | None:
        prefix, slash, rest = name.partition("/")
        implicit = self.snapshot.implicit.get(prefix)
        if slash and rest and implicit is not None:
            deployment = _fill(implicit.template, name, rest)
            model = Model(name=name, deployments=(deployment,))
            return Found(name=name, model=model, deployments=(deployment,), pattern=f"{prefix}/*")
        family = self.snapshot.families.get(name)
        return self._search(family, depth + 1) if family is not None and family != name else None

    def _not_found(self, name: str) -> ModelNotFound:
        snapshot = self.snapshot
        if snapshot.compat == "litellm":
            error = ModelNotFound(
                f"/chat/completions: Invalid model name passed in model={name}. "
                "Call `/v1/models` to view available models for your key.",
                param="model",
            )
            error.status, error.code = 400, "400"
            return error
        near = difflib.get_close_matches(name, list(self.names()), n=3, cutoff=0.5)
        text = f"The model `{name}` does not exist here."
        if near:
            text += " Did you mean " + " or ".join(f"`{n}`" for n in near) + "?"
        text += " GET /v1/models lists what there is."
        if "/" in name and not snapshot.implicit_models:
            text += " `implicit_models: true` would open every model of the configured providers."
        return ModelNotFound(text, param="model")

    def names(self) -> Iterator[str]:
        """The names that /v1/models lists."""
        for name, model in self.snapshot.models.items():
            if not model.hidden:
                yield name
        for model in self.snapshot.wildcards:
            if not model.hidden:
                yield model.name
        for alias in self.snapshot.aliases:
            if alias not in self.snapshot.hidden_aliases and "*" not in alias:
                yield alias

    def others(self) -> Iterator[Found]:
        """Every listed model, for `fallbacks: true`."""
        return (found for found in self._found.values() if not found.model.hidden)


def _match(pattern: str, name: str) -> str | None:
    """What stands in the place of the star; None if the name does not fit. One star at most counts."""
    before, star, after = pattern.partition("*")
    if not star:
        return "" if pattern == name else None
    if len(name) >= len(before) + len(after) and name.startswith(before) and name.endswith(after):
        return name[len(before) : len(name) - len(after)]
    return None


def _fill(deployment: Deployment, name: str, star: str) -> Deployment:
    if "*" not in deployment.upstream_model:
        return deployment
    upstream_model = deployment.upstream_model.replace("*", star)
    return replace(
        deployment,
        id=deployment_id(name, deployment.provider, upstream_model, deployment.credential.reference, deployment.region),
        model=name,
        upstream_model=upstream_model,
    )
