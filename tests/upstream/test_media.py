"""Files by URL become data, and a client's URL never becomes its hand inside our network."""

import asyncio
from base64 import b64encode

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.upstream import Behaviour, Received, Upstream, answer, by, chunked, stall
from tests.upstream.calls import transport

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import Audio, Document, Image, Media, Message, Part, Request, Text, ToolResult
from wayport.upstream.media import Fetched, MediaFetcher, MediaRules, Refused, inline, public
from wayport.upstream.resolve import Resolver
from wayport.upstream.sniff import type_of
from wayport.upstream.transport import Transport

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 50
JPEG = b"\xff\xd8\xff\xe0" + b"x" * 50
PDF = b"%PDF-1.7\n" + b"x" * 50
WAV = b"RIFF\x00\x00\x00\x00WAVE" + b"x" * 50

DATA = Profile(images="data", documents="data")


def png(**options: object) -> Behaviour:
    return answer(PNG, content_type="image/png", **options)  # type: ignore[arg-type]  # options of `answer`


def request(*parts: Part, dialect: str = "openai_chat", system: bool = False) -> Request:
    before = [Message(role="system", parts=[Text(text="be kind")])] if system else []
    return Request(dialect=dialect, model="m", messages=[*before, Message(role="user", parts=list(parts))])  # type: ignore[arg-type]  # one of the names


def image(url: str) -> Image:
    return Image(source=Media(kind="url", value=url))


def fetcher(client: Transport, **rules: object) -> MediaFetcher:
    """Takes loopback for public, as the scripted upstreams live there, and any port."""
    return MediaFetcher(client, MediaRules(**{"hosts": ("127.0.0.1", "localhost"), **rules}))  # type: ignore[arg-type]  # rules by name


async def refusal(client: Transport, url: str, **rules: object) -> str:
    with pytest.raises(Refused) as caught:
        await fetcher(client, **rules)(url)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------------------ requests
class Given:
    """A fetcher that has its files already, and counts."""

    def __init__(self, **files: Fetched | str) -> None:
        self.files = {f"https://media.test/{name}": file for name, file in files.items()}
        self.asked: list[str] = []

    async def __call__(self, url: str) -> Fetched:
        self.asked.append(url)
        await asyncio.sleep(0)
        file = self.files[url]
        if isinstance(file, str):
            raise Refused(file)
        return file


async def test_media_by_url_become_data_and_everything_else_stays() -> None:
    given = Given(a=Fetched("image/png", PNG), b=Fetched("application/pdf", PDF), c=Fetched("audio/wav", WAV))
    before = request(
        Text(text="look"),
        image("https://media.test/a"),
        Document(source=Media(kind="url", value="https://media.test/b", filename="b.pdf"), title="B"),
        Audio(source=Media(kind="url", value="https://media.test/c")),
        Image(source=Media(kind="base64", value="AA==", media_type="image/png")),
        Document(source=Media(kind="file", value="file-1")),
    )
    after = await inline(before, DATA, given, max_bytes=1000)
    parts = after.messages[0].parts
    assert parts[1] == Image(source=Media(kind="base64", value=b64encode(PNG).decode(), media_type="image/png"))
    document = parts[2]
    assert isinstance(document, Document)
    assert (document.source.kind, document.source.filename, document.title) == ("base64", "b.pdf", "B")
    assert isinstance(parts[3], Audio)
    assert parts[3].source.media_type == "audio/wav"
    for place in (0, 4, 5):
        assert parts[place] is before.messages[0].parts[place]
    # Another attempt's target may be able to fetch.
    assert before.messages[0].parts[1] == image("https://media.test/a")


async def test_what_the_target_can_fetch_is_left_to_it() -> None:
    given = Given()
    before = request(image("https://media.test/a"), Document(source=Media(kind="url", value="https://media.test/b")))
    assert await inline(before, Profile(), given, max_bytes=1000) is before
    assert await inline(before, Profile(images="none", documents="none"), given, max_bytes=1000) is before
    assert not given.asked


async def test_media_in_tool_results_are_fetched_too() -> None:
    given = Given(a=Fetched("image/png", PNG))
    before = request(ToolResult(call_id="1", parts=[Text(text="t"), image("https://media.test/a")]))
    after = await inline(before, DATA, given, max_bytes=1000)
    result = after.messages[0].parts[0]
    assert isinstance(result, ToolResult)
    assert isinstance(result.parts[1], Image)
    assert result.parts[1].source.kind == "base64"


async def test_the_same_url_is_fetched_once_per_request() -> None:
    given = Given(a=Fetched("image/png", PNG))
    after = await inline(request(*[image("https://media.test/a")] * 5), DATA, given, max_bytes=100)
    assert given.asked == ["https://media.test/a"]
    assert all(isinstance(part, Image) and part.source.kind == "base64" for part in after.messages[0].parts)


@pytest.mark.parametrize(
    ("dialect", "system", "field"),
    [
        ("openai_chat", False, "messages[0].content[1]"),
        ("openai_chat", True, "messages[1].content[1]"),
        ("anthropic_messages", True, "messages[0].content[1]"),
        ("gemini_content", False, "contents[0].content[1]"),
        ("openai_responses", True, "input[0].content[1]"),
    ],
)
async def test_a_refusal_names_the_field_and_the_host_and_no_more_of_the_url(
    dialect: str, system: bool, field: str
) -> None:
    given = Given(**{"secret?token=x": "was answered with status 404"})
    asked = request(Text(text="x"), image("https://media.test/secret?token=x"), dialect=dialect, system=system)
    with pytest.raises(BadRequest) as caught:
        await inline(asked, DATA, given, max_bytes=1000)
    assert caught.value.message == f"`{field}`: the file at media.test was answered with status 404."
    assert (caught.value.param, caught.value.code) == (field, "media_not_usable")


async def test_a_document_cannot_stand_in_an_images_place() -> None:
    given = Given(a=Fetched("application/pdf", PDF))
    with pytest.raises(BadRequest, match="application/pdf, which cannot stand in this place"):
        await inline(request(image("https://media.test/a")), DATA, given, max_bytes=1000)


async def test_all_files_of_a_request_together_are_bounded() -> None:
    given = Given(a=Fetched("image/png", PNG), b=Fetched("image/png", PNG))
    asked = request(image("https://media.test/a"), image("https://media.test/b"))
    with pytest.raises(BadRequest, match="larger than 100 bytes together"):
        await inline(asked, DATA, given, max_bytes=100)


async def test_a_failing_file_ends_the_fetching_of_the_others() -> None:
    started = asyncio.Event()
    cancelled = asyncio.Event()

    async def fetch(url: str) -> Fetched:
        if url.endswith("slow"):
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
        await started.wait()
        raise Refused("is gone")

    asked = request(image("https://media.test/bad"), image("https://media.test/slow"))
    with pytest.raises(BadRequest):
        await inline(asked, DATA, fetch, max_bytes=1000)
    assert cancelled.is_set()


# ------------------------------------------------------------------------------------------------------------ fetching
@pytest.mark.both_loops
async def test_fetches_a_file_and_says_nothing_about_us() -> None:
    async with Upstream(png()) as upstream, transport() as client:
        got = await fetcher(client)(f"{upstream.url}/a.png?size=1")
        assert got == Fetched("image/png", PNG)
        asked = upstream.requests[0]
        assert (asked.method, asked.path, asked.body) == ("GET", "/a.png?size=1", b"")
        assert set(asked.headers) == {"host", "user-agent", "accept", "accept-encoding"}


@pytest.mark.both_loops
async def test_a_request_is_completed_through_the_real_thing() -> None:
    async with Upstream(png()) as upstream, transport() as client:
        after = await fetcher(client).inline(request(image(f"{upstream.url}/a")), DATA)
        part = after.messages[0].parts[0]
        assert isinstance(part, Image)
        assert part.source.value == b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("said", "data", "found"),
    [
        ("image/png", PNG, "image/png"),
        ("image/png; charset=binary", JPEG, "image/jpeg"),
        ("image/jpg", JPEG, "image/jpeg"),
        ("IMAGE/PNG", PNG, "image/png"),
        ("application/octet-stream", PDF, "application/pdf"),
        (None, PNG, "image/png"),
        ("audio/x-wav", WAV, "audio/wav"),
    ],
)
async def test_the_type_is_what_header_and_first_bytes_allow(said: str | None, data: bytes, found: str) -> None:
    async with Upstream(answer(data, content_type=said)) as upstream, transport() as client:
        assert (await fetcher(client)(upstream.url)).media_type == found


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (answer(PNG, content_type="text/html"), "is of type 'text/html'; taken are image/png, "),
        (answer(b"<svg/>", content_type="image/svg+xml"), "is of type 'image/svg+xml'"),
        (answer(b"<html>", content_type="image/png"), "is something else by its first bytes"),
        (answer(b"BM1234", content_type="image/png"), "is image/bmp by its first bytes"),
        (answer(b"", content_type="image/png"), "is something else by its first bytes"),
        (png(status=404), "was answered with status 404"),
        (png(status=204), "was answered with status 204"),
        (png(length=1_000_000), "is larger than 1000 bytes"),
        (chunked(PNG, b"x" * 1000, content_type="image/png"), "is larger than 1000 bytes"),
        (answer(PNG, content_type="image/png", length=100, then="close"), "did not give a whole answer"),
        (png(status=302), "redirects to nowhere"),
        (png(status=302, headers={"location": "/again"}), "redirects more than 3 times"),
        (png(status=302, headers={"location": "file:///etc/passwd"}), "has no http or https URL"),
        (png(status=302, headers={"location": "http://[bad/"}), "redirects to no usable URL"),
        (png(status=302, headers={"location": "http://a b/"}), "has no usable URL"),
        (png(status=302, headers={"location": "http://10.0.0.1/"}), "leads to 10.0.0.1, which has no public address"),
        (png(status=302, headers={"location": "http://169.254.169.254/"}), "which has no public address"),
        (png(status=302, headers={"location": "http://8.8.8.8:22/"}), "leads to port 22; only 80 and 443 are asked"),
    ],
)
async def test_what_is_not_taken(behaviour: Behaviour, why: str) -> None:
    async with Upstream(behaviour) as upstream, transport() as client:
        assert why in await refusal(client, upstream.url, max_bytes=1000)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://media.test/a",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "data:image/png;base64,AA==",
        "//media.test/a",
        "http://",
        "http://user:pw@media.test/",
        "",
    ],
)
async def test_only_plain_http_urls_are_fetched(url: str) -> None:
    async with transport() as client:
        assert "URL" in await refusal(client, url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]/", "http://localhost/", "http://0.0.0.0/", "http://0/"]
)
async def test_this_machine_is_not_asked(url: str) -> None:
    async with transport() as client:
        assert "which has no public address" in await refusal(client, url, hosts=())


class Names:
    def __init__(self, *rounds: tuple[str, ...]) -> None:
        self.rounds = list(rounds)

    async def __call__(self, host: str, port: int, **_: int) -> list[tuple[object, ...]]:
        addresses = self.rounds.pop(0) if len(self.rounds) > 1 else self.rounds[0]
        return [(2, 1, 6, "", (address, port)) for address in addresses]


async def test_exactly_the_address_that_was_checked_is_connected_to() -> None:
    """A name that says a public address first and a private one at the second look gains nothing by it."""
    checked: list[str] = []

    def is_public(address: str) -> bool:
        checked.append(address)
        return address == "127.0.0.1"

    async with Upstream(png()) as upstream, transport() as client:
        clock = ManualClock()
        client.resolver = Resolver(clock, getaddrinfo=Names(("192.168.0.1", "127.0.0.1"), ("192.168.0.1",)))
        # What the transport would look up itself leads elsewhere.
        client._dialer._resolver = Resolver(clock, getaddrinfo=Names(("127.0.0.3",)))
        fetch = MediaFetcher(client, MediaRules(), is_public=is_public, ports=frozenset({upstream.port}))
        assert (await fetch(f"http://rebind.test:{upstream.port}/a")).data == PNG
        assert upstream.requests[0].headers["host"] == f"rebind.test:{upstream.port}"
        assert checked == ["192.168.0.1", "127.0.0.1"]


async def test_redirects_are_followed_and_checked_each() -> None:
    def choose(asked: Received) -> Behaviour:
        step = int(asked.path[1:])
        return png() if step == 3 else answer(status=302, headers={"location": f"/{step + 1}"})

    async with Upstream(by(choose)) as upstream, transport() as client:
        assert (await fetcher(client)(f"{upstream.url}/0")).data == PNG
        assert [r.path for r in upstream.requests] == ["/0", "/1", "/2", "/3"]


async def test_it_can_be_switched_off() -> None:
    async with transport() as client:
        assert "switched off here: send its data in place of its URL" in await refusal(
            client, "https://media.test/a", fetch=False
        )


async def test_only_trusted_hosts_may_be_asked_where_the_operator_says_so() -> None:
    async with Upstream(png()) as upstream, transport() as client:
        assert (await fetcher(client, hosts_only=True)(upstream.url)).data == PNG
        why = await refusal(client, "https://8.8.8.8/", hosts_only=True)
        assert "not among the hosts that may be asked" in why


async def test_a_trusted_name_stands_for_all_below_it() -> None:
    async with Upstream(png()) as upstream, transport() as client:
        client.resolver = Resolver(ManualClock(), getaddrinfo=Names(("127.0.0.1",)))
        for host in ("files.test", "a.files.test"):
            fetch = fetcher(client, hosts=("*.files.test",))
            assert (await fetch(f"http://{host}:{upstream.port}/")).data == PNG
        assert "only 80 and 443" in await refusal(
            client, f"http://notfiles.test:{upstream.port}/", hosts=("files.test",)
        )


async def test_a_slow_file_is_given_up_and_its_connection_closed() -> None:
    async with Upstream(stall()) as upstream, transport() as client:
        assert await refusal(client, upstream.url, timeout_s=0.05) == "did not come within 0.05 s"
        await upstream.until(lambda: upstream.open == 0)


async def test_a_host_without_address_or_server_is_said_without_details() -> None:
    async with transport() as client:
        assert await refusal(client, "http://127.0.0.1:9/") == "cannot be fetched: no connection to its host"


async def test_only_a_few_are_fetched_at_once() -> None:
    gate = asyncio.Event()
    running = most = 0

    async def slow(exchange: object) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        await png()(exchange)  # type: ignore[arg-type]  # an exchange

    async with Upstream(slow) as upstream, transport() as client:
        fetch = fetcher(client)
        fetches = [asyncio.ensure_future(fetch(f"{upstream.url}/{n}")) for n in range(10)]
        await upstream.until(lambda: len(upstream.requests) == 4)
        gate.set()
        await asyncio.gather(*fetches)
        assert most == 4


# ----------------------------------------------------------------------------------------------------------- addresses
@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "198.18.0.1",
        "192.0.2.1",
        "0.0.0.0",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:168.63.129.16",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "3fff::1",
        "5f00::1",
        "64:ff9b:1::808:808",
        "not an address",
        "",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a..", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (PDF, "application/pdf"),
        (b"\n\n" + PDF, "application/pdf"),
        (WAV, "audio/wav"),
        (b"ID3\x03", "audio/mpeg"),
        (b"\xff\xfb\x90\x64\x00", "audio/mpeg"),
        (b"\xff\xff\xff\xff\xff", None),
        (b"OggS\x00", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"\x00\x00\x00\x20ftypM4A \x00", "audio/mp4"),
        (b"\x00\x00\x00\x20ftypisom", "video/mp4"),
        (b"\x00\x00\x00\x20ftypavif", "image/avif"),
        (b"RIFF\x00\x00\x00\x00XXXX", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_a_files_type_by_its_first_bytes(data: bytes, media_type: str | None) -> None:
    assert type_of(data) == media_type
