"""One written target becomes one deployment: provider, address, credential, price, profile, all that a call needs."""

import fnmatch
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec
from msgspec import Raw, Struct, structs

from wayport.access.duration import parts
from wayport.catalog.catalog import Catalog
from wayport.catalog.facts import ModelFacts
from wayport.catalog.info import info
from wayport.catalog.overrides import SOURCE as OVERRIDDEN
from wayport.catalog.overrides import override
from wayport.config.problems import Problem, did_you_mean
from wayport.config.settings import (
    AuthHeader,
    BudgetSettings,
    Connection,
    DeploymentSettings,
    ModelNotes,
    ProviderSettings,
    Settings,
    TimeoutWishes,
)
from wayport.control.addresses import Base, is_local, is_own, moved_by_environment, variable_of, wrong_with
from wayport.control.parties import Parties, Target, Unknown, auth_style, speaking
from wayport.core.errors import WayportError
from wayport.core.net import Timeouts
from wayport.core.price import Price
from wayport.dialects.dialect import Profile
from wayport.providers.discovery import SOURCE as LISTED
from wayport.providers.placement import first_set, placement, settings_from
from wayport.providers.provider import AuthStyle, Placement, Provider
from wayport.providers.registry import Registry, profile_from
from wayport.routing.snapshot import Deployment, TargetBudget, UpstreamCredential, deployment_id

_LOCAL = Price(free=True, source="local server")
_encode = msgspec.json.encode


class Mistake(Exception):
    """One written thing that cannot be used. `place`: where it stands, if not where the deployment does."""

    def __init__(self, text: str, *, place: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.place = place


class _Reach(Struct, kw_only=True, frozen=True):
    """What is written about one deployment, from its own word down to the defaults, and the credential that follows."""

    layers: tuple[Connection, ...]
    """deployment, provider, defaults"""
    declared_place: str = ""
    """where the provider is declared"""
    notes: tuple[ModelNotes, ...]
    reference: str = ""
    secret: str = ""
    missing: tuple[str, ...] = ()
    """variables that a written credential refers to and that are unset"""

    @property
    def written_auth(self) -> AuthHeader | None:
        return self.layers[0].auth

    @property
    def headers(self) -> dict[str, str]:
        return {name: value.reveal() for layer in reversed(self.layers) for name, value in layer.headers.items()}

    @property
    def settings(self) -> dict[str, str]:
        return {name: value.reveal() for layer in reversed(self.layers) for name, value in layer.settings.items()}


class Targets:
    """Makes deployments of the settings. What is wrong is collected in `problems`, what is worth saying in `warnings`."""

    def __init__(self, settings: Settings, *, registry: Registry, catalog: Catalog, day: date) -> None:
        self.settings = settings
        self.catalog = catalog
        self.day = day
        self.problems: list[Problem] = []
        self.parties = Parties(settings, registry=registry, catalog=catalog, report=self._report)
        self.registry = self.parties.registry
        self._known = frozenset(registry.names()).__contains__
        self.warnings = list(self.parties.warnings)
        self._environ = {name: value.reveal() for name, value in settings.environ.items()}
        self._ids: dict[str, int] = {}

    def problem(self, place: str, key: str, text: str) -> None:
        self._report(Problem(place=place, key=key, text=text))

    def _report(self, problem: Problem) -> None:
        if problem not in self.problems:
            self.problems.append(problem)

    def deployment(self, model: str, written: DeploymentSettings) -> Deployment | None:
        """The deployment that serves `model`; None if it cannot be made (there is a problem then)."""
        found = self.parties.find(written)
        if isinstance(found, Unknown):
            if self.settings.spelling != "litellm":
                self.problem(written.place, "", found.text)
                return None
            self.warnings.append(f"{written.place}: {found.text}; unavailable until it has an `api_base`")
            return self._unavailable(model, written)
        try:
            return self.make(model, found, written)
        except Mistake as mistake:
            self.problem(mistake.place or written.place, "", mistake.text)
        except ValueError as error:
            # The catalogue names the key; what was written there is a figure and no secret.
            self.problem(written.place, "", str(error))
        return None

    def make(
        self, model: str, target: Target, written: DeploymentSettings, *, facts: ModelFacts | None = None
    ) -> Deployment:
        """Raises `Mistake` or `ValueError` with a sentence. `facts`: what the catalogue says, if already looked up."""
        provider = speaking(target.provider, written.connection.dialect)
        reach = self._reach(provider, target.model, written)
        base = self._base(provider, reach)
        given, params = _settings_apart(reach.settings, written.params, provider)
        settings = settings_from(provider, given, self._environ)
        known = self._facts(provider, target.model, reach.notes, facts)
        placed = placement(
            _forgiving(provider, base, reach.secret),
            target.model,
            base_url=base.url,
            credential=reach.secret,
            credential_from=reach.reference.removeprefix("env ") if reach.reference.startswith("env ") else "",
            settings=settings,
            base_model=next((note.base_model for note in reach.notes if note.base_model), None)
            or (facts.base_model if facts is not None else None)
            or None,
            facts=known,
        )
        if placed.credential is not None:
            reach = structs.replace(reach, secret=placed.credential.reveal())
        price = self._price(provider, known, placed.base_url)
        deployment = self._placed(model, provider, placed, written, reach)
        return structs.replace(
            deployment,
            # A signer makes what it presents of the credential itself (a token that the key buys).
            credential=structs.replace(
                deployment.credential,
                settings={**settings, "api_key": reach.secret} if placed.signed and reach.secret else settings,
            ),
            paths=_certain_paths(deployment.paths, provider, base.url, reach),
            follows=provider.follow is not None,
            behaves_like=provider.behaves_like,
            params=params,
            price=price,
            info=_info(known, price, reach.notes),
            mode=known.mode if known is not None else "chat",
            context_window=None if known is None else known.max_input_tokens or known.context_window,
            max_output_tokens=None if known is None else known.max_output_tokens,
        )

    def _reach(self, provider: Provider, model: str, written: DeploymentSettings) -> _Reach:
        declared = self.parties.written_about(provider)
        about = declared.connection if declared is not None else Connection()
        layers = [written.connection, about, self.settings.defaults]
        notes = (written.notes, *_notes_of(declared, model))
        reference, secret, missing = self._credential(provider, layers)
        return _Reach(
            layers=tuple(layers),
            declared_place=declared.place if declared is not None else "",
            notes=notes,
            reference=reference,
            secret=secret,
            missing=missing,
        )

    def _placed(
        self, model: str, provider: Provider, placed: Placement, written: DeploymentSettings, reach: _Reach
    ) -> Deployment:
        """The deployment but for what is known of its model."""
        layers = reach.layers
        # What is made up calls nobody.
        missing = () if written.mocks else _missing(placed, reach)
        headers = {**placed.headers, **reach.headers}
        drop = next((layer.drop_params for layer in layers if layer.drop_params is not None), self.settings.drop_params)
        proxy = next((layer.proxy for layer in layers if layer.proxy is not None), None)
        told_apart = _told_apart(reach, placed.base_url, headers)
        own_id = self._id(model, provider.name, placed.model, told_apart, written)
        return Deployment(
            id=own_id,
            model=model,
            provider=provider.name,
            upstream_model=placed.model,
            dialect=placed.dialect,
            base_url=placed.base_url,
            paths={**placed.paths, **written.connection.paths},
            auth=_auth(placed, reach, missing),
            credential=UpstreamCredential(
                reference=reach.reference if reach.secret or missing else "", value=reach.secret
            ),
            missing=missing,
            headers=headers,
            profile=_profile(placed.profile, reach.notes),
            timeouts=_timeouts(layers, self.settings.router.first_byte_timeout_s),
            tls=next((layer.tls for layer in layers if layer.tls is not None), None),
            proxy=None if proxy is None else proxy.reveal(),
            weight=written.weight,
            order=written.order,
            rpm=written.rpm,
            tpm=written.tpm,
            max_parallel=written.max_parallel,
            cooldown_s=written.cooldown_s,
            allowed_fails=written.allowed_fails or self.settings.router.allowed_fails,
            budget=None if written.budget is None else target_budget(f"deployment:{own_id}", written.budget),
            probe=written.probe,
            tags=written.tags,
            region=written.region,
            pool=written.pool,
            drop_params=drop,
            client=written.client or self.settings.server.client_credentials,
            shown=written.shown,
            mocks=written.mocks,
            signed=placed.signed,
        )

    def _unavailable(self, model: str, written: DeploymentSettings) -> Deployment:
        prefix, _, rest = written.target.partition("/")
        provider = written.provider or (prefix if rest else "unknown")
        name = rest or written.target
        missing = (variable_of(provider, "_API_BASE"),)
        return Deployment(
            id=self._id(model, provider, name, "", written), model=model, provider=provider, upstream_model=name,
            missing=missing,
        )  # fmt: skip

    def _base(self, provider: Provider, reach: _Reach) -> Base:
        level, base = next(
            ((level, Base(layer.base_url)) for level, layer in enumerate(reach.layers) if layer.base_url),
            (0, Base(None)),
        )
        if base.url is None:
            base = moved_by_environment(provider, provider.name, self.settings)
        if base.url is None:
            return base
        place = reach.declared_place if level == 1 else ""
        named = base.source or "the address"
        if (wrong := wrong_with(base.url)) is not None:
            raise Mistake(f"{named} {wrong}", place=place)
        if is_own(base.url, self.settings.server):
            raise Mistake(
                f"{named} is Wayport's own address (port {self.settings.server.port}): calls would run in a circle. "
                f"Give the address of the provider `{provider.name}`, or unset it",
                place=place,
            )
        return base

    def _credential(self, provider: Provider, layers: Sequence[Connection]) -> tuple[str, str, tuple[str, ...]]:
        """Reference, secret and what is missing: what is written, else the provider's own variables."""
        for layer in layers:
            if (written := layer.credential) is not None:
                return written.reference, written.value.reveal(), written.missing
        value = first_set(provider.credential_env, self._environ)
        if value is None:
            return "", "", ()
        name = next(name for name in provider.credential_env if self._environ.get(name) == value)
        return f"env {name}", value, ()

    # -------------------------------------------------------------------------------------------- prices and facts
    def _facts(
        self, provider: Provider, model: str, notes: Sequence[ModelNotes], facts: ModelFacts | None
    ) -> ModelFacts | None:
        base = next((note.base_model for note in notes if note.base_model), None)
        if base is not None:
            facts = self.catalog.lookup_base(provider.name, base)
        elif facts is None and "*" not in model:
            facts = self.catalog.lookup(provider.name, model)
        stated: dict[str, Any] = {}
        for note in reversed(notes):
            stated |= {key: msgspec.json.decode(value) for key, value in note.facts.items()}
        if not stated:
            return facts
        if facts is not None and (price := self.catalog.price_of(facts, day=self.day)) is not None:
            # Only what holds today is laid under the operator's own figures.
            facts = structs.replace(facts, prices=(structs.replace(facts.prices[0], since=None, price=price),))
        return override(facts, stated, provider=provider.name, model=model, day=self.day)

    def _price(self, provider: Provider, facts: ModelFacts | None, base_url: str) -> Price | None:
        price = None
        if facts is not None:
            own = facts.source in (OVERRIDDEN, LISTED)
            price = facts.price_at(self.day) if own else self.catalog.price_of(facts, day=self.day)
        # Only servers that are known to run models themselves: behind any other address of ours may stand a bill.
        if price is None and self._known(provider.name) and provider.keyless and (not base_url or is_local(base_url)):
            return _LOCAL
        return price

    def _id(self, model: str, provider: str, upstream_model: str, reference: str, written: DeploymentSettings) -> str:
        found = written.id or deployment_id(model, provider, upstream_model, reference, written.region)
        count = self._ids[found] = self._ids.get(found, 0) + 1
        if count == 1:
            return found
        # Twins: the same target twice in one model, as some write it to give it more weight.
        return deployment_id(model, provider, upstream_model, f"{reference}\n{count}", written.region)


def _notes_of(declared: ProviderSettings | None, model: str) -> Iterator[ModelNotes]:
    """What the configuration says of an upstream model at its provider: by name first, then by pattern."""
    if declared is None:
        return
    if model in declared.models:
        yield declared.models[model]
    for pattern, notes in declared.models.items():
        if pattern != model and "*" in pattern and fnmatch.fnmatchcase(model, pattern):
            yield notes


def _settings_apart(
    settings: dict[str, str], params: Mapping[str, Raw], provider: Provider
) -> tuple[dict[str, str], dict[str, Raw]]:
    """Parameters that are settings of this provider (`account_id`), beside those that are for the body."""
    given = dict(settings)
    sent: dict[str, Raw] = {}
    for name, value in params.items():
        if name in provider.settings_env:
            given.setdefault(name, str(msgspec.json.decode(value)))
        else:
            sent[name] = value
    return given, sent


def target_budget(whose: str, written: BudgetSettings) -> TargetBudget:
    """Raises `Mistake`."""
    if written.per is not None:
        try:
            parts(written.per, param="per")
        except WayportError as error:
            raise Mistake(f"budget: {error.message}", place=written.place) from None
    return TargetBudget(counter=whose, max_nano_usd=written.max_nano_usd, per=written.per)


_BESIDE = frozenset({"responses", "messages"})
"""operations in another dialect than chat's, that a provider offers beside it"""


def _certain_paths(paths: Mapping[str, str], provider: Provider, base_url: str | None, reach: _Reach) -> dict[str, str]:
    """What another server speaks that stands in the provider's place is known for chat only: most that call themselves
    OpenAI-compatible have no Responses API. Who has one says so (`paths`, `dialect`, `openai/responses/…`).
    """
    if not base_url or provider.needs_base or base_url.rstrip("/") == (provider.base_url or "").rstrip("/"):
        return dict(paths)
    written = {name for layer in reach.layers for name in layer.paths}
    return {name: path for name, path in paths.items() if name not in _BESIDE or name in written}


def _missing(placed: Placement, reach: _Reach) -> tuple[str, ...]:
    """Variables to set: those that were referred to first, then those that the provider would look at."""
    refused = [*reach.missing, *(name for layer in reach.layers for name in layer.missing)]
    if refused or not placed.missing:
        return tuple(dict.fromkeys(refused))
    return tuple(dict.fromkeys((*(name for layer in reach.layers for name in layer.unset), *placed.missing)))


def _auth(placed: Placement, reach: _Reach, missing: tuple[str, ...]) -> AuthStyle:
    if not reach.secret and not missing and not placed.signed:
        # Nothing to present: a header with an empty credential would be an error somewhere.
        return AuthStyle(where="none")
    return auth_style(reach.written_auth) if reach.written_auth is not None else placed.auth


def _forgiving(provider: Provider, base: Base, secret: str) -> Provider:
    """A well-known API's clone at another address may well want no credential; only it knows."""
    moved = base.url is not None and provider.base_url is not None and provider.dialect == "openai_chat"
    if secret or not moved or provider.signer is not None or provider.place is not None:
        return provider
    return structs.replace(provider, keyless=True)


def _told_apart(reach: _Reach, base_url: str, headers: Mapping[str, str]) -> str:
    """What makes two deployments of one upstream model different, beside what the id is made of anyway.

    A credential that is written down has no name of its own, so a few bits of its hash stand for it; one that has a
    name may change its value without the deployment becoming another.
    """
    reference = reach.reference
    if reach.secret and reference == "config":
        reference += " " + hashlib.sha256(reach.secret.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return "\n".join((reference, base_url, *(f"{name}:{value}" for name, value in sorted(headers.items()))))


def _profile(profile: Profile, notes: Sequence[ModelNotes]) -> Profile:
    changes: dict[str, Any] = {}
    for note in reversed(notes):
        changes |= {key: msgspec.json.decode(value) for key, value in note.profile.items()}
    if not changes:
        return profile
    unknown = [key for key in changes if key not in Profile.__struct_fields__]
    if unknown:
        raise Mistake(f"a profile has no key `{unknown[0]}`{did_you_mean(unknown[0], Profile.__struct_fields__)}")
    try:
        checked = profile_from(changes)
    except msgspec.ValidationError as error:
        raise Mistake(f"profile: {error}") from None
    return structs.replace(profile, **{key: getattr(checked, key) for key in changes})


def _info(facts: ModelFacts | None, price: Price | None, notes: Sequence[ModelNotes]) -> dict[str, Raw]:
    shown: dict[str, Raw] = {}
    if facts is not None:
        known = info(facts, price=price)
        shown = {key: Raw(_encode(value)) for key, value in known.items() if value is not None}
    for note in reversed(notes):
        shown |= note.info
    return shown


def _timeouts(layers: Sequence[Connection], first_byte_s: float | None) -> Timeouts:
    wishes = [layer.timeouts for layer in layers] + [TimeoutWishes(first_byte_s=first_byte_s)]
    chosen = {
        name: value
        for name in TimeoutWishes.__struct_fields__
        if (value := next((v for wish in wishes if (v := getattr(wish, name)) is not None), None)) is not None
    }
    return structs.replace(Timeouts(), **chosen)
