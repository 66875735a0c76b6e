"""Optional packages of credentials."""

import sys

import pytest

from wayport.providers import extras
from wayport.providers.registry import builtin


def test_what_is_installed_is_not_missing() -> None:
    assert not extras.missing("aws")
    assert not extras.missing(None)


@pytest.mark.parametrize("extra", ["aws", "google", "azure"])
def test_what_cannot_be_imported_is_missing(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in {"botocore", "google", "azure"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    assert extras.missing(extra)


def test_every_extra_of_a_provider_is_known() -> None:
    named = {provider.extra for provider in builtin().all() if provider.extra}
    assert named <= {"aws", "google", "azure"}
