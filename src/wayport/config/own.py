"""Reads Wayport's own format: validates it against the schema and turns it into `Settings`."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from msgspec import structs
from pydantic import ValidationError

from wayport.config import schema
from wayport.config.clients import client_side
from wayport.config.mistakes import problems_of
from wayport.config.observing import (
    AlertSettings,
    AlertTarget,
    BodiesSettings,
    MetricsSettings,
    RetentionSettings,
    SmtpSettings,
    TracingSettings,
)
from wayport.config.prices import ITEM_KEYS, SERVICE_SUFFIX, plain, token_prices
from wayport.config.problems import Path, did_you_mean
from wayport.config.reading import Reading, Written, is_secret_setting, raws, text
from wayport.config.settings import (
    AliasSettings,
    AuthHeader,
    AuthSettings,
    BudgetSettings,
    CallbackSettings,
    Connection,
    DeploymentSettings,
    FallbackSettings,
    HealthCheckSettings,
    Limits,
    LimitSettings,
    LoggingSettings,
    MediaSettings,
    ModelNotes,
    ModelSettings,
    PooledCredential,
    ProviderSettings,
    QueueSettings,
    ResponsesSettings,
    RouterSettings,
    ServerSettings,
    Settings,
    SpoolSettings,
    TimeoutWishes,
)
from wayport.core.money import nano_from_usd
from wayport.core.net import ClientSide, TlsSettings
from wayport.core.probe import ProbeWay
from wayport.core.secret import Secret
from wayport.core.strategy import StrategyArgs

_FREE_FORM = frozenset({"params", "info", "profile"})
_REACH = frozenset({"api_key", "base_url", "api_base", "settings", "headers"})
"""where an unset variable makes a deployment unavailable, which is said where deployments are listed"""


def _alerts(given: schema.AlertsIn) -> AlertSettings:
    smtp = given.smtp
    return AlertSettings(
        targets=tuple(
            AlertTarget(kind=one.kind, url=Secret(one.url or ""), secret=Secret(one.secret or ""), to=tuple(one.to))
            for one in given.targets
        ),
        smtp=SmtpSettings(**{**smtp.model_dump(), "password": Secret(smtp.password)}),
        budget_shares=tuple(sorted(given.budget_shares)),
        **given.model_dump(exclude={"targets", "smtp", "budget_shares"}),
    )


_STORED_AS = {
    "calendar": "calendar_aligned",
    "rpm": "rpm_limit",
    "tpm": "tpm_limit",
    "rpd": "rpd_limit",
    "tpd": "tpd_limit",
    "max_parallel": "max_parallel_requests",
}


def _bounds(given: schema.BoundsIn) -> dict[str, Any]:
    """As the limits of keys and people are stored; empty: there are none."""
    told = given.model_dump(exclude_none=True)
    if told.keys() == {"calendar"}:
        return {}
    return {_STORED_AS.get(name, name): value for name, value in told.items()}


def _limits(given: schema.HolderLimitsIn) -> LimitSettings:
    rules = given.model_dump(exclude={"gateway", "models", "end_users", "tags", "unpriced"})
    return LimitSettings(
        **rules,
        unpriced=given.unpriced or "refuse",
        gateway=_bounds(given.gateway),
        models={name: _bounds(bounds) for name, bounds in given.models.items()},
        end_users=_bounds(given.end_users),
        tags={name: _bounds(bounds) for name, bounds in given.tags.items()},
    )


def _probe(given: schema.ProbeIn) -> ProbeWay:
    return ProbeWay(off=not given.background, model=given.model, timeout_s=given.timeout_s, max_tokens=given.max_tokens)


def read_own(reading: Reading) -> Written:
    """Adds what is wrong to `reading.problems`; the result is only good if there is nothing."""
    for path in reading.document.repeated:
        reading.problem(path, "stands twice; keep one")
    values = _written(reading, reading.values, ())
    try:
        config = schema.ConfigIn.model_validate(values)
    except ValidationError as error:
        reading.problems.extend(problems_of(error, schema.ConfigIn, reading.document))
        return Written()
    return _Converter(reading, config).written()


def _written(reading: Reading, values: dict[str, Any], path: Path) -> dict[str, Any]:
    """`values` without keys that have no value: empty ones, and references to unset variables."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        here = (*path, key)
        if value is None:
            if len(here) == 2 and here[0] == "providers":
                result[key] = {}
            elif unset := _worth_a_warning(reading, here):
                reading.warn(here, f"{' and '.join(unset)} is not set; the key counts as not written")
        elif isinstance(value, dict) and key not in _FREE_FORM:
            result[key] = _written(reading, value, here)
        elif isinstance(value, list):
            result[key] = [
                _written(reading, item, (*here, index)) if isinstance(item, dict) else item
                for index, item in enumerate(value)
            ]
        else:
            result[key] = value
    return result


def _worth_a_warning(reading: Reading, path: Path) -> tuple[str, ...]:
    """The unset variables of a key, unless they are told where deployments or the master key are."""
    told_elsewhere = path[0] in ("auth", "environment") or any(part in _REACH for part in path[-2:])
    return () if told_elsewhere else reading.references.unset(path)


class _Converter:
    def __init__(self, reading: Reading, config: schema.ConfigIn) -> None:
        self.reading = reading
        self.config = config

    def written(self) -> Written:
        config, reading = self.config, self.reading
        auth = config.auth
        keys = tuple(Secret(key) for key in auth.master_key if key)
        unset = reading.unset_below(("auth", "master_key"))
        source = "config"
        if keys:
            single = reading.references.source(("auth", "master_key"))
            first = reading.references.source(("auth", "master_key", 0))
            source = first if single == "config" else single
        return Written(
            settings=self._settings(auth),
            auth_none=auth.mode == "none",
            master_keys=keys,
            master_key_source=source,
            master_key_unset=unset,
            allow_weak_master_key=auth.allow_weak_master_key,
            database_url=Secret(config.storage.database_url) if config.storage.database_url else None,
            data_dir=reading.file_path(config.storage.data_dir),
            drain_delay_s=config.server.drain_delay_s,
            json_lines=config.logging.json_lines,
        )

    def _settings(self, auth: schema.AuthIn) -> Settings:
        config = self.config
        redis = config.storage.redis_url
        return Settings(
            spelling="wayport",
            server=self._server(),
            auth=AuthSettings(
                header_names=(auth.header.lower(),) if auth.header else (),
                salt_key=Secret(auth.salt_key) if auth.salt_key else None,
            ),
            storage=structs.replace(Settings().storage, redis_url=Secret(redis) if redis else None),
            spool=SpoolSettings(**config.spool.model_dump()),
            logging=LoggingSettings(level=config.logging.level),
            media=MediaSettings(**{**config.media.model_dump(), "types": tuple(config.media.types)}),
            limits=_limits(config.limits),
            responses=ResponsesSettings(keep_days=config.responses.keep_days),
            providers={name: self._provider(name, item) for name, item in config.providers.items()},
            models=tuple(self._model(name, item) for name, item in config.models.items()),
            aliases=self._aliases(),
            router=self._router(),
            health_checks=HealthCheckSettings(
                **{**config.health_checks.model_dump(), "models": tuple(config.health_checks.models)}
            ),
            defaults=Connection(timeouts=TimeoutWishes(**config.router.timeouts.model_dump())),
            metrics=MetricsSettings(**config.metrics.model_dump()),
            tracing=TracingSettings(propagate=config.tracing.propagate),
            bodies=BodiesSettings(**{**config.bodies.model_dump(), "redact": tuple(config.bodies.redact)}),
            retention=RetentionSettings(**config.retention.model_dump()),
            alerts=_alerts(config.alerts),
            callbacks=tuple(
                CallbackSettings(name=item.name, on=tuple(item.on), params=raws(item.params))
                for item in config.callbacks
            ),
            compat=config.server.compat,
            response_model=config.server.response_model,
            drop_params=config.server.drop_params,
            implicit_models=config.server.implicit_models,
        )

    def _server(self) -> ServerSettings:
        server = self.config.server
        return ServerSettings(
            host=server.host,
            port=server.port,
            workers=server.workers,
            tls_cert=self.reading.file_path(server.tls_cert),
            tls_key=self.reading.file_path(server.tls_key),
            cors_origins=tuple(server.cors_origins),
            trusted_proxies=tuple(server.trusted_proxies),
            client_credentials=_client_side(server.client_credentials),
            client_networks=tuple(server.client_networks),
            root_path=server.root_path,
            grace_s=server.grace_s,
            discover_models_s=server.discover_models_s,
            limits=Limits(**server.limits.model_dump()),
        )

    def _router(self) -> RouterSettings:
        router = self.config.router
        rules = router.fallbacks
        self._known_models(("router", "fallbacks", "default"), rules.default)
        return RouterSettings(
            strategy=router.strategy,
            strategy_args=StrategyArgs(**router.strategy_args.model_dump()),
            queue=QueueSettings(**router.queue.model_dump()),
            allowed_fails={str(kind): count for kind, count in router.allowed_fails.items()},
            num_retries=router.num_retries,
            cooldown_s=router.cooldown_s,
            learn_params=router.learn_params,
            request_timeout_s=router.timeout_s,
            retries={str(kind): count for kind, count in router.retries.items()},
            affinity=tuple(router.affinity),
            tag_filtering=router.tags != "off",
            tag_match_any=router.tags != "all",
            pre_call_checks=router.pre_call_checks,
            allow_mocks=router.allow_mocks,
            provider_budgets={
                name: self._budget(("providers", name, "budget"), item.budget)
                for name, item in self.config.providers.items()
                if item.budget is not None
            },
            fallbacks=FallbackSettings(
                **{
                    **rules.model_dump(),
                    "default": tuple(rules.default),
                    "context_window": tuple(rules.context_window),
                    "content_policy": tuple(rules.content_policy),
                }
            ),
        )

    def _budget(self, path: Path, budget: schema.BudgetIn) -> BudgetSettings:
        return BudgetSettings(
            max_nano_usd=nano_from_usd(budget.max_usd), per=budget.per, place=self.reading.place(path)
        )

    def _aliases(self) -> dict[str, AliasSettings]:
        aliases: dict[str, AliasSettings] = {}
        for name, target in self.config.aliases.items():
            path = ("aliases", name)
            self._known_models(path, [target])
            aliases[name] = AliasSettings(to=target, place=self.reading.place(path))
        for model_name, model in self.config.models.items():
            where: Path = ("models", model_name, "aliases")
            for name in model.aliases:
                if name in self.config.models or name in aliases:
                    self.reading.problem(where, f"`{name}` is already the name of something else")
                aliases[name] = AliasSettings(to=model_name, place=self.reading.place(where))
        for name in self.config.aliases:
            if name in self.config.models:
                self.reading.problem(("aliases", name), "is already the name of a model")
        return aliases

    def _provider(self, name: str, provider: schema.ProviderIn) -> ProviderSettings:
        path: Path = ("providers", name)
        notes = {model: _notes(item) for model, item in provider.models.items()}
        for pattern, prices in provider.prices.items():
            known = notes.get(pattern, ModelNotes())
            notes[pattern] = structs.replace(known, facts={**raws(_stated(prices)), **known.facts})
        connection = self._connection(path, provider)
        pool = tuple(self._pool((*path, "api_keys"), provider.api_keys))
        if pool and provider.api_key is not None:
            self.reading.problem((*path, "api_keys"), "stands beside `api_key`; keep one of them")
        return ProviderSettings(
            name=name,
            like=provider.like,
            connection=structs.replace(connection, credential=pool[0].credential) if pool else connection,
            pool=pool,
            models=notes,
            offered=tuple(provider.models),
            place=self.reading.place(path),
        )

    def _pool(self, path: Path, keys: Sequence[schema.PooledKeyIn]) -> Iterator[PooledCredential]:
        """The credentials of a pool; those whose variable is unset only if there is no other."""
        found = []
        for index, item in enumerate(keys):
            at: Path = (*path, index)
            if not self.reading.references.unset(at) and self.reading.values_at(at):
                at = (*at, "api_key")
            if (credential := self.reading.credential(at, item.api_key)) is not None:
                found.append(PooledCredential(credential=credential, weight=item.weight))
        yield from [each for each in found if not each.credential.missing] or found[:1]

    def _model(self, name: str, model: schema.ModelIn) -> ModelSettings:
        path: Path = ("models", name)
        self._known_models((*path, "fallbacks"), model.fallbacks)
        self._known_models((*path, "context_window_fallbacks"), model.context_window_fallbacks)
        self._known_models((*path, "content_policy_fallbacks"), model.content_policy_fallbacks)
        written = self.reading.values["models"][name]
        chain = (
            written if isinstance(written, list) else written.get("deployments") if isinstance(written, dict) else None
        )
        deployments = []
        for index, item in enumerate(model.deployments):
            at: Path = path
            if isinstance(written, list):
                at = (*path, index)
            elif isinstance(chain, list):
                at = (*path, "deployments", index)
            deployments.append(self._deployment(at, item, model))
        return ModelSettings(
            name=name,
            deployments=tuple(deployments),
            ordered=model.strategy in (None, "ordered"),
            strategy=None if model.strategy == "ordered" else model.strategy,
            strategy_args=None if model.strategy_args is None else StrategyArgs(**model.strategy_args.model_dump()),
            num_retries=model.num_retries,
            retries={str(kind): count for kind, count in model.retries.items()},
            hidden=model.hidden,
            access_groups=tuple(model.access_groups),
            fallbacks=tuple(model.fallbacks),
            context_window_fallbacks=tuple(model.context_window_fallbacks),
            content_policy_fallbacks=tuple(model.content_policy_fallbacks),
            place=self.reading.place(path),
        )

    def _deployment(self, path: Path, item: schema.DeploymentIn, model: schema.ModelIn) -> DeploymentSettings:
        notes = _notes(item)
        if item.prices is None and model.prices is not None:
            notes = structs.replace(notes, facts={**raws(_stated(model.prices)), **notes.facts})
        return DeploymentSettings(
            target=item.model,
            provider=item.provider,
            connection=_with_timeouts(self._connection(path, item), model.timeouts),
            notes=notes,
            params=raws({**model.params, **item.params}),
            weight=item.weight,
            order=item.order,
            rpm=item.rpm,
            tpm=item.tpm,
            max_parallel=item.max_parallel,
            cooldown_s=item.cooldown_s,
            allowed_fails={str(kind): count for kind, count in item.allowed_fails.items()},
            budget=None if item.budget is None else self._budget((*path, "budget"), item.budget),
            probe=_probe(item.health_check),
            tags=tuple(item.tags),
            region=item.region,
            client=_client_side(item.client_credentials),
            place=self.reading.place(path),
        )

    def _connection(self, path: Path, reach: schema.ReachIn) -> Connection:
        reading = self.reading
        header = reach.auth_header
        auth = None
        if header is not None:
            name = header.name if header.query else header.name.lower()
            auth = AuthHeader(name=name, prefix=header.prefix, query=header.query)
        strict: list[Path] = [(*path, key) for key in ("base_url", "api_base", "headers")]
        lenient: list[Path] = []
        for key in reach.settings.keys() | reading.values_at((*path, "settings")).keys():
            (strict if is_secret_setting(key) else lenient).append((*path, "settings", key))
        return Connection(
            base_url=reach.base_url,
            credential=reading.credential((*path, "api_key"), reach.api_key),
            settings={key: Secret(text(value)) for key, value in reach.settings.items() if value is not None},
            missing=reading.unset_at(strict),
            unset=reading.unset_at(lenient),
            dialect=reach.dialect,
            auth=auth,
            headers={name.lower(): Secret(value) for name, value in reach.headers.items()},
            paths=reach.paths,
            timeouts=TimeoutWishes(**reach.timeouts.model_dump()),
            tls=self._tls(reach.tls),
            proxy=None if reach.proxy is None else Secret("" if reach.proxy == "none" else reach.proxy),
            drop_params=reach.drop_params,
        )

    def _tls(self, tls: schema.UpstreamTlsIn | None) -> TlsSettings | None:
        if tls is None:
            return None
        at = self.reading.file_path
        return TlsSettings(
            verify=tls.verify, ca_file=at(tls.ca_file), cert_file=at(tls.cert_file), key_file=at(tls.key_file)
        )

    def _known_models(self, path: Path, names: Iterable[str]) -> None:
        """Names of models that the file must have; `provider/model` is left to those who know the providers."""
        known = {*self.config.models, *self.config.aliases, *self._model_aliases()}
        for name in names:
            if name not in known and "/" not in name and not any("*" in pattern for pattern in known):
                self.reading.problem(path, f"there is no model `{name}`{did_you_mean(name, known)}")

    def _model_aliases(self) -> Iterator[str]:
        for model in self.config.models.values():
            yield from model.aliases


def _client_side(given: list[str | dict[str, str]] | None) -> ClientSide | None:
    return None if given is None else client_side(given)


def _with_timeouts(connection: Connection, of_model: schema.TimeoutsIn) -> Connection:
    """The model's timeouts where the target itself says nothing."""
    own = {name: value for name, value in structs.asdict(connection.timeouts).items() if value is not None}
    return structs.replace(connection, timeouts=TimeoutWishes(**{**of_model.model_dump(), **own}))


def _notes(facts: schema.ModelFactsIn) -> ModelNotes:
    stated: dict[str, Any] = {} if facts.prices is None else _stated(facts.prices)
    if facts.mode is not None:
        stated["mode"] = facts.mode
    if facts.context_window is not None:
        stated["max_input_tokens"] = facts.context_window
    if facts.max_output_tokens is not None:
        stated["max_output_tokens"] = facts.max_output_tokens
    return ModelNotes(
        facts=raws(stated), base_model=facts.base_model, profile=raws(facts.profile), info=raws(facts.info)
    )


def _stated(prices: schema.PricesIn) -> dict[str, Any]:
    """Prices under LiteLLM's names."""
    stated: dict[str, Any] = token_prices(_rates(prices))
    if prices.free:
        stated = {**token_prices({"input": Decimal(0), "output": Decimal(0)}), **stated}
    for tier in prices.tiers:
        stated |= token_prices(_rates(tier), suffix=f"_above_{tier.above_input_tokens // 1000}k_tokens")
    for name, rates in prices.service_tiers.items():
        stated |= token_prices(_rates(rates), suffix=SERVICE_SUFFIX[name])
    for item, key in ITEM_KEYS.items():
        usd: Decimal | None = getattr(prices, item)
        if usd is not None:
            stated[key] = plain(usd)
    if prices.per_web_search is not None:
        stated["search_context_cost_per_query"] = {"search_context_size_medium": plain(prices.per_web_search)}
    return stated


def _rates(written: schema.RatesIn) -> dict[str, Decimal]:
    kinds = schema.RatesIn.model_fields
    return {kind: usd for kind in kinds if (usd := getattr(written, kind)) is not None}
