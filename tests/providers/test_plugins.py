"""Installed packages may add providers; a broken one is told and stops nobody."""

from importlib.metadata import EntryPoint

from wayport.providers import registry
from wayport.providers.plugins import GROUP, installed
from wayport.providers.provider import Provider

ACME = Provider(name="acme", display_name="Acme", base_url="https://api.acme.example/v1", aliases=("acme-beta",))
SEVERAL = [Provider(name="one"), Provider(name="two")]
ODD = 42


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


def test_values_and_lists_of_them_are_added() -> None:
    here = __name__
    found, broken = installed([point("acme", f"{here}:ACME"), point("more", f"{here}:SEVERAL")])
    assert [provider.name for provider in found] == ["acme", "one", "two"]
    assert broken == []
    larger = registry.builtin().plus(found)
    assert larger.from_prefix("acme-beta/m") == (ACME, "m")
    assert registry.builtin().get("acme") is None


def test_broken_ones_are_told() -> None:
    found, broken = installed([point("gone", "no_such_package_here:x"), point("odd", f"{__name__}:ODD")])
    assert found == []
    assert [(one.name, one.reason.partition(":")[0]) for one in broken] == [
        ("gone", "ModuleNotFoundError"),
        ("odd", __name__),
    ]


def test_the_installed_ones_can_be_asked_for() -> None:
    assert installed()[1] == []
