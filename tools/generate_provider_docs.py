"""Writes docs/providers.md from the provider rows, the catalogue and the comments of the profile's fields.

Run after a change of either: `python tools/generate_provider_docs.py`. A test compares the page with what this makes.
"""
# ruff: noqa: INP001 (a program for people, not a package)

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from wayport.catalog.catalog import bundled
from wayport.providers import registry
from wayport.providers.provider import Provider

ROOT = Path(__file__).parent.parent
OUTPUT = ROOT / "docs" / "providers.md"
PROFILE = ROOT / "src" / "wayport" / "dialects" / "dialect.py"
PROVIDER_FIELDS = ROOT / "src" / "wayport" / "providers" / "provider.py"

BUILT_IN = "wayport"
SHOWN_OPERATIONS = ("completions", "embeddings", "responses", "messages", "rerank", "images", "speech", "transcription")

HEAD = """# Providers

<!-- Written by tools/generate_provider_docs.py from the data: do not edit. -->

Wayport knows {count} providers by name. Call a model as `provider/model`, in a configuration or, without one, in the
request: `groq/llama-3.3-70b-versatile`. Set the variable of the table, or give `api_key` in the configuration.

```yaml
models:
  fast: [groq/llama-3.3-70b-versatile, {{provider: gwdg_saia, model: llama-3.3-70b}}]
```

* **Address**: what Wayport calls. `<NAME>_API_BASE` (or what the table names) and `base_url` move it; write it with or
  without `/v1`.
* **Also**: what is offered natively beside chat. Everything else that Wayport's endpoints offer is translated.
* **Models**: how many models of it the catalogue prices. Others work too: their calls are then unpriced, and shown so.
"""

CUSTOM = """## Which models there are

`/v1/models` lists the configured models. What stands behind a wildcard (`openrouter/*`), and behind a provider that is
called without a configuration, is asked of its upstream in the background: at start, whenever the configuration changes,
and every `server.discover_models_s` seconds (300; 0: never). Each model of the list then has an entry of its own, with
price and window from the catalogue, or from the list where it states them (OpenRouter's does). While an upstream is away
its last list stays; until there is one, the catalogue's models of the provider are listed. Whatever is not listed can be
called all the same.

Of Azure (OpenAI and Foundry) the deployments are listed with the key or with Entra ID, by the last data-plane version that can
(`/openai/deployments?api-version=2023-03-15-preview`), with price and window of the model behind each; those that are not ready are left out.
`/openai/v1/models` is not asked: it lists what could be deployed. Resources that do not answer there (some newer Foundry ones, serverless endpoints) list nothing,
and their deployments are called by name. What is deployed of Anthropic's models in Foundry is not in that list.

`wayport models` shows the catalogue, and `wayport catalog update --from FILE|URL` brings a newer one.

## A provider of your own

Any server that speaks one of the dialects is a provider: a name and an address are enough.

```yaml
providers:
  acme:
    base_url: https://llm.acme.example/v1
    api_key: ${ACME_API_KEY}
    dialect: openai_chat          # the default
    auth_header: {name: x-acme-key, prefix: ""}
    headers: {x-team: research}
    paths: {chat: /chat/completions, embeddings: /embeddings}
    prices: {"*": {input: 0.5, output: 1.5}}   # dollars per million tokens
models:
  mine: [acme/llama-4]
```

It may stand in a file of its own, JSON or YAML, which holds the same keys and its `name`; only `name` and `base_url` are
needed. `provider_files` takes such files and directories of them, `file` of an entry takes one, and a running gateway
sees when they change:

```json
{"name": "acme", "base_url": "https://llm.acme.example/v1", "api_key": "${ACME_API_KEY}", "models": ["llama-4"]}
```

```yaml
provider_files: [providers/]
providers:
  other: {file: other.json, headers: {x-team: research}}
```

Its models are called as `acme/llama-4`: those that `models` lists without a further word, any other through an entry
under the configuration's `models`.

A package adds providers, with behaviour too, through an entry point of the group `wayport.providers`, whose value is a
`wayport.providers.provider.Provider` or a list of them. It is looked for when the configuration is loaded, and by every
worker; one that cannot be used is a warning of `wayport check`, and stops nobody.

```toml
[project.entry-points."wayport.providers"]
acme = "acme_wayport:ACME"      # ACME = Provider(name="acme", base_url="https://llm.acme.example/v1", ...)
```

## What a profile can say

A profile holds what one target accepts beyond or short of its dialect. The rows below the table of providers fill it;
`profile:` on a deployment changes it. Each field stands for documented or observed behaviour.

| field | meaning |
|---|---|
"""


def page() -> str:
    providers = [provider for provider in registry.all() if provider.name != BUILT_IN]
    parts = [
        HEAD.format(count=len(providers)),
        "\n".join(table(providers)),
        "\n".join(local(providers)),
        "\n".join(further_settings(providers)),
        CUSTOM + "\n".join(f"| `{name}` | {text} |" for name, text in profile_fields()),
        "\n".join(rules(providers)),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def table(providers: list[Provider]) -> Iterator[str]:
    priced = Counter(facts.provider for facts in bundled().models if facts.prices)
    yield "| prefix | provider | credential | address | dialect | also | models |"
    yield "|---|---|---|---|---|---|---|"
    for provider in sorted(providers, key=lambda one: one.name):
        if provider.probe_url is not None or provider.keyless:
            continue
        names = ", ".join(f"`{name}/`" for name in (provider.name, *provider.aliases))
        shown = f"[{provider.display_name}]({provider.docs_url})" if provider.docs_url else provider.display_name
        credential = variables(provider.credential_env) or "see below"
        address = f"`{provider.base_url}`" if provider.base_url else f"yours: {variables(provider.base_env)}"
        also = ", ".join(operation for operation in SHOWN_OPERATIONS if operation in provider.paths)
        count = str(priced[provider.name] or "")
        yield f"| {names} | {shown} | {credential} | {address} | `{provider.dialect}` | {also} | {count} |"


def local(providers: list[Provider]) -> Iterator[str]:
    yield "## Servers of your own\n"
    yield "They need no key; one is sent if its variable is set. Those marked are looked for at start on this machine."
    yield ""
    yield "| prefix | server | address | moved by | looked for |"
    yield "|---|---|---|---|---|"
    for provider in sorted(providers, key=lambda one: one.name):
        if not provider.keyless:
            continue
        names = ", ".join(f"`{name}/`" for name in (provider.name, *provider.aliases))
        shown = f"[{provider.display_name}]({provider.docs_url})" if provider.docs_url else provider.display_name
        address = f"`{provider.base_url}`" if provider.base_url else "yours"
        yield f"| {names} | {shown} | {address} | {variables(provider.base_env)} | {'yes' if provider.probe_url else ''} |"


def further_settings(providers: list[Provider]) -> Iterator[str]:
    yield "## Providers with more settings than a key\n"
    yield "Each is written under the deployment's or provider's `settings:` (or as LiteLLM writes it), or comes from a"
    yield "variable; the first that is set counts. An extra is an optional package: `pip install 'wayport[aws]'`."
    for provider in sorted(providers, key=lambda one: one.name):
        if not provider.settings_env:
            continue
        extra = f" · extra `{provider.extra}`" if provider.extra else ""
        yield f"\n### {provider.display_name} (`{provider.name}`){extra}\n"
        yield "| setting | variables |"
        yield "|---|---|"
        for name, found in provider.settings_env.items():
            yield f"| `{name}` | {variables(found)} |"


def rules(providers: list[Provider]) -> Iterator[str]:
    yield "## What differs by model\n"
    yield "Names are regular expressions over the upstream model's whole name; the first that matches counts."
    for provider in sorted(providers, key=lambda one: one.name):
        told = [
            (
                f"{rule.route}/ with {rule.match}" if rule.route else rule.match,
                rule.dialect,
                rule.paths.get("chat") if rule.paths else None,
            )
            for rule in provider.models
            if rule.dialect is not None or rule.paths is not None
        ]
        if told:
            yield f"\n### {provider.display_name}\n"
            yield "| models | dialect | path |"
            yield "|---|---|---|"
            for match, dialect, path in told:
                route, _, pattern = match.rpartition(" with ")
                escaped = pattern.replace("|", "\\|")
                yield f"| {f'`{route}` before ' if route else ''}`{escaped}` | {f'`{dialect}`' if dialect else ''} | {f'`{path}`' if path else ''} |"


def variables(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def profile_fields() -> Iterator[tuple[str, str]]:
    """Name and comment of each field of `Profile`, in order."""
    tree = ast.parse(PROFILE.read_text())
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Profile")
    pairs = zip(body, [*body[1:], None], strict=True)
    for field, after in pairs:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        text = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split())
        yield field.target.id, text.replace("|", "\\|")


def main() -> None:
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(page())
    print(f"{OUTPUT.relative_to(ROOT)}: {len(page().splitlines())} lines")  # noqa: T201 (a program for people)


if __name__ == "__main__":
    main()
