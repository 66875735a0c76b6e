"""Reads LiteLLM's `config.yaml` as it is. What it knows and we do not use yet is accepted and named once."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any, Literal, cast

from msgspec import structs

from wayport.config.clients import EVERYTHING
from wayport.config.document import Document, is_file, read_document
from wayport.config.fields import Fields
from wayport.config.litellm_management import managed
from wayport.config.litellm_models import ModelList, allowed_fails, budget_of, known_keys, tls_settings
from wayport.config.litellm_observing import litellms
from wayport.config.observing import TracingSettings
from wayport.config.problems import ConfigError, Path, did_you_mean, dotted
from wayport.config.reading import Reading, Written, raws
from wayport.config.settings import (
    AliasSettings,
    AuthSettings,
    BudgetSettings,
    CallbackSettings,
    Connection,
    Credential,
    FallbackSettings,
    HealthCheckSettings,
    LimitSettings,
    LogLevel,
    ModelSettings,
    ProviderSettings,
    QueueSettings,
    RouterSettings,
    Settings,
    TimeoutWishes,
)
from wayport.core.secret import Secret
from wayport.core.strategy import StrategyArgs

_MEGABYTE = 1024 * 1024
_BUDGET_DURATION = re.compile(r"\d{1,6}(s|m|h|d|w|mo)")
_QUEUE_S = 60.0
"""where no `timeout` says how long a call may take"""
_PROVIDER_KEY = "_key"
"""`litellm_settings.<provider>_key` is a provider's credential"""
_PROVIDER_DEFAULTS = ("vertex_project", "vertex_location")


def with_includes(document: Document, folder: FilePath) -> tuple[Document, list[FilePath]]:
    """The document and those that it includes as one (lists are appended, other keys replaced), and their files."""
    merged = Document(file=document.file, places=dict(document.places), repeated=list(document.repeated))
    merged.root = {key: value for key, value in document.root.items() if key != "include"}
    files: list[FilePath] = []
    _include(merged, document, folder, files, (folder / FilePath(document.file).name,))
    return merged, files


def _include(
    merged: Document, document: Document, folder: FilePath, files: list[FilePath], outer: tuple[FilePath, ...]
) -> None:
    names = document.root.get("include")
    names = [names] if isinstance(names, str) else names or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError([document.problem(("include",), "must be a list of file names", "include")])
    for index, name in enumerate(names):
        file = folder / name
        if file in outer:
            raise ConfigError([document.problem(("include", index), f"{name} includes itself", "include")])
        if not is_file(file):
            raise ConfigError([document.problem(("include", index), f"there is no file {name}", "include")])
        files.append(file)
        included = read_document(file, shown_as=name)
        for key, value in included.root.items():
            if key != "include":
                _append(merged, included, key, value)
        _include(merged, included, file.parent, files, (*outer, file))


def _append(merged: Document, included: Document, key: str, value: Any) -> None:
    before = merged.root.get(key)
    offset = 0
    if isinstance(before, list) and isinstance(value, list):
        offset = len(before)
        merged.root[key] = [*before, *value]
    else:
        merged.root[key] = value
        merged.places = {path: place for path, place in merged.places.items() if path[:1] != (key,)}
    for path, place in included.places.items():
        if path[:1] == (key,):
            second = path[1:2]
            moved: Path = (key, second[0] + offset, *path[2:]) if second and isinstance(second[0], int) else path
            merged.places[moved] = place


def read_litellm(reading: Reading) -> Written:
    """Adds what is wrong to `reading.problems`, and unknown keys to `reading.warnings`."""
    return _File(reading).written()


class _File:
    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.top = Fields(reading, (), reading.values)
        self.library = self.top.mapping("litellm_settings")
        self.router = self.top.mapping("router_settings")
        self.general = self.top.mapping("general_settings")
        self.models = ModelList(
            reading,
            defaults=self.router.mapping("default_litellm_params"),
            credentials=self._credentials(),
        )

    def written(self) -> Written:
        for path in self.reading.document.repeated:
            self.reading.warn(path, "stands twice; the last one counts")
        for entry in self.top.entries("model_list"):
            self.models.add(entry)
        settings = self._settings()
        keys = self.general.text("master_key")
        where = (*self.general.path, "master_key")
        database = self.general.text("database_url")
        weak = self.general.flag("dangerously_permit_weak_or_unset_master_key")
        allow_weak = self.general.flag("allow_weak_master_key")
        json_lines = self.library.flag("json_logs")
        written_but_empty = "master_key" in self.general.values and keys is None
        self._warn()
        return Written(
            settings=settings,
            master_keys=(Secret(keys),) if keys else (),
            master_key_source=self.reading.references.source(where),
            master_key_unset=self.reading.references.unset(where) or (("master_key",) if written_but_empty else ()),
            allow_weak_master_key=bool(weak or allow_weak),
            database_url=Secret(database) if database else None,
            json_lines=json_lines,
        )

    def _settings(self) -> Settings:
        base = Settings()
        router = self._router()
        redis = self.router.text("redis_url") or self._redis_from_parts()
        header = self.general.text("litellm_key_header_name")
        drop = self.library.flag("drop_params")
        implicit = self.general.flag("implicit_models")
        models = self._with_fallbacks(self.models.models())
        aliases = self._aliases()
        limits = structs.replace(base.server.limits, **self._limits())
        metrics, bodies, retention, alerts = litellms(self.library, self.general)
        return Settings(
            spelling="litellm",
            server=structs.replace(
                base.server,
                limits=limits,
                trusted_proxies=self.general.networks("trusted_proxy_ranges"),
                client_credentials=EVERYTHING if self.general.flag("allow_client_side_credentials") else None,
            ),
            auth=AuthSettings(header_names=(header.lower(),) if header else ()),
            storage=structs.replace(base.storage, redis_url=Secret(redis) if redis else None),
            logging=structs.replace(base.logging, level=self._log_level()),
            models=models,
            blocked=self.models.blocked(),
            aliases=aliases,
            router=router,
            health_checks=self._health_checks(),
            providers=self._providers(),
            defaults=self._defaults(),
            callbacks=self._callbacks(),
            metrics=metrics,
            tracing=TracingSettings(
                propagate="client" if self.library.flag("forward_traceparent_to_llm_provider") else "never"
            ),
            bodies=bodies,
            retention=retention,
            alerts=alerts,
            limits=self._holder_limits(),
            management=managed(self.library, self.general),
            compat="litellm",
            response_model="requested",
            drop_params=True if drop is None else drop,
            implicit_models=bool(implicit) or self.models.opens_everything,
        )

    def _holder_limits(self) -> LimitSettings:
        library = self.library
        gateway = self._budget(library)
        if (parallel := self.general.whole("global_max_parallel_requests", least=1)) is not None:
            gateway["max_parallel_requests"] = parallel
        end_users: dict[str, Any] = {}
        if budget_id := library.text("max_end_user_budget_id"):
            end_users["budget_id"] = budget_id
        if (most := library.number("max_end_user_budget")) is not None:
            end_users["max_budget"] = most
        tags = library.mapping("tag_budget_config")
        return LimitSettings(
            unpriced="allow",
            budget_exceeded_status=library.whole("budget_exceeded_status_code", most=499),
            gateway=gateway,
            end_users=end_users,
            tags={tag: self._budget(tags.mapping(tag)) for tag in tags.values},
        )

    def _budget(self, section: Fields) -> dict[str, Any]:
        """`max_budget` with its `budget_duration`; 0 is LiteLLM's word for none."""
        most, duration = section.number("max_budget"), section.text("budget_duration")
        if duration is not None and not _BUDGET_DURATION.fullmatch(duration):
            section.wrong("budget_duration", "must be a number and s, m, h, d, w or mo: `30d`")
            duration = None
        if not most:
            return {}
        return {"max_budget": most} | ({"budget_duration": duration} if duration is not None else {})

    def _limits(self) -> dict[str, int]:
        limits: dict[str, int] = {}
        if (megabytes := self.general.number("max_request_size_mb")) is not None and megabytes > 0:
            limits["body_bytes"] = int(megabytes * _MEGABYTE)
        if calls := self.general.whole("max_in_flight_requests_per_worker"):
            limits["calls_in_flight"] = calls
        return limits

    def _log_level(self) -> LogLevel:
        level = (self.router.text("debug_level") or "INFO").lower()
        verbose = [self.library.flag("set_verbose"), self.router.flag("set_verbose")]
        if any(verbose):
            return "debug"
        return cast("LogLevel", level) if level in ("debug", "info", "warning", "error") else "info"

    def _redis_from_parts(self) -> str | None:
        host, port = self.router.text("redis_host"), self.router.whole("redis_port", most=65535)
        password, number = self.router.text("redis_password"), self.router.whole("redis_db")
        if host is None:
            return None
        secret = f":{_quoted(password)}@" if password else ""
        return f"redis://{secret}{host}:{port or 6379}/{number or 0}"

    def _router(self) -> RouterSettings:
        base = RouterSettings()
        retries = self._either("num_retries")
        hops = self._either("max_fallbacks")
        cooldown = self.router.number("retry_after_seconds")
        cooldown_time = self.router.number("cooldown_time")
        timeout = self.router.number("timeout")
        library_timeout = self.library.number("request_timeout")
        first_byte = self.router.number("stream_timeout")
        strategy = self.router.text("routing_strategy")
        if self.router.flag("disable_cooldowns"):
            cooldown_time = 0.0
        match_any = self.router.flag("tag_filtering_match_any")
        key = "dangerously_allow_mock_testing_request_params"
        mocks = self.general.flag(key) or self.library.flag(key)
        checks = self.router.words("optional_pre_call_checks")
        affinity = [ours for theirs, ours in _AFFINITY.items() if theirs in checks]
        return RouterSettings(
            retries=_retries(self.router.mapping("retry_policy")),
            affinity=tuple(dict.fromkeys(("session", "response", *affinity))),
            tag_filtering=bool(self.router.flag("enable_tag_filtering")),
            tag_match_any=match_any is not False,
            pre_call_checks=bool(self.router.flag("enable_pre_call_checks")),
            allow_mocks=bool(mocks),
            provider_budgets=dict(self._provider_budgets()),
            strategy=strategy or base.strategy,
            strategy_args=self._strategy_args(self.router.mapping("routing_strategy_args")),
            queue=self._queue(),
            allowed_fails=allowed_fails(self._either("allowed_fails"), self.router.mapping("allowed_fails_policy")),
            num_retries=base.num_retries if retries is None else retries,
            cooldown_s=next((found for found in (cooldown_time, cooldown) if found is not None), base.cooldown_s),
            request_timeout_s=library_timeout if timeout is None else timeout,
            first_byte_timeout_s=first_byte,
            fallbacks=FallbackSettings(
                any_other=self._any_other(),
                default=self._defaults_of("fallbacks"),
                context_window=self._defaults_of("context_window_fallbacks"),
                content_policy=self._defaults_of("content_policy_fallbacks"),
                max_hops=base.fallbacks.max_hops if hops is None else hops,
            ),
        )

    def _provider_budgets(self) -> Iterator[tuple[str, BudgetSettings]]:
        section = self.router.mapping("provider_budget_config")
        for name in section.values:
            written = section.mapping(name)
            budget = budget_of(written, written.path)
            if budget is None:
                self.reading.problem(written.path, "needs a `budget_limit`, as `{budget_limit: 100, time_period: 1d}`")
            else:
                yield name, budget
            written.warn_unknown(("budget_limit", "max_budget", "time_period", "budget_duration"))

    def _health_checks(self) -> HealthCheckSettings:
        base, general = HealthCheckSettings(), self.general
        routed = [section.flag("enable_health_check_routing") for section in (self.router, general)]
        transient = [section.flag("health_check_ignore_transient_errors") for section in (self.router, general)]
        stale = [section.number("health_check_staleness_threshold") for section in (self.router, general)]
        groups = [section.words("background_health_check_model_groups") for section in (self.router, general)]
        return HealthCheckSettings(
            background=bool(general.flag("background_health_checks")),
            every_s=general.number("health_check_interval", least=1.0) or base.every_s,
            timeout_s=general.number("health_check_timeout") or base.timeout_s,
            at_once=general.whole("health_check_concurrency", least=1) or base.at_once,
            models=tuple(dict.fromkeys(name for names in groups for name in names)),
            route=any(routed),
            stale_after_s=next((found for found in stale if found), None),
            ignore_transient=any(transient),
        )

    def _strategy_args(self, args: Fields) -> StrategyArgs:
        args.used.update(("rpm", "tpm"))
        if args.any("ttft_percentile") is not None:
            self.reading.warn(
                (*args.path, "ttft_percentile"), "is not used: the smoothed time to the first token counts"
            )
        found = StrategyArgs(
            lowest_latency_buffer=args.number("lowest_latency_buffer"),
            ttl_s=args.number("ttl") or None,
            samples=args.whole("max_latency_list_size", least=1),
        )
        args.warn_unknown(("lowest_latency_buffer", "ttl", "max_latency_list_size", "ttft_percentile", "rpm", "tpm"))
        return found

    def _queue(self) -> QueueSettings:
        """LiteLLM's scheduler: calls that have a priority wait until their time is over."""
        self.router.used.add("polling_interval")
        wait_s = self.router.number("timeout") or _QUEUE_S
        priority = self.router.whole("default_priority", most=1_000_000)
        return QueueSettings(wait_s=0.0 if priority is None else wait_s, stated_wait_s=wait_s, priority=priority or 0)

    def _either(self, key: str) -> int | None:
        """A number that may stand in `router_settings` (which wins) or in `litellm_settings`."""
        ours, library = self.router.whole(key), self.library.whole(key)
        return library if ours is None else ours

    def _any_other(self) -> bool:
        """`fallbacks: true` in either section."""
        flags = [section.values.get("fallbacks") is True for section in (self.router, self.library)]
        return any(flags)

    def _fallback_map(self, key: str) -> dict[str, tuple[str, ...]]:
        """`[{group: [other, …]}, …]` as one mapping; of several entries for a group the first counts."""
        found: dict[str, tuple[str, ...]] = {}
        for section in (self.router, self.library):
            value = section.any(key)
            if value is None or isinstance(value, bool):
                continue
            for group, targets in self._pairs(section, key, value):
                found.setdefault(group, targets)
        return found

    def _pairs(self, section: Fields, key: str, value: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
        entries = value if isinstance(value, list) else [value]
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict):
                section.wrong(key, "must be a list of `{model: [other models]}`")
                return
            for group, targets in entry.items():
                path = (*section.path, key, index, group)
                yield group, tuple(self._names(path, targets if isinstance(targets, list) else [targets]))

    def _names(self, path: Path, targets: list[Any]) -> Iterator[str]:
        for target in targets:
            if isinstance(target, dict) and isinstance(target.get("model"), str):
                if len(target) > 1:
                    self.reading.warn(path, "only the `model` of a fallback is used; its other keys are not used yet")
                yield target["model"]
            elif isinstance(target, str):
                yield target
            elif target is not None:
                self.reading.problem(path, "must be names of models")

    def _defaults_of(self, key: str) -> tuple[str, ...]:
        star = self._fallback_map(key).get("*", ())
        if key != "fallbacks":
            return star
        return tuple(
            dict.fromkeys((*star, *self.router.words("default_fallbacks"), *self.library.words("default_fallbacks")))
        )

    def _with_fallbacks(self, models: Iterable[ModelSettings]) -> tuple[ModelSettings, ...]:
        models = tuple(self._with_router_rules(models))
        ordinary = self._fallback_map("fallbacks")
        context = self._fallback_map("context_window_fallbacks")
        policy = self._fallback_map("content_policy_fallbacks")
        known = {model.name for model in models}
        for group in (*ordinary, *context, *policy):
            if group != "*" and group not in known and not any("*" in name for name in known):
                self.reading.warnings.append(f"fallbacks: there is no model `{group}`{did_you_mean(group, known)}")
        return tuple(
            structs.replace(
                model,
                fallbacks=ordinary.get(model.name, ()),
                context_window_fallbacks=context.get(model.name, ()),
                content_policy_fallbacks=policy.get(model.name, ()),
            )
            for model in models
        )

    def _with_router_rules(self, models: Iterable[ModelSettings]) -> Iterator[ModelSettings]:
        """What `router_settings` says of single groups: their strategy, retries and limits."""
        policies = self.router.mapping("model_group_retry_policy")
        parallel = self.router.whole("default_max_parallel_requests")
        shared = self.router.mapping("routing_strategy_args")
        rpm, tpm = shared.whole("rpm"), shared.whole("tpm")
        strategies: dict[str, str] = {}
        arguments: dict[str, StrategyArgs] = {}
        for group in self.router.entries("routing_groups"):
            strategy = group.text("routing_strategy")
            for name in group.words("models"):
                if strategy is not None:
                    strategies.setdefault(name, strategy)
                if group.has("routing_strategy_args"):
                    arguments.setdefault(name, self._strategy_args(group.mapping("routing_strategy_args")))
            group.used.update(("group_name", "routing_strategy_args"))
            group.warn_unknown(("group_name", "models", "routing_strategy", "routing_strategy_args"))
        for model in models:
            deployments = model.deployments
            if parallel is not None:
                deployments = tuple(
                    structs.replace(each, max_parallel=parallel) if each.max_parallel is None else each
                    for each in deployments
                )
            deployments = tuple(
                structs.replace(
                    each, rpm=rpm if each.rpm is None else each.rpm, tpm=tpm if each.tpm is None else each.tpm
                )
                for each in deployments
            )
            yield structs.replace(
                model,
                deployments=deployments,
                strategy_args=arguments.get(model.name),
                strategy=strategies.get(model.name, model.strategy),
                retries=_retries(policies.mapping(model.name)) if policies.has(model.name) else {},
            )

    def _aliases(self) -> dict[str, AliasSettings]:
        aliases: dict[str, AliasSettings] = {}
        for section, key in ((self.library, "model_alias_map"), (self.router, "model_group_alias")):
            for name, value in section.mapping(key).values.items():
                path = (*section.path, key, name)
                target = value.get("model") if isinstance(value, dict) else value
                hidden = bool(value.get("hidden")) if isinstance(value, dict) else False
                if isinstance(target, str):
                    aliases[name] = AliasSettings(to=target, hidden=hidden, place=self.reading.place(path))
                else:
                    self.reading.problem(path, "must be a model's name, or {model, hidden}")
        return aliases

    def _credentials(self) -> dict[str, Fields]:
        credentials: dict[str, Fields] = {}
        for entry in self.top.entries("credential_list"):
            name = entry.text("credential_name")
            values = entry.mapping("credential_values")
            info = entry.mapping("credential_info")
            if name is None:
                self.reading.problem(entry.path, "`credential_name` is missing")
                continue
            provider = info.text("custom_llm_provider")
            if provider is not None and "custom_llm_provider" not in values.values:
                values.values = {**values.values, "custom_llm_provider": provider}
            credentials[name] = values
        return credentials

    def _providers(self) -> dict[str, ProviderSettings]:
        """Providers that `litellm_settings` gives a credential (`groq_key`)."""
        providers: dict[str, ProviderSettings] = {}
        known = known_keys("litellm_settings")
        for key in list(self.library.values):
            name = key.removesuffix(_PROVIDER_KEY)
            if key in known or name in ("", key):
                continue
            path = (*self.library.path, key)
            credential: Credential | None = self.reading.credential(path, self.library.text(key))
            if credential is not None:
                providers[name] = ProviderSettings(
                    name=name, connection=Connection(credential=credential), place=self.reading.place(path)
                )
        return providers

    def _defaults(self) -> Connection:
        settings = {key: Secret(value) for key in _PROVIDER_DEFAULTS if (value := self.library.text(key))}
        vertex = self.top.mapping("default_vertex_config")
        for key in list(vertex.values):
            if value := vertex.text(key):
                settings.setdefault(key, Secret(value))
        return Connection(settings=settings, tls=tls_settings(self.library, self.reading), timeouts=TimeoutWishes())

    def _callbacks(self) -> tuple[CallbackSettings, ...]:
        told: dict[str, set[Literal["success", "failure"]]] = {}
        for key, phases in (
            ("callbacks", ("success", "failure")),
            ("success_callback", ("success",)),
            ("failure_callback", ("failure",)),
        ):
            for name in self.library.words(key):
                told.setdefault(name, set()).update(cast("tuple[Literal['success', 'failure'], ...]", phases))
        params = self.top.mapping("callback_settings")
        callbacks = []
        for name in dict.fromkeys((*told, *params.values)):
            section = params.mapping(name) if params.has(name) else None
            callbacks.append(
                CallbackSettings(
                    name=name,
                    on=tuple(sorted(told.get(name, {"success", "failure"}), reverse=True)),
                    params=raws(section.values) if section is not None else {},
                )
            )
        return tuple(callbacks)

    def _warn(self) -> None:
        accepted: set[str] = set(self.models.unused)
        sections = (
            (self.top, "top"),
            (self.library, "litellm_settings"),
            (self.router, "router_settings"),
            (self.general, "general_settings"),
        )
        self.top.used.update({"environment_variables", "include"})
        for section, name in sections:
            known = known_keys(name)
            for key in section.unread():
                if key in known:
                    accepted.add(dotted((*section.path, key)))
                else:
                    path = (*section.path, key)
                    self.reading.warn(path, f"unknown key; it is ignored{did_you_mean(key, known)}")
        if accepted:
            self.reading.warnings.append(
                f"{self.reading.document.file}: accepted, not used yet: {', '.join(sorted(accepted))}"
            )


_RETRIES = {
    "RateLimitErrorRetries": ("rate_limit",),
    "TimeoutErrorRetries": ("timeout",),
    "InternalServerErrorRetries": ("server", "connect", "cut", "malformed"),
    "ServiceUnavailableErrorRetries": ("overloaded",),
    "DefaultRetries": ("default",),
}
"""LiteLLM's names for classes of failure. What is the request's own fault is tried once whatever it says."""
_NEVER_AGAIN = (
    "BadRequestErrorRetries", "AuthenticationErrorRetries", "ContentPolicyViolationErrorRetries", "NotFoundErrorRetries",
)  # fmt: skip
_AFFINITY = {
    "prompt_caching": "prompt_cache",
    "session_affinity": "session",
    "responses_api_deployment_check": "response",
}


def _retries(policy: Fields) -> dict[str, int]:
    policy.used.update(_NEVER_AGAIN)
    found: dict[str, int] = {}
    for name, kinds in _RETRIES.items():
        if (count := policy.whole(name, most=20)) is not None:
            found.update(dict.fromkeys(kinds, count))
    return found


def _quoted(password: str) -> str:
    return "".join(f"%{ord(c):02X}" if c in ":/?#[]@%" else c for c in password)
