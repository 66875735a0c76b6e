"""Local model servers are found by a short look, and nothing that is not one is taken for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import structs

from wayport.config.load import Options, load
from wayport.config.settings import Settings
from wayport.control.discovery import describe, probe, wanted
from wayport.control.snapshots import LocalServer
from wayport.providers.provider import Provider
from wayport.providers.registry import Registry, builtin

LISTING = b'{"object": "list", "data": [{"id": "qwen3:8b", "object": "model"}, {"id": "llama3.2"}]}'


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that gives one answer to everybody; None: it takes the request and stays silent."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory's own `.env` is not the tests' business."""
    monkeypatch.chdir(tmp_path)


def ok(body: bytes) -> bytes:
    return b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + body


def at(*urls: str, name: str = "lab") -> Registry:
    return Registry(
        Provider(
            name=f"{name}{number}",
            probe_url=url,
            keyless=True,
            paths={"models": "/v1/models"},
            credential_env=("LAB_KEY",),
        )
        for number, url in enumerate(urls)
    )


def settings(environ: dict[str, str] | None = None) -> Settings:
    return load(Options(), environ or {})


async def test_a_server_that_lists_models_is_found() -> None:
    async with server(ok(LISTING)) as (url, asked):
        found = await probe(settings(), registry=at(url))
    assert found == (LocalServer(provider="lab0", base_url=url, models=("llama3.2", "qwen3:8b")),)
    assert asked[0].startswith(b"GET /v1/models HTTP/1.0\r\n")
    assert describe(found) == [f"lab0 at {url}: 2 models"]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 404 Not Found\r\n\r\nno",
        ok(b"<html>hello</html>"),
        ok(b'{"data": "none"}'),
        ok(b'{"models": []}'),
        b"garbage",
        b"",
        b"HTTP/1.0 200 OK\r\n",
    ],
)
async def test_whoever_answers_otherwise_is_not_one(answer: bytes) -> None:
    async with server(answer) as (url, _):
        assert await probe(settings(), registry=at(url)) == ()


async def test_a_silent_server_holds_nobody_up_and_hides_no_other() -> None:
    async with server(None) as (silent, _), server(ok(LISTING)) as (url, _):
        found = await probe(settings(), registry=at(silent, url), longest_s=0.2)
    assert [one.provider for one in found] == ["lab1"]


async def test_nobody_there_is_nothing_found() -> None:
    async with server(ok(LISTING)) as (url, _):
        pass
    assert await probe(settings(), registry=at(url)) == ()
    assert await probe(settings(), registry=Registry(())) == ()


async def test_a_variable_moves_the_look_and_the_credential_is_presented() -> None:
    async with server(ok(LISTING)) as (url, asked):
        environ = {"LAB0_API_BASE": url + "/v1", "LAB_KEY": "k"}
        found = await probe(settings(environ), registry=at("http://127.0.0.1:9"))
    assert found[0].base_url == url
    assert asked[0].startswith(b"GET /v1/models")
    assert b"authorization: Bearer k\r\n" in asked[0]


async def test_we_never_ask_ourselves() -> None:
    async with server(ok(LISTING)) as (url, asked):
        own = settings()
        own = structs.replace(own, server=structs.replace(own.server, port=int(url.rpartition(":")[2])))
        assert await probe(own, registry=at(url)) == ()
    assert asked == []


def test_it_is_done_only_without_a_file_and_can_be_switched_off() -> None:
    assert wanted(settings())
    assert not wanted(settings({"WAYPORT_PROBE_LOCAL_SERVERS": "false"}))
    assert not wanted(structs.replace(settings(), spelling="litellm"))


def test_the_usual_local_servers_are_looked_for() -> None:
    looked_for = [provider.probe_url for provider in builtin().all() if provider.probe_url]
    assert len(looked_for) >= 3
    assert all(url.startswith("http://127.0.0.1:") for url in looked_for)
