"""Users, teams, organisations, customers, budgets, tags and access groups, on both databases."""

from pathlib import Path
from typing import Any

from tests.fakes.admin import Admin, admin_app
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock
from tests.fakes.records import call_record

from wayport.access.keys import Keys
from wayport.access.principal import AskedFor, Budget, Holder, Rate
from wayport.access.principals import Principals
from wayport.access.rows import Patch
from wayport.control.admin.stores import Stores
from wayport.core.secret import key_hash
from wayport.ledger.calls import CallLog
from wayport.storage.address import Address, read_address


async def post(admin: Admin, path: str, body: Any = None, *, status: int = 200, method: str = "POST") -> Any:
    answer = await admin.client.request(method, path, json=body if body is not None else {})
    assert answer.status_code == status, (path, answer.text)
    return answer.json()


async def get(admin: Admin, path: str, *, status: int = 200, **params: object) -> Any:
    answer = await admin.client.get(path, params=params)  # type: ignore[arg-type]  # httpx's own
    assert answer.status_code == status, (path, answer.text)
    return answer.json()


async def test_a_user_is_made_with_a_key(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await post(
            admin, "/user/new", {"user_id": "ann", "user_email": "Ann@Example.org", "user_role": "internal_user"}
        )
        assert (made["user_id"], made["user_email"], made["user_role"]) == ("ann", "ann@example.org", "internal_user")
        assert made["key"].startswith("sk-")
        principal = await admin.principals.principal(key_hash(made["key"]))
        assert principal is not None
        assert (principal.user_id, principal.role) == ("ann", "internal_user")
        for taken in ({"user_id": "ann"}, {"user_email": "ANN@example.org"}):
            assert (await post(admin, "/user/new", taken, status=409))["error"]["code"] == "exists_already"
        info = await get(admin, "/user/info", user_id="ann")
        assert (info["user_id"], info["user_info"]["user_email"]) == ("ann", "ann@example.org")
        assert [key["token"] for key in info["keys"]] == [made["token"]]
        without = await post(admin, "/user/new", {"auto_create_key": False})
        assert without["key"] is None
        assert (await get(admin, "/user/info", user_id="nobody", status=404))["error"]["code"] == "user_not_found"


async def test_a_users_change_reaches_its_keys(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await post(admin, "/user/new", {"user_id": "ann", "max_budget": 1})
        answer = await post(
            admin, "/user/update", {"user_id": "ann", "max_budget": 2, "budget_duration": "1h", "rpm_limit": 5}
        )
        assert (answer["user_id"], answer["data"]["max_budget"]) == ("ann", 2.0)
        assert admin.invalidated[-1] == made["token"]
        principal = await admin.principals.principal(made["token"])
        assert principal is not None
        assert principal.holders == (
            Holder(
                scope="user",
                id="ann",
                budgets=(Budget(max_nano_usd=2_000_000_000, duration="1h", anchor_s=admin.clock.now_s()),),
                rates=(Rate(of="requests", per_s=60, at_most=5),),
            ),
        )
        await post(admin, "/user/update", {"user_id": "ann", "max_budget": None, "rpm_limit": None})
        principal = await admin.principals.principal(made["token"])
        assert principal is not None
        assert principal.holders == ()


async def test_users_are_listed_and_deleted(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        for name in ("ann", "bob", "cleo"):
            await post(admin, "/user/new", {"user_id": name, "user_email": f"{name}@example.org"})
        found = await get(admin, "/user/list", page_size=2, sort_by="user_id", sort_order="asc")
        assert ([user["user_id"] for user in found["users"]], found["total"], found["total_pages"]) == (
            ["ann", "bob"],
            3,
            2,
        )
        assert found["users"][0]["key_count"] == 1
        found = await get(admin, "/user/list", user_email="CLEO@")
        assert [user["user_id"] for user in found["users"]] == ["cleo"]
        keys = (await get(admin, "/key/list", user_id="ann"))["keys"]
        assert await post(admin, "/user/delete", {"user_ids": ["ann", "bob"]}) == 2
        assert await admin.principals.principal(keys[0]) is None
        await post(admin, "/user/delete", {"user_ids": ["ann"]}, status=404)


async def test_a_password_is_stored_as_its_hash_and_never_shown(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await post(admin, "/user/new", {"user_id": "ann", "password": "correct horse"})
        texts = [
            str(await get(admin, path, **params))
            for path, params in (
                ("/user/info", {"user_id": "ann"}),
                ("/user/list", {}),
                ("/audit", {"page_size": 100}),
            )
        ]
        assert not any("correct horse" in text or "scrypt" in text for text in texts)


async def test_a_team_has_members_and_keys(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/user/new", {"user_id": "ann", "user_email": "ann@example.org"})
        made = await post(
            admin,
            "/team/new",
            {
                "team_id": "blue",
                "team_alias": "Blue",
                "members_with_roles": [{"role": "admin", "user_email": "ann@example.org"}, {"user_id": "bob"}],
                "model_aliases": {"fast": "gpt-4o-mini"},
                "max_budget": 10,
            },
        )
        assert made["members_with_roles"] == [
            {"user_id": "ann", "user_email": "ann@example.org", "role": "admin"},
            {"user_id": "bob", "user_email": None, "role": "user"},
        ]
        # Who was not there before is a user now.
        assert (await get(admin, "/user/info", user_id="bob"))["user_info"]["teams"] == ["blue"]
        await post(admin, "/team/new", {"team_id": "blue"}, status=400)
        key = await post(admin, "/key/generate", {"team_id": "blue", "user_id": "bob"})
        info = await get(admin, "/team/info", team_id="blue")
        assert [each["token"] for each in info["keys"]] == [key["token"]]
        assert [member["user_id"] for member in info["team_memberships"]] == ["ann", "bob"]
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert principal.aliases == {"fast": "gpt-4o-mini"}
        assert [holder.scope for holder in principal.holders] == ["team"]
        await get(admin, "/team/info", team_id="red", status=404)


async def test_members_come_change_and_go(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/team/new", {"team_id": "blue"})
        body = {"team_id": "blue", "member": {"user_id": "ann"}, "max_budget_in_team": 0.5}
        added = await post(admin, "/team/member_add", body)
        assert added["updated_team_memberships"][0]["litellm_budget_table"]["max_budget"] == 0.5
        assert [user["user_id"] for user in added["updated_users"]] == ["ann"]
        again = await post(admin, "/team/member_add", body, status=400)
        assert again["error"]["type"] == "team_member_already_in_team"
        key = await post(admin, "/key/generate", {"team_id": "blue", "user_id": "ann"})
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert [(h.scope, h.id, h.budgets[0].max_nano_usd) for h in principal.holders] == [
            ("team_member", "blue/ann", 500_000_000)
        ]
        changed = await post(
            admin,
            "/team/member_update",
            {"team_id": "blue", "user_id": "ann", "max_budget_in_team": 2, "role": "admin"},
        )
        assert (changed["max_budget_in_team"], changed["role"]) == (2.0, "admin")
        gone = await post(admin, "/team/member_delete", {"team_id": "blue", "user_id": "ann"})
        assert gone["members_with_roles"] == []
        assert await admin.principals.principal(key["token"]) is None
        await post(admin, "/team/member_delete", {"team_id": "blue", "user_id": "ann"}, status=400)
        await post(admin, "/team/member_add", {"team_id": "red", "member": {"user_id": "ann"}}, status=404)


async def test_a_team_changes_by_named_fields_and_can_be_blocked(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/team/new", {"team_id": "blue", "tpm_limit": 5, "metadata": {"a": 1}, "models": ["x"]})
        key = await post(admin, "/key/generate", {"team_id": "blue"})
        changed = await post(admin, "/team/update", {"team_id": "blue", "rpm_limit": 7, "models": None})
        data = changed["data"]
        assert (data["tpm_limit"], data["rpm_limit"], data["metadata"], data["models"]) == (5, 7, {"a": 1}, [])
        await post(admin, "/team/block", {"team_id": "blue"})
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert (principal.blocked, principal.blocked_by) == (True, "Team=blue")
        assert (await admin.as_key(key["key"], "GET", "/key/info")).status_code == 401
        await post(admin, "/team/unblock", {"team_id": "blue"})
        assert (await admin.as_key(key["key"], "GET", "/key/info")).status_code == 200
        gone = await post(admin, "/team/delete", {"team_ids": ["blue"]})
        assert [team["team_id"] for team in gone] == ["blue"]
        assert (await admin.as_key(key["key"], "GET", "/key/info")).status_code == 401


async def test_the_last_model_of_a_team_does_not_open_all_of_them(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await post(admin, "/team/new", {"team_id": "blue", "models": ["x"]})
        left = await post(admin, "/team/model/delete", {"team_id": "blue", "models": ["x"]})
        assert left["models"] == ["no-default-models"]
        more = await post(admin, "/team/model/add", {"team_id": "blue", "models": ["y"]})
        assert more["models"] == ["no-default-models", "y"]


async def test_an_organisation_holds_teams_and_members(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/budget/new", {"budget_id": "ten", "max_budget": 10, "budget_duration": "30d"})
        made = await post(admin, "/organization/new", {"organization_alias": "Acme", "budget_id": "ten"})
        organization_id = made["organization_id"]
        await post(admin, "/team/new", {"team_id": "blue", "organization_id": organization_id})
        member = {"user_id": "ann", "role": "org_admin"}
        await post(admin, "/organization/member_add", {"organization_id": organization_id, "member": member})
        info = await get(admin, "/organization/info", organization_id=organization_id)
        assert [each["user_id"] for each in info["members"]] == ["ann"]
        assert [team["team_id"] for team in info["teams"]] == ["blue"]
        key = await post(admin, "/key/generate", {"team_id": "blue"})
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert principal.organization_id == organization_id
        assert [(h.scope, h.budgets[0].max_nano_usd) for h in principal.holders] == [("organization", 10**10)]
        changed = await post(
            admin,
            "/organization/update",
            {"organization_id": organization_id, "max_budget": 3},
            method="PATCH",
        )
        assert changed["litellm_budget_table"]["max_budget"] == 3.0
        body = {"organization_id": organization_id, "user_id": "ann", "role": "internal_user"}
        assert (await post(admin, "/organization/member_update", body, method="PATCH"))["user_role"] == "internal_user"
        await post(admin, "/organization/member_delete", body, method="DELETE")
        assert len(await get(admin, "/organization/list")) == 1
        await post(admin, "/organization/delete", {"organization_ids": [organization_id]}, method="DELETE")
        assert await admin.principals.principal(key["token"]) is None
        await get(admin, "/organization/info", organization_id=organization_id, status=404)


async def test_a_customer_has_limits_of_its_own_or_of_a_budget(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        key = await post(admin, "/key/generate")
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert principal.asks == ()
        await post(admin, "/budget/new", {"budget_id": "small", "max_budget": 1, "rpm_limit": 2})
        made = await post(admin, "/customer/new", {"user_id": "c1", "budget_id": "small", "max_budget": 4})
        assert made["litellm_budget_table"]["max_budget"] == 4.0
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert principal.asks == ("end_user",)
        holder = await admin.principals.holder("end_user", "c1")
        assert holder is not None
        assert (holder.budgets[0].max_nano_usd, holder.rates[0].at_most) == (4_000_000_000, 2)
        assert await admin.principals.holder("end_user", "stranger") is None
        blocked = await post(admin, "/end_user/block", {"user_ids": ["c1", "c2"]})
        assert [user["user_id"] for user in blocked["blocked_users"]] == ["c1", "c2"]
        for name in ("c1", "c2"):
            holder = await admin.principals.holder("end_user", name)
            assert holder is not None
            assert holder.blocked
        await post(
            admin, "/customer/update", {"user_id": "c1", "blocked": False, "budget_id": None, "max_budget": None}
        )
        assert await admin.principals.holder("end_user", "c1") is None
        await post(admin, "/customer/new", {"user_id": "c1"}, status=400)
        assert len(await get(admin, "/customer/list")) == 2
        assert (await get(admin, "/customer/info", end_user_id="c1"))["user_id"] == "c1"
        assert (await post(admin, "/customer/delete", {"user_ids": ["c1", "c2"]}))["deleted_customers"] == 2
        await get(admin, "/customer/info", end_user_id="c1", status=404)


async def test_budgets_are_shared_by_name(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await post(admin, "/budget/new", {"budget_id": "b", "max_budget": 1, "budget_duration": "1d"})
        assert made["budget_reset_at"] == "2027-01-16T08:00:00.000Z"
        key = await post(admin, "/key/generate", {"budget_id": "b", "rpm_limit": 3})
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert (principal.holders[0].budgets[0].max_nano_usd, principal.holders[0].rates[0].at_most) == (10**9, 3)
        await post(admin, "/budget/update", {"budget_id": "b", "max_budget": 2})
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert principal.holders[0].budgets[0].max_nano_usd == 2 * 10**9
        assert [row["budget_id"] for row in await post(admin, "/budget/info", {"budgets": ["b", "c"]})] == ["b"]
        assert len(await get(admin, "/budget/list")) == 1
        settings = {
            row["field_name"]: row["field_value"] for row in await get(admin, "/budget/settings", budget_id="b")
        }
        assert (settings["max_budget"], settings["rpm_limit"]) == (2.0, None)
        await post(admin, "/budget/delete", {"id": "b"})
        await post(admin, "/budget/delete", {"id": "b"}, status=404)


async def test_tags_and_groups_of_models(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/tag/new", {"name": "prod", "description": "x", "max_budget": 1})
        await post(admin, "/tag/new", {"name": "prod"}, status=400)
        await post(admin, "/tag/update", {"name": "prod", "max_budget": 2})
        assert (await post(admin, "/tag/info", {"names": ["prod"]}))["prod"]["max_budget"] == 2.0
        holder = await admin.principals.holder("tag", "prod")
        assert holder is not None
        assert holder.budgets[0].max_nano_usd == 2 * 10**9
        await post(admin, "/access_group/new", {"access_group": "beta", "model_names": ["m1", "m2"]})
        key = await post(admin, "/key/generate", {"models": ["beta", "m3"]})
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert (principal.models, principal.asks) == (("beta", "m3", "m1", "m2"), ("tag",))
        await post(admin, "/access_group/beta/update", {"model_names": ["m4"]}, method="PUT")
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert principal.models == ("beta", "m3", "m4")
        assert (await get(admin, "/access_group/list"))["access_groups"][0]["access_group"] == "beta"
        await post(admin, "/access_group/beta/delete", method="DELETE")
        await get(admin, "/access_group/beta/info", status=404)
        await post(admin, "/tag/delete", {"name": "prod"})
        assert await get(admin, "/tag/list") == []


async def test_every_change_leaves_a_line_that_says_who_did_what(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        key = await post(
            admin, "/key/generate", {"key_alias": "ci", "metadata": {"openai": "sk-proj-0123456789abcdef"}}
        )
        await post(admin, "/key/update", {"key": key["key"], "rpm_limit": 3})
        await post(admin, "/key/delete", {"keys": [key["key"]]})
        found = (await get(admin, "/audit", table_name="keys"))["audit_logs"]
        assert [(line["action"], line["object_id"]) for line in found] == [
            ("deleted", key["token"]),
            ("updated", key["token"]),
            ("created", key["token"]),
        ]
        assert found[1]["before_value"]["limits"] == {}
        assert found[1]["updated_values"]["limits"] == {"rpm_limit": 3}
        assert "sk-proj" not in str(found)
        assert key["key"] not in str(found)
        assert (await get(admin, f"/audit/{found[0]['id']}"))["changed_by"] == "master"
        await get(admin, "/audit/unknown", status=404)


async def test_who_has_no_limits_of_its_own_has_those_of_the_configuration(address: Address) -> None:
    """End users and tags: what is said of one goes before a named budget, that before what is said of all."""
    clock = ManualClock()
    async with opened(address, clock) as database:
        stores = Stores(database, Keys(database, clock=clock), clock=clock)
        principals = Principals(
            database,
            stores.keys,
            clock=clock,
            customer_default=lambda: {"rpm_limit": 1, "budget_id": "standard"},
            tag_defaults=lambda: {"batch": {"rpm_limit": 7}},
        )

        async def rates(scope: AskedFor, name: str) -> dict[str, int]:
            holder = await principals.holder(scope, name)
            return {} if holder is None else {rate.of: rate.at_most for rate in holder.rates}

        assert await principals.asks() == ("end_user", "tag")
        assert await rates("end_user", "ann") == {"requests": 1}
        await stores.budgets.add("standard", Patch(limits={"rpm_limit": 2, "tpm_limit": 20}), by=None)
        assert await rates("end_user", "ann") == {"requests": 1, "tokens": 20}
        await stores.customers.add("bob", Patch(columns={"budget_id": "standard"}), by=None)
        assert await rates("end_user", "bob") == {"requests": 2, "tokens": 20}
        await stores.customers.add("eve", Patch(limits={"rpm_limit": 5}), by=None)
        assert await rates("end_user", "eve") == {"requests": 5, "tokens": 20}
        assert await rates("tag", "batch") == {"requests": 7}
        assert await rates("tag", "other") == {}
        await stores.tags.add("batch", Patch(limits={"rpm_limit": 8}), by=None)
        assert await rates("tag", "batch") == {"requests": 8}


async def test_models_of_a_customer_and_of_a_tag_reach_their_calls(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/access_group/new", {"access_group": "cheap", "model_names": ["mini", "nano"]})
        await post(admin, "/customer/new", {"user_id": "ann", "models": ["gpt", "cheap"]})
        ann = await admin.principals.holder("end_user", "ann")
        assert ann == Holder(scope="end_user", id="ann", models=("gpt", "cheap", "mini", "nano"))
        changed = await post(admin, "/customer/update", {"user_id": "ann", "allowed_models": ["gpt"]})
        assert changed["models"] == changed["allowed_models"] == ["gpt"]
        for every in (None, [], ["*"], ["all-proxy-models"]):
            await post(admin, "/customer/update", {"user_id": "ann", "models": every})
            assert await admin.principals.holder("end_user", "ann") is None
        made = await post(admin, "/tag/new", {"name": "batch", "models": ["nano"], "rpm_limit": 3})
        assert made["tag"]["models"] == ["nano"]
        batch = await admin.principals.holder("tag", "batch")
        assert batch is not None
        assert (batch.models, len(batch.rates)) == (("nano",), 1)


async def test_everyone_above_a_key_binds_it(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        limit = {"max_budget": 1}
        await post(admin, "/organization/new", {"organization_id": "org", **limit})
        await post(admin, "/organization/new", {"organization_id": "elsewhere", **limit})
        await post(admin, "/team/new", {"team_id": "blue", "organization_id": "org", **limit})
        await post(admin, "/project/new", {"project_id": "p", "team_id": "blue", **limit})
        await post(admin, "/user/new", {"user_id": "ann", "auto_create_key": False, **limit})
        member = {"team_id": "blue", "member": {"user_id": "ann", "role": "user"}, "max_budget_in_team": 1}
        await post(admin, "/team/member_add", member)
        for more in ({}, {"key_type": "llm_api"}, {"organization_id": "elsewhere"}, {"role": "proxy_admin"}):
            made = await post(admin, "/key/generate", {"user_id": "ann", "project_id": "p", **limit, **more})
            principal = await admin.principals.principal(made["token"])
            assert principal is not None
            assert [f"{holder.scope}:{holder.id}" for holder in principal.holders[1:]] == [
                "user:ann", "team_member:blue/ann", "team:blue", "project:p", "organization:org",
            ]  # fmt: skip


async def test_many_members_are_added_each_for_itself(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/user/new", {"user_id": "ann", "user_email": "ann@example.org", "auto_create_key": False})
        await post(admin, "/team/new", {"team_id": "blue", "members_with_roles": [{"user_id": "bob", "role": "admin"}]})
        people = [{"user_email": "ann@example.org"}, {"user_id": "bob"}, {"user_id": "cy", "role": "admin"}]
        answer = await post(
            admin, "/team/bulk_member_add", {"team_id": "blue", "members": people, "max_budget_in_team": 2}
        )
        assert (answer["total_requested"], answer["successful_additions"], answer["failed_additions"]) == (3, 2, 1)
        assert [(one["user_id"], one["success"]) for one in answer["results"]] == [
            ("ann", True), ("bob", False), ("cy", True),
        ]  # fmt: skip
        admins = [m["user_id"] for m in answer["updated_team"]["members_with_roles"] if m["role"] == "admin"]
        assert admins == ["bob", "cy"]
        ann = answer["results"][0]["updated_team_membership"]
        assert ann["litellm_budget_table"]["max_budget"] == 2.0
        everybody = await post(admin, "/team/bulk_member_add", {"team_id": "blue", "all_users": True})
        assert everybody["successful_additions"] == 0


async def test_a_members_spend_begins_anew(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        member = {"team_id": "blue", "member": {"user_id": "ann"}, "max_budget_in_team": 2, "budget_duration": "30d"}
        await post(admin, "/team/new", {"team_id": "blue"})
        await post(admin, "/team/member_add", member)
        key = (await post(admin, "/key/generate", {"team_id": "blue", "user_id": "ann"}))["key"]
        record = call_record(cost_nano_usd=1_500_000_000)
        record.team_id, record.user_id = "blue", "ann"
        async with admin.database.write() as connection:
            await CallLog(admin.database, clock=admin.clock).add(connection, [record])
        mine = (await admin.as_key(key, "GET", "/team/blue/members/me")).json()
        assert (mine["spend"], mine["role"], mine["litellm_budget_table"]["max_budget"]) == (1.5, "user", 2.0)
        await post(admin, "/team/blue/member/ann/reset_spend", {"reset_to": 1.6}, status=400)
        reset = await post(admin, "/team/blue/member/ann/reset_spend", {"reset_to": 0.5})
        assert reset == {
            "team_id": "blue", "user_id": "ann", "spend": 0.5, "previous_spend": 1.5, "max_budget": 2.0,
        }  # fmt: skip
        admin.clock.advance(60)
        assert (await post(admin, "/team/blue/member/ann/reset_budget"))["spend"] == 0.0
        principal = await admin.principals.principal(key_hash(key))
        assert principal is not None
        (holder,) = principal.holders
        assert (holder.id, holder.budgets[0].anchor_s) == ("blue/ann", admin.clock.now_s())
        await post(admin, "/team/blue/member/bob/reset_spend", status=400)


async def test_permissions_of_many_teams(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await post(admin, "/team/new", {"team_id": "blue", "team_member_permissions": ["/key/list"]})
        await post(admin, "/team/new", {"team_id": "red"})
        more = {"permissions": ["/key/list"]}
        await post(admin, "/team/permissions_bulk_update", more, status=400)
        await post(admin, "/team/permissions_bulk_update", {**more, "team_ids": ["none"]}, status=404)
        await post(admin, "/team/permissions_bulk_update", {"permissions": ["/all"], "team_ids": ["red"]}, status=422)
        answer = await post(admin, "/team/permissions_bulk_update", {**more, "apply_to_all_teams": True})
        assert answer["teams_updated"] == 1
        told = await get(admin, "/team/permissions_list", team_id="red")
        assert told["team_member_permissions"] == ["/key/info", "/key/health", "/key/list"]


async def test_a_team_is_changed_by_its_path_and_belongs_to_an_organisation_that_exists(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        await post(admin, "/team/new", {"team_id": "blue", "rpm_limit": 5})
        row = await post(admin, "/team/blue", {"team_alias": "Blue", "rpm_limit": None}, method="PATCH")
        assert (row["team_id"], row["team_alias"], row["rpm_limit"]) == ("blue", "Blue", None)
        for path, body in (("/team/new", {}), ("/team/update", {"team_id": "blue"})):
            answer = await post(admin, path, {**body, "organization_id": "none"}, status=400)
            assert answer["error"]["type"] == "bad_request_error"
        assert (await post(admin, "/team/none", {}, method="PATCH", status=404))["error"]["type"] == "not_found_error"
