from pathlib import Path

import pytest
from tests.fakes.admin import admin_app, made_key

from wayport.access.principal import Principal
from wayport.core.secret import key_hash
from wayport.storage.address import Address, read_address


async def test_a_key_is_made_shown_once_and_looked_at(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await made_key(
            admin,
            key_alias="ci",
            duration="30d",
            models=["gpt-4o", "openai/*"],
            user_id="alice",
            team_id="blue",
            metadata={"purpose": "tests"},
            tags=["prod"],
            aliases={"fast": "gpt-4o-mini"},
        )
        key = made["key"]
        assert key.startswith("sk-")
        assert made["token"] == made["token_id"] == key_hash(key)
        assert made["key_name"] == f"sk-...{key[-4:]}"
        assert made["expires"] == "2027-02-14T08:00:00.000Z"
        assert made["created_at"] == made["updated_at"] == "2027-01-15T08:00:00.000Z"
        assert made["created_by"] == "master"
        assert made["aliases"] == {"fast": "gpt-4o-mini"}
        assert admin.invalidated == [key_hash(key)]
        for given in (key, key_hash(key)):
            info = (await admin.client.get("/key/info", params={"key": given})).json()
            assert info["key"] == given
            assert key not in str(info["info"])
            expected = {name: value for name, value in made.items() if name not in {"key", "token_id", "key_type"}}
            assert info["info"] == expected
        assert await admin.principals.principal(key_hash(key)) == Principal(
            kind="key",
            key_hash=key_hash(key),
            key_alias="ci",
            user_id="alice",
            team_id="blue",
            models=("gpt-4o", "openai/*"),
            tags=("prod",),
            metadata=b'{"purpose":"tests"}',
            expires_s=1_800_000_000.0 + 30 * 86400,
            aliases={"fast": "gpt-4o-mini"},
        )


async def test_a_key_looks_at_itself_and_at_no_other(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        own, other = await made_key(admin), await made_key(admin)
        info = await admin.as_key(own["key"], "GET", "/key/info")
        assert info.json()["key"] == own["token"]
        assert "token" not in info.json()["info"]
        assert (await admin.as_key(own["key"], "GET", "/key/info", params={"key": own["key"]})).status_code == 200
        foreign = await admin.as_key(own["key"], "GET", "/key/info", params={"key": other["key"]})
        missing = await admin.as_key(own["key"], "GET", "/key/info", params={"key": "sk-does-not-exist"})
        assert foreign.status_code == missing.status_code == 403
        assert foreign.json() == missing.json()


async def test_a_deleted_key_is_gone_at_once(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made, named = await made_key(admin), await made_key(admin, key_alias="ci")
        assert (await admin.as_key(made["key"], "GET", "/key/info")).status_code == 200
        answer = await admin.client.post("/key/delete", json={"keys": [made["key"]], "key_aliases": ["ci"]})
        assert answer.json() == {"deleted_keys": [made["key"], named["token"]]}
        assert admin.invalidated[-2:] == [made["token"], named["token"]]
        assert (await admin.as_key(made["key"], "GET", "/key/info")).status_code == 401
        again = await admin.client.post("/key/delete", json={"keys": [made["key"]]})
        assert again.status_code == 404
        assert made["key"] not in again.text


@pytest.mark.parametrize("body", [{}, {"keys": []}])
async def test_deleting_nothing_is_a_mistake(tmp_path: Path, body: dict[str, object]) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        assert (await admin.client.post("/key/delete", json=body)).status_code == 400


async def test_keys_are_listed_by_pages(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        for number in range(5):
            await made_key(admin, key_alias=f"k{number}", user_id="alice" if number < 2 else "bob")
            admin.clock.advance(1)
        first = (await admin.client.get("/key/list", params={"size": 2})).json()
        assert (first["total_count"], first["current_page"], first["total_pages"]) == (5, 1, 3)
        assert all(len(entry) == 64 for entry in first["keys"])
        full = (await admin.client.get("/key/list", params={"return_full_object": True, "user_id": "alice"})).json()
        assert [entry["key_alias"] for entry in full["keys"]] == ["k1", "k0"]
        third = (await admin.client.get("/key/list", params={"size": 2, "page": 3, "return_full_object": True})).json()
        assert [entry["key_alias"] for entry in third["keys"]] == ["k0"]


async def test_who_is_no_administrator_lists_own_keys_only(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        alices = [await made_key(admin, user_id="alice") for _ in range(2)]
        nobodys = await made_key(admin)
        bobs = await made_key(admin, user_id="bob")
        seen = await admin.as_key(alices[0]["key"], "GET", "/key/list")
        assert set(seen.json()["keys"]) == {key["token"] for key in alices}
        tried = await admin.as_key(alices[0]["key"], "GET", "/key/list", params={"user_id": "bob"})
        unknown = await admin.as_key(alices[0]["key"], "GET", "/key/list", params={"user_id": "nobody"})
        assert (tried.status_code, tried.json()) == (403, unknown.json())
        tried = await admin.as_key(alices[0]["key"], "GET", "/key/list", params={"key_hash": bobs["token"]})
        assert tried.json()["keys"] == []
        assert (await admin.as_key(nobodys["key"], "GET", "/key/list")).json()["keys"] == [nobodys["token"]]


@pytest.mark.parametrize("path", ["/key/generate", "/key/delete", "/config/reload"])
async def test_what_is_for_administrators_is_for_nobody_else(tmp_path: Path, path: str) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        plain = await made_key(admin)
        refused = await admin.as_key(plain["key"], "POST", path, json={"keys": [plain["key"]]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "admin_only")
        assert (await admin.as_key("sk-unknown-to-anybody", "POST", path, json={})).status_code == 401
        assert (await admin.client.post(path, headers={"authorization": ""}, json={})).status_code == 401


async def test_a_key_with_the_role_is_an_administrators(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        chief = await made_key(admin, role="proxy_admin", user_id="root")
        made = await admin.as_key(chief["key"], "POST", "/key/generate", json={})
        assert made.json()["created_by"] == "root"
        viewer = await made_key(admin, role="proxy_admin_viewer")
        assert (await admin.as_key(viewer["key"], "GET", "/key/list")).json()["total_count"] == 3
        assert (await admin.as_key(viewer["key"], "POST", "/key/generate", json={})).status_code == 403


async def test_a_key_for_models_only_manages_nothing(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        made = await made_key(admin, key_type="llm_api", role="proxy_admin")
        refused = await admin.as_key(made["key"], "POST", "/key/generate", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "route_not_allowed")


@pytest.mark.parametrize("field", ["enforced_params", "object_permission", "guardrails"])
async def test_no_key_seems_to_be_bounded_by_what_nothing_enforces(tmp_path: Path, field: str) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        value = ["pii"] if field == "guardrails" else 5
        refused = await admin.client.post("/key/generate", json={field: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
        assert (await admin.client.post("/key/generate", json={field: None})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"duration": "soon"}, 400, "duration"),
        ({"key": "no-prefix-at-all-here"}, 400, "key"),
        ({"models": "gpt-4o"}, 422, "models"),
        ({"role": "king"}, 422, "role"),
        ({"key_type": "other"}, 422, "key_type"),
    ],
)
async def test_a_wrong_field_is_named(tmp_path: Path, body: dict[str, object], status: int, param: str) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        refused = await admin.client.post("/key/generate", json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, param)
        assert ("detail" in refused.json()) is (status == 422)


async def test_litellms_shapes(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        made = await made_key(admin)
        assert made["user_id"] == "default_user_id"
        refused = await admin.as_key(made["key"], "POST", "/key/generate", json={})
        assert (refused.status_code, refused.json()["error"]["type"], refused.json()["error"]["code"]) == (
            401,
            "auth_error",
            "401",
        )
        unknown = await admin.as_key("sk-unknown-to-anybody", "GET", "/key/info")
        assert unknown.json()["error"]["type"] == "token_not_found_in_db"


async def test_without_keys_the_local_user_manages_and_web_pages_do_not(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, keyless=True) as admin:
        assert (await admin.client.post("/key/generate", json={})).status_code == 200
        rebound = await admin.client.post("/key/generate", json={}, headers={"x-forwarded-host": "evil.example"})
        page = await admin.client.post("/key/generate", json={}, headers={"origin": "https://evil.example"})
        form = await admin.client.post("/key/generate", content="{}", headers={"content-type": "text/plain"})
        assert (rebound.status_code, page.status_code, form.status_code) == (403, 403, 415)


async def test_with_the_database_away_the_answer_is_503(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await admin.database.close()
        answer = await admin.client.post("/key/generate", json={})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
        assert (await admin.as_key("sk-some-virtual-key", "GET", "/key/info")).status_code == 503


async def test_the_documentation_names_every_route(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        paths = (await admin.client.get("/openapi.json")).json()["paths"]
        assert {"/key/generate", "/key/info", "/key/list", "/key/delete", "/spend/logs", "/health/control"} <= set(
            paths
        )
        assert (await admin.client.get("/docs")).status_code == 200


async def test_wrong_paths_and_methods_are_told(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        missing = await admin.client.get("/nowhere")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "route_not_found")
        wrong = await admin.client.get("/key/generate")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert "use POST" in wrong.json()["error"]["message"]


async def test_the_state_of_the_control_process(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        state = (await admin.client.get("/health/control")).json()
        assert (state["database"]["status"], state["journal"]["backlog_bytes"]) == ("connected", 0)
        assert [(each["worker"], each["pid"]) for each in state["workers"]] == [(0, 1)]
        admin.reloads += [None, "config.yaml:3: models: wrong"]
        assert (await admin.client.post("/config/reload")).json() == {"reloaded": True, "error": None}
        assert (await admin.client.post("/config/reload")).json()["error"] == "config.yaml:3: models: wrong"
