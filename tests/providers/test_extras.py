"""Optional packages of credentials."""

from wayport.providers import extras
from wayport.providers.registry import builtin


def test_what_is_installed_is_not_missing_and_what_is_not_is() -> None:
    assert not extras.missing("aws")
    assert not extras.missing(None)
    assert extras.missing("azure")


def test_every_extra_of_a_provider_is_known() -> None:
    named = {provider.extra for provider in builtin().all() if provider.extra}
    assert named <= {"aws", "google", "azure"}
