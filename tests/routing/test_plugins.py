"""Strategies of installed packages."""

from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint

import pytest
from tests.routing.places import Place, deployment

from wayport.routing import strategies
from wayport.routing.group import Candidate
from wayport.routing.snapshot import Model
from wayport.routing.strategies.strategy import View


class Last:
    """A strategy of a package."""

    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        del view
        return able[-1]

    def score(self, candidate: Candidate, view: View) -> float:
        del candidate, view
        return 0.0


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    here = [
        EntryPoint(name="last", value="tests.routing.test_plugins:Last", group=strategies.GROUP),
        EntryPoint(name="broken", value="no.such.module:Strategy", group=strategies.GROUP),
    ]
    monkeypatch.setattr(strategies, "entry_points", lambda group: here if group == strategies.GROUP else [])
    strategies.makers.cache_clear()
    yield
    strategies.makers.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_a_strategy_and_a_broken_one_stops_nobody() -> None:
    assert strategies.known("last")
    assert not strategies.known("broken")
    model = Model(name="m", deployments=(deployment("a"), deployment("b")), strategy="last")
    assert Place(model).chosen(3) == ["b", "b", "b"]
