"""What clients that were written for LiteLLM's management API rely on, beyond what the other files say of it."""

from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import structs
from tests.fakes.admin import Admin, admin_app, made_key
from tests.fakes.records import call_record

from wayport.config.settings import DeploymentSettings, ModelSettings
from wayport.core.record import CallRecord
from wayport.core.secret import key_hash
from wayport.ledger.calls import CallLog
from wayport.storage.address import Address, read_address


async def post(admin: Admin, path: str, body: Any = None, *, status: int = 200) -> Any:
    answer = await admin.client.post(path, json=body if body is not None else {})
    assert answer.status_code == status, (path, answer.text)
    return answer.json()


async def get(admin: Admin, path: str, *, status: int = 200, **params: str) -> Any:
    answer = await admin.client.get(path, params=params)
    assert answer.status_code == status, (path, answer.text)
    return answer.json()


async def called(admin: Admin, record: CallRecord) -> None:
    async with admin.database.write() as connection:
        await CallLog(admin.database, clock=admin.clock).add(connection, [record])


def refused(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["type"]


async def test_a_user_made_for_a_team_joins_it_with_its_key(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        team_id = (await post(admin, "/team/new"))["team_id"]
        wishes = {"user_id": "ann", "team_id": team_id, "duration": "1h", "aliases": {"fast": "gpt-4o-mini"}}
        made = await post(admin, "/user/new", wishes)
        assert (made["team_id"], made["expires"] is not None) == (team_id, True)
        principal = await admin.principals.principal(key_hash(made["key"]))
        assert principal is not None
        assert (principal.team_id, principal.aliases) == (team_id, {"fast": "gpt-4o-mini"})
        await post(admin, "/team/member_update", {"team_id": team_id, "user_id": "ann", "max_budget_in_team": 0.5})
        (team,) = (await get(admin, "/user/info", user_id="ann"))["teams"]
        (membership,) = team["team_memberships"]
        assert (team["team_id"], membership["user_id"], membership["spend"]) == (team_id, "ann", 0.0)
        assert membership["litellm_budget_table"]["max_budget"] == 0.5
        await post(admin, "/user/new", {"user_id": "bob", "team_id": "nowhere"}, status=404)


async def test_members_are_told_that_their_team_does_not_let_them(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        team_id = (await post(admin, "/team/new"))["team_id"]
        of_team = (await made_key(admin, team_id=team_id))["key"]
        await post(admin, "/user/new", {"user_id": "ann", "team_id": team_id, "auto_create_key": False})
        own = (await made_key(admin, user_id="ann"))["key"]
        stranger = (await post(admin, "/user/new", {"user_id": "eve"}))["key"]
        wishes: dict[str, dict[str, Any]] = {
            "/key/generate": {"team_id": team_id},
            "/key/update": {"key": of_team, "team_id": "another"},
            "/key/delete": {"keys": [of_team]},
            "/key/regenerate": {"key": of_team},
        }
        for path, body in wishes.items():
            answer = await admin.as_key(own, "POST", path, json=body)
            assert refused(answer) == (401, "team_member_permission_error"), path
            assert (await admin.as_key(stranger, "POST", path, json=body)).status_code == 403, path
        assert (await admin.as_key(own, "GET", "/key/info", params={"key": of_team})).status_code == 200
        await post(
            admin,
            "/team/permissions_update",
            {"team_id": team_id, "team_member_permissions": ["/key/update", "/key/delete"]},
        )
        body = {"key": of_team, "team_id": team_id, "metadata": {"seen": True}}
        assert (await admin.as_key(own, "POST", "/key/update", json=body)).status_code == 200
        assert (await admin.as_key(own, "POST", "/key/delete", json={"keys": [of_team]})).status_code == 200


async def test_a_user_without_a_role_manages_its_own_keys(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        own = (await post(admin, "/user/new", {"user_id": "ann"}))["key"]
        made = await admin.as_key(own, "POST", "/key/generate", json={})
        assert (made.status_code, made.json()["user_id"]) == (200, "ann")
        nobodys = (await made_key(admin))["key"]
        assert refused(await admin.as_key(nobodys, "POST", "/key/generate", json={})) == (401, "auth_error")


async def test_who_makes_a_team_leads_it(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        made = await post(admin, "/team/new", {"members_with_roles": [{"role": "user", "user_id": "ann"}]})
        roles = {member["user_id"]: member["role"] for member in made["members_with_roles"]}
        assert roles == {"ann": "user", "default_user_id": "admin"}
        assert (made["members"], made["admins"]) == ([], [])
        # Keys of nobody are not its, and no member's budget binds them together.
        await post(admin, "/team/update", {"team_id": made["team_id"], "team_member_budget": 1})
        nobodys = await made_key(admin, team_id=made["team_id"])
        principal = await admin.principals.principal(nobodys["token"])
        assert principal is not None
        assert (principal.role, principal.holders) == (None, ())
        answer = await admin.as_key(
            nobodys["key"], "POST", "/team/update", json={"team_id": made["team_id"], "team_alias": "mine"}
        )
        assert answer.status_code == 401


async def test_a_patch_of_a_team_merges_its_metadata(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        told = {"cost_center": "1", "contact": {"name": "Ann", "phone": "1"}}
        team_id = (await post(admin, "/team/new", {"metadata": told}))["team_id"]
        change = {"metadata": {"notes": "x", "contact": {"phone": None}}, "tags": ["a"]}
        answer = await admin.client.patch(f"/team/{team_id}", json=change)
        assert answer.json()["metadata"] == {
            "cost_center": "1", "contact": {"name": "Ann"}, "notes": "x", "tags": ["a"],
        }  # fmt: skip
        replaced = await post(admin, "/team/update", {"team_id": team_id, "metadata": {"a": 1}})
        assert replaced["data"]["metadata"] == {"a": 1}


async def test_a_change_of_a_user_who_is_not_there_makes_it(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        assert (await post(admin, "/user/update", {"user_id": "ann", "max_budget": 3}))["data"]["max_budget"] == 3.0
        by_mail = await post(admin, "/user/update", {"user_email": "Bob@example.org", "user_alias": "Bob"})
        assert by_mail["data"]["user_email"] == "bob@example.org"
        lines = (await get(admin, "/audit", page_size="10"))["audit_logs"]
        assert [line["action"] for line in lines] == ["updated", "created"] * 2
        own = (await post(admin, "/user/new", {"user_id": "eve", "user_role": "internal_user"}))["key"]
        answer = await admin.as_key(own, "POST", "/user/update", json={"user_id": "new", "user_alias": "x"})
        assert answer.status_code == 403
    async with admin_app(read_address(None, tmp_path / "own"), tmp_path) as admin:
        await post(admin, "/user/update", {"user_id": "ann", "max_budget": 3}, status=404)


async def test_what_a_user_has_spent_can_be_corrected(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        await post(admin, "/user/new", {"user_id": "ann"})
        await called(admin, structs.replace(call_record(cost_nano_usd=2_000_000_000), user_id="ann"))
        assert (await get(admin, "/user/info", user_id="ann"))["user_info"]["spend"] == 2.0
        await post(admin, "/user/update", {"user_id": "ann", "spend": 0.5})
        assert (await get(admin, "/user/info", user_id="ann"))["user_info"]["spend"] == 0.5


async def test_the_whole_gateway_is_told_of_as_a_user(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        await called(admin, call_record(cost_nano_usd=2_000_000_000))
        told = (await get(admin, "/user/info", user_id="litellm-proxy-budget"))["user_info"]
        assert told["spend"] >= 2.0
        own = (await post(admin, "/user/new", {"user_id": "ann"}))["key"]
        answer = await admin.as_key(own, "GET", "/user/info", params={"user_id": "litellm-proxy-budget"})
        assert answer.status_code == 403


async def test_calls_are_found_by_the_id_of_their_answer(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        record = structs.replace(call_record(), upstream_id="chatcmpl-1")
        await called(admin, record)
        await called(admin, call_record())
        for asked in ("chatcmpl-1", record.call_id, f"msg_{record.call_id.replace('-', '')}"):
            (line,) = await get(admin, "/spend/logs", request_id=asked)
            assert (line["request_id"], line["litellm_call_id"]) == ("chatcmpl-1", record.call_id)
            assert (await get(admin, "/spend/logs/v2", request_id=asked))["total"] == 1
            assert (await get(admin, f"/spend/logs/ui/{asked}"))["litellm_call_id"] == record.call_id
    async with admin_app(read_address(None, tmp_path / "own"), tmp_path) as admin:
        await called(admin, record)
        (line,) = await get(admin, "/spend/logs", request_id="chatcmpl-1")
        assert line["request_id"] == record.call_id


async def test_a_failed_call_is_told_of_as_litellm_does(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        record = structs.replace(
            call_record(cost_nano_usd=None), status="failure", http_status=400, error_class="bad_request",
            error="no such model", usage=None,
        )  # fmt: skip
        await called(admin, record)
        (line,) = await get(admin, "/spend/logs", request_id=record.call_id)
        assert (line["request_id"], line["spend"], line["metadata"]["status"]) == (record.call_id, 0.0, "failure")
        assert line["metadata"]["error_information"] == {
            "error_class": "BadRequestError",
            "error_code": "400",
            "error_message": "no such model",
            "llm_provider": "openai",
            "traceback": "",
        }


async def test_the_health_of_a_key_tells_of_its_callbacks(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        plain = (await made_key(admin))["key"]
        told = (await admin.as_key(plain, "POST", "/key/health", json={})).json()
        assert told == {"key": "healthy", "logging_callbacks": None}
        logging = [{"callback_name": "gcs_bucket", "callback_type": "success", "callback_vars": {}}]
        logged = (await made_key(admin, metadata={"logging": logging}))["key"]
        told = (await admin.as_key(logged, "POST", "/key/health", json={})).json()
        assert (told["key"], told["logging_callbacks"]["callbacks"]) == ("unhealthy", ["gcs_bucket"])
        assert told["logging_callbacks"]["status"] == "unhealthy"


async def test_a_customer_has_a_region(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        made = await post(admin, "/end_user/new", {"user_id": "ann", "allowed_model_region": "EU"})
        assert made["allowed_model_region"] == "EU"
        holder = await admin.principals.holder("end_user", "ann")
        assert holder is not None
        assert holder.region == "EU"
        await post(admin, "/customer/update", {"user_id": "ann", "allowed_model_region": None})
        assert await admin.principals.holder("end_user", "ann") is None


async def test_who_would_change_the_configuration_is_told_where(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        own = (await made_key(admin))["key"]
        for method, path in (
            ("POST", "/config/update"), ("POST", "/config/field/update"), ("POST", "/config/field/delete"),
            ("POST", "/config/callback/delete"), ("POST", "/cache/settings"),
            ("PATCH", "/update/internal_user_settings"), ("PATCH", "/update/default_team_settings"),
        ):  # fmt: skip
            body = {"litellm_settings": {"success_callback": ["langfuse"]}}
            answer = await admin.client.request(method, path, json=body)
            assert answer.status_code == 400, path
            assert "not changed over HTTP" in answer.json()["error"]["message"]
            assert (await admin.as_key(own, method, path, json=body)).status_code == 401, path


async def test_tags_that_calls_have_had(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        await called(admin, call_record())
        assert (await get(admin, "/tag/distinct")) == {"results": [{"tag": "blue"}]}


async def test_refusals_have_litellms_status(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        for path in ("/key/generate", "/user/new", "/team/new", "/organization/new", "/budget/new"):
            answer = await post(admin, path, {"max_budget": -1}, status=400)
            assert answer["error"]["message"] == "max_budget must be a non-negative finite number. Received: -1"
        for path, body in (
            ("/budget/new", {"budget_id": "b"}),
            ("/tag/new", {"name": "t"}),
            ("/customer/new", {"user_id": "c"}),
            ("/team/new", {"team_id": "t"}),
        ):
            await post(admin, path, body)
            assert (await post(admin, path, body, status=400))["error"]["code"] == "400"
        await post(admin, "/model/delete", {"id": "none"}, status=400)


async def test_groups_of_models_are_told_of_wherever_they_are_written(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        new = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"}}
        for _ in range(2):
            await post(admin, "/model/new", {**new, "model_info": {"access_groups": ["beta"]}})
        await post(admin, "/access_group/new", {"access_group": "made", "model_names": ["m"]})
        told = {"access_group": "beta", "model_names": ["m"], "deployment_count": 2}
        assert await get(admin, "/access_group/beta/info") == told
        groups = (await get(admin, "/access_group/list"))["access_groups"]
        assert [group["access_group"] for group in groups] == ["made", "beta"]
        await get(admin, "/access_group/none/info", status=404)


async def test_others_than_administrators_add_no_models(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        own = (await made_key(admin))["key"]
        new = {"model_name": "m", "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"}}
        answer = await admin.as_key(own, "POST", "/model/new", json=new)
        assert answer.status_code == 403
        assert "does not have permission to make this model call" in answer.text
        assert (await admin.as_key(own, "POST", "/model/delete", json={"id": "x"})).status_code == 403


async def test_fallbacks_are_added_changed_and_deleted_while_running(address: Address, tmp_path: Path) -> None:
    configured = [
        ModelSettings(name=name, deployments=(DeploymentSettings(target="openai/gpt-4o"),), fallbacks=fallbacks)
        for name, fallbacks in (("a", ()), ("b", ()), ("written", ("b",)))
    ]
    async with admin_app(address, tmp_path, compat="litellm", models=configured) as admin:
        await get(admin, "/fallback/a", status=404)
        body = {"model": "a", "fallback_models": ["b", "written"]}
        told = await post(admin, "/fallback", body)
        assert told == {
            **body, "fallback_type": "general", "message": "Fallback configuration created successfully"
        }  # fmt: skip
        told = await post(admin, "/fallback", {**body, "fallback_models": ["b"]})
        assert told["message"] == "Fallback configuration updated successfully"
        await post(admin, "/fallback", {**body, "fallback_type": "context_window"})
        assert await get(admin, "/fallback/a") == {"model": "a", "fallback_models": ["b"], "fallback_type": "general"}
        seen = await get(admin, "/fallback/a", fallback_type="context_window")
        assert seen["fallback_models"] == ["b", "written"]
        listed = await get(admin, "/config/list", config_type="router_settings")
        (row,) = (each for each in listed if each["field_name"] == "fallbacks")
        assert row["field_value"] == [{"a": ["b"]}, {"written": ["b"]}]
        deleted = await admin.client.delete("/fallback/a")
        assert deleted.json()["message"] == "Fallback configuration deleted successfully"
        await get(admin, "/fallback/a", status=404)
        assert (await admin.client.delete("/fallback/a")).status_code == 404
        assert (await get(admin, "/fallback/a", fallback_type="context_window"))["fallback_models"] == ["b", "written"]


async def test_fallbacks_that_lead_nowhere_are_refused_and_those_of_the_configuration_stay(tmp_path: Path) -> None:
    configured = [
        ModelSettings(name=name, deployments=(DeploymentSettings(target="openai/gpt-4o"),), fallbacks=fallbacks)
        for name, fallbacks in (("a", ()), ("written", ("a",)))
    ]
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm", models=configured) as admin:
        await post(admin, "/fallback", {"model": "none", "fallback_models": ["a"]}, status=404)
        await post(admin, "/fallback", {"model": "a", "fallback_models": ["none"]}, status=400)
        await post(admin, "/fallback", {"model": "a", "fallback_models": ["a"]}, status=400)
        await post(admin, "/fallback", {"model": "a", "fallback_models": []}, status=422)
        told = await post(admin, "/fallback", {"model": "written", "fallback_models": ["a"]}, status=400)
        assert "not changed over HTTP" in told["error"]["message"]
        assert (await admin.client.delete("/fallback/written")).status_code == 400
        assert (await get(admin, "/fallback/written"))["fallback_models"] == ["a"]
        own = (await made_key(admin))["key"]
        for method, path in (("POST", "/fallback"), ("GET", "/fallback/a"), ("DELETE", "/fallback/a")):
            body = {"model": "a", "fallback_models": ["written"]} if method == "POST" else None
            assert (await admin.as_key(own, method, path, json=body)).status_code == 401, path


async def test_calls_that_ended_at_a_rate_limit_are_told_of_by_day(address: Address, tmp_path: Path) -> None:
    limited = [call_record() for _ in range(3)]
    for record, status in zip(limited, (429, 429, 500), strict=True):
        record.http_status = status
        record.status = "failure"
    limited[1].started_s += 86_400
    async with admin_app(address, tmp_path, compat="litellm") as admin:
        for record in limited:
            await called(admin, record)
        daily = [{"date": f"2027-01-{day}", "num_rate_limit_exceptions": 1} for day in (15, 16)]
        told = {"daily_data": daily, "sum_num_rate_limit_exceptions": 2}
        assert await get(admin, "/global/activity/exceptions", model_group="gpt", end_date="2027-01-16") == told
        one = await get(admin, "/global/activity/exceptions", start_date="2027-01-16", end_date="2027-01-16")
        assert one == {"daily_data": daily[1:], "sum_num_rate_limit_exceptions": 1}
        by_deployment = await get(
            admin, "/global/activity/exceptions/deployment", model_group="gpt", end_date="2027-01-16"
        )
        assert by_deployment == [{"api_base": "0123456789abcdef", **told}]
        other = await get(admin, "/global/activity/exceptions", model_group="other", end_date="2027-01-16")
        assert other == {"daily_data": [], "sum_num_rate_limit_exceptions": 0}


async def test_there_is_no_cache_of_answers_and_it_says_so(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        for method, path in (
            ("GET", "/cache/ping"), ("GET", "/cache/redis/info"), ("POST", "/cache/delete"), ("POST", "/cache/flushall"),
        ):  # fmt: skip
            answer = await admin.client.request(method, path)
            assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "false")
            assert "cache not initialized" in answer.json()["error"]["message"].lower()
        assert (await get(admin, "/cache/settings"))["current_values"] == {}


async def test_a_call_of_a_model_that_means_nothing_is_told_of_as_litellm_does(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        record = structs.replace(
            call_record(cost_nano_usd=None), status="failure", http_status=400, error_class="ModelNotFound", usage=None,
            model_asked="nope", model="", upstream_model="", provider="", deployment="",
        )  # fmt: skip
        await called(admin, record)
        (line,) = await get(admin, "/spend/logs", request_id=record.call_id)
        assert (line["model"], line["model_group"]) == ("unknown-model", "nope")
        assert line["metadata"]["error_information"]["error_class"] == "ProxyModelNotFoundError"


async def test_lists_are_not_sorted_by_what_is_not_there(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        for path in ("/key/list", "/user/list", "/v2/team/list"):
            for query in ({"sort_by": "nothing"}, {"sort_by": "created_at", "sort_order": "sideways"}):
                answer = await admin.client.get(path, params=query)
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, list(query)[-1])
            await get(admin, path, sort_by="created_at", sort_order="asc")


async def test_a_team_is_not_promised_more_than_its_organization_has(tmp_path: Path) -> None:
    configured = [
        ModelSettings(name=name, deployments=(DeploymentSettings(target="openai/gpt-4o"),)) for name in ("a", "b")
    ]
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm", models=configured) as admin:
        bounds = {"models": ["a"], "max_budget": 10, "tpm_limit": 100}
        await post(admin, "/organization/new", {"organization_id": "o", "organization_alias": "o", **bounds})
        await post(admin, "/team/new", {"team_id": "t", "organization_id": "o", **bounds})
        await post(admin, "/team/new", {"team_id": "free"})
        for field, value in (("models", ["b"]), ("max_budget", 11), ("tpm_limit", 101)):
            told = await post(admin, "/team/new", {"organization_id": "o", field: value}, status=400)
            assert told["error"]["param"] == field
            await post(admin, "/team/update", {"team_id": "t", field: value}, status=400)
            await post(admin, "/team/update", {"team_id": "free", field: value})
            await post(admin, "/team/update", {"team_id": "free", "organization_id": "o", field: value}, status=400)
        await post(admin, "/team/update", {"team_id": "t", "models": ["all-org-models"], "max_budget": None})
        # Where a name above may stand for several models nobody is refused early.
        await post(admin, "/organization/new", {"organization_id": "g", "organization_alias": "g", "models": ["group"]})
        await post(admin, "/team/new", {"organization_id": "g", "models": ["a"]})


async def test_what_a_stored_deployment_is_called_with_is_told_masked(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        params = {
            "model": "openai/gpt-4o",
            "api_key": "sk-secret-0123456789",
            "api_base": "https://x.example/v1",
            "rpm": 3,
        }
        await post(admin, "/model/new", {"model_name": "m", "litellm_params": params, "model_info": {"id": "m-1"}})
        told = await get(admin, "/credentials/by_model/m-1")
        assert told["credential_name"] == "m-credential-m-1"
        assert told["credential_values"] == {"api_key": "***", "api_base": "https://x.example/v1"}
        await post(
            admin,
            "/credentials",
            {"credential_name": "shared", "credential_values": {"api_key": "sk-secret-0123456789"}},
        )
        named = {"model": "openai/gpt-4o", "litellm_credential_name": "shared"}
        await post(admin, "/model/new", {"model_name": "n", "litellm_params": named, "model_info": {"id": "n-1"}})
        assert (await get(admin, "/credentials/by_model/n-1"))["credential_name"] == "shared"
        await get(admin, "/credentials/by_model/none", status=404)


async def test_deployments_are_listed_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        for name in ("b", "c", "A"):
            await post(
                admin, "/model/new", {"model_name": name, "litellm_params": {"model": "openai/gpt-4o", "api_key": "k"}}
            )

        async def names(**query: str) -> list[str]:
            found = (await admin.client.get("/v2/model/info", params=query)).json()["data"]
            return [each["model_name"] for each in found if "/" not in each["model_name"]]

        assert await names(sortBy="model_name") == ["A", "b", "c"]
        assert await names(sortBy="model_name", sortOrder="desc") == ["c", "b", "A"]
        await get(admin, "/v2/model/info", sortBy="nothing", status=422)
        assert (await get(admin, "/user/get_users")).keys() >= {"users", "total"}
        assert (await post(admin, "/global/spend/refresh"))["status"] == "success"


async def test_a_key_is_told_of_with_the_budget_that_it_has_by_name(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        await post(admin, "/budget/new", {"budget_id": "b", "rpm_limit": 7, "max_budget": 2})
        named, free = await made_key(admin, budget_id="b"), await made_key(admin)
        table = (await get(admin, "/key/info", key=named["key"]))["info"]["litellm_budget_table"]
        assert (table["budget_id"], table["rpm_limit"], table["max_budget"]) == ("b", 7, 2.0)
        told = await post(admin, "/v2/key/info", {"keys": [named["key"], free["key"]]})
        assert {row["budget_id"]: row["litellm_budget_table"] for row in told["info"]} == {"b": table, None: None}


async def test_a_team_lets_its_keys_ask_for_made_up_answers(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path, compat="litellm") as admin:
        for told, own, expected in (
            ({"allow_client_mock_response": True, "x": 1}, {}, {"allow_client_mock_response": True}),
            ({"allow_client_mock_response": "yes"}, {"y": 2}, {"y": 2}),
            ({"allow_client_mock_response": True}, {"allow_client_mock_response": False},
             {"allow_client_mock_response": False}),
            ({}, {}, None),
        ):  # fmt: skip
            team_id = (await post(admin, "/team/new", {"metadata": told}))["team_id"]
            made = await made_key(admin, team_id=team_id, metadata=own)
            principal = await admin.principals.principal(made["token"])
            assert principal is not None
            found = None if principal.metadata is None else msgspec.json.decode(principal.metadata)
            assert found == expected
