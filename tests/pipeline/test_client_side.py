"""Where a request goes and with whose credential: the operator's to say, and a client's where the operator lets it."""

import asyncio
import json
import re
import socket
from typing import Any

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Behaviour, Upstream, json_answer, sse

from wayport.access.principal import Holder, rates_of
from wayport.config.clients import client_side
from wayport.core.net import AddressPattern
from wayport.pipeline import answer_head
from wayport.routing.snapshot import OWN_MARK
from wayport.upstream.faults import TransportFault

CHAT = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "up",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
}  # fmt: skip
ASK = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hello"}]}


def config(upstream: Upstream) -> str:
    return f"providers: {{up: {{base_url: '{upstream.url}', api_key: k}}}}\nmodels: {{m: up/x}}\n"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_base", "http://169.254.169.254/latest/meta-data"),
        ("base_url", "http://127.0.0.1:1"),
        ("api_key", "sk-of-a-client"),
        ("user_config", {"model_list": []}),
        ("aws_sts_endpoint", "http://10.0.0.1"),
        ("vertex_credentials", "/etc/passwd"),
    ],
)
async def test_an_address_or_credential_of_the_clients_is_refused(name: str, value: Any, path: str) -> None:
    async with Upstream([]) as upstream, gateway(config(upstream)) as wayport:
        answer = await wayport.ask({**ASK, "input": "Hello", name: value}, path)
        assert answer.status_code == 400, answer.text
        assert f"`{name}`" in answer.text
        assert "allow_client_side_credentials" in answer.text
        assert "sk-of-a-client" not in answer.text
        assert upstream.connections == 0


async def test_one_that_holds_nothing_is_no_wish() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(config(upstream)) as wayport:
        answer = await wayport.ask({**ASK, "api_key": None, "api_base": ""})
        assert answer.status_code == 200, answer.text
        assert "api_base" not in upstream.requests[0].json()


# -------------------------------------------------------------------------------------------------- where it is allowed
SECRET = "sk-of-the-operator"
LOOPBACK = "{client_networks: [127.0.0.0/8, '::1']}"


def allowing(upstream: Upstream, *says: str, server: str = LOOPBACK, more: str = "") -> str:
    return f"""
providers:
  up: {{base_url: "{upstream.url}", api_key: {SECRET}, headers: {{x-operator: secret}}}}
  bedrock: {{api_key: {SECRET}}}
models:
  m: {{deployments: [{{model: up/x, client_credentials: [{", ".join(says)}]}}], fallbacks: [other]}}
  other: up/y
  all: {{deployments: [{{model: up/x}}, {{model: up/z, client_credentials: [api_key, api_base]}}]}}
server: {server}
router: {{num_retries: 0}}
{more}"""


def auth(upstream: Upstream) -> list[str | None]:
    return [request.headers.get("authorization") for request in upstream.requests]


async def test_a_client_brings_its_own_credential_where_it_may() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(allowing(upstream, "api_key")) as wayport:
        for path in ("/v1/chat/completions", "/v1/messages"):
            assert (await wayport.ask({**ASK, "api_key": "sk-mine"}, path)).status_code == 200
        assert (await wayport.ask(ASK)).status_code == 200
        assert auth(upstream) == ["Bearer sk-mine", "Bearer sk-mine", f"Bearer {SECRET}"]
        assert all(b"sk-mine" not in request.body for request in upstream.requests)
        refused = await wayport.ask({**ASK, "api_base": upstream.url})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "api_base")
        assert "no deployment of `m` lets clients say api_base" in refused.text


async def test_a_clients_credential_is_gone_with_its_call() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(allowing(upstream, "api_key")) as wayport:
        assert (await wayport.ask({**ASK, "api_key": "sk-mine"})).status_code == 200
        assert not any(OWN_MARK in deployment.id for deployment, _ in answer_head._about.values())


async def test_a_clients_address_is_told_no_secret_of_ours() -> None:
    async with Upstream([]) as own, Upstream(json_answer(CHAT)) as theirs:
        async with gateway(allowing(own, "api_key", "api_base")) as wayport:
            for name in ("api_base", "base_url"):
                assert (await wayport.ask({**ASK, name: f"{theirs.url}/v9/"})).status_code == 200
            assert (await wayport.ask({**ASK, "api_base": theirs.url, "api_key": "sk-mine"})).status_code == 200
        assert auth(theirs) == [None, None, "Bearer sk-mine"]
        assert theirs.requests[0].path == "/v9/chat/completions"
        assert all("x-operator" not in request.headers for request in theirs.requests)
        assert SECRET.encode() not in b"".join(request.body for request in theirs.requests)
        assert own.connections == 0


async def test_an_address_that_the_operator_wrote_a_pattern_for_has_our_credential() -> None:
    async with Upstream([]) as own, Upstream(json_answer(CHAT)) as theirs:
        pattern = theirs.url.replace(".", "[.]") + "/v1"
        async with gateway(allowing(own, f"{{api_base: '{pattern}'}}")) as wayport:
            assert (await wayport.ask({**ASK, "api_base": f"{theirs.url}/v1"})).status_code == 200
            assert auth(theirs) == [f"Bearer {SECRET}"]
            # The whole of it must fit: what follows could be another host.
            for other in (f"{theirs.url}/v1.evil.example", f"{theirs.url}/v1/../v2", f"{theirs.url}0/v1"):
                assert (await wayport.ask({**ASK, "api_base": other})).status_code == 400
            assert len(theirs.requests) == 1


async def test_a_patterns_wildcard_ends_where_the_host_does() -> None:
    async with Upstream([]) as own, Upstream(json_answer(CHAT)) as theirs:
        port = theirs.url.rpartition(":")[2]
        pattern = rf"^http://local.*direct\.example:{port}/v1$"
        async with gateway(allowing(own, f"{{api_base: '{pattern}'}}")) as wayport:
            resolver = wayport.worker.transport.resolver
            resolver._getaddrinfo = Names()
            for other in (
                f"http://localhost:{port}/direct.example:{port}/v1",
                f"http://local.evil.example/direct.example:{port}/v1",
                f"http://local.direct.example:{port}/x/v1",
                f"http://local\\direct.example:{port}@evil.example/v1",
            ):
                assert (await wayport.ask({**ASK, "api_base": other})).status_code == 400, other
            assert not theirs.requests
            assert (await wayport.ask({**ASK, "api_base": f"HTTP://Local-direct.example:{port}/v1"})).status_code == 200
            assert auth(theirs) == [f"Bearer {SECRET}"]


@pytest.mark.parametrize(
    ("pattern", "origin", "path"),
    [
        (
            r"^https://litellm.*direct\.fireworks\.ai/v1$",
            r"https://litellm.*direct\.fireworks\.ai",
            "/v1",
        ),
        (r"https?:\/\/(a|b)\.example[.]com\/.*", r"https?:\/\/(a|b)\.example[.]com", r"\/.*"),
        (r"https://[^/]+[.]example[.]com/(a|b)/c", "https://[^/]+[.]example[.]com", "/(a|b)/c"),
        ("http://127[.]0[.]0[.]1:[0-9]+", "http://127[.]0[.]0[.]1:[0-9]+", ""),
    ],
)
def test_a_pattern_is_two(pattern: str, origin: str, path: str) -> None:
    assert client_side({"api_base": pattern}).bases == (AddressPattern(origin=origin, path=path),)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (".*", "begin it with https://"),
        ("https://.*", "hosts of others"),
        (r"https://a[.]example[.]com.*", "hosts of others"),
        (r"https://a[.]example[.]com(/v1)?", "first slash"),
        (r"https://a[.]example[.]com[/]v1", "first slash"),
        ("https://a/v1|https://b/v1", "alternatives"),
        ("(?i)https://a/v1", "flags"),
        ("https://a/(v1", "no regular expression"),
        (r"https://(?P<x>a)/(?P=x)", "no regular expression"),
    ],
)
def test_a_pattern_that_cannot_be_two_is_refused_with_what_to_do(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        client_side({"api_base": pattern})


async def test_a_clients_address_says_nothing_of_what_is_spent() -> None:
    lying = {**CHAT, "usage": {"prompt_tokens": 10**12, "completion_tokens": 10**12, "cost": 1e6}}
    limits = "limits: {gateway: {max_budget: 1, budget_duration: 30d}}"
    async with Upstream(json_answer(CHAT)) as own, Upstream(json_answer(lying)) as theirs:
        config = allowing(own, "api_key", "api_base", more=limits).replace(
            "{model: up/x, client", "{model: up/x, prices: {input: 1000, output: 1000}, client"
        )
        config = config.replace("fallbacks: [other]", "fallbacks: []")
        async with gateway(config) as wayport:
            for _ in range(2):
                assert (await wayport.ask({**ASK, "api_base": theirs.url, "api_key": "sk-mine"})).status_code == 200
            # And it is not taken for what the model costs others.
            assert (await wayport.ask(ASK)).status_code == 200
            ended = [record for record in wayport.records if not record.opened]
            assert [record.cost_nano_usd for record in ended] == [0, 0, 4_000_000]
            assert (ended[2].reserved_nano_usd or 0) > 0


class Names:
    """A resolver of the system's; slow names are answered when the test says so."""

    def __init__(self) -> None:
        self.slow = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int, **_: Any) -> Any:
        self.asked.append(host)
        if host.startswith("slow"):
            await self.slow.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


async def test_slow_names_of_clients_leave_the_resolver_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayport.pipeline.client_side._LOOKUP_S", 0.05)
    async with Upstream(json_answer(CHAT)) as own, Upstream(json_answer(CHAT)) as theirs:
        port = theirs.url.rpartition(":")[2]
        async with gateway(allowing(own, "api_base").replace("127.0.0.1", "localhost", 1)) as wayport:
            resolver = wayport.worker.transport.resolver
            names = resolver._getaddrinfo = Names()
            assert (await wayport.ask({**ASK, "api_base": f"http://known.example:{port}"})).status_code == 200
            # It is given up after a while, and its look-up goes on.
            assert (await wayport.ask({**ASK, "api_base": "http://slow0.example"})).status_code == 400
            for number in range(1, 20):
                refused = await wayport.ask({**ASK, "api_base": f"http://slow{number}.example"})
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "client_address_busy")
                assert refused.headers["retry-after"] == "1"
            assert [name for name in names.asked if name.startswith("slow")] == ["slow0.example"]
            # What is known needs no look-up, and ours are not counted.
            assert (await wayport.ask({**ASK, "api_base": f"http://known.example:{port}"})).status_code == 200
            assert (await wayport.ask(ASK)).status_code == 200
            names.slow.set()
            await resolver.resolve("slow0.example", 80)
            assert (await wayport.ask({**ASK, "api_base": f"http://other.example:{port}"})).status_code == 200


async def test_a_vouched_address_that_refuses_our_credential_closes_it_for_nobody_else() -> None:
    error = json_answer({"error": {"message": "no"}}, status=401)
    async with Upstream(json_answer(CHAT)) as own, Upstream(error) as theirs:
        pattern = theirs.url.replace(".", "[.]") + "/.*"
        async with gateway(allowing(own, f"{{api_base: '{pattern}'}}")) as wayport:
            for _ in range(3):
                assert (await wayport.ask({**ASK, "api_base": f"{theirs.url}/v1"})).status_code >= 400
            assert auth(theirs)[0] == f"Bearer {SECRET}"
            assert (await wayport.ask(ASK)).status_code == 200
            assert len(own.requests) == 1


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://0.0.0.0", "http://169.254.169.254/latest",
        "http://[fe80::1]", "http://10.0.0.1/v1", "http://192.168.1.1", "http://100.64.0.1", "http://[fd00::1]",
        "http://[::ffff:127.0.0.1]", "http://[64:ff9b::7f00:1]", "http://168.63.129.16", "http://2130706433", "http://0x7f.1",
        "unix:///var/run/docker.sock", "file:///etc/passwd", "http://user:password@127.0.0.1", "http://127.0.0.1/?x=1",
        "http://[", "gopher://127.0.0.1",
    ],
)  # fmt: skip
async def test_no_address_of_a_clients_leads_into_our_network(address: str) -> None:
    async with Upstream([]) as upstream, gateway(allowing(upstream, "api_base", server="{}")) as wayport:
        answered = await wayport.ask({**ASK, "api_base": address})
        assert (answered.status_code, answered.json()["error"]["code"]) == (400, "client_address_refused"), (
            answered.text
        )
        assert "password" not in answered.text
        assert upstream.connections == 0


async def test_the_address_that_was_checked_is_the_one_that_is_asked() -> None:
    async with Upstream(json_answer(CHAT)) as upstream, gateway(allowing(upstream, "api_base")) as wayport:
        resolver = wayport.worker.transport.resolver
        looked_up = []
        resolve = resolver.resolve

        async def once(host: str, port: int, *, guest: bool = False) -> Any:
            # A name that leads elsewhere the second time.
            looked_up.append(host)
            return await resolve("127.0.0.1" if looked_up.count(host) == 1 else "169.254.169.254", port)

        resolver.resolve = once  # type: ignore[method-assign]
        port = upstream.url.rpartition(":")[2]
        assert (await wayport.ask({**ASK, "api_base": f"http://rebinding.example:{port}"})).status_code == 200
        assert upstream.requests[0].headers["host"] == f"rebinding.example:{port}"
        assert looked_up.count("rebinding.example") == 1


async def test_a_name_that_nobody_knows_is_a_400() -> None:
    async with Upstream([]) as upstream, gateway(allowing(upstream, "api_base")) as wayport:

        async def fails(host: str, port: int, *, guest: bool = False) -> Any:
            raise TransportFault("connect", f"Cannot resolve {host}:{port}.", body_sent=False)

        wayport.worker.transport.resolver.resolve = fails  # type: ignore[method-assign]
        answered = await wayport.ask({**ASK, "api_base": "http://nowhere.invalid"})
        assert (answered.status_code, answered.json()["error"]["code"]) == (400, "client_address_refused")


async def test_a_private_network_is_asked_only_where_it_is_listed() -> None:
    server = "{client_networks: [127.0.0.2/32]}"
    async with Upstream([]) as upstream, gateway(allowing(upstream, "api_base", server=server)) as wayport:
        assert (await wayport.ask({**ASK, "api_base": upstream.url})).status_code == 400
        with socket.socket() as closed:
            closed.bind(("127.0.0.2", 0))
            answered = await wayport.ask({**ASK, "api_base": f"http://127.0.0.2:{closed.getsockname()[1]}"})
        assert answered.status_code >= 500


@pytest.mark.parametrize("status", [401, 404])
async def test_a_clients_credential_goes_to_its_own_deployment_and_to_no_fallback(status: int) -> None:
    error = {"message": "The model `x` does not exist", "code": "model_not_found" if status == 404 else None}
    async with Upstream(json_answer({"error": error}, status=status)) as upstream:
        async with gateway(allowing(upstream, "api_key")) as wayport:
            for _ in range(10):
                answered = await wayport.ask({**ASK, "api_key": "sk-mine", "fallbacks": ["other"]})
                assert answered.status_code >= 400
                assert "sk-mine" not in answered.text
            assert set(auth(upstream)) == {"Bearer sk-mine"}
            # A wrong credential of a client's closes nothing for anybody else.
            upstream.script = json_answer(CHAT)
            for more in ({}, {"api_key": "sk-of-another"}):
                assert (await wayport.ask({**ASK, **more})).status_code == 200
            await wayport.ask({**ASK, "model": "all", "api_key": "sk-of-another"})
            assert upstream.requests[-1].json()["model"] == "z"


async def test_what_needs_a_signer_or_is_no_string_or_has_no_model_is_refused() -> None:
    async with Upstream([]) as upstream:
        more = "auth: {mode: key}\n"
        config = allowing(upstream, "api_key", server="{client_credentials: [api_key, api_base]}", more=more)
        config = config.replace("  other: up/y", "  other: bedrock/anthropic.claude-opus-4-5-20251101-v1:0")
        async with gateway(config, {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}) as wayport:
            for body in (
                {**ASK, "api_key": 7},
                {**ASK, "api_key": "sk-mine", "model": "auto"},
                {**ASK, "user_config": {"model_list": [1]}},
            ):
                assert (await wayport.ask(body)).status_code == 400
            assert upstream.connections == 0


async def test_a_job_is_never_followed_to_a_clients_address() -> None:
    async with Upstream([]) as upstream:
        server = "{client_credentials: [api_key, api_base], client_networks: [127.0.0.0/8]}"
        config = f"providers: {{replicate: {{api_key: {SECRET}}}}}\nmodels: {{m: replicate/meta/x}}\nserver: {server}\n"
        async with gateway(config) as wayport:
            answered = await wayport.ask({**ASK, "api_base": upstream.url, "api_key": "sk-mine"})
            assert (answered.status_code, answered.json()["error"]["param"]) == (400, "api_base")
        assert upstream.connections == 0


@pytest.mark.parametrize(
    ("params", "general", "allowed"),
    [
        ("configurable_clientside_auth_params: [api_key]", "", {"api_key"}),
        ("configurable_clientside_auth_params: [api_key, api_base]", "", {"api_key", "api_base"}),
        ("configurable_clientside_auth_params: [{api_base: 'http://127[.]0[.]0[.]1:[0-9]+'}]", "", {"api_base"}),
        ("", "allow_client_side_credentials: true", {"api_key", "api_base"}),
        ("", "", set()),
    ],
)
async def test_litellms_names_mean_the_same(params: str, general: str, allowed: set[str]) -> None:
    async with Upstream(json_answer(CHAT)) as upstream:
        config = f"""
model_list:
  - model_name: m
    litellm_params:
      model: openai/x
      api_base: "{upstream.url}"
      api_key: {SECRET}
      {params}
general_settings:
  master_key: sk-test-master-key-0123456789
  {general}
"""
        async with gateway(config, {"WAYPORT_CLIENT_NETWORKS": "127.0.0.0/8"}) as wayport:
            for name, value in (("api_key", "sk-mine"), ("api_base", upstream.url)):
                answered = await wayport.ask({**ASK, name: value})
                assert (answered.status_code == 200) == (name in allowed), answered.text


SAID = "word " * 80
"""a hundred tokens as we count them"""


def stating(stated: int, *, stream: bool) -> Behaviour:
    usage = {"prompt_tokens": stated, "completion_tokens": stated, "total_tokens": 2 * stated}
    if not stream:
        message = {"role": "assistant", "content": SAID}
        return json_answer(
            {**CHAT, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
        )
    chunk = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up"}
    words = [{"index": 0, "delta": {"role": "assistant", "content": word + " "}} for word in SAID.split()]
    told = [{**chunk, "choices": [each]} for each in (*words, {"index": 0, "delta": {}, "finish_reason": "stop"})]
    told.append({**chunk, "choices": [], "usage": usage})
    return sse(*(b"data: " + json.dumps(each).encode() + b"\n\n" for each in told), b"data: [DONE]\n\n")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("stated", [0, -(10**9), 150, 10**12])
async def test_what_a_clients_address_states_of_tokens_counts_as_far_as_it_can_be_true(
    path: str, stated: int, *, stream: bool
) -> None:
    async with Upstream([]) as own, Upstream(stating(stated, stream=stream)) as theirs:
        async with gateway(allowing(own, "api_base")) as wayport:
            bound = Holder(scope="key", id="k", rates=rates_of(tpm=100_000))
            headers = {"authorization": f"Bearer {wayport.keys.add('sk-limited-key-000001', holders=(bound,))}"}
            body = {**ASK, "api_base": theirs.url, "stream": stream}
            answer = await wayport.ask(body, path, headers=headers)
            assert answer.status_code == 200, answer.text
            await wayport.until_idle()
            (gauge,) = (g for g in wayport.worker.admission.gauges.all() if "tokens" in g.counter)
            used, sent = gauge.held - gauge.free, wayport.records[-1].request_bytes
            # As little as we count, and not more than one token a byte.
            read = {0: sent // 4 + 1, 150: min(150, sent), 10**12: sent}.get(stated, sent // 4 + 1)
            least, most = {0: (80, 110), 150: (150, 150), 10**12: (320, 440)}.get(stated, (80, 110))
            assert least <= used - read <= most
