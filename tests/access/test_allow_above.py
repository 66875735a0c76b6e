"""What binds a key beside its own list: the lists of those above it, its addresses; and who is blocked."""

import pytest
from tests.fakes.gateway import gateway

from wayport.access.allow import allow, allow_address, may_use
from wayport.access.principal import AskedFor, Holder, ModelBound, Principal
from wayport.core.errors import PermissionDenied

BOUND = Principal(
    kind="key",
    models=("a", "b", "group"),
    bounds=(
        ModelBound(scope="team", id="blue", models=("a", "openai/*", "group")),
        ModelBound(scope="organization", id="org", models=("*",)),
    ),
)


def test_every_list_binds() -> None:
    allow(BOUND, "a")
    allow(BOUND, "x", groups=("group",))
    assert may_use(BOUND, "x", ("group",))
    with pytest.raises(PermissionDenied) as error:
        allow(BOUND, "b", compat="litellm")
    assert error.value.type == "team_model_access_denied"
    with pytest.raises(PermissionDenied) as error:
        allow(BOUND, "openai/x", compat="litellm")
    assert error.value.type == "key_model_access_denied"
    assert not may_use(BOUND, "b")


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", False),
        ("::1", True),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_a_key_is_good_from_its_addresses_only(address: str, *, fits: bool) -> None:
    principal = Principal(kind="key", ips=("10.0.0.0/8", "::1/128"))
    if fits:
        allow_address(principal, address)
    else:
        with pytest.raises(PermissionDenied):
            allow_address(principal, address)
    allow_address(Principal(kind="key"), address)


async def test_the_gateway_keeps_to_routes_addresses_aliases_and_bounds() -> None:
    body = {"model": "wayport/echo", "messages": [{"role": "user", "content": "hello"}]}
    async with gateway("models: {}\n") as wayport:

        async def status(key: str, model: str = "wayport/echo", path: str = "/v1/chat/completions") -> int:
            answer = await wayport.ask(body | {"model": model}, path, headers={"authorization": f"Bearer {key}"})
            return answer.status_code

        add = wayport.keys.add
        assert await status(add("sk-free-as-a-bird-0", ips=("127.0.0.0/8",))) == 200
        assert await status(add("sk-from-elsewhere-0", ips=("10.0.0.0/8",))) == 403
        assert await status(add("sk-for-managing-00", routes=("management_routes",))) == 403
        assert await status(add("sk-for-models-0000", routes=("llm_api_routes",))) == 200
        assert await status(add("sk-with-an-alias-0", aliases={"fast": "wayport/echo"}), "fast") == 200
        bound = ModelBound(scope="team", id="blue", models=("other",))
        assert await status(add("sk-of-a-team-00000", bounds=(bound,))) == 403
        refused = await wayport.ask(
            body, headers={"authorization": f"Bearer {add('sk-blocked-0000000', blocked=True, blocked_by='Team=blue')}"}
        )
        assert (refused.status_code, "Team=blue is blocked" in refused.text) == (401, True)


class _AnnIsBlocked:
    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        return Holder(scope=scope, id=holder_id, blocked=True) if holder_id == "ann" else None


async def test_a_blocked_end_user_is_refused_and_others_are_not() -> None:
    body = {"model": "wayport/echo", "messages": [{"role": "user", "content": "hello"}]}
    async with gateway("models: {}\n") as wayport:
        key = wayport.keys.add("sk-asks-for-people-0", asks=("end_user",))
        wayport.worker.holders._source = _AnnIsBlocked()
        for name, status in (("ann", 403), ("bob", 200)):
            answer = await wayport.ask(body | {"user": name}, headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == status, answer.text


class _Lists:
    """Whoever is asked for may use one model; the tag `free` may use all."""

    async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
        return None if holder_id == "free" else Holder(scope=scope, id=holder_id, models=("a", "cheap"))


async def test_end_users_and_tags_have_lists_of_models() -> None:
    lists = """
models:
  a: wayport/echo
  b: wayport/echo
  c: {deployments: [wayport/echo], access_groups: [cheap]}
"""
    async with gateway(lists) as wayport:
        wayport.worker.holders._source = _Lists()
        wayport.worker.authenticator.ask_about(("end_user", "tag"))
        key = wayport.keys.add("sk-asks-for-people-0", asks=("end_user", "tag"))
        for headers in ({}, {"authorization": f"Bearer {key}"}):
            for labels in ({"user": "ann"}, {"metadata": {"tags": ["free", "blue"]}}):
                for model, status in (("a", 200), ("b", 403), ("c", 200)):
                    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **labels}
                    answer = await wayport.ask(body, headers=headers)
                    assert answer.status_code == status, (model, answer.text)
            body = {"model": "b", "messages": [{"role": "user", "content": "hello"}], "metadata": {"tags": ["free"]}}
            assert (await wayport.ask(body, headers=headers)).status_code == 200
        refused = await wayport.ask({**body, "user": "ann"})
        assert "The end user 'ann' may not use the model 'b'" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("scope", "kind"), [("end_user", "customer_model_access_denied"), ("tag", "tag_model_access_denied")]
)
def test_litellms_words_for_who_may_not_use_a_model(scope: AskedFor, kind: str) -> None:
    with pytest.raises(PermissionDenied) as error:
        allow(BOUND, "a", beside=(Holder(scope=scope, id="x", models=("b",)),), compat="litellm")
    assert (error.value.type, error.value.status, error.value.param) == (kind, 403, "model")


async def test_a_fallback_that_a_client_names_is_no_way_around_an_end_users_list() -> None:
    models = "{a: openai/nowhere, b: wayport/echo, c: wayport/echo}"
    body = {"model": "a", "messages": [{"role": "user", "content": "hello"}], "user": "ann"}
    body["fallbacks"] = ["b", "c"]
    text = f"models: {models}\nproviders: {{openai: {{api_base: 'http://127.0.0.1:9', api_key: x}}}}\n"
    async with gateway(text) as wayport:

        class OnlyAandC:
            async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
                return Holder(scope=scope, id=holder_id, models=("a", "c"))

        wayport.worker.holders._source = OnlyAandC()
        wayport.worker.authenticator.ask_about(("end_user",))
        answer = await wayport.ask(body)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-wayport-model"] == "c"


async def test_an_end_users_region_decides_where_its_calls_go() -> None:
    text = "model_list:\n" + "".join(
        f"- {{model_name: {name}, litellm_params: {{model: wayport/echo, region_name: {region}}}, "
        f"model_info: {{id: {name}-{region}}}}}\n"
        for name, region in (("m", "us"), ("m", "eu-west-1"), ("far", "us"))
    )

    class InEurope:
        async def holder(self, scope: AskedFor, holder_id: str) -> Holder | None:
            return Holder(scope=scope, id=holder_id, region="eu") if holder_id == "ann" else None

    async with gateway(text) as wayport:
        wayport.worker.holders._source = InEurope()
        wayport.worker.authenticator.ask_about(("end_user",))
        for _ in range(8):
            answer = await wayport.ask({"model": "m", "messages": [{"role": "user", "content": "x"}], "user": "ann"})
            assert answer.headers["x-litellm-model-id"] == "m-eu-west-1", answer.text
            assert answer.headers["x-litellm-model-region"] == "eu-west-1"
        for name, status in (("ann", 400), ("bob", 200)):
            body = {"model": "far", "messages": [{"role": "user", "content": "x"}], "user": name}
            answer = await wayport.ask(body)
            assert answer.status_code == status
            assert ("region" in answer.text) == (name == "ann")


async def test_litellm_refuses_fallbacks_that_a_key_may_not_use() -> None:
    text = "model_list:\n" + "".join(
        f"- {{model_name: {name}, litellm_params: {{model: wayport/echo}}}}\n" for name in ("m", "n")
    )
    async with gateway(text) as wayport:
        narrow = wayport.keys.add("sk-limited-key-000000000000", models=("m",))
        wide = wayport.keys.add("sk-limited-key-111111111111", models=("m", "n"))
        for key, status in ((narrow, 403), (wide, 200)):
            for fallback in ("n", {"model": "n", "messages": [{"role": "user", "content": "other"}]}):
                body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "fallbacks": [fallback]}
                answer = await wayport.ask(body, headers={"authorization": f"Bearer {key}"})
                assert answer.status_code == status, answer.text
        assert (await wayport.ask(body, headers={"authorization": f"Bearer {narrow}"})).json()["error"]["type"] == (
            "key_model_access_denied"
        )
