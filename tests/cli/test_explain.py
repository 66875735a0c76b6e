"""`wayport explain ID` against a running worker."""

import asyncio

import pytest
from tests.fakes.gateway import gateway

from wayport.cli.explain import explain

ASK = {"model": "wayport/echo", "messages": [{"role": "user", "content": "Hello"}]}


async def test_a_call_is_told_in_sentences_or_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    async with gateway() as wayport:
        call_id = (await wayport.ask(ASK)).headers["x-wayport-call-id"]
        for as_json in (False, True):
            code = await asyncio.to_thread(explain, call_id, url=wayport.url, key=wayport.key or "", as_json=as_json)
            told = capsys.readouterr().out
            assert code == 0
            assert call_id in told
            assert ("Attempt 1 (first)" in told) or as_json


async def test_an_unknown_call_and_an_absent_gateway_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    async with gateway() as wayport:
        assert await asyncio.to_thread(explain, "never-was", url=wayport.url, key=wayport.key or "", as_json=False) == 1
        assert "404" in capsys.readouterr().err
    assert await asyncio.to_thread(explain, "x", url="http://127.0.0.1:9", key="", as_json=False) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err
