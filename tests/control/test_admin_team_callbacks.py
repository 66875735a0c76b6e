"""Callbacks of one team: stored sealed, shown masked, checked; addresses are for administrators to say."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.fakes.admin import Admin, admin_app

from wayport.access.callbacks_store import TeamCallbackStore
from wayport.access.models_store import PURPOSE, rotate
from wayport.core.secret import Secret
from wayport.storage.address import Address, read_address
from wayport.storage.cipher import Cipher, NotReadable
from wayport.storage.tables import team_callbacks, teams

SECRET = "sk-lf-secret-0123456789"
VARS = {"langfuse_public_key": "pk-lf-1", "langfuse_secret_key": SECRET, "langfuse_host": "http://127.0.0.1:9"}
LANGFUSE = {"callback_name": "langfuse", "callback_type": "success", "callback_vars": VARS}
KEYS_ONLY = {
    "callback_name": "langfuse",
    "callback_vars": {"langfuse_public_key": "pk-lf-1", "langfuse_secret_key": SECRET},
}


async def ask(admin: Admin, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
    answer = await admin.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert SECRET not in answer.text
    return answer.json()


async def test_a_callback_is_added_shown_masked_and_deleted(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await ask(admin, "POST", "/team/new", {"team_id": "blue", "metadata": {"mine": 1}})
        made = await ask(admin, "POST", "/team/blue/callback", LANGFUSE)
        assert (made["status"], made["data"]["team_id"], made["data"]["metadata"]["mine"]) == ("success", "blue", 1)
        found = await ask(admin, "GET", "/team/blue/callback")
        masked = {**VARS, "langfuse_secret_key": "***"}
        assert found["status"] == "success"
        assert found["data"] == {
            "team_id": "blue",
            "success_callbacks": ["langfuse"],
            "failure_callbacks": [],
            "callback_vars": masked,
            "logging": [{"callback_name": "langfuse", "callback_type": "success", "callback_vars": masked}],
            "logging_disabled": False,
            "states": [],
        }
        async with admin.database.read() as connection:
            row = (await connection.execute(sa.select(team_callbacks))).mappings().one()
            assert SECRET.encode() not in bytes(row["sealed"])
            assert b"pk-lf-1" not in bytes(row["sealed"])
            assert "langfuse" not in str((await connection.execute(sa.select(teams))).mappings().one())
        # The same once more is refused, more of it is not.
        await ask(admin, "POST", "/team/blue/callback", LANGFUSE, status=400)
        failures = {**LANGFUSE, "callback_type": "failure", "callback_vars": {"langfuse_public_key": "pk-lf-2"}}
        await ask(admin, "POST", "/team/blue/callback", {**failures, "callback_vars": {}}, status=400)
        await ask(admin, "POST", "/team/blue/callback", {**failures, "callback_vars": {**VARS}})
        found = (await ask(admin, "GET", "/team/blue/callback"))["data"]
        assert (found["success_callbacks"], found["failure_callbacks"]) == (["langfuse"], ["langfuse"])
        gone = await ask(admin, "DELETE", "/team/blue/callback/langfuse")
        assert gone == {
            "status": "success",
            "message": "Callback langfuse removed for team blue",
            "data": {"team_id": "blue", "success_callbacks": [], "failure_callbacks": []},
        }
        await ask(admin, "DELETE", "/team/blue/callback/langfuse", status=404)
        audit = await ask(admin, "GET", "/audit?table_name=teams&page_size=50")
        assert "langfuse_secret_key" in str(audit)
        assert len(admin.reloads_of_callbacks) == 3


async def test_logging_is_disabled_and_comes_back_with_a_callback(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await ask(admin, "POST", "/team/new", {"team_id": "blue"})
        for _ in range(2):
            await ask(admin, "POST", "/team/blue/callback", LANGFUSE)
            told = await ask(admin, "POST", "/team/blue/disable_logging")
            assert told == {
                "status": "success",
                "message": "Logging disabled for team blue",
                "data": {"team_id": "blue", "success_callbacks": [], "failure_callbacks": []},
            }
            found = (await ask(admin, "GET", "/team/blue/callback"))["data"]
            assert (found["logging_disabled"], found["logging"]) == (True, [])
        await ask(admin, "POST", "/team/blue/callback", LANGFUSE)
        await ask(admin, "DELETE", "/team/blue/callback/langfuse")
        assert (await ask(admin, "GET", "/team/blue/callback"))["data"]["logging_disabled"] is False
        async with admin.database.read() as connection:
            assert (await connection.execute(sa.select(team_callbacks))).all() == []


async def test_a_teams_callbacks_go_with_it(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await ask(admin, "POST", "/team/new", {"team_id": "blue"})
        await ask(admin, "POST", "/team/blue/callback", LANGFUSE)
        await ask(admin, "POST", "/team/delete", {"team_ids": ["blue"]})
        assert len(admin.reloads_of_callbacks) == 2
        await ask(admin, "POST", "/team/new", {"team_id": "blue"})
        assert (await ask(admin, "GET", "/team/blue/callback"))["data"]["logging"] == []


async def test_they_are_sealed_anew_with_everything_else(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        await ask(admin, "POST", "/team/new", {"team_id": "blue"})
        await ask(admin, "POST", "/team/blue/callback", LANGFUSE)
        old, new = (Cipher(Secret(salt), purpose=PURPOSE) for salt in ("salt", "other"))
        assert (await rotate(admin.database, old=old, new=new)).teams == 1
        found = await TeamCallbackStore(admin.database, new, clock=admin.clock).of_team("blue")
        assert found.callbacks[0].callback_vars == VARS
        with pytest.raises(NotReadable):
            await TeamCallbackStore(admin.database, old, clock=admin.clock).of_team("blue")
        # What the gateway cannot read it neither shows nor overwrites.
        await ask(admin, "GET", "/team/blue/callback", status=409)
        await ask(admin, "POST", "/team/blue/callback", KEYS_ONLY, status=409)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"callback_name": "nobody"}, "callback_name"),
        ({"callback_name": "file", "callback_vars": {"path": "/etc/passwd"}}, "callback_name"),
        ({"callback_name": "os.system", "callback_vars": {}}, "callback_name"),
        ({"callback_vars": {**VARS, "path": "x"}}, "callback_vars.path"),
        ({"callback_vars": {**VARS, "langfuse_secret_key": "os.environ/HOME"}}, "callback_vars.langfuse_secret_key"),
        ({"callback_vars": {**VARS, "langfuse_secret_key": "***"}}, "callback_vars.langfuse_secret_key"),
        ({"callback_vars": {**VARS, "langfuse_secret_key": "a\nb"}}, "callback_vars.langfuse_secret_key"),
        ({"callback_vars": {**VARS, "langfuse_host": "file:///etc"}}, "callback_vars.langfuse_host"),
        ({"callback_vars": {"langfuse_public_key": "pk"}}, "callback_vars"),
        ({"callback_name": "sentry", "callback_vars": {"dsn": "https://example.com"}}, "callback_vars"),
    ],
)
async def test_what_cannot_run_is_refused(tmp_path: Path, change: dict[str, Any], param: str) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await ask(admin, "POST", "/team/new", {"team_id": "blue"})
        refused = await ask(admin, "POST", "/team/blue/callback", {**LANGFUSE, **change}, status=400)
        assert refused["error"]["param"] == param
        await ask(admin, "POST", "/team/blue/callback", {**LANGFUSE, "callback_type": "always"}, status=422)
        assert (await ask(admin, "GET", "/team/blue/callback"))["data"]["logging"] == []


async def test_who_may_do_what(tmp_path: Path) -> None:
    """Who leads the team says with which keys; where to, and whether at all, is for administrators to say."""
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await ask(admin, "POST", "/team/new", {"team_id": "blue"})
        await ask(admin, "POST", "/team/new", {"team_id": "red"})
        keys = {}
        for user in ("leader", "member", "leader_of_red"):
            body = {"user_id": user, "user_role": "internal_user", "auto_create_key": False}
            await ask(admin, "POST", "/user/new", body)
            keys[user] = (await admin.client.post("/key/generate", json={"user_id": user})).json()["key"]
        for team, user, role in (
            ("blue", "leader", "admin"),
            ("blue", "member", "user"),
            ("red", "leader_of_red", "admin"),
        ):
            await ask(admin, "POST", "/team/member_add", {"team_id": team, "member": {"user_id": user, "role": role}})
        viewer = {"role": "proxy_admin_viewer"}
        keys["viewer"] = (await admin.client.post("/key/generate", json=viewer)).json()["key"]

        async def statuses(method: str, path: str, body: Any = None) -> dict[str, int]:
            found = {}
            for user, key in keys.items():
                answer = await admin.as_key(key, method, path, json=body)
                assert SECRET not in answer.text
                found[user] = answer.status_code
            return found

        nobody = dict.fromkeys(keys, 403)
        assert await statuses("POST", "/team/blue/callback", LANGFUSE) == nobody
        assert await statuses("POST", "/team/blue/callback", KEYS_ONLY) == {**nobody, "leader": 200}
        assert await statuses("GET", "/team/blue/callback") == {**nobody, "leader": 200, "viewer": 200}
        assert await statuses("DELETE", "/team/blue/callback/langfuse") == {**nobody, "leader": 200}
        assert await statuses("POST", "/team/blue/disable_logging") == nobody
        await ask(admin, "POST", "/team/blue/disable_logging")
        assert await statuses("POST", "/team/blue/callback", KEYS_ONLY) == nobody
        assert await statuses("GET", "/team/gone/callback") == {**nobody, "viewer": 404}
        webhook = {"callback_name": "webhook", "callback_vars": {"url": "http://169.254.169.254/"}}
        refused = await admin.as_key(keys["leader_of_red"], "POST", "/team/red/callback", json=webhook)
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "callback_vars.url")


async def test_litellms_place_in_the_metadata_is_not_stored_as_it_is(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        metadata = {"mine": 1, "logging": [LANGFUSE]}
        made = await ask(admin, "POST", "/team/new", {"team_id": "blue", "metadata": metadata})
        assert made["metadata"] == {"mine": 1}
        assert (await ask(admin, "GET", "/team/blue/callback"))["data"]["success_callbacks"] == ["langfuse"]
        async with admin.database.read() as connection:
            assert SECRET not in str((await connection.execute(sa.select(teams))).mappings().one())
        # Whoever says nothing of it changes nothing.
        await ask(admin, "POST", "/team/update", {"team_id": "blue", "metadata": {"mine": 2}})
        assert len((await ask(admin, "GET", "/team/blue/callback"))["data"]["logging"]) == 1
        body = {"metadata": {"logging": [{**KEYS_ONLY, "callback_type": "failure"}]}}
        await ask(admin, "PATCH", "/team/blue", body)
        found = (await ask(admin, "GET", "/team/blue/callback"))["data"]
        assert (found["success_callbacks"], found["failure_callbacks"]) == ([], ["langfuse"])
        await ask(admin, "POST", "/team/update", {"team_id": "blue", "metadata": {"logging": []}})
        assert (await ask(admin, "GET", "/team/blue/callback"))["data"]["logging"] == []
        for wrong in ("x", [1], [{"callback_name": "langsmith", "callback_vars": {}}]):
            await ask(admin, "POST", "/team/update", {"team_id": "blue", "metadata": {"logging": wrong}}, status=400)
        await ask(admin, "POST", "/team/gone/callback", LANGFUSE, status=400)
        await ask(admin, "GET", "/team/gone/callback", status=404)
