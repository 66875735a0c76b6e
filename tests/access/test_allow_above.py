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
