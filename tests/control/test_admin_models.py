"""Models and credentials of the database: sealed, checked, hot; the configuration's own go before them."""

from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.fakes.admin import MASTER, Admin, admin_app, made_key
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock

from wayport.access.allow import allow, of_team
from wayport.access.models_store import PURPOSE, StoredCredentials, StoredModels, rotate
from wayport.config.settings import DeploymentSettings, ModelSettings
from wayport.core.errors import PermissionDenied
from wayport.core.secret import Secret
from wayport.storage.address import Address, read_address
from wayport.storage.cipher import Cipher, NotReadable
from wayport.storage.tables import credentials, models

NEW = {
    "model_name": "fast",
    "litellm_params": {"model": "openai/gpt-4o-mini", "api_key": "sk-upstream-0123456789", "rpm": 10},
    "model_info": {"id": "m-1", "team": "blue"},
}


async def post(admin: Admin, path: str, body: Any, *, status: int = 200, method: str = "POST") -> Any:
    answer = await admin.client.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def info(admin: Admin, name: str) -> list[dict[str, Any]]:
    answer = await admin.client.get("/v2/model/info", params={"model": name})
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def test_a_model_is_added_changed_and_deleted_while_running(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await post(admin, "/model/new", NEW)
        assert (made["model_id"], made["litellm_params"]["api_key"]) == ("m-1", "***")
        found = await info(admin, "fast")
        assert [each["model_info"]["id"] for each in found] == ["m-1"]
        assert (found[0]["model_info"]["db_model"], found[0]["model_info"]["team"]) == (True, "blue")
        assert (found[0]["litellm_params"]["model"], found[0]["litellm_params"]["rpm"]) == ("openai/gpt-4o-mini", 10)
        assert "upstream" not in str(found)
        async with admin.database.read() as connection:
            row = (await connection.execute(sa.select(models))).mappings().one()
        assert b"sk-upstream" not in row["params"]
        change = {"litellm_params": {"rpm": None, "tpm": 5}, "model_info": {"id": "m-1"}}
        await post(admin, "/model/update", change)
        after = (await info(admin, "fast"))[0]
        assert ("rpm" in after["litellm_params"], after["litellm_params"]["tpm"]) == (False, 5)
        await post(admin, "/model/m-1/update", {"model_name": "faster"}, method="PATCH")
        assert await info(admin, "fast") == []
        assert [each["model_info"]["id"] for each in await info(admin, "faster")] == ["m-1"]
        await post(admin, "/model/block", {"model_id": "m-1"})
        assert [each["model_info"]["blocked"] for each in await info(admin, "faster")] == [True]
        await post(admin, "/model/unblock", {"model_id": "m-1"})
        assert "blocked" not in (await info(admin, "faster"))[0]["model_info"]
        assert await post(admin, "/model/delete", {"id": "m-1"}) == {"message": "Model: m-1 deleted successfully"}
        assert await info(admin, "faster") == []
        await post(admin, "/model/delete", {"id": "m-1"}, status=404)
        lines = (await admin.client.get("/audit", params={"table_name": "models", "page_size": 50})).text
        assert "sk-upstream" not in lines


async def test_a_blocked_deployment_is_left_out_and_still_listed_to_those_who_might_use_it(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        await post(admin, "/model/new", NEW)
        await post(admin, "/model/new", {**NEW, "model_info": {"id": "m-2"}})
        await post(admin, "/model/block", {"model_id": "m-2"})

        async def ids(query: str, key: str = MASTER) -> list[str]:
            found = (await admin.as_key(key, "GET", f"/v2/model/info{query}")).json()["data"]
            return [each["model_info"]["id"] for each in found if each["model_name"] == "fast"]

        assert await ids("") == ["m-1", "m-2"]
        assert (await ids("?blocked=true"), await ids("?blocked=false")) == (["m-2"], ["m-1"])
        assert await ids("", (await made_key(admin, models=["fast"]))["key"]) == ["m-1", "m-2"]
        assert await ids("", (await made_key(admin, models=["slow"]))["key"]) == []
        await post(admin, "/model/new", {**NEW, "model_info": {"id": "m-3", "blocked": True}})
        assert sorted(await ids("?blocked=true")) == ["m-2", "m-3"]


async def test_the_configurations_model_goes_before_the_databases(tmp_path: Path) -> None:
    configured = ModelSettings(name="fast", deployments=(DeploymentSettings(target="groq/llama-3.1-8b-instant"),))
    async with admin_app(read_address(None, tmp_path), tmp_path, models=[configured]) as admin:
        assert (await post(admin, "/model/new", NEW))["shadowed"] is True
        assert [each["model_info"]["litellm_provider"] for each in await info(admin, "fast")] == ["groq"]
        stored = (await admin.client.get("/model/stored")).json()["data"]
        assert [(row["model_id"], row["shadowed"]) for row in stored] == [("m-1", True)]


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"model": ""},
        {"model": "no-such-provider/x"},
        {"model": "openai/*"},
        {"model": "openai/gpt-4o", "api_key": "${file:/etc/passwd}"},
    ],
)
async def test_what_cannot_be_called_is_refused(tmp_path: Path, params: dict[str, object]) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        answer = await post(admin, "/model/new", {"model_name": "m", "litellm_params": params}, status=400)
        assert answer["error"]["param"].startswith("litellm_params")


async def test_our_own_variables_are_not_followed(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        params = {"model": "openai/gpt-4o", "api_key": "os.environ/WAYPORT_MASTER_KEY"}
        await post(admin, "/model/new", {"model_name": "m", "litellm_params": params})
        assert (await info(admin, "m"))[0]["model_info"]["unavailable"] == "set WAYPORT_MASTER_KEY"


async def test_a_credential_is_used_by_name_and_never_shown(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        body = {
            "credential_name": "acme/openai",
            "credential_values": {"api_key": "sk-secret-0123456789", "api_base": "https://acme.example/v1"},
            "credential_info": {"custom_llm_provider": "openai"},
        }
        await post(admin, "/credentials", body)
        await post(admin, "/credentials", body, status=409)
        params = {"model": "gpt-4o", "litellm_credential_name": "acme/openai"}
        await post(admin, "/model/new", {"model_name": "m", "litellm_params": params})
        found = (await info(admin, "m"))[0]
        assert found["litellm_params"]["api_base"] == "https://acme.example/v1"
        one = (await admin.client.get("/credentials/by_name/acme/openai")).json()
        assert one["credential_values"] == {"api_key": "***", "api_base": "https://acme.example/v1"}
        async with admin.database.read() as connection:
            row = (await connection.execute(sa.select(credentials))).mappings().one()
        assert b"sk-secret" not in row["sealed"]
        await post(admin, "/credentials/acme/openai", {"credential_values": {"api_base": None}}, method="PATCH")
        one = (await admin.client.get("/credentials")).json()["credentials"][0]
        assert one["credential_values"] == {"api_key": "***"}
        await post(admin, "/credentials/acme/openai", None, method="DELETE")
        assert (await admin.client.get("/credentials/by_name/acme/openai")).status_code == 404


async def test_a_new_salt_key_reads_what_the_old_one_sealed(address: Address) -> None:
    async with opened(address) as database:
        clock = ManualClock()
        old, new = (Cipher(Secret(name), purpose=PURPOSE) for name in ("old", "new"))
        store = StoredModels(database, old, clock=clock)
        await store.add("m", store.patch("m", name="x", params={"api_key": "k"}, info={}), by=None)
        named = StoredCredentials(database, old, clock=clock)
        await named.add("c", named.patch("c", values={"api_key": "v"}, info={}), by=None)
        done = await rotate(database, old=old, new=new)
        assert (done.models, done.credentials) == (1, 1)
        after = StoredModels(database, new, clock=clock)
        row = await after.find("m")
        assert row is not None
        assert after.params_of(row) == {"api_key": "k"}
        with pytest.raises(NotReadable):
            store.params_of(row)
        with pytest.raises(NotReadable):
            await rotate(database, old=old, new=new)


async def test_a_teams_own_model_is_for_its_keys_alone(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        team = (await post(admin, "/team/new", {"team_id": "blue"}))["team_id"]
        new = {**NEW, "model_name": "own", "model_info": {"id": "m-2", "team_id": team}}
        made = await post(admin, "/model/new", new)
        assert (made["model_name"], made["model_info"]["team_public_model_name"]) == ("own", "own")
        mine = await made_key(admin, team_id=team)
        narrow = await made_key(admin, team_id=team, models=["own"])
        others = await made_key(admin, models=[])

        def told(answer: httpx.Response) -> list[str]:
            return [each["model_name"] for each in answer.json()["data"] if each["model_name"] != "wayport/echo"]

        assert told(await admin.as_key(mine["key"], "GET", "/v2/model/info")) == ["own"]
        assert told(await admin.as_key(narrow["key"], "GET", "/v2/model/info")) == ["own"]
        assert told(await admin.as_key(others["key"], "GET", "/v2/model/info")) == []
        assert told(await admin.client.get("/v2/model/info")) == ["own"]
        inside = (await admin.client.get("/team/info", params={"team_id": team})).json()["team_info"]
        assert inside["models"] == ["all-proxy-models", "own"]
        principal = await admin.principals.principal(narrow["token"])
        assert principal is not None
        assert (principal.aliases, principal.models) == ({"own": "team/blue/own"}, ("own", "team/blue/own"))
        allow(principal, "team/blue/own", groups=(of_team(team),))
        stranger = await admin.principals.principal(others["token"])
        assert stranger is not None
        with pytest.raises(PermissionDenied):
            allow(stranger, "team/blue/own", groups=(of_team(team),))
        await post(admin, "/model/update", {"model_info": {"id": "m-2", "team_id": "red"}}, status=400)
        await post(admin, "/model/m-2/update", {"model_name": "else"}, status=400, method="PATCH")
        renamed = {"model_name": "own", "litellm_params": {"tpm": 5}}
        await post(admin, "/model/m-2/update", renamed, method="PATCH")
        await post(admin, "/model/delete", {"id": "m-2"})
        inside = (await admin.client.get("/team/info", params={"team_id": team})).json()["team_info"]
        assert inside["models"] == ["all-proxy-models"]
        principal = await admin.principals.principal(mine["token"])
        assert principal is not None
        assert principal.aliases == {}


async def test_a_team_that_may_use_little_may_use_its_own_models_beside(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        await post(admin, "/team/new", {"team_id": "blue", "models": ["gpt-4o"]})
        for number in ("1", "2"):
            new = {**NEW, "model_name": "own", "model_info": {"id": number, "team_id": "blue"}}
            await post(admin, "/model/new", new)
        made = await made_key(admin, team_id="blue")
        principal = await admin.principals.principal(made["token"])
        assert principal is not None
        assert principal.bounds[0].models == ("gpt-4o", "own", "team/blue/own")
        await post(admin, "/model/delete", {"id": "1"})
        assert len(await info(admin, "own")) == 1
        await post(admin, "/model/delete", {"id": "2"})
        inside = (await admin.client.get("/team/info", params={"team_id": "blue"})).json()["team_info"]
        assert inside["models"] == ["gpt-4o"]
        nowhere = {**NEW, "model_info": {"id": "3", "team_id": "nowhere"}}
        await post(admin, "/model/new", nowhere, status=400)


async def test_an_alias_in_a_list_of_models_stands_for_what_it_means(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        made = await made_key(admin, models=["cheap"], aliases={"cheap": "gpt-4o-mini"})
        principal = await admin.principals.principal(made["token"])
        assert principal is not None
        allow(principal, "gpt-4o-mini")
        with pytest.raises(PermissionDenied):
            allow(principal, "gpt-4o")
