"""10,000 keys with limits under load: refused to the request on one node, never late on three."""

from pathlib import Path

import pytest
from tests.fakes.nodes import REDIS, nodes
from tests.fakes.served import serving
from tests.proof.many_keys import Key, Told, many, store, storm, team_limits

MASTER = "sk-master-of-many-keys"


def _report(what: str, found: list[Key], told: Told) -> None:
    served, refused = told.served.total(), told.refused.total()
    most, team = sum(key.most for key in found), sum(_allowed(found).values())
    print(
        f"\n{what}: {len(found)} keys, {served + refused} calls in {told.took_s:.1f} s, {served} served, "
        f"{refused} refused, {told.away} asked again; the keys alone allow {most}, with their teams {team}"
    )


def _allowed(found: list[Key]) -> dict[str, int]:
    """By team: what its keys together, or it itself, may."""
    limits = team_limits(found)
    sums: dict[str, int] = {}
    for key in found:
        sums[key.team] = sums.get(key.team, 0) + key.most
    return {team: min(most, limits.get(team, most)) for team, most in sums.items()}


async def _on_one_node(directory: Path, count: int) -> None:
    found = many(count)
    config = directory / "config.yaml"
    config.write_text("models: {}\nserver: {workers: 2}\n")
    await store(found, None, directory / "data")
    environ = {"WAYPORT_MASTER_KEY": MASTER}
    async with serving(directory / "data", "--config", str(config), environ=environ) as served:
        served.http.headers["authorization"] = f"Bearer {MASTER}"
        await served.until_answers("/key/list")
        told = await storm([served.url], found)
    _report("one node, two workers", found, told)
    assert not told.other, told.other
    limits = team_limits(found)
    for key in found:
        assert told.served[key] <= key.most
        assert told.served[key] + told.refused[key] == key.calls
        if key.team not in limits:
            assert told.served[key] == key.most
    assert dict(told.teams) == _allowed(found)


@pytest.mark.timeout(120)
async def test_limits_of_many_keys_and_their_teams_are_exact_on_one_node(tmp_path: Path) -> None:
    await _on_one_node(tmp_path, 400)


@pytest.mark.proof
@pytest.mark.timeout(1800)
async def test_limits_of_ten_thousand_keys_are_exact_on_one_node(tmp_path: Path) -> None:
    await _on_one_node(tmp_path, 10_000)


async def _on_three_nodes(directory: Path, url: str, shared: dict[str, str], count: int) -> None:
    found = many(count)
    await store(found, url, directory)
    environ = {"DATABASE_URL": url, **shared}
    # Whoever keeps count may be slow under this load: then a call is to be refused, and not to go uncounted.
    config = "models: {}\nlimits: {rates_when_away: closed}\n"
    async with nodes(directory, config, environ, 3) as running:
        told = await storm([node.url for node in running], found)
    _report(f"three nodes, {'Redis' if shared else 'PostgreSQL alone'}", found, told)
    assert not told.other, told.other
    for key in found:
        assert told.served[key] <= key.most
    allowed = _allowed(found)
    for team, served in told.teams.items():
        assert served <= allowed[team]
    # Early by no more than what other nodes hold: nearly everything is served.
    assert told.served.total() >= 0.95 * sum(allowed.values())


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shared", [pytest.param({"REDIS_URL": REDIS}, id="redis"), pytest.param({}, id="postgresql")])
async def test_limits_of_ten_thousand_keys_are_never_late_on_three_nodes(
    tmp_path: Path, postgresql: str, shared: dict[str, str]
) -> None:
    await _on_three_nodes(tmp_path, postgresql, shared, 10_000)
