"""Projects over HTTP, on both databases: made, bound, changed, moved, deleted."""

from pathlib import Path
from typing import Any

from tests.control.test_admin_people import get, post
from tests.fakes.admin import Admin, admin_app, made_key

from wayport.access.principal import Budget, ModelBound, Rate
from wayport.storage.address import Address, read_address


async def _team_with_project(admin: Admin, **fields: Any) -> dict[str, Any]:
    await post(admin, "/team/new", {"team_id": "blue", "models": ["a", "b"], "max_budget": 5, "rpm_limit": 100})
    made: dict[str, Any] = await post(admin, "/project/new", {"project_id": "p", "team_id": "blue", **fields})
    return made


async def test_a_project_binds_the_keys_that_belong_to_it(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await _team_with_project(
            admin, project_alias="search", description="finds", models=["a"], max_budget=2, budget_duration="30d",
            rpm_limit=7, tags=["cost-center"], model_rpm_limit={"a": 3},
        )  # fmt: skip
        assert (made["project_id"], made["project_alias"], made["team_id"]) == ("p", "search", "blue")
        assert (made["description"], made["models"], made["spend"]) == ("finds", ["a"], 0.0)
        assert made["litellm_budget_table"]["max_budget"] == 2.0
        key = await made_key(admin, project_id="p")
        assert (key["project_id"], key["team_id"]) == ("p", "blue")
        principal = await admin.principals.principal(key["token"])
        assert principal is not None
        assert (principal.project_id, principal.tags) == ("p", ("cost-center",))
        assert ModelBound(scope="project", id="p", models=("a",)) in principal.bounds
        assert [holder.scope for holder in principal.holders] == ["team", "project"]
        assert principal.holders[1].name == "search"
        anchor_s = admin.clock.now_s()
        assert principal.holders[1].budgets == (Budget(max_nano_usd=2_000_000_000, duration="30d", anchor_s=anchor_s),)
        assert Rate(of="requests", per_s=60, at_most=3, model="a") in principal.holders[1].rates
        assert [key["token"]] == (await get(admin, "/key/list", project_id="p"))["keys"]


async def test_a_projects_change_reaches_its_keys(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await _team_with_project(admin, max_budget=1)
        key = (await made_key(admin, project_id="p"))["token"]
        changed = await post(admin, "/project/update", {"project_id": "p", "max_budget": None, "blocked": True})
        assert (changed["max_budget"], changed["blocked"], changed["team_id"]) == (None, True, "blue")
        assert admin.invalidated[-1] == key
        principal = await admin.principals.principal(key)
        assert principal is not None
        assert (principal.blocked, principal.blocked_by) == (True, "Project=p")
        assert [holder.scope for holder in principal.holders] == ["team"]
        audit = await get(admin, "/audit", table_name="projects")
        assert [row["action"] for row in audit["audit_logs"]] == ["updated", "created"]
        assert audit["audit_logs"][0]["before_value"]["blocked"] is False


async def test_a_key_is_of_a_project_of_its_own_team(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await _team_with_project(admin)
        await post(admin, "/team/new", {"team_id": "red"})
        await post(admin, "/key/generate", {"project_id": "p", "team_id": "red"}, status=400)
        await post(admin, "/key/generate", {"project_id": "none"}, status=404)
        key = (await made_key(admin))["key"]
        joined = await post(admin, "/key/update", {"key": key, "project_id": "p"})
        assert (joined["project_id"], joined["team_id"]) == ("p", "blue")
        await post(admin, "/key/update", {"key": key, "team_id": "red"}, status=400)
        left = await post(admin, "/key/update", {"key": key, "team_id": "red", "project_id": None})
        assert (left["project_id"], left["team_id"]) == (None, "red")


async def test_a_project_is_not_promised_more_than_its_team_has(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await _team_with_project(admin)
        for name, value in (("models", ["c"]), ("max_budget", 6), ("rpm_limit", 101)):
            answer = await post(admin, "/project/new", {"team_id": "blue", name: value}, status=400)
            assert answer["error"]["param"] == name
            await post(admin, "/project/update", {"project_id": "p", name: value}, status=400)
        await post(admin, "/project/new", {"project_id": "p", "team_id": "blue"}, status=400)
        await post(admin, "/project/new", {"team_id": "none"}, status=404)
        await post(admin, "/project/new", {}, status=422)


async def test_a_project_with_keys_is_neither_deleted_nor_moved(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await _team_with_project(admin)
        await post(admin, "/team/new", {"team_id": "red"})
        key = (await made_key(admin, project_id="p"))["key"]
        await post(admin, "/project/delete", {"project_ids": ["p"]}, method="DELETE", status=400)
        await post(admin, "/project/update", {"project_id": "p", "team_id": "red"}, status=400)
        await post(admin, "/key/delete", {"keys": [key]})
        moved = await post(admin, "/project/update", {"project_id": "p", "team_id": "red"})
        assert moved["team_id"] == "red"
        gone = await post(admin, "/project/delete", {"project_ids": ["p"]}, method="DELETE")
        assert [row["project_id"] for row in gone] == ["p"]
        await get(admin, "/project/info", project_id="p", status=404)
        await post(admin, "/project/delete", {"project_ids": ["p"]}, method="DELETE", status=404)


async def test_projects_go_with_their_team(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await _team_with_project(admin)
        await made_key(admin, project_id="p")
        await post(admin, "/team/delete", {"team_ids": ["blue"]})
        assert await get(admin, "/project/list") == []
        assert (await get(admin, "/key/list"))["total_count"] == 0


async def test_who_leads_a_team_makes_its_projects_and_its_members_see_them(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await _team_with_project(admin)
        keys = {}
        for user, role in (("lead", "admin"), ("member", "user"), ("stranger", None)):
            await post(admin, "/user/new", {"user_id": user, "user_role": "internal_user", "auto_create_key": False})
            if role is not None:
                await post(admin, "/team/member_add", {"team_id": "blue", "member": {"user_id": user, "role": role}})
            keys[user] = (await made_key(admin, user_id=user))["key"]

        async def status(user: str, method: str, path: str, **arguments: object) -> int:
            return (await admin.as_key(keys[user], method, path, **arguments)).status_code

        for user, may in (("lead", 200), ("member", 403), ("stranger", 403)):
            assert await status(user, "POST", "/project/new", json={"team_id": "blue"}) == may
            assert await status(user, "POST", "/project/update", json={"project_id": "p", "rpm_limit": 1}) == may
            assert await status(user, "DELETE", "/project/delete", json={"project_ids": ["p"]}) == 403
        for user, may, count in (("lead", 200, 2), ("member", 200, 2), ("stranger", 403, 0)):
            assert await status(user, "GET", "/project/info", params={"project_id": "p"}) == may
            assert len((await admin.as_key(keys[user], "GET", "/project/list")).json()) == count


async def test_what_was_decided_above_a_team_is_not_undone_by_its_lead(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await post(admin, "/organization/new", {"organization_id": "org", "organization_alias": "org"})
        await post(admin, "/team/new", {"team_id": "blue", "organization_id": "org"})
        await post(admin, "/project/new", {"project_id": "p", "team_id": "blue", "blocked": True})
        for user in ("lead", "boss", "viewer"):
            role = "internal_user_viewer" if user == "viewer" else "internal_user"
            await post(admin, "/user/new", {"user_id": user, "user_role": role, "auto_create_key": False})
        for user in ("lead", "viewer"):
            await post(admin, "/team/member_add", {"team_id": "blue", "member": {"user_id": user, "role": "admin"}})
        boss = {"user_id": "boss", "role": "org_admin"}
        await post(admin, "/organization/member_add", {"organization_id": "org", "member": boss})
        keys = {user: (await made_key(admin, user_id=user))["key"] for user in ("lead", "boss", "viewer")}

        async def update(user: str, path: str = "update", **fields: object) -> tuple[int, str | None]:
            body = {**({"project_id": "p"} if path == "update" else {"team_id": "blue"}), **fields}
            answered = await admin.as_key(keys[user], "POST", f"/project/{path}", json=body)
            return answered.status_code, answered.json().get("error", {}).get("param")

        for blocked in (False, None):
            assert await update("lead", blocked=blocked) == (403, "blocked")
        assert await update("lead", "new", blocked=True) == (403, "blocked")
        # Saying how it is changes nothing.
        assert await update("lead", blocked=True, description="x") == (200, None)
        assert await update("viewer", description="y") == (403, None)
        assert (await get(admin, "/project/info", project_id="p"))["description"] == "x"
        assert await update("boss", blocked=False) == (200, None)
        # Where nobody has decided anything of its money, its lead may; from then on it may be less, and not more.
        assert await update("lead", max_budget=20, budget_duration="30d") == (200, None)
        assert await update("lead", max_budget=10, budget_duration="30d", description="z") == (200, None)
        for field, value in (
            ("max_budget", 11), ("max_budget", None), ("budget_duration", "1d"), ("budget_duration", None),
            ("temp_budget_increase", 5), ("budget_limits", [{"max_budget": 99}]), ("model_max_budget", {"m": 99}),
            ("calendar_aligned", True),
        ):  # fmt: skip
            assert await update("lead", "update", **{field: value}) == (403, field)
        assert await update("boss", max_budget=50) == (200, None)
        assert await update("lead", max_budget=0) == (200, None)
        assert await update("lead", max_budget=1) == (403, "max_budget")
