"""How a connection is made: names, addresses, TLS, Unix sockets, and what is said when it cannot be."""

import asyncio
import os
import socket
from pathlib import Path

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.upstream import Authority, Upstream, answer, json_answer, sse
from tests.upstream.calls import LIMIT, SOON, Collected, call, fault_of, send, transport

from wayport.core.errors import Fault
from wayport.core.net import TlsSettings
from wayport.upstream.dial import first_to_connect
from wayport.upstream.resolve import FRESH_FAILURE_S, FRESH_S, Address, Resolver
from wayport.upstream.transport import Origin, Transport, TransportFault, origin_of

pytestmark = pytest.mark.both_loops


async def fault_at(client: Transport, where: Origin) -> Fault:
    with pytest.raises(TransportFault) as caught:
        await client.send(where, b"POST / HTTP/1.1\r\n", b"{}", timeouts=SOON)
    return caught.value.fault


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


# --------------------------------------------------------------------------------------------------------- addresses
async def test_a_refused_connection_says_so() -> None:
    port = unused_port()
    async with transport() as client:
        fault = await fault_at(client, origin_of(f"http://127.0.0.1:{port}")[0])
        assert (fault.kind, fault.status, fault.body_sent) == ("connect", 0, False)
        assert fault.message.startswith(f"Cannot connect to 127.0.0.1:{port}: ")
        assert "refused" in fault.message.lower()
        assert client._pools.total == 0


async def test_a_name_that_does_not_resolve_says_so_and_is_asked_again_after_a_second() -> None:
    clock = ManualClock()
    asked = 0

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        nonlocal asked
        asked += 1
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolver = Resolver(clock, getaddrinfo=getaddrinfo)
    for _ in range(3):
        with pytest.raises(TransportFault, match=r"Cannot resolve nowhere\.test: Name or service not known") as caught:
            await resolver.resolve("nowhere.test", 443)
        assert (caught.value.fault.kind, caught.value.fault.body_sent) == ("connect", False)
    assert asked == 1
    clock.advance(FRESH_FAILURE_S)
    with pytest.raises(TransportFault):
        await resolver.resolve("nowhere.test", 443)
    assert asked == 2


class Names:
    """Answers look-ups from a list, and counts them."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, host: str, port: int, **_: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        self.asked += 1
        await self.gate.wait()
        return [
            (socket.AF_INET6, 1, 6, "", (a, port, 0, 0)) if ":" in a else (socket.AF_INET, 1, 6, "", (a, port))
            for a in self.addresses
        ]


async def test_addresses_are_remembered_for_half_a_minute() -> None:
    clock = ManualClock()
    names = Names("192.0.2.1")
    resolver = Resolver(clock, getaddrinfo=names)
    for _ in range(3):
        assert await resolver.resolve("a.test", 443) == [Address(socket.AF_INET, ("192.0.2.1", 443))]
    await resolver.resolve("a.test", 80)
    assert names.asked == 2
    clock.advance(FRESH_S)
    await resolver.resolve("a.test", 443)
    assert names.asked == 3


async def test_calls_that_ask_at_once_share_one_look_up_and_one_who_leaves_does_not_end_it() -> None:
    names = Names("192.0.2.1")
    names.gate.clear()
    resolver = Resolver(ManualClock(), getaddrinfo=names)
    asking = [asyncio.ensure_future(resolver.resolve("a.test", 443)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    names.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert [isinstance(result, list) for result in results] == [False, True, True, True, True]
    assert names.asked == 1


async def test_both_families_take_turns_in_the_systems_order_without_repetitions() -> None:
    names = Names("2001:db8::1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2")
    resolver = Resolver(ManualClock(), getaddrinfo=names)
    found = [address.sockaddr[0] for address in await resolver.resolve("a.test", 443)]
    assert found == ["2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"]
    resolver.worked("a.test", 443, Address(socket.AF_INET, ("192.0.2.1", 443)))
    found = [address.sockaddr[0] for address in await resolver.resolve("a.test", 443)]
    assert found[:2] == ["192.0.2.1", "2001:db8::1"]


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    async with Upstream(answer(b"x")) as upstream:
        dead = Address(socket.AF_INET, ("127.0.0.1", unused_port()))
        alive = Address(socket.AF_INET, (upstream.host, upstream.port))
        address, sock = await first_to_connect([dead, dead, alive], stagger_s=60)
        sock.close()
        assert address == alive


async def test_the_next_address_is_tried_when_one_is_slow() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        slow = Address(socket.AF_INET, full.getsockname())
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(slow.sockaddr)
            async with Upstream(answer(b"x")) as upstream:
                alive = Address(socket.AF_INET, (upstream.host, upstream.port))
                address, sock = await first_to_connect([slow, alive], stagger_s=0.01)
                sock.close()
                assert address == alive
        finally:
            for filler in fillers:
                filler.close()


async def test_when_no_address_answers_the_last_reason_is_given() -> None:
    dead = [Address(socket.AF_INET, ("127.0.0.1", unused_port())) for _ in range(2)]
    with pytest.raises(ConnectionRefusedError):
        await first_to_connect(dead, stagger_s=60)


async def test_a_name_with_two_addresses_of_which_one_is_dead_works() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        client._dialer._resolver = Resolver(ManualClock(), getaddrinfo=Names("127.0.0.2", "127.0.0.1"))
        assert await call(client, upstream, to=Origin("http", "two.test", upstream.port)) == b"x"


async def test_an_origin_with_an_address_is_not_looked_up() -> None:
    names = Names("192.0.2.1")
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        client._dialer._resolver = Resolver(ManualClock(), getaddrinfo=names)
        where = Origin("http", "pinned.test", upstream.port, address="127.0.0.1")
        assert await call(client, upstream, to=where) == b"x"
    assert names.asked == 0


async def test_a_mistake_of_ours_while_connecting_is_told_once_and_not_tried_in_a_circle(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tried = 0

    async def stumble(*_: object) -> None:
        nonlocal tried
        tried += 1
        raise KeyError("ours")

    async with Upstream(answer(b"x")) as upstream, transport() as client:
        client._pools._dial = stumble
        fault = await fault_of(client, upstream)
        assert (fault.kind, fault.message) == ("connect", f"No connection to 127.0.0.1:{upstream.port}: KeyError.")
        await asyncio.sleep(0)
        assert (tried, client._pools.total) == (1, 0)
    assert "background task failed" in caplog.text


async def test_small_writes_leave_at_once_and_dead_hosts_are_noticed() -> None:
    async with Upstream(answer(b"x")) as upstream, transport() as client:
        await call(client, upstream)
        sock = next(iter(client._pools.connections))._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


# --------------------------------------------------------------------------------------------------------------- TLS
async def test_speaks_http_1_1_over_tls_and_keeps_the_connection() -> None:
    async with Upstream(json_answer(1), tls=True) as upstream, transport() as client:
        for _ in range(3):
            assert await call(client, upstream, b"x" * 100_000) == b"1"
        assert (upstream.connections, upstream.negotiated) == (1, ["http/1.1"])


async def test_streams_over_tls() -> None:
    gate = asyncio.Event()
    async with Upstream(sse(b"data: 1\n\n", gate, b"data: 2\n\n"), tls=True) as upstream, transport() as client:
        taken = Collected()
        ended = (await send(client, upstream)).pump(taken)
        await taken.holds(b"data: 1\n\n")
        gate.set()
        await ended
        assert taken.all == b"data: 1\n\ndata: 2\n\n"


async def test_a_stranger_s_certificate_is_not_accepted() -> None:
    async with Upstream(answer(b"x"), tls=True) as upstream, transport() as client:
        fault = await fault_of(client, upstream, tls=None)
        assert (fault.kind, fault.body_sent) == ("connect", False)
        assert fault.message.startswith(f"The certificate of 127.0.0.1:{upstream.port} is not accepted: ")
        assert not upstream.requests


async def test_a_certificate_of_another_name_is_not_accepted() -> None:
    async with Upstream(answer(b"x"), tls=True, tls_names=("other.test",)) as upstream, transport() as client:
        fault = await fault_of(client, upstream)
        assert "is not accepted" in fault.message


async def test_the_name_is_verified_even_where_the_address_is_given() -> None:
    async with Upstream(answer(b"x"), tls=True, tls_names=("pinned.test",)) as upstream, transport() as client:
        tls = TlsSettings(ca_file=upstream.ca_file)
        good = Origin("https", "pinned.test", upstream.port, tls, address="127.0.0.1")
        assert await call(client, upstream, to=good) == b"x"
        bad = Origin("https", "other.test", upstream.port, tls, address="127.0.0.1")
        assert "is not accepted" in (await fault_at(client, bad)).message


async def test_verification_can_be_switched_off() -> None:
    async with Upstream(answer(b"x"), tls=True, tls_names=("other.test",)) as upstream, transport() as client:
        assert await call(client, upstream, tls=TlsSettings(verify=False)) == b"x"


async def test_shows_a_client_certificate_to_those_who_ask() -> None:
    authority = Authority()
    async with Upstream(answer(b"x"), tls=True, client_ca=authority) as upstream, transport() as client:
        tls = TlsSettings(ca_file=upstream.ca_file, cert_file=authority.client_cert())
        assert await call(client, upstream, tls=tls) == b"x"
        fault = await fault_of(client, upstream)
        assert fault.kind in ("connect", "cut")
    authority.close()


async def test_a_file_of_certificates_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.pem")
    async with transport() as client:
        where = origin_of("https://127.0.0.1:1", tls=TlsSettings(ca_file=missing))[0]
        fault = await fault_at(client, where)
        assert fault.kind == "connect"
        assert missing in fault.message


async def test_a_file_of_certificates_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    other = Authority()
    bundle.write_bytes(Path(other.ca_file).read_bytes())
    async with Upstream(answer(b"x"), tls=True) as upstream, transport() as client:
        tls = TlsSettings(ca_file=str(bundle))
        assert "is not accepted" in (await fault_of(client, upstream, tls=tls)).message
        bundle.write_bytes(Path(upstream.ca_file).read_bytes())
        os.utime(bundle, ns=(1, 1))
        assert await call(client, upstream, tls=tls) == b"x"
    other.close()


async def test_one_context_serves_all_with_the_same_settings() -> None:
    async with transport() as client:
        contexts = client._dialer._contexts
        one, two = await asyncio.gather(contexts.of(None), contexts.of(TlsSettings()))
        assert one is two


async def test_plain_http_on_a_tls_port_is_a_connect_fault() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, transport() as client:
        fault = await fault_at(client, origin_of(f"https://127.0.0.1:{port}")[0])
        assert (fault.kind, fault.body_sent) == ("connect", False)
        assert fault.message.startswith(f"No TLS with 127.0.0.1:{port}: ")


# -------------------------------------------------------------------------------------------------------------- unix
async def test_calls_over_a_unix_socket(tmp_path: Path) -> None:
    async with Upstream(json_answer(1), unix_path=str(tmp_path / "s")) as upstream, transport() as client:
        where, below = origin_of(f"{upstream.url}:/v1")
        assert below == "/v1"
        for _ in range(2):
            got = await client.send(where, b"POST /v1/x HTTP/1.1\r\nhost: localhost\r\n", b"{}", timeouts=SOON)
            assert await got.read(LIMIT) == b"1"
        assert upstream.connections == 1


async def test_a_unix_socket_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with transport() as client:
        fault = await fault_at(client, origin_of(f"unix://{tmp_path}/none")[0])
        assert (fault.kind, fault.body_sent) == ("connect", False)
        assert f"unix:{tmp_path}/none: No such file" in fault.message
