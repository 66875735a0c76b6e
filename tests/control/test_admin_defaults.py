"""What the configuration gives keys, users and teams that say nothing of it, and what keys may have at most."""

from pathlib import Path
from typing import Any

from tests.fakes.admin import Admin, admin_app, made_key

from wayport.config.settings import ManagementSettings
from wayport.storage.address import read_address

MADE = ManagementSettings(
    for_keys={"max_budget": 1.5, "budget_duration": "30d", "models": ["a"], "metadata": {"from": "config"}},
    most_for_keys={"max_budget": 10.0, "duration": "30d", "rpm_limit": 100},
    for_users={"user_role": "internal_user", "models": ["a"], "teams": [{"team_id": "blue"}, {"team_id": "gone"}]},
    for_internal_users={"max_budget": 4.0},
    for_teams={"rpm_limit": 5, "models": ["a", "b"]},
)


async def post(admin: Admin, path: str, body: Any, *, status: int = 200) -> Any:
    answer = await admin.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_a_key_gets_what_it_does_not_say(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, management=MADE) as admin:
        key = await made_key(admin, models=[], metadata={})
        assert (key["max_budget"], key["budget_duration"], key["models"]) == (1.5, "30d", ["a"])
        assert (key["metadata"], key["rpm_limit"], key["expires"] is None) == ({"from": "config"}, 100, False)
        key = await made_key(
            admin, max_budget=2, models=["b"], metadata={"mine": 1}, budget_duration=None, duration="1d"
        )
        assert (key["max_budget"], key["budget_duration"], key["models"]) == (2.0, None, ["b"])
        assert key["metadata"] == {"mine": 1}


async def test_no_key_gets_more_than_the_configuration_says(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, management=MADE) as admin:
        for more in ({"max_budget": 10.5}, {"duration": "31d"}, {"duration": "-1"}, {"rpm_limit": 101}):
            answer = await post(admin, "/key/generate", more, status=400)
            assert "is over max limit set in config" in answer["error"]["message"]
        key = (await made_key(admin, rpm_limit=50))["key"]
        await post(admin, "/key/update", {"key": key, "max_budget": 11}, status=400)
        await post(admin, f"/key/{key}/regenerate", {"duration": "60d"}, status=400)
        changed = await post(admin, "/key/update", {"key": key, "max_budget": None, "key_alias": "x"})
        assert (changed["max_budget"], changed["rpm_limit"]) == (10.0, 50)


async def test_a_user_gets_what_it_does_not_say(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, management=MADE) as admin:
        await post(admin, "/team/new", {"team_id": "blue"})
        user = await post(admin, "/user/new", {"user_id": "ann"})
        assert (user["user_role"], user["models"], user["teams"]) == ("internal_user", ["a"], ["blue"])
        assert user["max_budget"] == 4.0
        user = await post(admin, "/user/new", {"user_id": "bob", "user_role": "internal_user_viewer", "models": ["b"]})
        assert (user["user_role"], user["models"], user["max_budget"]) == ("internal_user_viewer", ["b"], None)
        boss = await post(admin, "/user/new", {"user_id": "eve", "user_role": "proxy_admin"})
        assert (boss["models"], boss["teams"]) == ([], [])
        await post(admin, "/team/member_add", {"team_id": "blue", "member": {"user_id": "cy"}})
        cy = (await admin.client.get("/user/info", params={"user_id": "cy"})).json()["user_info"]
        assert (cy["user_role"], cy["max_budget"], cy["teams"]) == ("internal_user", 4.0, ["blue"])


async def test_a_team_gets_what_it_does_not_say(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, management=MADE) as admin:
        team = await post(admin, "/team/new", {"models": ["c"]})
        assert (team["rpm_limit"], team["models"]) == (5, ["c"])
        assert (await post(admin, "/team/new", {}))["models"] == ["a", "b"]
    quiet = ManagementSettings(creator_joins=False)
    async with admin_app(read_address(None, tmp_path / "quiet"), tmp_path, compat="litellm", management=quiet) as admin:
        assert (await post(admin, "/team/new", {}))["members_with_roles"] == []
