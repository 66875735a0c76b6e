"""What the control process answers, relayed by a worker."""

import asyncio
from pathlib import Path

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Behaviour, Upstream, answer, close_without_answer, early, raw, whole

from wayport.core.tasks import Tasks


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)], ids=str)
async def test_no_byte_follows_a_head_that_has_no_body(tmp_path: Path, method: str, status: int) -> None:
    script: list[Behaviour | early] = [raw(whole(b"", status)), answer(b"the next one")]
    async with Upstream(script, unix_path=str(tmp_path / "s")) as control, gateway() as wayport:
        wayport.worker.admin_socket = str(tmp_path / "s")
        assert (await wayport.http.request(method, "/one")).status_code == status
        # The same connection: what followed the head would be read as the beginning of this answer.
        following = await wayport.http.get("/two")
        assert (following.status_code, following.content) == (200, b"the next one")
        assert len(wayport.worker.load.connections) == 1
        assert [request.path for request in control.requests] == ["/one", "/two"]


async def test_who_comes_before_the_control_process_is_answered_when_it_has_come(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    async with gateway() as wayport, Tasks() as tasks:
        wayport.worker.admin_socket = path
        asked = tasks.start(wayport.http.post("/key/generate", content=b"{}"), name="asking")
        while wayport.worker.control_away_s is None:
            await asyncio.sleep(0)
        async with Upstream([answer(b"here")], unix_path=path) as control:
            answered = await asked
            assert (answered.status_code, answered.content) == (200, b"here")
            assert [request.body for request in control.requests] == [b"{}"]
            assert wayport.worker.control_away_s is None


async def test_for_one_that_stays_away_nobody_waits(tmp_path: Path) -> None:
    async with gateway() as wayport:
        wayport.worker.admin_socket = str(tmp_path / "s")
        wayport.worker.control_away_s = wayport.worker.clock.steady_s() - 11
        answered = await wayport.http.get("/key/list")
        assert (answered.status_code, answered.json()["error"]["code"]) == (503, "control_unavailable")


async def test_what_may_have_been_done_is_not_asked_for_twice(tmp_path: Path) -> None:
    async with (
        Upstream([close_without_answer(), answer(b"twice")], unix_path=str(tmp_path / "s")) as control,
        gateway() as wayport,
    ):
        wayport.worker.admin_socket = str(tmp_path / "s")
        assert (await wayport.http.post("/key/generate", content=b"{}")).status_code == 503
        assert len(control.requests) == 1
