"""Providers that installed packages add: entry points of the group `wayport.providers`, each a value of `Provider`."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from msgspec import Struct

from wayport.providers.provider import Follow, MakeSigner, Provider
from wayport.providers.registry import Registry, builtin

GROUP = "wayport.providers"


class Broken(Struct, kw_only=True, frozen=True):
    """A plug-in that could not be used, and why."""

    name: str
    reason: str


def installed(points: Iterable[EntryPoint] | None = None) -> tuple[list[Provider], list[Broken]]:
    """The providers of all plug-ins, and the plug-ins that are broken. Never raises: one bad package stops nobody."""
    providers: list[Provider] = []
    broken: list[Broken] = []
    for point in entry_points(group=GROUP) if points is None else points:
        try:
            value = point.load()
        except Exception as error:  # noqa: BLE001 (a plug-in's import may fail in any way)
            broken.append(Broken(name=point.name, reason=f"{type(error).__name__}: {error}"))
            continue
        found = list(value) if isinstance(value, list | tuple) else [value]
        if all(isinstance(provider, Provider) for provider in found):
            providers.extend(found)
        else:
            broken.append(Broken(name=point.name, reason=f"{point.value} is no Provider, nor a list of them"))
    return providers, broken


@cache
def everyone() -> tuple[Registry, tuple[Broken, ...]]:
    """All providers, those of plug-ins among them, and the plug-ins that are broken: looked for once in a process."""
    providers, broken = installed()
    return (builtin().plus(providers) if providers else builtin()), tuple(broken)


def signer_of(provider: str) -> MakeSigner | None:
    found = everyone()[0].get(provider)
    return found.signer if found is not None else None


def follow_of(provider: str) -> Follow | None:
    found = everyone()[0].get(provider)
    return found.follow if found is not None else None
