"""What the control process answers, relayed by a worker."""

from pathlib import Path

import pytest
from tests.fakes.gateway import gateway
from tests.fakes.upstream import Behaviour, Upstream, answer, early, raw, whole


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
