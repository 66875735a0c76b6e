"""The scripted upstream does what its script says, seen by a client that is not ours."""

import asyncio
import ssl

import httpx
import pytest
from tests.fakes.upstream import (
    Upstream,
    answer,
    by,
    chunked,
    close_without_answer,
    cut,
    endless_headers,
    garbage,
    html_error,
    json_answer,
    reset,
    sse,
    stall,
    whole,
)

pytestmark = pytest.mark.both_loops


def client(upstream: Upstream) -> httpx.AsyncClient:
    transport = httpx.AsyncHTTPTransport(uds=upstream.unix_path) if upstream.unix_path else None
    base = "http://unix" if upstream.unix_path else upstream.url
    verify = ssl.create_default_context(cafile=upstream.ca_file) if upstream.tls else True
    return httpx.AsyncClient(base_url=base, transport=transport, verify=verify, trust_env=False)


async def test_answers_in_the_order_of_the_script_and_records_requests() -> None:
    async with Upstream([json_answer({"a": 1}), html_error(502)]) as upstream, client(upstream) as http:
        first = await http.post("/v1/x?y=1", json={"model": "m"}, headers={"X-One": "1"})
        second = await http.get("/v1/y")
        assert (first.status_code, first.json()) == (200, {"a": 1})
        assert (second.status_code, second.headers["content-type"]) == (502, "text/html; charset=utf-8")
        request = upstream.requests[0]
        assert (request.method, request.path, request.json()) == ("POST", "/v1/x?y=1", {"model": "m"})
        assert request.headers["x-one"] == "1"
        assert [r.connection for r in upstream.requests] == [1, 1]


async def test_a_request_beyond_the_script_fails_the_test() -> None:
    with pytest.raises(AssertionError, match="beyond the script"):
        async with Upstream([]) as upstream, client(upstream) as http:
            assert (await http.get("/")).status_code == 599


async def test_chooses_by_request() -> None:
    async with (
        Upstream(by(lambda request: answer(request.path.encode()))) as upstream,
        client(upstream) as http,
    ):
        assert (await http.get("/a")).content == b"/a"
        assert (await http.get("/b")).content == b"/b"


async def test_a_stream_waits_at_its_gate() -> None:
    gate, reached = asyncio.Event(), asyncio.Event()
    async with (
        Upstream(sse(b"data: one\n\n", reached.set, gate, b"data: two\n\n")) as upstream,
        client(upstream) as http,
        http.stream("POST", "/") as response,
    ):
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"data: one\n\n"
        await reached.wait()
        gate.set()
        assert await anext(pieces) == b"data: two\n\n"


async def test_a_gate_ends_when_the_client_leaves() -> None:
    async with Upstream(sse(b"data: one\n\n", asyncio.Event())) as upstream:
        async with client(upstream) as http, http.stream("POST", "/") as response:
            assert response.status_code == 200
        await upstream.until(lambda: upstream.open == 0)


@pytest.mark.parametrize(
    "behaviour",
    [
        close_without_answer(),
        cut(whole(b"x" * 100), after=120),
        reset(),
        garbage(),
        endless_headers(),
        chunked(b"x", end=False, then="close"),
        answer(b"x", length=2, then="close"),
    ],
)
async def test_broken_answers_break_a_client(behaviour: object) -> None:
    async with Upstream(behaviour) as upstream, client(upstream) as http:  # type: ignore[arg-type]  # a list of functions
        with pytest.raises(httpx.TransportError):
            await http.get("/")


async def test_a_stalled_answer_lasts_until_the_client_leaves() -> None:
    async with Upstream(stall()) as upstream:
        async with client(upstream) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/", timeout=0.05)
        await upstream.until(lambda: upstream.open == 0)


async def test_serves_tls_and_unix_sockets(tmp_path: object) -> None:
    async with Upstream(answer(b"t"), tls=True) as upstream, client(upstream) as http:
        assert (await http.get("/")).content == b"t"
        assert upstream.negotiated == ["http/1.1"]
    async with Upstream(answer(b"u"), unix_path=f"{tmp_path}/s") as upstream, client(upstream) as http:
        assert (await http.get("/")).content == b"u"


async def test_drops_idle_connections() -> None:
    async with Upstream(answer(b"x")) as upstream, client(upstream) as http:
        await http.get("/")
        upstream.drop_idle()
        await upstream.until(lambda: upstream.open == 0)
