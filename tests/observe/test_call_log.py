"""One line for each call; what it cost is a figure or null, and a model without a price is told once."""

import asyncio
import errno
import json
import threading
from typing import Any

import pytest
from tests.fakes.records import call_record

from wayport.core.tasks import Tasks
from wayport.observe.call_log import CallLog


async def written(log: CallLog, out: list[bytes]) -> list[dict[str, Any]]:
    await log.flush()
    lines = [json.loads(line) for line in b"".join(out).splitlines()]
    out.clear()
    return lines


async def test_a_cost_is_a_figure_or_null() -> None:
    out: list[bytes] = []
    log = CallLog(write=out.append)
    log.add(call_record(cost_nano_usd=2_500_000))
    log.add(call_record(cost_nano_usd=0))
    log.add(call_record(cost_nano_usd=None))
    assert [line["cost_usd"] for line in await written(log, out) if line["event"] == "call"] == ["0.0025", "0", None]


async def test_a_model_without_a_price_is_told_once() -> None:
    out: list[bytes] = []
    log = CallLog(write=out.append)
    for _ in range(3):
        log.add(call_record(cost_nano_usd=None))
    (warning,) = [line for line in await written(log, out) if line["event"] != "call"]
    assert (warning["event"], warning["level"]) == ("unpriced_model", "warning")
    assert (warning["provider"], warning["model"]) == ("openai", "gpt-4o-2024-08-06")
    log.add(call_record(cost_nano_usd=None))
    assert [line["event"] for line in await written(log, out)] == ["call"]


async def test_a_call_that_used_nothing_lacks_no_price() -> None:
    out: list[bytes] = []
    log = CallLog(write=out.append)
    record = call_record(cost_nano_usd=None)
    record.usage = None
    log.add(record)
    assert [line["event"] for line in await written(log, out)] == ["call"]


async def test_people_read_that_there_is_no_price() -> None:
    out: list[bytes] = []
    log = CallLog(style="console", write=out.append)
    log.add(call_record(cost_nano_usd=None))
    await log.flush()
    assert b" unpriced " in b"".join(out)


async def test_a_reader_of_the_output_that_is_slow_holds_nobody_up_and_is_told_what_it_missed() -> None:
    out: list[bytes] = []
    begun, released = threading.Event(), threading.Event()

    def write(lines: bytes) -> None:
        begun.set()
        released.wait(20)
        out.append(lines)

    log = CallLog(write=write)
    async with Tasks() as tasks:
        running = tasks.start(log.run(), name="log")
        log.add(call_record())
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(2_003):
            log.add(call_record())
        assert log.dropped == 3
        released.set()
        while len(out) < 2:
            await asyncio.sleep(0.001)
        running.cancel()
    lines = [json.loads(line) for line in b"".join(out).splitlines()]
    assert [line["event"] for line in lines[:2_001]] == ["call"] * 2_001
    assert (lines[-1]["event"], lines[-1]["count"]) == ("log_lines_dropped", 3)


async def test_who_catches_up_waits_for_lines_to_be_written_and_loses_none() -> None:
    out: list[bytes] = []
    log = CallLog(write=out.append)
    async with Tasks() as tasks:
        running = tasks.start(log.run(), name="log")
        for number in range(10_000):
            log.add(call_record())
            if number % 250 == 0:
                await log.room()
        running.cancel()
    await log.flush()
    assert (log.dropped, b"".join(out).count(b"\n")) == (0, 10_000)


async def test_an_output_that_nobody_takes_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayport.observe.call_log._PATIENCE_S", 0.01)
    released = threading.Event()
    log = CallLog(write=lambda _: released.wait(20))
    async with Tasks() as tasks:
        running = tasks.start(log.run(), name="log")
        for _ in range(10):
            for _ in range(500):
                log.add(call_record())
            await log.room()
        assert log.dropped > 0
        released.set()
        running.cancel()


async def test_an_output_that_fails_once_takes_lines_again() -> None:
    out: list[bytes] = []
    full = [True]

    def write(lines: bytes) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        out.append(lines)

    log = CallLog(write=write)
    log.add(call_record())
    await log.flush()
    assert log.dropped == 1
    full.clear()
    log.add(call_record())
    lines = await written(log, out)
    assert [line["event"] for line in lines] == ["call", "log_lines_dropped"]
    assert lines[1]["count"] == 1
