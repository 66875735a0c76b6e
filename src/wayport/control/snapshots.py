"""Builds the routing snapshot: the configuration, the providers and the catalogue become models with deployments.

Deterministic: the same settings give the same snapshot, deployment ids included. It is right or there is a `ConfigError`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType

from msgspec import Raw, Struct, structs

from wayport.catalog import catalog as catalogue
from wayport.catalog.catalog import Catalog
from wayport.catalog.facts import ModelFacts
from wayport.config.problems import ConfigError, did_you_mean
from wayport.config.settings import Connection, DeploymentSettings, ModelSettings, PooledCredential, Settings
from wayport.control.parties import Target
from wayport.control.policy import lead_nowhere, policy_of, unknown_strategies
from wayport.control.targets import Mistake, Targets, target_budget
from wayport.core.price import Price
from wayport.providers import plugins
from wayport.providers.provider import Provider
from wayport.providers.registry import Registry
from wayport.routing.snapshot import (
    Deployment,
    ImplicitProvider,
    Model,
    Snapshot,
    TargetBudget,
    deployment_id,
)

_OWN_PREFIX = "wayport"
_ECHO = "echo"
_LISTED_MODES = frozenset({"chat"})


class LocalServer(Struct, kw_only=True, frozen=True):
    """A server that answered on this machine at start."""

    provider: str
    base_url: str
    models: tuple[str, ...] = ()


def build(
    settings: Settings,
    *,
    found: Sequence[LocalServer] = (),
    listed: Mapping[str, tuple[ModelFacts, ...]] = MappingProxyType({}),
    version: int = 0,
    registry: Registry | None = None,
    catalog: Catalog | None = None,
    day: date | None = None,
) -> Snapshot:
    """Raises `ConfigError`.

    `found`: local servers (see `discovery`); `listed`: what the upstreams of wildcards and open providers say that they
    have (see `listings`); `day`: on which prices hold, today (UTC) unless given.
    """
    catalog = catalog or catalogue.load(Path(settings.storage.data_dir))
    broken: tuple[plugins.Broken, ...] = ()
    if registry is None:
        registry, broken = plugins.everyone()
    targets = Targets(
        settings,
        registry=registry,
        catalog=catalog,
        day=day or datetime.now(tz=UTC).date(),
    )
    targets.warnings += [f"the provider plug-in `{one.name}` is not used: {one.reason}" for one in broken]
    snapshot = _Builder(settings, targets, found, listed).snapshot(version)
    if targets.problems:
        raise ConfigError(targets.problems)
    return snapshot


class _Way(Struct, kw_only=True, frozen=True):
    """One target of a wildcard."""

    item: DeploymentSettings
    target: Target
    listed: dict[str, ModelFacts] | None = None
    """by what stands in the star's place, what its upstream says that it has; None: nobody knows"""


class _Builder:
    def __init__(
        self,
        settings: Settings,
        targets: Targets,
        found: Sequence[LocalServer],
        listed: Mapping[str, tuple[ModelFacts, ...]],
    ) -> None:
        self.settings = settings
        self.targets = targets
        self.found = found
        self.listed = listed
        self.configured = settings.spelling != "none"
        self.models: dict[str, Model] = {}
        self.wildcards: list[Model] = []
        self.implicit: dict[str, ImplicitProvider] = {}
        self._direct_names: dict[str, str] | None = None

    def snapshot(self, version: int) -> Snapshot:
        settings = self.settings
        for written in settings.models:
            self._add(self._model(self._pooled(written)), written.place)
        self._offer_declared_models()
        for server in self.found:
            self._add_local(server)
        self._open_providers()
        self.wildcards.sort(key=lambda model: (-len(model.name.replace("*", "")), model.name))
        self._expand()
        self._add_echo()
        aliases = self._aliases()
        families = dict(self.targets.catalog.families()) if settings.implicit_models else {}
        snapshot = Snapshot(
            version=version,
            models=self.models,
            wildcards=tuple(self.wildcards),
            blocked=tuple(_marked(self._model(written)) for written in settings.blocked),
            aliases=aliases,
            hidden_aliases=frozenset(name for name, alias in settings.aliases.items() if alias.hidden)
            | frozenset(name for name in aliases if name not in settings.aliases),
            implicit=self.implicit,
            families=families,
            provider_budgets=dict(self._provider_budgets()),
            router=policy_of(settings),
            compat=settings.compat,
            response_model=settings.response_model,
            drop_params=settings.drop_params,
            implicit_models=settings.implicit_models,
            limits={
                name: limits
                for name, limits in (("", settings.limits.gateway), *settings.limits.models.items())
                if limits
            },
        )
        warnings = dict.fromkeys(
            (*settings.warnings, *self.targets.warnings, *lead_nowhere(snapshot), *unknown_strategies(snapshot))
        )
        return structs.replace(snapshot, warnings=tuple(warnings))

    def _provider_budgets(self) -> Iterator[tuple[str, TargetBudget]]:
        """By the name that deployments have of their provider."""
        groups = (*self.models.values(), *self.wildcards)
        used = {d.provider for model in groups for d in model.deployments}
        used |= {each.provider for each in self.implicit.values()}
        for name, written in self.settings.router.provider_budgets.items():
            found = None if name in used else self.targets.parties.registry.get(name)
            provider = name if found is None else found.name
            try:
                budget = target_budget(f"provider:{provider}", written)
            except Mistake as mistake:
                self.targets.problem(mistake.place, "", mistake.text)
                continue
            if provider not in used:
                hint = did_you_mean(name, used)
                self.targets.warnings.append(f"{written.place}: no deployment is of the provider `{name}`{hint}")
            yield provider, budget

    # ------------------------------------------------------------------------------------------ configured models
    def _model(self, written: ModelSettings) -> Model:
        deployments = []
        for item in written.deployments:
            if "*" in item.target and "*" not in written.name:
                self.targets.problem(item.place, "", f"`{item.target}` needs a model name with a `*`, too")
            elif (deployment := self.targets.deployment(written.name, item)) is not None:
                deployments.append(deployment)
        rules = self.settings.router.fallbacks
        return Model(
            name=written.name,
            deployments=tuple(deployments),
            hidden=written.hidden,
            access_groups=written.access_groups,
            fallbacks=written.fallbacks,
            context_window_fallbacks=written.context_window_fallbacks or _others(rules.context_window, written.name),
            content_policy_fallbacks=written.content_policy_fallbacks or _others(rules.content_policy, written.name),
            ordered=written.ordered,
            num_retries=written.num_retries,
            strategy=written.strategy,
            strategy_args=written.strategy_args or self.settings.router.strategy_args,
            retries=written.retries,
        )

    def _add(self, model: Model, place: str) -> None:
        if "*" in model.name:
            if model.name.count("*") > 1:
                self.targets.problem(place, "", f"`{model.name}`: a name may hold one `*`")
            self.wildcards.append(model)
        else:
            self.models[model.name] = model

    def _pooled(self, written: ModelSettings) -> ModelSettings:
        """Each target once with each credential of its provider's pool; together they keep the target's share."""
        pools = [self._pool_of(item) for item in written.deployments]
        if not any(pools):
            return written
        deployments: list[DeploymentSettings] = []
        for index, (item, pool) in enumerate(zip(written.deployments, pools, strict=True)):
            weight = 1.0 if item.weight is None else item.weight
            total = sum(each.weight for each in pool)
            if not pool:
                deployments.append(structs.replace(item, weight=weight))
            for number, each in enumerate(pool):
                deployments.append(
                    structs.replace(
                        item,
                        id=None if number else item.id,
                        connection=structs.replace(item.connection, credential=each.credential),
                        weight=weight * each.weight / total,
                        pool=f"{written.name} {index}",
                    )
                )
        return structs.replace(written, deployments=tuple(deployments))

    def _pool_of(self, item: DeploymentSettings) -> tuple[PooledCredential, ...]:
        if item.connection.credential is not None:
            return ()
        found = self.targets.parties.find(item)
        declared = self.settings.providers.get(found.provider.name) if isinstance(found, Target) else None
        return declared.pool if declared is not None and len(declared.pool) > 1 else ()

    def _offer_declared_models(self) -> None:
        """Upstream models that the configuration lists under a provider are called `provider/model`."""
        for declared in self.settings.providers.values():
            for name in declared.offered:
                public = f"{declared.name}/{name}"
                if public in self.models or "*" in name:
                    continue
                written = DeploymentSettings(target=name, provider=declared.name, place=declared.place)
                if (deployment := self.targets.deployment(public, written)) is not None:
                    self.models[public] = Model(name=public, deployments=(deployment,))

    def _add_local(self, server: LocalServer) -> None:
        for name in server.models:
            public = f"{server.provider}/{name}"
            written = DeploymentSettings(
                target=name, provider=server.provider, connection=Connection(base_url=server.base_url)
            )
            if public not in self.models and (deployment := self.targets.deployment(public, written)) is not None:
                self.models[public] = Model(name=public, deployments=(deployment,))

    def _add_echo(self) -> None:
        name = f"{_OWN_PREFIX}/{_ECHO}"
        deployment = Deployment(
            id=deployment_id(name, _OWN_PREFIX, _ECHO, "", None),
            model=name,
            provider=_OWN_PREFIX,
            upstream_model=_ECHO,
            price=Price(free=True, source="built in"),
        )
        self.models.setdefault(name, Model(name=name, deployments=(deployment,), hidden=self.configured))

    # ------------------------------------------------------------------------------------------ unconfigured models
    def _open_providers(self) -> None:
        """Providers whose models may be called as `provider/model`."""
        for provider in self._open():
            written = self._written_open(provider)
            target = Target(provider=provider, model="*")
            local = self._local(provider)
            try:
                template = self.targets.make(f"{provider.name}/*", target, written)
            except Mistake as mistake:
                self.targets.problem(mistake.place, "" if mistake.place else provider.name, mistake.text)
                continue
            # A local server that nobody mentioned and that did not answer at start is left alone.
            # So is a cloud of which nothing is set, though its own library might find a credential somewhere.
            credential = template.credential
            meant = bool(credential.value or credential.settings) or provider.name in self.settings.providers
            asked = not template.missing and (meant or local is not None)
            for prefix in (provider.name, *provider.aliases):
                self.implicit[prefix] = ImplicitProvider(provider=provider.name, template=template, asked=asked)

    def _local(self, provider: Provider) -> LocalServer | None:
        return next((server for server in self.found if server.provider == provider.name), None)

    def _written_open(self, provider: Provider) -> DeploymentSettings:
        """How any model of an open provider is reached: a server that was found, where it was found."""
        local = self._local(provider)
        connection = Connection() if local is None else Connection(base_url=local.base_url)
        return DeploymentSettings(target="*", provider=provider.name, connection=connection)

    def _open(self) -> Iterator[Provider]:
        registry = self.targets.registry
        if self.settings.implicit_models:
            yield from (provider for provider in registry.all() if provider.name != _OWN_PREFIX)
        elif self.settings.offer_declared:
            yield from (provider for name in self.settings.providers if (provider := registry.get(name)) is not None)

    def _expand(self) -> None:
        """Models of the catalogue that a wildcard or an open provider covers get their own price, window and profile."""
        by_provider: dict[str, list[ModelFacts]] = {}
        for facts in self.targets.catalog.models:
            by_provider.setdefault(facts.provider, []).append(facts)
        written = {model.name: self._pooled(model) for model in self.settings.models if "*" in model.name}
        for position, model in enumerate(self.wildcards):
            if self._expand_wildcard(model, written[model.name], by_provider, position):
                self.wildcards[position] = structs.replace(model, hidden=True, expanded=True)
        for prefix, implicit in self.implicit.items():
            local = not implicit.template.credential.reference and not implicit.template.signed
            if prefix == implicit.provider and not implicit.template.missing and (implicit.asked or local):
                self._expand_open(implicit, by_provider.get(implicit.provider, ()))

    def _expand_wildcard(
        self, model: Model, written: ModelSettings, catalog: Mapping[str, list[ModelFacts]], position: int
    ) -> bool:
        """Whether the catalogue has models for it; they are then listed in the pattern's place."""
        if all(deployment.missing for deployment in model.deployments):
            return False
        ways = self._ways(model, written)
        stars: dict[str, ModelFacts] = {}
        for way in ways:
            for facts in catalog.get(way.target.provider.name, ()):
                for name in _names(facts):
                    if (star := star_of(way.target.model, name)) is not None:
                        stars.setdefault(star, facts)
        told = {star: facts for way in ways for star, facts in (way.listed or {}).items()}
        stars |= {star: facts for star, facts in told.items() if star not in stars}
        complete = all(way.listed is not None for way in ways)
        listed = False
        for star, facts in stars.items():
            public = written.name.replace("*", star)
            if self._covered(public, position):
                continue
            known = star in told or (not complete and not facts.deprecated and _is_own(facts, public))
            hidden = model.hidden or not known
            listed = listed or not hidden
            deployments = [
                self._filled(public, way, star)
                for way in ways
                if way.listed is None or star in way.listed or star not in told
            ]
            able = tuple(_light(found, hidden=hidden) for found in deployments if found is not None)
            self.models[public] = structs.replace(model, name=public, deployments=able, hidden=hidden)
        return listed

    def _covered(self, public: str, position: int) -> bool:
        """Whether something more specific than the wildcard at `position` has this name already."""
        if public in self.models or public in self.settings.aliases:
            return True
        return any(star_of(other.name, public) is not None for other in self.wildcards[:position])

    def _ways(self, model: Model, written: ModelSettings) -> list["_Way"]:
        ways = []
        for deployment, item in zip(model.deployments, written.deployments, strict=False):
            target = self.targets.parties.find(item)
            if not isinstance(target, Target):
                continue
            told = self.listed.get(deployment.id)
            if told is None:
                ways.append(_Way(item=item, target=target))
                continue
            fitting = {star: facts for facts in told if (star := star_of(target.model, facts.model)) is not None}
            ways.append(_Way(item=item, target=target, listed=fitting))
        return ways

    def _filled(self, public: str, way: "_Way", star: str) -> Deployment | None:
        exact = Target(provider=way.target.provider, model=way.target.model.replace("*", star))
        facts = self._known(exact, None if way.listed is None else way.listed.get(star))
        try:
            return self.targets.make(public, exact, structs.replace(way.item, id=None), facts=facts)
        except (Mistake, ValueError):
            # The wildcard itself has been told about it.
            return None

    def _expand_open(self, implicit: ImplicitProvider, catalog: Iterable[ModelFacts]) -> None:
        provider = self.targets.registry.get(implicit.provider)
        assert provider is not None
        written = self._written_open(provider)
        told = self.listed.get(implicit.template.id)
        for facts in told or ():
            public = f"{provider.name}/{facts.model}"
            if self._covered(public, len(self.wildcards)) or self._leads_elsewhere(provider.name, facts.model):
                continue
            target = Target(provider=provider, model=facts.model)
            known = self._known(target, facts) or facts
            deployment = self.targets.make(public, target, written, facts=known)
            hidden = self.configured or known.mode not in _LISTED_MODES
            self.models[public] = Model(name=public, deployments=(_light(deployment, hidden=hidden),), hidden=hidden)
        for facts in catalog:
            for name in _names(facts):
                public = f"{provider.name}/{name}"
                if self._covered(public, len(self.wildcards)) or self._leads_elsewhere(provider.name, name):
                    continue
                deployment = self.targets.make(public, Target(provider=provider, model=name), written, facts=facts)
                current = facts.mode in _LISTED_MODES and not facts.deprecated and name == facts.model
                hidden = self.configured or not current or told is not None
                self.models[public] = Model(
                    name=public, deployments=(_light(deployment, hidden=hidden),), hidden=hidden
                )

    def _known(self, target: Target, told: ModelFacts | None) -> ModelFacts | None:
        """What the catalogue knows of a model that an upstream listed; what it does not know, the list may say."""
        if told is None:
            return None
        catalog = self.targets.catalog
        facts = catalog.lookup(target.provider.name, told.base_model or target.model)
        if facts is None:
            return told
        return structs.replace(
            facts,
            base_model=told.base_model,
            context_window=facts.context_window or told.context_window,
            max_output_tokens=facts.max_output_tokens or told.max_output_tokens,
            prices=facts.prices or told.prices,
            source=facts.source if facts.prices else told.source,
        )

    def _leads_elsewhere(self, provider: str, upstream_model: str) -> bool:
        """Whether a configured model is the one that `provider/model` means."""
        return f"{provider}/{upstream_model}" in self._direct()

    # --------------------------------------------------------------------------------------------- aliases, policy
    def _direct(self) -> dict[str, str]:
        """`provider/model` to the configured model that leads there and nowhere else, or that has the model's own name."""
        if self._direct_names is None:
            direct: dict[str, str] = {}
            for written in self.settings.models:
                model = self.models.get(written.name)
                if model is None:
                    continue
                reached = {(item.provider, item.upstream_model) for item in model.deployments}
                for provider, upstream_model in reached:
                    if len(reached) == 1 or written.name == upstream_model:
                        direct.setdefault(f"{provider}/{upstream_model}", written.name)
                for item in written.deployments:
                    if len(reached) == 1 and "/" in item.target:
                        direct.setdefault(item.target, written.name)
            self._direct_names = direct
        return self._direct_names

    def _aliases(self) -> dict[str, str]:
        """Written aliases, patterns last and the most specific of them first; then the hidden ones."""
        written = self.settings.aliases
        exact = {name: alias.to for name, alias in written.items() if "*" not in name}
        patterns = sorted((name for name in written if "*" in name), key=lambda name: (-len(name), name))
        hidden = {name: to for name, to in self._direct().items() if name not in self.models and name not in exact}
        return {**exact, **hidden, **{name: written[name].to for name in patterns}}


def _marked(model: Model) -> Model:
    """Each of its deployments says that it is blocked."""
    marked = tuple(structs.replace(d, info={**d.info, "blocked": Raw(b"true")}) for d in model.deployments)
    return structs.replace(model, deployments=marked)


def _others(names: tuple[str, ...], own: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != own)


def star_of(pattern: str, name: str) -> str | None:
    """What stands in the place of the pattern's `*`; None if the name does not fit or there is no `*`."""
    before, star, after = pattern.partition("*")
    if not star or len(name) < len(before) + len(after) or not name.startswith(before) or not name.endswith(after):
        return None
    return name[len(before) : len(name) - len(after)]


def _names(facts: ModelFacts) -> Iterator[str]:
    """The names under which a model can be called; some of the catalogue's stand for whole families and cannot."""
    for name in (facts.model, *facts.names):
        if not name.endswith(("-", ":")) and not name.startswith(("ft:", "regional.")):
            yield name


def _light(deployment: Deployment, *, hidden: bool) -> Deployment:
    """Nobody is shown what is known of a hidden model, and there are hundreds: workers need not carry it."""
    return structs.replace(deployment, info={}) if hidden else deployment


def _is_own(facts: ModelFacts, public: str) -> bool:
    return public.endswith(facts.model)
