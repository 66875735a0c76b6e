"""From a provider's row and a deployment's settings to an address, paths, credential style and profile. No I/O."""

import re
from collections.abc import Mapping

from msgspec import structs

from wayport.catalog.facts import ModelFacts
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import DialectName
from wayport.providers.provider import Placement, Provider
from wayport.providers.registry import rule_for

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_OPERATION_OF: Mapping[DialectName, str] = {
    "openai_responses": "responses",
    "openai_completions": "completions",
    "anthropic_messages": "messages",
}
"""dialects that a provider may offer beside the one of its chat operation, and the operation whose path they have"""


def settings_from(provider: Provider, given: Mapping[str, str], env: Mapping[str, str]) -> dict[str, str]:
    """The provider's settings: what the operator gave, else the first of its variables that is set and not empty."""
    settings = {name: value for name, value in given.items() if value}
    for name, variables in provider.settings_env.items():
        if name not in settings and (value := first_set(variables, env)) is not None:
            settings[name] = value
    return settings


def first_set(variables: tuple[str, ...], env: Mapping[str, str]) -> str | None:
    return next((env[variable] for variable in variables if env.get(variable)), None)


def placement(
    provider: Provider,
    model: str,
    *,
    base_url: str | None = None,
    credential: str = "",
    credential_from: str = "",
    settings: Mapping[str, str] | None = None,
    base_model: str | None = None,
    facts: ModelFacts | None = None,
) -> Placement:
    """Where and how `model` is called at this provider.

    `base_url` moves it (the operator's `api_base`); `settings` come from `settings_from`; `credential_from` is the
    variable that held the credential, if one did; `base_model` says which model's rules hold where the name is the
    operator's own (an Azure deployment); `facts` lend the profile the model's output limit. What is still to be set
    stands in `missing`; the placement is then not to be called.
    """
    settings = {**(settings or {}), "credential_from": credential_from}
    model, route = _route(provider, model)
    rule = rule_for(provider, base_model.rpartition("/")[2] if base_model else model, route)
    routed = None if rule.route else provider.routes.get(route)
    dialect = routed or rule.dialect or provider.dialect
    paths = dict(rule.paths if rule.paths is not None else provider.paths)
    if rule.paths is None and dialect != provider.dialect and (own := paths.get(_OPERATION_OF.get(dialect, ""))):
        paths["chat"] = own
        paths.pop("chat_stream", None)
    needs: list[tuple[str, ...]] = []
    base = base_url or provider.base_url or ""
    if not base and provider.needs_base:
        needs.append(provider.base_env or ("api_base",))
    placed = Placement(
        model=model,
        base_url=settled(base, paths),
        paths=paths,
        dialect=dialect,
        profile=_profile(rule.profile or provider.profile, facts),
        auth=provider.auth,
        headers=provider.headers,
        signed=provider.signer is not None and provider.place is None,
    )
    if provider.place is not None:
        placed = provider.place(placed, credential, settings)
    if placed.missing:
        needs.append(placed.missing)
    placed = structs.replace(
        placed,
        base_url=_filled(placed.base_url, provider, settings, needs),
        paths={operation: _filled(path, provider, settings, needs) for operation, path in placed.paths.items()},
        headers={name: _filled(value, provider, settings, needs) for name, value in placed.headers.items()},
    )
    # A signer that `place` chose finds its credential by itself; one that always signs is given it.
    finds_own = placed.credential is not None or (placed.signed and provider.place is not None)
    if not (credential or finds_own or provider.keyless) and provider.credential_env:
        needs.append(provider.credential_env)
    return structs.replace(placed, missing=needs[0] if needs else ())


def _route(provider: Provider, model: str) -> tuple[str, str]:
    """Takes off a leading segment that chooses an API of the provider and not a model (`responses/gpt-5`)."""
    lead, slash, rest = model.partition("/")
    if slash and lead in provider.routes:
        return rest, lead
    return model, ""


def _filled(template: str, provider: Provider, settings: Mapping[str, str], needs: list[tuple[str, ...]]) -> str:
    """`template` with its placeholders filled from the settings; `{model}` stays open."""

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        if name != "model" and (value := settings.get(name)):
            return value
        if name != "model":
            needs.append(provider.settings_env.get(name, (name,)))
        return match[0]

    return _PLACEHOLDER.sub(fill, template) if "{" in template else template


def settled(base_url: str, paths: Mapping[str, str]) -> str:
    """`base_url` so that every path can simply be appended to it.

    Operators write an address with and without its version (`…/v1`), and some paste the whole URL of an operation;
    what the paths would repeat is taken off.
    """
    base = base_url.rstrip("/")
    pasted = [path for operation, path in paths.items() if operation != "models"]
    for path in sorted(pasted, key=len, reverse=True):
        plain = path.partition("?")[0]
        if "{" not in plain and base.endswith(plain):
            return base[: -len(plain)]
    # A list of models may stand elsewhere (Ollama's own); what is called says what the base is.
    called = pasted or list(paths.values())
    leads = {path.split("/")[1] for path in called if path.count("/") > 1}
    if len(leads) == 1 and all(path.count("/") > 1 for path in called):
        base = base.removesuffix("/" + leads.pop())
    return base


def _profile(profile: Profile, facts: ModelFacts | None) -> Profile:
    if facts is None or facts.max_output_tokens is None:
        return profile
    changes: dict[str, int] = {}
    if profile.max_output_tokens is None:
        changes["max_output_tokens"] = facts.max_output_tokens
    if profile.default_max_tokens is not None:
        changes["default_max_tokens"] = facts.max_output_tokens
    return structs.replace(profile, **changes) if changes else profile
