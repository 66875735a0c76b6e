"""The router's policy as the settings say it, and what about names and strategies deserves a warning."""

from collections.abc import Iterator

from wayport.config.problems import did_you_mean
from wayport.config.settings import Settings
from wayport.core.errors import ModelNotFound
from wayport.routing.snapshot import FallbackRules, ProbePolicy, QueuePolicy, RouterPolicy, Snapshot
from wayport.routing.strategies import known, makers
from wayport.routing.table import RoutingTable


def policy_of(settings: Settings) -> RouterPolicy:
    router = settings.router
    rules, checks = router.fallbacks, settings.health_checks
    return RouterPolicy(
        strategy=router.strategy,
        num_retries=router.num_retries,
        cooldown_s=router.cooldown_s,
        learn_params=router.learn_params,
        request_timeout_s=router.request_timeout_s,
        retries=router.retries,
        tag_filtering=router.tag_filtering,
        tag_match_any=router.tag_match_any,
        pre_call_checks=router.pre_call_checks,
        affinity=router.affinity,
        queue=QueuePolicy(
            wait_s=router.queue.wait_s,
            stated_wait_s=router.queue.stated_wait_s,
            length=router.queue.length,
            priority=router.queue.priority,
        ),
        probes=ProbePolicy(
            background=checks.background,
            route=checks.background and checks.route,
            stale_s=checks.stale_s,
            ignore_transient=checks.ignore_transient,
        ),
        mocks=router.allow_mocks,
        fallbacks=FallbackRules(
            on_rate_limit=rules.on_rate_limit,
            on_context_window=rules.on_context_window,
            on_error=rules.on_error,
            any_other=rules.any_other,
            default=rules.default,
            max_hops=rules.max_hops,
        ),
    )


def unknown_strategies(snapshot: Snapshot) -> Iterator[str]:
    names = [("router.strategy", snapshot.router.strategy)]
    names += [(f"strategy of `{model.name}`", model.strategy) for model in snapshot.models.values() if model.strategy]
    for where, name in names:
        if not known(name):
            yield f"{where}: there is no strategy `{name}`{did_you_mean(name, makers())}; `simple-shuffle` is used"


def lead_nowhere(snapshot: Snapshot) -> list[str]:
    """Warnings for fallbacks and aliases whose target is no model."""
    table = RoutingTable(snapshot)
    used: dict[str, str] = dict.fromkeys(snapshot.router.fallbacks.default, "router.fallbacks")
    for model in (*snapshot.models.values(), *snapshot.wildcards):
        for name in (*model.fallbacks, *model.context_window_fallbacks, *model.content_policy_fallbacks):
            used.setdefault(name, f"fallbacks of `{model.name}`")
    for alias, target in snapshot.aliases.items():
        if "*" not in target:
            used.setdefault(target, f"alias `{alias}`")
    warnings = []
    for name, where in used.items():
        try:
            table.find(name)
        except ModelNotFound:
            warnings.append(f"{where}: there is no model `{name}`{did_you_mean(name, table.names())}")
    return warnings
