"""Every route of the admin API as every role, generated from the route list: whatever is asked about somebody else's
keys, users, teams and organisations, nothing of theirs is told and nothing of theirs changes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.fakes.admin import Admin, admin_app

from wayport.core.secret import key_hash
from wayport.storage.address import read_address
from wayport.storage.tables import audit, metadata

MARK = "FOREIGN-MARK"
FOREIGN_KEY = "sk-foreign-key-0123456789"
ROLES = ("org_admin", "team_admin", "internal_user", "internal_user_viewer", "plain", "nobodys")
# `/metrics` has an answer of its own for those who may not see it.
OPEN = {"/docs", "/openapi.json", "/metrics"}
NAMES: dict[str, Any] = {
    "key": FOREIGN_KEY,
    "keys": [FOREIGN_KEY],
    "key_hash": key_hash(FOREIGN_KEY),
    "api_key": key_hash(FOREIGN_KEY),
    "key_alias": MARK,
    "key_aliases": [MARK],
    "user_id": "foreign-user",
    "user_ids": ["foreign-user"],
    "user_email": "foreign@example.org",
    "team_id": "foreign-team",
    "team_ids": ["foreign-team"],
    "teams": ["foreign-team"],
    "organization_id": "foreign-org",
    "organization_ids": ["foreign-org"],
    "organizations": ["foreign-org"],
    "project_id": "foreign-project",
    "project_ids": ["foreign-project"],
    "end_user_id": "foreign-customer",
    "member": {"user_id": "foreign-user"},
    "members_with_roles": [],
    "models": [],
    "budget_id": "foreign-budget",
    "id": "foreign-model",
    "model_id": "foreign-model",
    "name": "foreign-tag",
    "names": ["foreign-tag"],
    "access_group": "foreign-group",
    "access_group_id": "foreign-group",
    "credential_name": "foreign-credential",
    "search": "FOREIGN",
    "role": None,
    "user_role": "proxy_admin",
}


async def _world(admin: Admin) -> dict[str, str]:
    """Two tenants. What belongs to the foreign one is marked; returns a key of the other for each role."""

    async def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await admin.client.post(path, json=body)
        assert answer.status_code < 300, answer.text
        made: dict[str, Any] = answer.json()
        return made

    marked = {"metadata": {"mark": MARK}}
    await post("/budget/new", {"budget_id": "foreign-budget", "mark": MARK})
    await post("/organization/new", {"organization_id": "foreign-org", "organization_alias": MARK, **marked})
    await post("/team/new", {"team_id": "foreign-team", "team_alias": MARK, "organization_id": "foreign-org", **marked})
    await post(
        "/user/new",
        {"user_id": "foreign-user", "user_email": "foreign@example.org", "user_alias": MARK, "user_role": "internal_user",
         "organizations": ["foreign-org"], "teams": ["foreign-team"], **marked},
    )  # fmt: skip
    await post(
        "/key/generate",
        {"key": FOREIGN_KEY, "key_alias": MARK, "user_id": "foreign-user", "team_id": "foreign-team", "max_budget": 1,
         **marked},
    )  # fmt: skip
    await post("/customer/new", {"user_id": "foreign-customer", "alias": MARK, **marked})
    await post("/project/new", {"project_id": "foreign-project", "team_id": "foreign-team", **marked})
    await post("/tag/new", {"name": "foreign-tag", "description": MARK, **marked})
    await post("/access_group/new", {"access_group": "foreign-group", "model_names": [MARK]})
    await post("/credentials", {"credential_name": "foreign-credential", "credential_values": {"api_base": MARK}})
    model = {"model": "openai/gpt-4o-mini", "api_key": MARK}
    await post("/model/new", {"model_name": "x", "litellm_params": model, "model_info": {"id": "foreign-model"}})
    await post("/organization/new", {"organization_id": "own-org"})
    await post("/team/new", {"team_id": "own-team", "organization_id": "own-org"})
    keys = {}
    for role in ("org_admin", "team_admin", "internal_user", "internal_user_viewer"):
        told = role if role != "team_admin" else "internal_user"
        await post("/user/new", {"user_id": role, "user_role": told, "auto_create_key": False})
        keys[role] = (await post("/key/generate", {"user_id": role}))["key"]
    await post("/team/member_add", {"team_id": "own-team", "member": {"user_id": "team_admin", "role": "admin"}})
    member = {"user_id": "org_admin", "role": "org_admin"}
    await post("/organization/member_add", {"organization_id": "own-org", "member": member})
    keys["plain"] = (await post("/key/generate", {"user_id": "plain"}))["key"]
    keys["nobodys"] = (await post("/key/generate", {}))["key"]
    return keys


async def _foreign_rows(admin: Admin) -> list[str]:
    """Every row that has to do with the foreign tenant, as text."""
    found = []
    async with admin.database.read() as connection:
        for table in metadata.sorted_tables:
            if table is audit:
                continue
            for row in (await connection.execute(sa.select(table))).mappings():
                text = str(dict(row))
                if "foreign" in text.lower() or key_hash(FOREIGN_KEY) in text:
                    found.append(f"{table.name}: {text}")
    return sorted(found)


def _requests(api: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any] | None]]:
    """Each route once with everything that it takes pointing at the foreign tenant, once with what it must have."""
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            for every in (True, False):
                filled, params = path, {}
                for parameter in route.get("parameters", ()):
                    name = parameter["name"]
                    if parameter["in"] == "path":
                        filled = filled.replace("{" + name + "}", str(NAMES.get(name, "foreign-team")))
                    elif name in NAMES and (every or parameter.get("required")):
                        value = NAMES[name]
                        params[name] = ",".join(value) if isinstance(value, list) else value
                yield method.upper(), filled, params, _body(api, route, every=every)


def _body(api: dict[str, Any], route: dict[str, Any], *, every: bool) -> dict[str, Any] | None:
    content = route.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return None
    schema = content["schema"]
    reference = schema.get("$ref") or next((each["$ref"] for each in schema.get("anyOf", ()) if "$ref" in each), None)
    if reference is None:
        return {}
    shape = api["components"]["schemas"][reference.split("/")[-1]]
    required = shape.get("required", ())
    body = {}
    for name, field in shape.get("properties", {}).items():
        if name in NAMES and (every or name in required):
            body[name] = NAMES[name]
        elif name in required:
            body[name] = {"array": [], "object": {}, "number": 0, "boolean": True}.get(field.get("type", ""), "x")
    return body


@pytest.mark.parametrize("role", ROLES)
async def test_nobody_reaches_into_another_tenant(tmp_path: Path, role: str) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        key = (await _world(admin))[role]
        api = (await admin.client.get("/openapi.json")).json()
        before = await _foreign_rows(admin)
        tried = 0
        for method, path, params, body in _requests(api):
            answer = await admin.as_key(key, method, path, params=params, json=body)
            where = f"{method} {path} {json.dumps(body)}"
            assert answer.status_code < 500, (where, answer.text)
            assert MARK not in answer.text or "mark" in where.lower(), (where, answer.text)
            tried += 1
        assert tried > 150
        assert await _foreign_rows(admin) == before
        assert (await admin.as_key(FOREIGN_KEY, "GET", "/key/info")).status_code == 200


async def test_who_may_only_look_sees_everything_and_changes_nothing(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await _world(admin)
        viewer = (await admin.client.post("/key/generate", json={"role": "proxy_admin_viewer"})).json()["key"]
        api = (await admin.client.get("/openapi.json")).json()
        before = await _foreign_rows(admin)
        for method, path, params, body in _requests(api):
            answer = await admin.as_key(viewer, method, path, params=params, json=body)
            assert answer.status_code < 500 or path.startswith("/cache/"), (method, path, answer.text)
            if method == "GET":
                assert answer.status_code not in {401, 403}, (method, path, answer.text)
        assert await _foreign_rows(admin) == before
        seen = await admin.as_key(viewer, "GET", "/key/info", params={"key": FOREIGN_KEY})
        assert seen.json()["info"]["key_alias"] == MARK


async def test_every_route_asks_for_a_key(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        api = (await admin.client.get("/openapi.json")).json()
        for method, path, params, body in _requests(api):
            for key in ("", "sk-unknown-to-anybody"):
                headers = {"authorization": f"Bearer {key}"} if key else {"authorization": ""}
                answer = await admin.client.request(method, path, params=params, json=body, headers=headers)
                assert answer.status_code == 401 or path in OPEN, (method, path, answer.text)


@pytest.mark.parametrize(
    ("method", "path", "params", "body"),
    [
        ("GET", "/key/info", {"key": FOREIGN_KEY}, None),
        ("POST", "/key/update", {}, {"key": FOREIGN_KEY, "key_alias": "mine"}),
        ("POST", "/key/delete", {}, {"keys": [FOREIGN_KEY]}),
        ("POST", "/key/delete", {}, {"key_aliases": [MARK]}),
        ("GET", "/user/info", {"user_id": "foreign-user"}, None),
        ("GET", "/team/info", {"team_id": "foreign-team"}, None),
        ("GET", "/organization/info", {"organization_id": "foreign-org"}, None),
        ("GET", "/project/info", {"project_id": "foreign-project"}, None),
        ("POST", "/project/update", {}, {"project_id": "foreign-project", "models": []}),
        ("POST", "/project/new", {}, {"team_id": "foreign-team"}),
        ("POST", "/key/generate", {}, {"project_id": "foreign-project"}),
        ("GET", "/key/list", {"user_id": "foreign-user"}, None),
        ("GET", "/key/list", {"team_id": "foreign-team"}, None),
    ],
)
async def test_what_is_somebody_elses_answers_as_what_does_not_exist(
    tmp_path: Path, method: str, path: str, params: dict[str, str], body: dict[str, Any] | None
) -> None:
    def unknown(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: unknown(item) for name, item in value.items()}
        if isinstance(value, list):
            return [unknown(item) for item in value]
        return str(value).replace("foreign", "unknown").replace(MARK, "NO-SUCH") if value != "mine" else value

    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        key = (await _world(admin))["internal_user"]
        theirs = await admin.as_key(key, method, path, params=params, json=body)
        nobodys = await admin.as_key(key, method, path, params=unknown(params), json=unknown(body) if body else None)
        assert theirs.status_code == nobodys.status_code == 403, (theirs.text, nobodys.text)
        assert theirs.json() == nobodys.json()


async def test_what_each_role_may_do_with_its_own(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        keys = await _world(admin)

        async def status(role: str, path: str, body: dict[str, Any], method: str = "POST") -> int:
            return (await admin.as_key(keys[role], method, path, json=body)).status_code

        made: dict[str, int] = {}
        for role in ROLES:
            made[role] = await status(role, "/key/generate", {})
        assert made == {
            "org_admin": 200, "team_admin": 200, "internal_user": 200, "internal_user_viewer": 403, "plain": 403,
            "nobodys": 403,
        }  # fmt: skip
        for role in ROLES:
            made[role] = await status(role, "/key/generate", {"team_id": "own-team"})
        assert {role for role, answer in made.items() if answer == 200} == {"org_admin", "team_admin"}
        for role in ROLES:
            made[role] = await status(role, "/team/new", {"organization_id": "own-org"})
        assert {role for role, answer in made.items() if answer == 200} == {"org_admin"}
        for role in ROLES:
            made[role] = await status(role, "/team/member_add", {"team_id": "own-team", "member": {"user_id": role}})
        assert {role for role, answer in made.items() if answer == 200} == {"org_admin"}
        assert made["team_admin"] == 400


async def test_nobody_raises_itself(tmp_path: Path) -> None:
    """What somebody above said of a key, a user or a team is not its own to change."""
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        keys = await _world(admin)
        limited = await admin.client.post("/key/generate", json={"user_id": "internal_user", "max_budget": 1})
        own = limited.json()["key"]
        change: dict[str, Any]
        for change in ({"max_budget": 5}, {"max_budget": None}, {"blocked": False, "models": []}, {"role": "proxy_admin"},
                       {"team_id": "own-team"}, {"user_id": "plain"}, {"allowed_ips": []}, {"spend": 0}):  # fmt: skip
            answer = await admin.as_key(own, "POST", "/key/update", json={"key": own, **change})
            assert answer.status_code == 403, (change, answer.text)
        assert (await admin.as_key(own, "POST", f"/key/{own}/reset_spend", json={})).status_code == 403
        for change in ({"user_role": "proxy_admin"}, {"max_budget": 5}, {"models": []}):
            answer = await admin.as_key(own, "POST", "/user/update", json={"user_id": "internal_user", **change})
            assert answer.status_code == 403, (change, answer.text)
        for change in ({"max_budget": 5}, {"models": []}, {"organization_id": None}, {"blocked": False}):
            answer = await admin.as_key(
                keys["team_admin"], "POST", "/team/update", json={"team_id": "own-team", **change}
            )
            assert answer.status_code == 403, (change, answer.text)
        for body in ({"role": "proxy_admin"}, {"user_id": "plain"}, {"organization_id": "own-org"}):
            answer = await admin.as_key(own, "POST", "/key/generate", json=body)
            assert answer.status_code == 403, (body, answer.text)
        renamed = await admin.as_key(own, "POST", "/key/update", json={"key": own, "key_alias": "mine"})
        assert renamed.status_code == 200, renamed.text
