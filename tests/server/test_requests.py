"""What a client is told when its request cannot be served."""

from typing import Any

import pytest
from tests.fakes.gateway import gateway

ASK: dict[str, Any] = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "JSON object"),
        (b'{"messages": []}', 400, "`model` is missing"),
        (b'{"model": 3, "messages": []}', 400, "`model` must be a string"),
        (b'{"model": "", "messages": []}', 400, "`model` is empty"),
        (b'{"model": "wayport/echo", "stream": "yes", "messages": []}', 400, "`stream` must be true or false"),
        (b'{"model": "wayport/echo"}', 400, "messages"),
        (b'{"model": "wayport/echo", "messages": 7}', 400, "messages"),
        (b'{"model": "wayport/echo", "messages": [{"role": "wizard", "content": "x"}]}', 400, "role"),
        (b'{"model": "nope", "messages": []}', 404, "does not exist"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "nested too deeply"),
        (b'\xff\xfe{"model": 1}', 400, "not valid JSON"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_wrong_body_is_told_what_is_wrong(body: bytes, status: int, says: str) -> None:
    async with gateway() as wayport:
        answered = await wayport.ask(body)
        error = answered.json()["error"]
        assert (answered.status_code, says in error["message"]) == (status, True), error
        assert set(error) >= {"message", "type", "param", "code"}


async def test_a_key_is_needed_and_a_wrong_one_is_refused() -> None:
    async with gateway(key=None) as wayport:
        missing = await wayport.ask(ASK)
        wrong = await wayport.ask(ASK, headers={"authorization": "Bearer sk-wrong"})
        assert (missing.status_code, wrong.status_code) == (401, 401)
        assert not wayport.records


async def test_a_known_key_is_served_and_named_in_the_record() -> None:
    async with gateway(key=None) as wayport:
        key = wayport.keys.add("sk-known", key_alias="ci", team_id="t1")
        answered = await wayport.ask(ASK, headers={"authorization": f"Bearer {key}"})
        assert answered.status_code == 200
        assert (wayport.records[0].key_alias, wayport.records[0].team_id) == ("ci", "t1")


async def test_a_key_may_use_only_its_models() -> None:
    async with gateway(key=None) as wayport:
        key = wayport.keys.add("sk-known", models=("gpt-4o",))
        answered = await wayport.ask(ASK, headers={"authorization": f"Bearer {key}"})
        assert answered.status_code == 403
        listed = await wayport.http.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        assert all(entry["id"] == "gpt-4o" for entry in listed.json()["data"])


async def test_unknown_keys_get_503_while_the_database_is_away_and_the_master_key_works() -> None:
    async with gateway() as wayport:
        wayport.keys.away = True
        unknown = await wayport.ask(ASK, headers={"authorization": "Bearer sk-other"})
        assert unknown.status_code == 503
        assert unknown.headers["x-should-retry"] == "true"
        assert (await wayport.ask(ASK)).status_code == 200


async def test_a_wrong_method_names_the_right_one() -> None:
    async with gateway() as wayport:
        answered = await wayport.http.get("/v1/chat/completions")
        assert (answered.status_code, answered.headers["allow"]) == (405, "POST")
        assert "POST" in answered.json()["error"]["message"]


async def test_a_wrong_path_is_a_404_in_openais_shape() -> None:
    async with gateway() as wayport:
        answered = await wayport.ask(ASK, "/v1/nothing")
        assert (answered.status_code, answered.json()["error"]["code"]) == (404, "route_not_found")


async def test_a_body_over_the_limit_is_413() -> None:
    async with gateway("server: {limits: {body_bytes: 1000}}\nmodels: {}") as wayport:
        answered = await wayport.ask({**ASK, "user": "x" * 2000})
        assert answered.status_code == 413
        assert "body_bytes" in answered.json()["error"]["message"]


async def test_a_model_without_credential_says_which_variable_to_set() -> None:
    async with gateway("models: {m: openai/gpt-4o}") as wayport:
        answered = await wayport.ask({**ASK, "model": "m"})
        assert answered.status_code == 503
        assert "OPENAI_API_KEY" in answered.json()["error"]["message"]


async def test_models_are_listed_one_by_one_and_in_litellms_way() -> None:
    async with gateway("models: {m: openai/gpt-4o, n: openai/gpt-4o-mini}") as wayport:
        listed = (await wayport.http.get("/v1/models")).json()
        assert [entry["id"] for entry in listed["data"]] == ["m", "n"]
        assert (await wayport.http.get("/v1/models/m")).json()["id"] == "m"
        assert (await wayport.http.get("/models/wayport/echo")).json()["id"] == "wayport/echo"
        assert (await wayport.http.get("/v1/models/nope")).status_code == 404
        info = (await wayport.http.get("/model/info")).json()["data"]
        assert info[0]["model_name"] == "m"
        assert info[0]["litellm_params"] == {"model": "openai/gpt-4o", "api_base": "https://api.openai.com/v1"}
        assert info[0]["model_info"]["max_input_tokens"] == 128_000


async def test_health_without_a_key_says_that_we_live_and_no_more() -> None:
    async with gateway("models: {m: openai/gpt-4o}", key=None) as wayport:
        assert (await wayport.http.get("/health/liveliness")).json() == "I'm alive!"
        assert (await wayport.http.get("/health/readiness")).json()["status"] == "healthy"
        for query in ({}, {"model": "m"}, {"model": "nobody"}):
            report = (await wayport.http.get("/health", params=query)).json()
            assert report == {"healthy_endpoints": [], "unhealthy_endpoints": []}
        assert (await wayport.http.head("/")).status_code == 200
        assert not wayport.records


async def test_readiness_turns_when_draining_begins() -> None:
    async with gateway() as wayport:
        wayport.worker.state.draining = True
        answered = await wayport.http.get("/health/readiness")
        assert answered.status_code == 503
        assert answered.headers["connection"] == "close"


# --------------------------------------------------------------------------------------------------- without any key
async def test_keyless_mode_serves_local_programs_whatever_key_they_send() -> None:
    async with gateway("auth: none\nmodels: {}", key="not-needed") as wayport:
        assert (await wayport.ask(ASK)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "attacker.example:4000"}, 403),
        ({"origin": "https://attacker.example"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
    ids=["foreign host", "foreign origin", "plain text", "form"],
)
async def test_keyless_mode_cannot_be_used_by_a_web_page(headers: dict[str, str], status: int) -> None:
    async with gateway("auth: none\nmodels: {}", key=None) as wayport:
        answered = await wayport.ask(ASK, headers=headers)
        assert answered.status_code == status
        assert not wayport.records


# --------------------------------------------------------------------------------------------------------- browsers
async def test_cors_is_off_but_for_listed_origins() -> None:
    config = "server: {cors_origins: [https://app.example]}\nmodels: {}"
    async with gateway(config) as wayport:
        preflight = {"origin": "https://app.example", "access-control-request-method": "POST"}
        answered = await wayport.http.options("/v1/chat/completions", headers=preflight)
        assert (answered.status_code, answered.headers["access-control-allow-origin"]) == (204, "https://app.example")
        answered = await wayport.ask(ASK, headers={"origin": "https://app.example"})
        assert answered.headers["access-control-allow-origin"] == "https://app.example"
        answered = await wayport.ask(ASK, headers={"origin": "https://other.example"})
        assert "access-control-allow-origin" not in answered.headers


async def test_a_trusted_proxy_names_the_client_and_others_do_not() -> None:
    config = "server: {trusted_proxies: [127.0.0.1]}\nmodels: {}"
    async with gateway(config) as wayport:
        await wayport.ask(ASK, headers={"x-forwarded-for": "203.0.113.9, 127.0.0.1"})
        assert wayport.records[0].client_address == "203.0.113.9"
    async with gateway("models: {}") as wayport:
        await wayport.ask(ASK, headers={"x-forwarded-for": "203.0.113.9"})
        assert wayport.records[0].client_address == "127.0.0.1"
