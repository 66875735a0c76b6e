"""What an upstream sends, and what of it an answer holds: framing, heads, codings, limits."""

import gzip
import zlib

import pytest
from tests.fakes.upstream import (
    Step,
    Then,
    Upstream,
    answer,
    chunked,
    cut,
    endless_headers,
    garbage,
    head,
    html_error,
    json_answer,
    raw,
    whole,
)
from tests.upstream.calls import LIMIT, call, fault_of, send, transport

pytestmark = pytest.mark.both_loops


async def test_gives_status_headers_and_body() -> None:
    behaviour = answer(b'{"a": 1}', status=429, headers=[("Retry-After", "3"), ("X-Two", "1"), ("x-two", " 2 ")])
    async with Upstream(behaviour) as upstream, transport() as client:
        got = await send(client, upstream)
        assert (got.status, got.reused) == (429, False)
        assert got.header(b"retry-after") == b"3"
        assert got.header(b"x-none") is None
        assert [value for name, value in got.headers if name == b"x-two"] == [b"1", b"2"]
        assert await got.read(LIMIT) == b'{"a": 1}'


async def test_sends_the_request_as_it_was_given_with_its_length() -> None:
    async with Upstream(answer(b"")) as upstream, transport() as client:
        assert await call(client, upstream, b'{"model": "m"}', path="/v1/x?y=1") == b""
        request = upstream.requests[0]
        assert (request.method, request.path, request.body) == ("POST", "/v1/x?y=1", b'{"model": "m"}')
        assert request.header_list == [("host", f"127.0.0.1:{upstream.port}"), ("content-length", "14")]


async def test_a_post_without_body_says_so_and_a_get_does_not() -> None:
    async with Upstream(answer(b"")) as upstream, transport() as client:
        await call(client, upstream, b"")
        await call(client, upstream, b"", method="GET")
        assert [r.headers.get("content-length") for r in upstream.requests] == ["0", None]


async def test_sends_and_receives_large_bodies() -> None:
    body = b"0123456789abcdef" * (8 * 1024 * 1024 // 16)
    async with Upstream([answer(body), chunked(body, body)]) as upstream, transport() as client:
        assert await call(client, upstream, body) == body
        assert await call(client, upstream, body) == body + body
        assert [r.body == body for r in upstream.requests] == [True, True]


@pytest.mark.parametrize("pieces", [(b"one", b"two"), (b"x" * 70_000,), ()])
async def test_reads_chunked_bodies_and_ignores_trailers(pieces: tuple[bytes, ...]) -> None:
    async with (
        Upstream(chunked(*pieces, trailers=b"x-late: 1\r\n")) as upstream,
        transport() as client,
    ):
        got = await send(client, upstream)
        assert await got.read(LIMIT) == b"".join(pieces)
        assert got.header(b"x-late") is None
        assert await call(client, upstream) == b"".join(pieces)
        assert upstream.connections == 1


async def test_reads_a_body_that_ends_with_its_connection() -> None:
    async with Upstream(raw(head(), b"to the ", b"end", then="close")) as upstream, transport() as client:
        assert await call(client, upstream) == b"to the end"


async def test_a_body_that_ends_with_a_broken_connection_is_cut() -> None:
    async with Upstream(raw(head(), b"to the", then="reset")) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "cut"


async def test_interim_answers_are_passed_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    async with Upstream(raw(early, whole(b"real"))) as upstream, transport() as client:
        got = await send(client, upstream)
        assert (got.status, got.header(b"x-early"), got.header(b"link")) == (200, None, None)
        assert await got.read(LIMIT) == b"real"


async def test_switching_protocols_is_malformed() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nzz"
    async with Upstream(raw(switch)) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "malformed"


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_end_with_their_head(status: int) -> None:
    async with (
        Upstream([raw(head(status, content_type=None)), json_answer(1)]) as upstream,
        transport() as client,
    ):
        assert await call(client, upstream) == b""
        assert await call(client, upstream) == b"1"
        assert upstream.connections == 1


async def test_the_answer_to_head_has_no_body() -> None:
    async with Upstream(raw(head(headers={"content-length": "10"}))) as upstream, transport() as client:
        got = await send(client, upstream, b"", method="HEAD")
        assert got.header(b"content-length") == b"10"
        assert await got.read(LIMIT) == b""


async def test_any_split_of_the_bytes_gives_the_same_answer() -> None:
    sent = head(headers={"transfer-encoding": "chunked", "x-a": "b"}) + b"4\r\nwiki\r\n6;x=y\r\npedia \r\n0\r\n\r\n"
    async with transport() as client:
        for at in range(1, len(sent)):
            async with Upstream(raw(sent[:at], sent[at:])) as upstream:
                got = await send(client, upstream)
                assert (got.header(b"x-a"), await got.read(LIMIT)) == (b"b", b"wikipedia ")


@pytest.mark.parametrize(
    ("steps", "then"),
    [
        pytest.param((head(headers={"content-length": "10"}), b"short"), "close", id="body short of its length"),
        pytest.param((head(headers={"content-length": "10"}), b"short"), "reset", id="reset within the body"),
        pytest.param((head(headers={"transfer-encoding": "chunked"}), b"3\r\nabc\r\n"), "close", id="no closing chunk"),
        pytest.param((head(headers={"transfer-encoding": "chunked"}), b"30\r\nabc"), "close", id="chunk cut"),
        pytest.param((b"HTTP/1.1 200 OK\r\nx-a: b\r\n",), "close", id="head cut"),
        pytest.param((), "close", id="no answer"),
        pytest.param((), "reset", id="reset without an answer"),
    ],
)
async def test_an_answer_that_breaks_off_is_cut(steps: tuple[Step, ...], then: Then) -> None:
    async with Upstream(raw(*steps, then=then)) as upstream, transport() as client:
        fault = await fault_of(client, upstream)
        assert (fault.kind, fault.body_sent) == ("cut", True)
        assert f"127.0.0.1:{upstream.port}" in fault.message
        assert fault.status == (200 if len(steps) == 2 else 0)
        assert len(upstream.requests) == 1


async def test_a_cut_answer_of_any_length_is_never_whole() -> None:
    sent = whole(b'{"a": 1}')
    async with transport() as client:
        for after in range(len(sent)):
            async with Upstream(cut(sent, after=after)) as upstream:
                assert (await fault_of(client, upstream)).kind == "cut"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(head(headers=[("content-length", "1"), ("content-length", "2")]) + b"ab", id="two lengths"),
        pytest.param(
            head(headers={"content-length": "1", "transfer-encoding": "chunked"}) + b"1\r\na\r\n0\r\n\r\n",
            id="length and chunks",
        ),
        pytest.param(head(headers={"transfer-encoding": "gzip"}) + b"x", id="unknown transfer coding"),
        pytest.param(head(headers={"transfer-encoding": "gzip, chunked"}) + b"0\r\n\r\n", id="second transfer coding"),
        pytest.param(head(headers={"content-length": "x"}), id="length is no number"),
        pytest.param(head(headers={"transfer-encoding": "chunked"}) + b"zz\r\n", id="chunk size is no number"),
        pytest.param(b"HTTP/2 200\r\n\r\n", id="another version"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx-a: b\r\n folded\r\ncontent-length: 0\r\n\r\n", id="folded header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx-a: b\x00c\r\ncontent-length: 0\r\n\r\n", id="NUL in a header"),
        pytest.param(b"HTTP/1.1 200 OK\nx-a: b\n\n", id="bare line feeds"),
        pytest.param(head(headers={"content-encoding": "br"}) + b"x", id="unknown content coding"),
    ],
)
async def test_what_is_not_http_is_malformed(sent: bytes) -> None:
    async with Upstream(raw(sent)) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "malformed"
        await upstream.until(lambda: upstream.open == 0)


async def test_garbage_is_malformed() -> None:
    async with Upstream(garbage()) as upstream, transport() as client:
        fault = await fault_of(client, upstream)
        assert fault.kind == "malformed"
        assert "not HTTP/1.1" in fault.message


async def test_a_head_without_end_is_given_up() -> None:
    async with Upstream(endless_headers()) as upstream, transport() as client:
        fault = await fault_of(client, upstream)
        assert fault.kind == "malformed"
        assert "larger than 65536 bytes" in fault.message
        await upstream.until(lambda: upstream.open == 0)


async def test_a_large_head_is_refused_even_in_one_piece_and_a_large_body_behind_it_is_not_counted() -> None:
    too_large = whole(b"x", headers={f"x-{n}": "a" * 1000 for n in range(70)})
    fits = whole(b"x" * 200_000, headers={f"x-{n}": "a" * 1000 for n in range(60)})
    async with Upstream([raw(too_large), raw(fits)]) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "malformed"
        assert len(await call(client, upstream)) == 200_000


async def test_other_peoples_pages_come_through_as_they_are() -> None:
    async with Upstream(html_error(502)) as upstream, transport() as client:
        got = await send(client, upstream)
        assert (got.status, got.header(b"content-type")) == (502, b"text/html; charset=utf-8")
        assert b"Bad Gateway" in await got.read(LIMIT)


@pytest.mark.parametrize("behaviour", [answer(b"x" * 2000), chunked(b"x" * 1500, b"x" * 500)])
async def test_a_body_above_the_limit_is_given_up(behaviour: object) -> None:
    async with Upstream(behaviour) as upstream, transport() as client:  # type: ignore[arg-type]  # a list of functions
        got = await send(client, upstream)
        with pytest.raises(Exception, match="larger than 1999 bytes"):
            await got.read(1999)
        assert len(await call(client, upstream)) == 2000


async def test_a_body_that_nobody_reads_is_not_collected_without_end() -> None:
    size = 64 * 1024 * 1024
    async with Upstream(answer(b"x" * size)) as upstream, transport() as client:
        got = await send(client, upstream)
        # The answer is small again as soon as somebody reads it; until then the socket is full.
        other = await send(client, upstream)
        other.abort()
        assert sum(map(len, got._pieces)) < size / 4
        assert len(await got.read(2 * size)) == size


RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
TEXT = b'{"text": "' + b"lorem ipsum " * 30_000 + b'"}'


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT)),
        ("GZip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush()),
        ("identity", TEXT),
    ],
)
async def test_decodes_what_was_compressed_unasked(coding: str, body: bytes) -> None:
    headers = {"content-encoding": coding}
    pieces = [body[at : at + 7] for at in range(0, 70, 7)] + [body[70:]]
    async with (
        Upstream([answer(body, headers=headers), chunked(*pieces, headers=headers)]) as upstream,
        transport() as client,
    ):
        assert await call(client, upstream) == TEXT
        got = await send(client, upstream)
        taken: list[bytes] = []
        await got.pump(taken.append)
        assert b"".join(taken) == TEXT
        assert upstream.connections == 1


async def test_an_empty_body_may_be_said_to_be_compressed() -> None:
    async with Upstream(answer(b"", headers={"content-encoding": "gzip"})) as upstream, transport() as client:
        assert await call(client, upstream) == b""


async def test_a_compressed_body_that_ends_early_is_cut() -> None:
    body = gzip.compress(TEXT)[:-20]
    async with Upstream(answer(body, headers={"content-encoding": "gzip"})) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "cut"


async def test_a_body_that_is_not_compressed_as_said_is_malformed() -> None:
    async with Upstream(answer(TEXT, headers={"content-encoding": "gzip"})) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "malformed"


async def test_a_compressed_bomb_is_refused_before_it_has_grown() -> None:
    bomb = gzip.compress(b"\0" * (64 * 1024 * 1024))
    headers = {"content-encoding": "gzip"}
    async with Upstream(answer(bomb, headers=headers)) as upstream, transport() as client:
        assert (await fault_of(client, upstream)).kind == "malformed"
        got = await send(client, upstream)
        with pytest.raises(Exception, match=r"larger than 1000 bytes|cannot be decoded"):
            await got.read(1000)
        size = 0

        def count(piece: bytes) -> None:
            nonlocal size
            size += len(piece)

        got = await send(client, upstream)
        with pytest.raises(Exception, match="cannot be decoded"):
            await got.pump(count)
        assert size < 32 * 1024 * 1024
