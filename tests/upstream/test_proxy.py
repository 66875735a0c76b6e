"""Which requests go by a proxy, and how."""

import ssl

import pytest
from tests.fakes.http_proxy import HttpProxy
from tests.fakes.upstream import Upstream, answer, json_answer
from tests.upstream.calls import call, fault_of, transport

from wayport.core.net import TlsSettings
from wayport.upstream.proxy import ProxyRules, proxy_of
from wayport.upstream.tls import Contexts
from wayport.upstream.transport import Origin, Transport, origin_of


def rules_to(proxy: HttpProxy) -> ProxyRules:
    return ProxyRules(all=proxy.url)


def through(upstream: Upstream, proxy: str) -> Origin:
    """Loopback goes direct unless the deployment names its proxy."""
    tls = TlsSettings(ca_file=upstream.ca_file) if upstream.tls else None
    return origin_of(upstream.url, tls=tls, proxy=proxy)[0]


# ------------------------------------------------------------------------------------------------------------- rules
PROXIED = [
    ("https://api.openai.com", ProxyRules(https="http://p:1")),
    ("http://vllm.test:8000", ProxyRules(http="http://p:1")),
    ("https://api.openai.com", ProxyRules(all="http://p:1")),
    ("https://api.openai.com", ProxyRules(https="http://p:1", none=("openai.com.evil",))),
    ("https://notopenai.com", ProxyRules(https="http://p:1", none=("openai.com", ".openai.com"))),
    ("https://openai.com:8443", ProxyRules(https="http://p:1", none=("openai.com:443",))),
    ("https://10.1.2.3", ProxyRules(https="http://p:1", none=("10.2.0.0/16", "10.1.2.4", "2.3"))),
    ("https://[2001:db8::1]", ProxyRules(https="http://p:1", none=("2001:db8:1::/48",))),
    ("https://a.test", ProxyRules(https="http://p:1", none=("", " ", "10.0.0.0/33"))),
    ("http://localhost:1", ProxyRules(http="http://p:1"), "http://p:1"),
]
DIRECT = [
    ("https://api.openai.com", ProxyRules()),
    ("https://api.openai.com", ProxyRules(http="http://p:1")),
    ("http://api.openai.com", ProxyRules(https="http://p:1")),
    ("https://api.openai.com", ProxyRules(https="http://p:1", none=("*",))),
    ("https://api.openai.com", ProxyRules(https="http://p:1", none=("openai.com",))),
    ("https://api.openai.com", ProxyRules(https="http://p:1", none=(".OpenAI.com",))),
    ("https://api.openai.com", ProxyRules(https="http://p:1", none=("*.openai.com",))),
    ("https://api.openai.com", ProxyRules(https="http://p:1", none=("x", " api.openai.com "))),
    ("https://api.openai.com:8443", ProxyRules(https="http://p:1", none=("openai.com:8443",))),
    ("https://10.1.2.3", ProxyRules(https="http://p:1", none=("10.1.0.0/16",))),
    ("https://10.1.2.3:8443", ProxyRules(https="http://p:1", none=("10.1.2.3:8443",))),
    ("https://[2001:db8::1]", ProxyRules(https="http://p:1", none=("2001:db8::/32",))),
    ("https://[2001:db8::1]:8443", ProxyRules(https="http://p:1", none=("[2001:db8::1]:8443",))),
    ("http://localhost:11434", ProxyRules(all="http://p:1")),
    ("http://127.0.0.1:11434", ProxyRules(all="http://p:1")),
    ("http://[::1]:11434", ProxyRules(all="http://p:1")),
    ("unix:///run/s", ProxyRules(all="http://p:1")),
    ("https://api.openai.com", ProxyRules(all="http://p:1"), ""),
]


@pytest.mark.parametrize("case", PROXIED)
def test_goes_by_the_proxy(case: tuple[str, ProxyRules] | tuple[str, ProxyRules, str]) -> None:
    url, rules, *own = case
    proxy = rules.proxy_for(origin_of(url, proxy=own[0] if own else None)[0])
    assert proxy is not None
    assert (proxy.scheme, proxy.host, proxy.port) == ("http", "p", 1)


@pytest.mark.parametrize("case", DIRECT)
def test_goes_direct(case: tuple[str, ProxyRules] | tuple[str, ProxyRules, str]) -> None:
    url, rules, *own = case
    assert rules.proxy_for(origin_of(url, proxy=own[0] if own else None)[0]) is None


def test_reads_a_proxy_with_and_without_its_parts() -> None:
    assert str(proxy_of("proxy.test:3128")) == "proxy proxy.test:3128"
    assert proxy_of("https://proxy.test").port == 443
    assert proxy_of("http://us%40er:p%3Aw@proxy.test:1").authorization == b"Basic dXNAZXI6cDp3"


@pytest.mark.parametrize("url", ["socks5://user:secret@h:1", "http://", "http://user:secret@h:port", "ftp://h"])
def test_refuses_what_is_no_proxy_and_shows_no_password(url: str) -> None:
    with pytest.raises(ValueError, match="the proxy") as caught:
        proxy_of(url)
    assert "secret" not in str(caught.value)


def test_shows_no_password() -> None:
    assert "secret" not in repr(proxy_of("http://user:secret@h:1"))
    assert "secret" not in repr(ProxyRules(all="http://user:secret@h:1"))
    assert "secret" not in str(proxy_of("http://user:secret@h:1"))


# ------------------------------------------------------------------------------------------------------------ by one
@pytest.mark.both_loops
async def test_https_goes_through_a_tunnel_that_sees_neither_path_nor_key() -> None:
    async with Upstream(json_answer(1), tls=True) as upstream, HttpProxy() as proxy, transport() as client:
        where = through(upstream, proxy.url)
        for _ in range(2):
            assert await call(client, upstream, to=where) == b"1"
        assert proxy.seen == [f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.1"]
        assert upstream.negotiated == ["http/1.1"]


@pytest.mark.both_loops
async def test_http_goes_to_the_proxy_as_a_whole_url() -> None:
    async with Upstream(json_answer(1)) as upstream, HttpProxy(password="secret") as proxy, transport() as client:
        assert await call(client, upstream, to=through(upstream, proxy.url), path="/v1/x?y=1") == b"1"
        assert proxy.seen == [f"POST http://127.0.0.1:{upstream.port}/v1/x?y=1 HTTP/1.1"]
        assert upstream.requests[0].path == "/v1/x?y=1"


@pytest.mark.both_loops
async def test_a_password_is_given_to_the_proxy_and_not_to_the_upstream() -> None:
    async with (
        Upstream(json_answer(1), tls=True) as upstream,
        HttpProxy(password="secret") as proxy,
        transport() as client,
    ):
        assert await call(client, upstream, to=through(upstream, proxy.url)) == b"1"
        assert "proxy-authorization" not in upstream.requests[0].headers


@pytest.mark.both_loops
async def test_the_rules_of_the_transport_decide_where_the_deployment_says_nothing() -> None:
    async with Upstream(json_answer(1)) as upstream, HttpProxy() as proxy, transport(proxies=rules_to(proxy)) as client:
        named = Origin("http", "upstream.test", upstream.port)
        assert await call(client, upstream, to=named) == b"1"
        assert proxy.seen == [f"POST http://upstream.test:{upstream.port}/v1/chat/completions HTTP/1.1"]
        assert await call(client, upstream) == b"1"
        assert len(proxy.seen) == 1


@pytest.mark.both_loops
@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants other credentials (407)"),
        (b"HTTP/1.1 403 Forbidden by policy\r\n\r\n", "refused to connect (403 Forbidden by policy)"),
        (b"HTTP/1.1 502\r\n\r\n", "refused to connect (502)"),
        (b"SSH-2.0\r\n\r\n", "did not answer in HTTP"),
        (b"", "closed the connection without a reply"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "spoke before it was its turn"),
        (b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 10_000, "sent a reply without an end"),
    ],
)
@pytest.mark.parametrize("tls", [False, True])
async def test_what_a_proxy_refuses_is_said(reply: bytes, said: str, tls: bool) -> None:
    async with (
        Upstream(answer(b"x"), tls=True) as upstream,
        HttpProxy(reply=reply, tls=tls) as proxy,
        trusting(proxy) as client,
    ):
        fault = await fault_of(client, upstream, to=through(upstream, proxy.url))
        assert (fault.kind, fault.body_sent) == ("connect", False)
        assert fault.message == f"The proxy 127.0.0.1:{proxy.port} {said}."
        assert client._pools.total == 0


@pytest.mark.both_loops
async def test_a_proxy_that_is_not_there_is_named_without_its_password() -> None:
    async with Upstream(answer(b"x"), tls=True) as upstream, transport() as client:
        fault = await fault_of(client, upstream, to=through(upstream, "http://user:secret@127.0.0.1:9"))
        where = f"127.0.0.1:{upstream.port} by proxy 127.0.0.1:9"
        assert fault.message == f"Cannot connect to {where}: Connection refused."


@pytest.mark.both_loops
async def test_a_proxy_setting_that_cannot_be_read_is_a_connect_fault() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        fault = await fault_of(client, upstream, to=through(upstream, "socks5://127.0.0.1:1080"))
        assert (fault.kind, fault.body_sent) == ("connect", False)
        assert "not an http or https one" in fault.message


@pytest.mark.both_loops
async def test_an_origin_with_an_address_is_asked_for_by_that_address() -> None:
    async with (
        Upstream(answer(b"x"), tls=True, tls_names=("pinned.test",)) as upstream,
        HttpProxy() as proxy,
        transport() as client,
    ):
        tls = TlsSettings(ca_file=upstream.ca_file)
        where = Origin("https", "pinned.test", upstream.port, tls, proxy.url, "127.0.0.1")
        assert await call(client, upstream, to=where) == b"x"
        assert proxy.seen == [f"CONNECT 127.0.0.1:{upstream.port} HTTP/1.1"]


# ------------------------------------------------------------------------------------------------- by one behind TLS
def trusting(proxy: HttpProxy) -> Transport:
    """A transport that trusts the proxy's certificate beside the system's store."""
    client = transport()
    if proxy.authority is not None:
        authority = proxy.authority

        class Trusting(Contexts):
            async def of(self, settings: TlsSettings | None) -> ssl.SSLContext:
                return await super().of(settings or TlsSettings(ca_file=authority.ca_file))

        client._dialer._contexts = Trusting()
    return client


@pytest.mark.both_loops
@pytest.mark.parametrize("upstream_tls", [False, True])
async def test_a_proxy_may_itself_be_reached_by_tls(upstream_tls: bool) -> None:
    async with (
        Upstream(json_answer(1), tls=upstream_tls) as upstream,
        HttpProxy(tls=True, password="secret") as proxy,
        trusting(proxy) as client,
    ):
        where = through(upstream, proxy.url)
        for _ in range(2):
            assert await call(client, upstream, b"x" * 300_000, to=where) == b"1"
        method = "CONNECT " if upstream_tls else "POST http://"
        assert [line.startswith(method) for line in proxy.seen] == [True] * len(proxy.seen)
        assert len(proxy.seen) == 1
