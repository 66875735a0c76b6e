"""Inbound TLS, its certificate renewed while the gateway runs."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from tests.server.test_protocol import OK

from wayport.server.exchange import Exchange
from wayport.server.listen import Certificate, Listening, bind
from wayport.server.protocol import Limits, Load, ServerState


def write_pair(ca: trustme.CA, folder: Path) -> tuple[Path, Path]:
    issued = ca.issue_cert("localhost")
    cert, key = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(b"".join(pem.bytes() for pem in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return cert, key


async def answer(exchange: Exchange) -> None:
    exchange.respond(200, OK, b"over TLS")


async def serial(port: int, ca: trustme.CA) -> int:
    """Serial number of the certificate that the server shows; a request is answered on the way."""
    context = ssl.create_default_context()
    ca.configure_trust(context)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"over TLS")
    certificate = writer.get_extra_info("peercert")
    writer.close()
    return int(certificate["serialNumber"], 16)


async def test_tls_is_served_and_its_certificate_reloaded_when_it_changes(tmp_path: Path) -> None:
    ca = trustme.CA()
    certificate = Certificate(*write_pair(ca, tmp_path))
    sock = bind("127.0.0.1", 0)[0]
    port = sock.getsockname()[1]
    async with Listening(
        answer,
        sock,
        state=ServerState(),
        load=Load(),
        limits=Limits(),
        refuse=lambda _, __: b"",
        certificate=certificate,
    ):
        first = await serial(port, ca)
        write_pair(ca, tmp_path)
        certificate.reload_if_changed()
        second = await serial(port, ca)
        assert first != second
        # Half a pair, as a renewal writes it for a moment: the old one stays.
        (tmp_path / "key.pem").write_text("not a key")
        certificate.reload_if_changed()
        assert await serial(port, ca) == second


def test_a_certificate_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("not a certificate")
    (tmp_path / "key.pem").write_text("not a key")
    with pytest.raises(ssl.SSLError):
        Certificate(tmp_path / "cert.pem", tmp_path / "key.pem")
