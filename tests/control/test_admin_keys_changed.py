"""Keys that change: named fields only, blocks, replacement, spend counted from a moment on."""

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.admin import Admin, admin_app, made_key
from tests.fakes.records import call_record

from wayport.access.gauges import Gauges
from wayport.access.principal import Budget, Holder, ModelBound, Rate
from wayport.access.refusals import Compat
from wayport.core.secret import key_hash
from wayport.ledger.calls import CallLog
from wayport.storage.address import Address, read_address
from wayport.storage.tables import spend

WHOLE = {
    "key_alias": "ci",
    "max_budget": 5.0,
    "budget_duration": "1d",
    "rpm_limit": 10,
    "tpm_limit": 1000,
    "models": ["gpt-4o"],
    "metadata": {"a": 1},
    "allowed_ips": ["10.0.0.0/8"],
    "custom": "kept",
}


async def _info(admin: Admin, key: str) -> dict[str, Any]:
    answer = await admin.client.get("/key/info", params={"key": key})
    assert answer.status_code == 200, answer.text
    info: dict[str, Any] = answer.json()["info"]
    return info


async def _spend(admin: Admin, key: str, nano: int) -> None:
    async with admin.database.write() as connection:
        row = {"scope": "key", "holder": key_hash(key), "spend_nano_usd": nano, "calls": 1, "updated_s": 0.0}
        await connection.execute(spend.insert(), row)


async def test_only_named_fields_change_and_null_clears(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        key = (await made_key(admin, **WHOLE))["key"]
        before = await _info(admin, key)
        admin.clock.advance(10)
        answer = await admin.client.post("/key/update", json={"key": key, "tpm_limit": 2000, "rpm_limit": None})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["key"], answer.json()["tpm_limit"], answer.json()["rpm_limit"]) == (key, 2000, None)
        after = await _info(admin, key)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        assert changed == {"tpm_limit", "rpm_limit", "updated_at", "updated_by"} - (
            {"updated_by"} if before["updated_by"] == after["updated_by"] else set()
        )
        assert admin.invalidated[-1] == key_hash(key)
        cleared = {name: None for name in WHOLE if name != "key_alias"}
        await admin.client.post("/key/update", json={"key": key_hash(key), **cleared})
        bare = await _info(admin, key)
        assert (bare["key_alias"], bare["max_budget"], bare["models"], bare["metadata"]) == ("ci", None, [], {})
        assert "custom" not in bare


async def test_a_key_that_does_not_exist_cannot_change(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        for path in ("/key/update", "/key/block", "/key/regenerate"):
            answer = await admin.client.post(path, json={"key": "sk-does-not-exist"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "key_not_found")
        assert (await admin.client.post("/key/sk-does-not-exist/reset_spend", json={})).status_code == 404


async def test_what_binds_a_key_reaches_its_principal(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await made_key(
            admin,
            max_budget=0.1,
            budget_duration="1d",
            budget_limits=[{"max_budget": 1, "budget_duration": "30d"}],
            model_max_budget={"gpt-4o": {"budget_limit": 0.01, "time_period": "1d"}, "o3": 2},
            rpm_limit=3,
            model_tpm_limit={"o3": 50},
            max_parallel_requests=2,
            allowed_ips=["127.0.0.1"],
        )
        principal = await admin.principals.principal(made["token"])
        assert principal is not None
        now_s = admin.clock.now_s()
        assert principal.holders == (
            Holder(
                scope="key",
                id=made["token"],
                budgets=(
                    Budget(max_nano_usd=100_000_000, duration="1d", anchor_s=now_s),
                    Budget(max_nano_usd=1_000_000_000, duration="30d", anchor_s=now_s),
                    Budget(max_nano_usd=10_000_000, duration="1d", anchor_s=now_s, model="gpt-4o"),
                    Budget(max_nano_usd=2_000_000_000, model="o3"),
                ),
                rates=(Rate(of="requests", per_s=60, at_most=3), Rate(of="tokens", per_s=60, at_most=50, model="o3")),
                max_parallel=2,
            ),
        )
        assert principal.ips == ("127.0.0.1/32",)


async def test_a_blocked_key_is_refused_until_it_is_unblocked(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        key = (await made_key(admin))["key"]
        assert (await admin.client.post("/key/block", json={"key": key})).json()["blocked"] is True
        assert (await admin.as_key(key, "GET", "/key/info")).status_code == 401
        assert (await admin.client.post("/key/unblock", json={"key": key})).json()["blocked"] is False
        assert (await admin.as_key(key, "GET", "/key/info")).status_code == 200


async def test_a_replaced_key_keeps_all_but_itself(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        old = await made_key(admin, **WHOLE)
        await _spend(admin, old["key"], 2_000_000_000)
        new = (await admin.client.post("/key/regenerate", json={"key": old["key"], "tpm_limit": 7})).json()
        assert new["key"] != old["key"]
        info = await _info(admin, new["key"])
        assert (info["spend"], info["key_alias"], info["tpm_limit"], info["rpm_limit"]) == (2.0, "ci", 7, 10)
        assert (await admin.as_key(old["key"], "GET", "/key/info")).status_code == 401
        assert set(admin.invalidated[-2:]) == {old["token"], new["token"]}
        # What it spent before may be booked later, under its old hash.
        await _spend(admin, old["key"], 1_000_000_000)
        assert (await _info(admin, new["key"]))["spend"] == 3.0
        # Its budgets and limits go on counting where they were.
        principal = await admin.principals.principal(new["token"])
        assert principal is not None
        assert principal.holders[0].id == old["token"]


async def test_an_old_key_is_good_for_its_grace_period(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        old = await made_key(admin)
        path = f"/key/{old['token']}/regenerate"
        new = (await admin.client.post(path, json={"grace_period": "1h", "new_key": "sk-the-new-one-of-mine"})).json()
        assert new["key"] == "sk-the-new-one-of-mine"
        principal = await admin.principals.principal(old["token"])
        assert principal is not None
        assert (principal.key_hash, principal.expires_s) == (new["token"], admin.clock.now_s() + 3600)
        assert (await admin.as_key(old["key"], "GET", "/key/info")).json()["key"] == new["token"]
        # What changes with the new key changes with the old one.
        await admin.client.post("/key/update", json={"key": new["key"], "rpm_limit": 1})
        assert set(admin.invalidated[-2:]) == {old["token"], new["token"]}
        admin.clock.advance(3601)
        assert (await admin.as_key(old["key"], "GET", "/key/info")).status_code == 401
        assert (await admin.as_key(new["key"], "GET", "/key/info")).status_code == 200


async def test_spend_is_counted_from_a_moment_on(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        key = (await made_key(admin, max_budget=5, budget_duration="30d"))["key"]
        await _spend(admin, key, 3_000_000_000)
        admin.clock.advance(60)
        answer = (await admin.client.post(f"/key/{key}/reset_spend", json={"reset_to": 0.5})).json()
        assert answer == {
            "key_hash": key_hash(key),
            "spend": 0.5,
            "previous_spend": 3.0,
            "max_budget": 5.0,
            "budget_reset_at": "2027-02-14T08:01:00.000Z",
        }
        principal = await admin.principals.principal(key_hash(key))
        assert principal is not None
        assert principal.holders[0].budgets[0].anchor_s == admin.clock.now_s()


async def test_names_are_listed_and_searched(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        for alias in ("beta", "alpha", "al%ice"):
            await made_key(admin, key_alias=alias)
        await made_key(admin)
        found = (await admin.client.get("/key/aliases", params={"size": 2})).json()
        assert (found["aliases"], found["total_count"], found["total_pages"]) == (["al%ice", "alpha"], 3, 2)
        found = (await admin.client.get("/key/aliases", params={"search": "l%"})).json()
        assert found["aliases"] == ["al%ice"]


async def test_keys_are_listed_in_the_order_that_was_asked_for(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        for alias, nano in (("b", 1), ("a", 3), ("c", 2)):
            await _spend(admin, (await made_key(admin, key_alias=alias))["key"], nano * 1_000_000_000)
        for sort, order, expected in (("spend", "desc", "acb"), ("key_alias", "asc", "abc")):
            params = {"sort_by": sort, "sort_order": order, "return_full_object": "true"}
            keys = (await admin.client.get("/key/list", params=params)).json()["keys"]
            assert "".join(key["key_alias"] for key in keys) == expected


async def test_several_keys_are_looked_at_and_changed_at_once(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        one = await made_key(admin)
        await made_key(admin, key_alias="two")
        infos = (await admin.client.post("/v2/key/info", json={"keys": [one["key"], "sk-nobody-has-this-one"]})).json()
        assert (infos["key"], [info["token"] for info in infos["info"]]) == (
            [one["key"], "sk-nobody-has-this-one"],
            [one["token"]],
        )
        body = {"keys": [{"key": one["key"], "rpm_limit": 1}, {"key": "sk-nobody-has-this-one", "rpm_limit": 1}]}
        answer = (await admin.client.post("/key/bulk_update", json=body)).json()
        assert (answer["total_requested"], len(answer["successful_updates"])) == (2, 1)
        assert answer["failed_updates"][0]["key"] == "sk-nobody-has-this-one"
        taken = await admin.client.post("/key/update", json={"key": one["key"], "key_alias": "two"})
        assert (taken.status_code, taken.json()["error"]["param"]) == (400, "key_alias")


@pytest.mark.parametrize(
    "change",
    [
        {"max_budget": -1},
        {"max_budget": 1e12},
        {"rpm_limit": 2**60},
        {"budget_duration": "soon"},
        {"budget_duration": "999999w"},
        {"allowed_ips": ["nowhere"]},
        {"temp_budget_expiry": "tomorrow"},
        {"metadata": "text"},
    ],
)
async def test_what_no_limit_can_be_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        made = await made_key(admin)
        for path, body in (("/key/generate", change), ("/key/update", {"key": made["key"], **change})):
            answer = await admin.client.post(path, json=body)
            assert answer.status_code == 422, answer.text
            assert answer.json()["error"]["param"].split(".")[0] == next(iter(change))


@pytest.mark.parametrize(
    "body",
    [
        b'{"key_alias":"a\\u0000b"}',
        b'{"key_alias":"\\ud800"}',
        b'{"metadata":{"a":NaN}}',
        b'{"metadata":{"a":1e999}}',
        b'{"metadata":{"a":100000000000000000000000000000}}',
        b'{"metadata":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"{",
        b"\xff",
    ],
)
async def test_what_cannot_be_stored_is_refused(address: Address, tmp_path: Path, body: bytes) -> None:
    async with admin_app(address, tmp_path) as admin:
        answer = await admin.client.post("/key/generate", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text


async def test_a_teams_and_an_organisations_lists_bind_beside_the_keys(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await admin.client.post("/organization/new", json={"organization_id": "org", "models": ["a", "b", "c"]})
        await admin.client.post("/team/new", json={"team_id": "blue", "organization_id": "org", "models": ["a", "b"]})
        made = await made_key(admin, team_id="blue", models=["a"])
        principal = await admin.principals.principal(made["token"])
        assert principal is not None
        assert principal.bounds == (
            ModelBound(scope="team", id="blue", models=("a", "b")),
            ModelBound(scope="organization", id="org", models=("a", "b", "c")),
        )


@pytest.mark.parametrize("compat", ["wayport", "litellm"])
async def test_what_is_shown_as_spent_begins_anew_with_the_budget(
    address: Address, tmp_path: Path, compat: Compat
) -> None:
    async with admin_app(address, tmp_path, compat=compat) as admin:
        limits = {"max_budget": 5, "budget_duration": "1d"}
        await admin.client.post("/team/new", json={"team_id": "blue", **limits})
        made = await made_key(admin, team_id="blue", **limits)

        async def spend(usd: int) -> None:
            principal = await admin.principals.principal(made["token"])
            assert principal is not None
            record = call_record(key_hash=made["token"], cost_nano_usd=usd * 1_000_000_000)
            record.team_id = "blue"
            account = Gauges(clock=admin.clock).account(principal, "m", ("m",))
            record.budget_windows = account.windows
            async with admin.database.write() as connection:
                await CallLog(admin.database, clock=admin.clock).add(connection, [record])

        async def shown() -> tuple[float, float]:
            key = (await admin.client.get("/key/info", params={"key": made["key"]})).json()["info"]
            team = (await admin.client.get("/team/info", params={"team_id": "blue"})).json()["team_info"]
            listed = (await admin.client.get("/key/list", params={"return_full_object": True})).json()["keys"][0]
            assert listed["spend"] == key["spend"]
            return key["spend"], team["spend"]

        await spend(2)
        assert await shown() == (2.0, 2.0)
        admin.clock.advance(86_400)
        assert await shown() == (0.0, 0.0)
        await spend(1)
        assert await shown() == (1.0, 1.0)
        # Reset by hand: what was said then, and what came after it.
        await admin.client.post(f"/key/{made['key']}/reset_spend", json={"reset_to": 0.5})
        assert (await shown())[0] == 0.5
        await spend(2)
        assert await shown() == (2.5, 3.0)
        admin.clock.advance(86_400)
        assert await shown() == (0.0, 0.0)
        # Without a period all counts that was ever spent, since the reset.
        await admin.client.post("/key/update", json={"key": made["key"], "budget_duration": None})
        assert await shown() == (2.5, 0.0)
