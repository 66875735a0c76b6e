"""Models of the database beside those of the configuration. Where both name a model, the configuration's is used.

A stored model that cannot be used is left out and told about; it never keeps a configuration from being taken.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from wayport.access.allow import of_team
from wayport.access.models_store import StoredCredentials, StoredModel, StoredModels
from wayport.catalog import catalog as catalogue
from wayport.config.document import Document
from wayport.config.fields import Fields
from wayport.config.litellm_models import ModelList
from wayport.config.reading import Reading
from wayport.config.secrets import resolve
from wayport.config.settings import ModelSettings, Settings
from wayport.control.parties import Unknown
from wayport.control.stored_fallbacks import Fallbacks, Kind, StoredFallbacks, those_of, with_fallbacks
from wayport.control.targets import Targets
from wayport.core.errors import Unavailable
from wayport.providers import registry as providers
from wayport.storage.cipher import NotReadable

log = logging.getLogger("wayport.control")

TEAM = "team_id"
"""of a model's information: the team whose alone it is"""

# Who may add models must not thereby learn what protects everybody else's.
_OURS = ("WAYPORT_", "LITELLM_", "DATABASE_", "REDIS_")


class Entry(Struct, kw_only=True, frozen=True):
    """A stored model in the clear."""

    id: str
    name: str
    params: dict[str, Any]
    info: dict[str, Any]
    blocked: bool = False


class ModelSource:
    """What it read last serves on while the database is away."""

    def __init__(self, models: StoredModels, credentials: StoredCredentials, fallbacks: StoredFallbacks) -> None:
        self._models = models
        self._credentials = credentials
        self._stored_fallbacks = fallbacks
        self._fallbacks: Fallbacks = {}
        self._configured: Mapping[str, ModelSettings] = {}
        self._entries: Sequence[Entry] = ()
        self._secrets: Mapping[str, dict[str, Any]] = {}
        self.shadowed: frozenset[str] = frozenset()
        """ids of stored models whose name the configuration has, too"""
        self.wrong: dict[str, str] = {}
        """ids of stored models that cannot be used, and why"""

    async def any(self) -> bool:
        """Whether there is anything stored. Raises `Unavailable`."""
        return bool((await self._models.page(limit=1))[0] or await self._stored_fallbacks.all())

    def fallbacks(self, kind: Kind) -> Collection[str]:
        """The models whose fallbacks of this kind are those of the database."""
        return [
            name
            for name in self._fallbacks.get(kind, {})
            if (known := self._configured.get(name)) is None or not those_of(known, kind)
        ]

    async def added(self, settings: Settings) -> Settings:
        """The settings with the stored models, too."""
        try:
            await self._read()
        except Unavailable:
            log.warning("the database is away; the models that it had serve on")
        return await asyncio.to_thread(self._added, settings)

    def _added(self, settings: Settings) -> Settings:
        self._configured = configured = {model.name: model for model in settings.models}
        self.shadowed = frozenset(entry.id for entry in self._entries if entry.name in configured)
        self.wrong = {}
        groups: dict[str, ModelSettings] = {}
        blocked: dict[str, ModelSettings] = {}
        for entry in self._entries:
            if entry.id in self.shadowed:
                continue
            found = self.check(entry, settings)
            if isinstance(found, str):
                self.wrong[entry.id] = found
                log.warning("a stored model cannot be used", extra={"model": entry.name, "why": found})
                continue
            there = blocked if entry.blocked or entry.info.get("blocked") is True else groups
            known = there.get(found.name)
            there[found.name] = found if known is None else _together(known, found)
        models = (*settings.models, *groups.values())
        return structs.replace(
            settings,
            models=tuple(with_fallbacks(model, self._fallbacks) for model in models),
            blocked=(*settings.blocked, *blocked.values()),
        )

    def check(self, entry: Entry, settings: Settings) -> ModelSettings | str:
        """The model as settings, or why it cannot be used."""
        info = {**entry.info, "id": entry.id, "db_model": True}
        root = {"model_list": [{"model_name": entry.name, "litellm_params": entry.params, "model_info": info}]}
        if any("${" in text for text in _texts(entry.params)):
            return "only references of the form os.environ/NAME are followed here"
        environ = {name: value.reveal() for name, value in settings.environ.items() if not name.startswith(_OURS)}
        values, references = resolve(root, environ)
        document = Document(file=f"model {entry.name}", root=root)
        reading = Reading(document=document, values=values, references=references, folder=Path())
        secrets = {name: Fields(reading, ("credentials", name), told) for name, told in self._secrets.items()}
        read = ModelList(reading, defaults=Fields(reading, ("defaults",), {}), credentials=secrets)
        for each in Fields(reading, (), reading.values).entries("model_list"):
            read.add(each)
        if reading.problems:
            return "; ".join(problem.text for problem in reading.problems)
        models = read.models() or read.blocked()
        if not models:
            return "nothing can be called by this name"
        model = models[0]
        if team_id := entry.info.get(TEAM):
            model = structs.replace(model, hidden=True, access_groups=(*model.access_groups, of_team(str(team_id))))
        return self._problem(model, settings) or model

    def _problem(self, model: ModelSettings, settings: Settings) -> str:
        if model.name.count("*") > 1:
            return "a name may hold one `*`"
        catalog = catalogue.load(Path(settings.storage.data_dir))
        targets = Targets(settings, registry=providers.builtin(), catalog=catalog, day=datetime.now(tz=UTC).date())
        for item in model.deployments:
            if "*" in item.target and "*" not in model.name:
                return f"`{item.target}` needs a model name with a `*`, too"
            found = targets.parties.find(item)
            if isinstance(found, Unknown):
                return found.text
            before = len(targets.problems)
            if targets.deployment(model.name, item) is None or len(targets.problems) > before:
                return "; ".join(problem.text for problem in targets.problems[before:]) or "it cannot be called"
        return ""

    async def _read(self) -> None:
        rows, _ = await self._models.page()
        self._entries = [entry for row in reversed(rows) if (entry := self._entry(row))]
        secrets = {}
        for row in (await self._credentials.page())[0]:
            try:
                values = self._credentials.values_of(row)
            except NotReadable as error:
                log.warning("a credential cannot be read", extra={"credential": row.id, "why": str(error)})
                continue
            provider = row.info.get("custom_llm_provider")
            secrets[row.id] = {**({"custom_llm_provider": provider} if provider else {}), **values}
        self._secrets = secrets
        self._fallbacks = await self._stored_fallbacks.all()

    def _entry(self, row: StoredModel) -> Entry | None:
        try:
            params = self._models.params_of(row)
            return Entry(id=row.id, name=row.name, params=params, info=row.info, blocked=row.blocked)
        except NotReadable as error:
            log.warning("a stored model cannot be read", extra={"model": row.name, "why": str(error)})
            return None


def _together(one: ModelSettings, other: ModelSettings) -> ModelSettings:
    """Several entries of one name are its deployments."""
    return structs.replace(
        one,
        deployments=(*one.deployments, *other.deployments),
        access_groups=tuple(dict.fromkeys((*one.access_groups, *other.access_groups))),
    )


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []
