"""Budgets and what is spent of them, as alerts and metrics tell."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.config.observing import AlertSettings
from wayport.control.holdings import Holdings
from wayport.ledger.calls import CallLog
from wayport.observe.alerts import Alerts
from wayport.storage.address import Address, read_address
from wayport.storage.tables import budget_spend, budgets, customers, keys, projects, spend, teams

_PLAIN: dict[str, Any] = {"metadata": {}, "settings": {}, "blocked": False, "created_s": 0.0, "updated_s": 0.0}
_LISTS: dict[str, Any] = {"models": [], "routes": [], "tags": []}


async def test_what_is_spent_of_budgets_for_good_and_by_period(address: Address) -> None:
    clock = ManualClock()
    record = call_record(cost_nano_usd=3_000_000_000)
    async with opened(address, clock) as database:
        async with database.write() as connection:
            await CallLog(database, clock=clock).add(connection, [record])
            forever = {"key_hash": "a" * 64, "key_name": "sk-...a", "key_alias": "ci", "limits": {"max_budget": 10.0}}
            free: dict[str, Any] = {"key_hash": "b" * 64, "key_name": "sk-...b", "key_alias": None, "limits": {}}
            await connection.execute(sa.insert(keys), [{**_PLAIN, **_LISTS, **key} for key in (forever, free)])
            monthly = {"max_budget": 5.0, "budget_duration": "1d", "anchor_s": clock.now_s() - 86_400 * 2 - 10}
            team = {"id": "team-1", "alias": "Reds", "models": [], "limits": monthly}
            await connection.execute(sa.insert(teams), [{**_PLAIN, **team}])
            window_s = int(clock.now_s()) - 10
            spent = {"counter": "team:team-1|usd/1d", "node": "n", "writer": "w", "updated_s": 0.0}
            rows = [
                {**spent, "window_s": window_s, "spend_nano_usd": 4_500_000_000},
                {**spent, "window_s": window_s - 86_400, "spend_nano_usd": 99},
            ]
            await connection.execute(sa.insert(budget_spend), rows)
        holdings = Holdings(database, clock=clock, calendar=False)
        found = {held.holder: held for held in await holdings.all()}
        names = await holdings.names()
    assert set(found) == {f"key:{'a' * 64}", "team:team-1"}
    of_key, of_team = found[f"key:{'a' * 64}"], found["team:team-1"]
    assert (of_key.shown, of_key.spent_nano_usd, of_key.budget_nano_usd) == ("ci", 3_000_000_000, 10_000_000_000)
    assert (of_team.spent_nano_usd, of_team.budget_nano_usd, of_team.period) == (4_500_000_000, 5_000_000_000, "1d")
    assert names.teams == {"team-1": "Reds"}


async def test_a_project_counts_what_its_calls_cost(address: Address) -> None:
    clock = ManualClock()
    record = call_record(cost_nano_usd=3_000_000_000)
    record.project_id = "p"
    async with opened(address, clock) as database:
        async with database.write() as connection:
            await CallLog(database, clock=clock).add(connection, [record])
            project = {"id": "p", "alias": "Search", "team_id": "team-1", "models": [], "limits": {"max_budget": 4.0}}
            await connection.execute(sa.insert(projects), [{**_PLAIN, **project}])
        (held,) = await Holdings(database, clock=clock, calendar=False).all()
    assert (held.holder, held.shown, held.spent_nano_usd) == ("project:p", "Search", 3_000_000_000)


async def test_a_soft_budget_is_told_and_binds_nobody(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(read_address(None, tmp_path), clock) as database:
        async with database.write() as connection:
            await CallLog(database, clock=clock).add(connection, [call_record(cost_nano_usd=3_000_000_000)])
            key = {"key_hash": "a" * 64, "key_name": "x", "key_alias": "ci", "limits": {"soft_budget": 2.5}}
            await connection.execute(sa.insert(keys), [{**_PLAIN, **_LISTS, **key}])
        found = await Holdings(database, clock=clock, calendar=False, shared=lambda: {"": {"max_budget": 9.0}}).all()
    assert [(held.holder, held.soft, held.budget_nano_usd) for held in found] == [
        (f"key:{'a' * 64}", True, 2_500_000_000),
        ("gateway:", False, 9_000_000_000),
    ]
    alerts = Alerts(AlertSettings(), clock=clock)
    alerts.look_at_budgets(found)
    (alert,) = alerts.take()
    assert (alert.kind, alert.details["holder"]) == ("soft_budget", f"key:{'a' * 64}")


async def test_a_duration_that_is_none_breaks_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(read_address(None, tmp_path), clock) as database:
        async with database.write() as connection:
            limits = {"max_budget": 1.0, "budget_duration": "soon"}
            key = {"key_hash": "a" * 64, "key_name": "x", "limits": limits}
            await connection.execute(sa.insert(keys), [{**_PLAIN, **_LISTS, **key}])
        found = await Holdings(database, clock=clock, calendar=False).all()
    assert [held.spent_nano_usd for held in found] == [0]


async def test_budgets_by_name_of_customers_and_begun_anew_count_as_calls_are_admitted(address: Address) -> None:
    clock = ManualClock()
    async with opened(address, clock) as database:
        async with database.write() as connection:
            shared = {
                "id": "small",
                "limits": {"max_budget": 2.0, "budget_duration": "1h", "anchor_s": clock.now_s() - 60},
            }
            await connection.execute(sa.insert(budgets), [{**_PLAIN, **shared}])
            customer: dict[str, Any] = {"id": "c", "alias": None, "budget_id": "small", "models": [], "limits": {}}
            await connection.execute(sa.insert(customers), [{**_PLAIN, **customer}])
            counted_as = {"settings": {"counted_as": "a" * 64}}
            renewed = {"key_hash": "b" * 64, "key_name": "x", "limits": {"max_budget": 9.0}, **counted_as}
            await connection.execute(sa.insert(keys), [{**_PLAIN, **_LISTS, **renewed}])
            booked = {"scope": "key", "spend_nano_usd": 5, "calls": 1, "updated_s": 0.0}
            await connection.execute(sa.insert(spend), [{**booked, "holder": letter * 64} for letter in "ab"])
            anew: dict[str, Any] = {
                "id": "t",
                "alias": None,
                "models": [],
                "limits": {"max_budget": 3.0, "reset_s": 1_000.0},
            }
            await connection.execute(sa.insert(teams), [{**_PLAIN, **anew}])
            rows = [
                {"counter": "end_user:c|usd/1h", "window_s": int(clock.now_s()) - 60, "spend_nano_usd": 7},
                {"counter": "team:t|usd/ever", "window_s": 1_000, "spend_nano_usd": 8},
                {"counter": "team:t|usd/ever", "window_s": 0, "spend_nano_usd": 99},
            ]
            await connection.execute(
                sa.insert(budget_spend), [{"node": "n", "writer": "w", "updated_s": 0.0, **row} for row in rows]
            )
        found = {held.holder: held for held in await Holdings(database, clock=clock, calendar=False).all()}
    customer_held = found["end_user:c"]
    assert (customer_held.spent_nano_usd, customer_held.budget_nano_usd) == (7, 2_000_000_000)
    assert customer_held.ends_s == int(clock.now_s()) - 60 + 3_600
    assert found[f"key:{'b' * 64}"].spent_nano_usd == 10
    assert found["team:t"].spent_nano_usd == 8
