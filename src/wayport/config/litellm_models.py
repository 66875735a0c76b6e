"""LiteLLM's `model_list`: each entry becomes one deployment of the model that it names."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path as FilePath
from typing import Any

from msgspec import structs

from wayport.config.clients import client_side
from wayport.config.fields import Fields
from wayport.config.prices import is_price_key
from wayport.config.problems import Path, did_you_mean
from wayport.config.reading import Reading, is_secret_setting, raws, text
from wayport.config.settings import (
    BudgetSettings,
    Connection,
    Credential,
    DeploymentSettings,
    ModelNotes,
    ModelSettings,
    TimeoutWishes,
)
from wayport.core.money import nano_from_usd
from wayport.core.net import ClientSide, TlsSettings
from wayport.core.probe import ProbeWay
from wayport.core.secret import Secret

_KEYS = FilePath(__file__).with_name("litellm_keys.txt")

_CHAT = "openai_chat"
_ORGANIZATION = "openai-organization"
_CLIENT_SIDE = "configurable_clientside_auth_params"
_BASE_SETTINGS = ("aws_bedrock_runtime_endpoint",)
"""settings that say where the provider is"""
_REGIONS = ("region_name", "aws_region_name", "vertex_location", "watsonx_region_name")
"""settings that also say in which region the deployment is"""
_TOLD = frozenset({"model", "api_version", "custom_llm_provider", *_REGIONS})
"""texts that /model/info tells"""
_MOCKS = ("mock_response", "mock_tool_calls", "mock_timeout")


@cache
def known_keys(section: str) -> frozenset[str]:
    """The names that LiteLLM's file may have in a section of `litellm_keys.txt`."""
    words: dict[str, list[str]] = {}
    here: list[str] = []
    for line in _KEYS.read_text(encoding="ascii").splitlines():
        if line.startswith("["):
            here = words.setdefault(line.strip("[]"), [])
        elif not line.startswith("#"):
            here += line.split()
    return frozenset(words[section])


class ModelList:
    """Collects the groups. `defaults`: `default_litellm_params`; `credentials`: `credential_list` by name."""

    def __init__(self, reading: Reading, *, defaults: Fields, credentials: dict[str, Fields]) -> None:
        self.reading = reading
        self.defaults = defaults
        self.credentials = credentials
        self.unused: set[str] = set()
        """names of LiteLLM's that were accepted and do nothing yet"""
        self.opens_everything = False
        """an entry maps `*` to `*`: every model of every provider"""
        self._groups: dict[str, ModelSettings] = {}
        self._blocked: dict[str, ModelSettings] = {}

    def models(self) -> tuple[ModelSettings, ...]:
        return tuple(self._groups.values())

    def blocked(self) -> tuple[ModelSettings, ...]:
        return tuple(self._blocked.values())

    def add(self, entry: Fields) -> None:
        name = entry.text("model_name")
        params = self._merged(entry)
        info = entry.mapping("model_info")
        blocked = entry.flag("blocked") or info.flag("blocked")
        target = params.text("model")
        for key, value in (("model_name", name), ("litellm_params.model", target)):
            if value is None:
                self.reading.problem(entry.path, f"`{key}` is missing")
        entry.warn_unknown(("model_name", "litellm_params", "model_info", "blocked"))
        if name is None or target is None:
            return
        if blocked:
            self.reading.warn(entry.path, f"`{name}` is blocked; the deployment is left out")
        elif name == target == "*":
            self.opens_everything = True
            return
        organizations = params.words("organization") or (None,)
        deployment = self._deployment(entry, params, info, target)
        deployments = tuple(_of_organization(deployment, organization) for organization in organizations)
        groups = self._blocked if blocked else self._groups
        groups[name] = self._grown(groups.get(name), name, deployments, params, info, entry.path)

    def _merged(self, entry: Fields) -> "_Params":
        """The entry's `litellm_params` over its stored credential's values over the router's defaults."""
        written = entry.mapping("litellm_params")
        name = written.text("litellm_credential_name")
        stored = self.credentials.get(name) if name is not None else None
        if name is not None and stored is None:
            where = (*written.path, "litellm_credential_name")
            self.reading.warn(where, f"there is no credential `{name}`{did_you_mean(name, self.credentials)}")
        layers = [self.defaults, *([stored] if stored is not None else []), written]
        params = _Params(self.reading, written.path, layers)
        if name is not None and stored is None and not written.has("api_key"):
            params.lacks = f"credential {name}"
        return params

    def _grown(  # noqa: PLR0917 (all of one entry)
        self,
        known: ModelSettings | None,
        name: str,
        deployments: tuple[DeploymentSettings, ...],
        params: "_Params",
        info: Fields,
        path: Path,
    ) -> ModelSettings:
        retries, client_retries = params.whole("num_retries", most=100), params.whole("max_retries", most=100)
        if known is None:
            known = ModelSettings(
                name=name,
                num_retries=client_retries if retries is None else retries,
                access_groups=info.words("access_groups"),
                hidden=info.flag("discoverable") is False,
                place=self.reading.place(path),
            )
        groups = tuple(dict.fromkeys((*known.access_groups, *info.words("access_groups"))))
        return structs.replace(known, deployments=(*known.deployments, *deployments), access_groups=groups)

    def _deployment(self, entry: Fields, params: "_Params", info: Fields, target: str) -> DeploymentSettings:
        connection = self._connection(params)
        notes = self._notes(params, info)
        provider = params.text("custom_llm_provider")
        region = next((found for key in _REGIONS if (found := params.text(key))), None)
        deployment = DeploymentSettings(
            target=target,
            provider=provider,
            connection=connection,
            notes=notes,
            id=info.text("id"),
            weight=params.number("weight"),
            order=params.whole("order"),
            rpm=params.whole("rpm"),
            tpm=params.whole("tpm"),
            max_parallel=params.whole("max_parallel_requests"),
            cooldown_s=next(
                (
                    found
                    for found in (params.number("cooldown_time"), info.number("cooldown_time"))
                    if found is not None
                ),
                None,
            ),
            allowed_fails=allowed_fails(info.whole("allowed_fails"), info.mapping("allowed_fails_policy")),
            budget=budget_of(params, entry.path),
            probe=ProbeWay(
                off=bool(info.flag("disable_background_health_check")),
                model=_bare(info.text("health_check_model"), target),
                timeout_s=info.number("health_check_timeout"),
                max_tokens=info.whole("health_check_max_tokens"),
            ),
            tags=params.words("tags"),
            region=region,
            client=self._client_side(params),
            shown=raws({name: value for name, value in params.values.items() if _may_be_shown(name, value)}),
            mocks=raws({name: value for name in _MOCKS if (value := params.any(name)) is not None}),
            place=self.reading.place(entry.path),
        )
        return structs.replace(deployment, params=raws(self._sent(params)))

    def _connection(self, params: "_Params") -> Connection:
        settings: dict[str, Secret] = {}
        for key in sorted(known_keys("settings") & params.values.keys()):
            if (value := params.any(key)) is not None:
                settings[key] = Secret(text(value))
        base_url = params.any("api_base", "base_url", *_BASE_SETTINGS)
        base_keys = ("api_base", "base_url", *_BASE_SETTINGS, "extra_headers", "headers")
        strict = {key for key in known_keys("settings") if is_secret_setting(key)}
        total, request = params.number("timeout"), params.number("request_timeout")
        return Connection(
            base_url=None if base_url is None else str(base_url).strip().rstrip("/"),
            credential=self._credential(params),
            settings=settings,
            missing=params.unset((*base_keys, *sorted(strict))),
            unset=params.unset(sorted(known_keys("settings") - strict)),
            dialect=_CHAT if params.flag("use_chat_completions_api") else None,
            headers=_headers(params),
            timeouts=TimeoutWishes(
                total_s=request if total is None else total, first_byte_s=params.number("stream_timeout")
            ),
            tls=tls_settings(params, self.reading),
            drop_params=params.flag("drop_params"),
        )

    def _client_side(self, params: "_Params") -> ClientSide | None:
        value = params.any(_CLIENT_SIDE)
        if value is None:
            return None
        try:
            return client_side(value)
        except ValueError as error:
            params.wrong(_CLIENT_SIDE, str(error))
            return None

    def _credential(self, params: "_Params") -> Credential | None:
        if params.lacks:
            return Credential(reference=params.lacks, missing=(params.lacks,))
        return self.reading.credential(params.origin("api_key"), params.text("api_key"))

    def _notes(self, params: Fields, info: Fields) -> ModelNotes:
        """Prices may stand in either mapping; the deployment's own win."""
        prices = {key: value for key, value in params.values.items() if is_price_key(key) and value is not None}
        params.used.update(prices)
        stated = {key: value for key, value in info.values.items() if value is not None}
        return ModelNotes(
            facts=raws({**stated, **prices}),
            base_model=info.text("base_model") or params.text("base_model"),
            info=raws(stated),
        )

    def _sent(self, params: Fields) -> dict[str, Any]:
        """What is left is the provider's: body parameters, those of `extra_body` beside the others."""
        body = params.any("extra_body")
        control = known_keys("params")
        left = params.unread()
        self.unused.update(f"litellm_params.{key}" for key in left if key in control)
        sent = {key: params.values[key] for key in left if key not in control and params.values[key] is not None}
        return {**sent, **(body if isinstance(body, dict) else {})}


def _may_be_shown(name: str, value: Any) -> bool:
    """Numbers and switches hold no secret, and of texts those that are known to hold none."""
    return name in _TOLD if isinstance(value, str) else isinstance(value, int | float)


class _Params(Fields):
    """`litellm_params` made of layers, the last one wins; knows from which layer a value came."""

    def __init__(self, reading: Reading, path: Path, layers: list[Fields]) -> None:
        super().__init__(reading, path, {})
        self.lacks = ""
        self._origins: dict[str, Path] = {}
        for layer in layers:
            for key, value in layer.values.items():
                origin = (*layer.path, key)
                # A reference to an unset variable hides lower layers: another account's credential is no substitute.
                if value is not None or reading.references.unset(origin):
                    self.values[key] = value
                    self._origins[key] = origin
        self.used.add("litellm_credential_name")

    def origin(self, key: str) -> Path:
        return self._origins.get(key, (*self.path, key))

    def unset(self, keys: Iterable[str]) -> tuple[str, ...]:
        """The unset variables that the values of `keys` refer to."""
        found = (name for key in keys if key in self._origins for name in self.reading.unset_below(self._origins[key]))
        return tuple(dict.fromkeys(found))


def _bare(model: str | None, target: str) -> str | None:
    """`openai/gpt-4o-mini` beside a deployment of `openai/*`: the upstream's own name."""
    return None if model is None else model.removeprefix(target.partition("/")[0] + "/")


_ALLOWED: dict[str, tuple[str, ...]] = {
    "AuthenticationErrorAllowedFails": ("authentication", "permission", "quota"),
    "TimeoutErrorAllowedFails": ("timeout",),
    "RateLimitErrorAllowedFails": ("rate_limit",),
    "InternalServerErrorAllowedFails": ("server", "connect", "cut", "malformed"),
    "ServiceUnavailableErrorAllowedFails": ("overloaded",),
    "BadGatewayErrorAllowedFails": ("overloaded",),
    "NotFoundErrorAllowedFails": ("not_found",),
    "BadRequestErrorAllowedFails": (),
    "ContentPolicyViolationErrorAllowedFails": (),
}
"""LiteLLM's names for classes of failure. What is the request's own fault never counts, whatever it says."""


def allowed_fails(most: int | None, policy: Fields) -> dict[str, int]:
    """Failures in a minute that open no breaker: a number for all, and numbers by class of failure."""
    found = {} if most is None else {"default": most}
    for name, kinds in _ALLOWED.items():
        if (count := policy.whole(name)) is not None:
            found.update(dict.fromkeys(kinds, count))
    policy.warn_unknown(_ALLOWED)
    return found


def budget_of(fields: Fields, path: Path) -> BudgetSettings | None:
    """`budget_limit` and `time_period`, or `max_budget` and `budget_duration`."""
    limits = [fields.number(key) for key in ("budget_limit", "max_budget")]
    periods = [fields.text(key) for key in ("time_period", "budget_duration")]
    limit = next((found for found in limits if found is not None), None)
    if limit is None:
        return None
    per = next((found for found in periods if found is not None), None)
    # Less than the smallest amount there is means that the first call ends it.
    least = 1 if limit > 0 else 0
    return BudgetSettings(max_nano_usd=max(least, nano_from_usd(limit)), per=per, place=fields.reading.place(path))


def tls_settings(fields: Fields, reading: Reading) -> TlsSettings | None:
    """`ssl_verify`: true, false, or a file of certificates."""
    value = fields.any("ssl_verify")
    certificate = fields.any("ssl_certificate")
    if value is None and certificate is None:
        return None
    cert_file = reading.file_path(str(certificate)) if certificate is not None else None
    if isinstance(value, bool) or value is None:
        return TlsSettings(verify=value is not False, cert_file=cert_file)
    if str(value).strip().lower() in ("true", "false"):
        return TlsSettings(verify=str(value).strip().lower() == "true", cert_file=cert_file)
    return TlsSettings(ca_file=str(value), cert_file=cert_file)


def _headers(params: Fields) -> dict[str, Secret]:
    headers: dict[str, Secret] = {}
    for key in ("headers", "extra_headers"):
        section = params.mapping(key)
        headers.update({
            name.lower(): Secret(text(value)) for name, value in section.values.items() if value is not None
        })  # fmt: skip
    return headers


def _of_organization(deployment: DeploymentSettings, organization: str | None) -> DeploymentSettings:
    if organization is None:
        return deployment
    headers = {**deployment.connection.headers, _ORGANIZATION: Secret(organization)}
    return structs.replace(deployment, connection=structs.replace(deployment.connection, headers=headers))
