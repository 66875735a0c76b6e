"""`wayport providers [NAME]`: who can be called, what each wants to be set, and whether it is."""

import sys
from collections.abc import Mapping

from wayport.catalog.catalog import bundled
from wayport.config.load import process_environment
from wayport.config.problems import did_you_mean
from wayport.control.addresses import variable_of
from wayport.providers.plugins import everyone
from wayport.providers.provider import ModelRule, Provider

_BUILT_IN = "wayport"


def providers(name: str | None = None) -> int:
    """0; 1 when there is no provider of that name."""
    registry, broken = everyone()
    environ = process_environment()
    if name is None:
        _list([provider for provider in registry.all() if provider.name != _BUILT_IN], environ)
        for one in broken:
            sys.stderr.write(f"the provider plug-in `{one.name}` is not used: {one.reason}\n")
        return 0
    found = registry.get(name)
    if found is None:
        sys.stderr.write(f"there is no provider `{name}`{did_you_mean(name, registry.names())}\n")
        return 1
    _show(found, environ)
    return 0


def _list(found: list[Provider], environ: Mapping[str, str]) -> None:
    counts = _counts()
    width = max(len(provider.name) for provider in found)
    for provider in found:
        variables = " or ".join(provider.credential_env) or ("none wanted" if provider.keyless else "see its page")
        state = "set" if _is_set(provider, environ) else "   "
        known = counts.get(provider.name, 0)
        models = f"{known:>5} models" if known else " " * 12
        _say(f"{provider.name:<{width}}  {state}  {models}  {variables}")
    ready = sum(1 for provider in found if _is_set(provider, environ))
    _say(f"\n{len(found)} providers, the credential of {ready} is set. `wayport providers NAME` tells more.")


def _show(provider: Provider, environ: Mapping[str, str]) -> None:
    _say(f"{provider.name}: {provider.display_name}")
    if provider.aliases:
        _say(f"  also called      {', '.join(provider.aliases)}")
    _say(f"  address          {provider.base_url or 'yours: it has none of its own'}")
    _say(f"  moved by         {_states((*provider.base_env, _own(provider, '_API_BASE')), environ)}")
    wanted = _states(provider.credential_env, environ) if provider.credential_env else ""
    _say(f"  credential       {wanted or 'none'}{' (works without)' if provider.keyless and wanted else ''}")
    for setting, variables in provider.settings_env.items():
        _say(f"  {setting:<16} {_states(variables, environ)}")
    _say(f"  speaks           {', '.join(_dialects(provider))}")
    _say(f"  offers           {', '.join(sorted(provider.paths))}")
    if provider.extra is not None:
        _say(f"  optional         pip install 'wayport[{provider.extra}]' for its signed credentials")
    if provider.docs_url:
        _say(f"  documentation    {provider.docs_url}")
    names = sorted(facts.model for facts in bundled().models if facts.provider == provider.name)
    if names:
        _say(f"  {len(names)} models in the catalogue (others work too):")
        for name in names:
            _say(f"    {provider.name}/{name}")


def _dialects(provider: Provider) -> list[str]:
    rules: tuple[ModelRule, ...] = provider.models
    others = (rule.dialect for rule in rules if rule.dialect is not None)
    return list(dict.fromkeys((provider.dialect, *others, *provider.routes.values())))


def _states(variables: tuple[str, ...], environ: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({'set' if environ.get(name) else 'not set'})" for name in dict.fromkeys(variables))


def _own(provider: Provider, ending: str) -> str:
    return variable_of(provider.name, ending)


def _is_set(provider: Provider, environ: Mapping[str, str]) -> bool:
    return any(environ.get(variable) for variable in provider.credential_env)


def _counts() -> dict[str, int]:
    counts: dict[str, int] = {}
    for facts in bundled().models:
        counts[facts.provider] = counts.get(facts.provider, 0) + 1
    return counts


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
