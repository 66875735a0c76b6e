"""Reads the `litellm:` section of a host configuration: providers, and models as chains that are tried in order.

Its other keys belong to another tool. `enabled` is false unless it is written.
"""

from typing import Any

from msgspec import structs

from wayport.config.fields import Fields
from wayport.config.problems import Path
from wayport.config.reading import Reading, Written, text
from wayport.config.settings import (
    Connection,
    DeploymentSettings,
    FallbackSettings,
    ModelSettings,
    ProviderSettings,
    RouterSettings,
    Settings,
)

SECTION = "litellm"
_PORT = 4000
_NUM_RETRIES = 3
_TIMEOUT_S = 120.0
_COOLDOWN_S = 60.0


def read_host(reading: Reading) -> Written:
    """Adds what is wrong to `reading.problems`, and unknown keys to `reading.warnings`."""
    top = Fields(reading, (), reading.values)
    section = top.mapping(SECTION)
    enabled = section.flag("enabled")
    if not enabled:
        return Written(settings=Settings(spelling="host", enabled=False))
    host = _Host(reading, section)
    settings = host.settings()
    section.warn_unknown(("enabled", "port", "providers", "models", "fallbacks", "router"))
    return Written(settings=settings)


class _Host:
    def __init__(self, reading: Reading, section: Fields) -> None:
        self.reading = reading
        self.section = section

    def settings(self) -> Settings:
        base = Settings()
        port = self.section.whole("port", least=1, most=65535)
        return Settings(
            spelling="host",
            server=structs.replace(base.server, port=port or _PORT),
            providers=self._providers(),
            models=self._models(),
            router=self._router(),
            response_model="upstream",
            implicit_models=False,
            offer_declared=True,
        )

    def _providers(self) -> dict[str, ProviderSettings]:
        providers: dict[str, ProviderSettings] = {}
        section = self.section.mapping("providers")
        for name in section.values:
            provider = section.mapping(name)
            key = provider.text("api_key")
            base = provider.any("api_base", "base_url")
            path = provider.path
            providers[name] = ProviderSettings(
                name=name,
                connection=Connection(
                    base_url=None if base is None else text(base).strip().rstrip("/"),
                    credential=self.reading.credential((*path, "api_key"), key),
                    missing=self.reading.references.unset((*path, "api_base")),
                ),
                place=self.reading.place(path),
            )
            provider.warn_unknown(("api_key", "api_base"))
        return providers

    def _models(self) -> tuple[ModelSettings, ...]:
        section = self.section.mapping("models")
        models = []
        for name, chain in section.values.items():
            path = (*section.path, name)
            links = [
                link
                for index, item in enumerate(chain if isinstance(chain, list) else [chain])
                if (link := self._link((*path, index), item)) is not None
            ]
            if not links:
                self.reading.problem(path, "needs at least one {provider, model}")
            models.append(
                ModelSettings(name=name, deployments=tuple(links), ordered=True, place=self.reading.place(path))
            )
        return tuple(models)

    def _link(self, path: Path, item: Any) -> DeploymentSettings | None:
        if isinstance(item, str):
            return DeploymentSettings(target=item, place=self.reading.place(path))
        if item is None:
            return None
        link = Fields(self.reading, path, item)
        provider, model = link.text("provider"), link.text("model")
        link.warn_unknown(("provider", "model"))
        if model is None and isinstance(item, dict):
            self.reading.problem(path, "`model` is missing")
        if model is None:
            return None
        return DeploymentSettings(target=model, provider=provider, place=self.reading.place(path))

    def _router(self) -> RouterSettings:
        router = self.section.mapping("router")
        rules = self.section.mapping("fallbacks")
        retries, timeout = router.whole("num_retries", most=100), router.number("timeout")
        cooldown = router.number("retry_after_seconds")
        flags = {key: rules.flag(key) for key in ("on_rate_limit", "on_context_window", "on_error")}
        router.warn_unknown(("num_retries", "timeout", "retry_after_seconds"))
        rules.warn_unknown(flags)
        return RouterSettings(
            num_retries=_NUM_RETRIES if retries is None else retries,
            request_timeout_s=_TIMEOUT_S if timeout is None else timeout,
            cooldown_s=_COOLDOWN_S if cooldown is None else cooldown,
            fallbacks=FallbackSettings(
                on_rate_limit=flags["on_rate_limit"] is not False,
                on_context_window=flags["on_context_window"] is not False,
                on_error=flags["on_error"] is not False,
            ),
        )
