"""Keys that are replaced by themselves, on both databases: when, by whom, and who is told the new one."""

import asyncio
from pathlib import Path

import pytest
from tests.control.test_admin_people import get, post
from tests.fakes.admin import Admin, admin_app, made_key

from wayport.access.audit import Audit
from wayport.access.keys import KeyFilter
from wayport.access.models_store import PURPOSE, rotate
from wayport.access.rotation import Rotations
from wayport.control.rotation import RotationJob
from wayport.core.secret import Secret
from wayport.storage.address import Address, read_address
from wayport.storage.cipher import Cipher

DAY_S = 86_400


def _job(admin: Admin, told: list[str]) -> RotationJob:
    return RotationJob(
        admin.database,
        admin.rotations,
        keys=admin.keys,
        audit=Audit(admin.database, clock=admin.clock),
        invalidate=admin.invalidated.extend,
        tell=told.append,
    )


async def _status(admin: Admin, key: str) -> int:
    return (await admin.as_key(key, "GET", "/key/info")).status_code


async def test_a_key_is_replaced_when_its_time_has_come_and_its_owner_fetches_the_new_one(
    address: Address, tmp_path: Path
) -> None:
    async with admin_app(address, tmp_path) as admin:
        told: list[str] = []
        job = _job(admin, told)
        made = await made_key(
            admin, key_alias="ci", user_id="ann", max_budget=3, auto_rotate=True, rotation_interval="30d",
            grace_period="2d",
        )  # fmt: skip
        plain = await made_key(admin, key_alias="plain")
        assert (made["auto_rotate"], made["rotation_interval"], made["rotation_count"]) == (True, "30d", 0)
        assert made["key_rotation_at"] is not None
        assert await job.step() == 0
        assert (await admin.as_key(made["key"], "GET", "/key/rotated")).status_code == 404
        admin.clock.advance(30 * DAY_S)
        assert await job.step() == 1
        assert await job.step() == 0
        assert told == ["ci"]
        assert made["token"] in admin.invalidated
        fetched = (await admin.as_key(made["key"], "GET", "/key/rotated")).json()
        assert fetched["key"] != made["key"]
        info = (await admin.as_key(fetched["key"], "GET", "/key/info")).json()["info"]
        assert (info["key_alias"], info["max_budget"], info["rotation_count"]) == ("ci", 3.0, 1)
        assert (await admin.as_key(plain["key"], "GET", "/key/rotated")).status_code == 404
        assert (await get(admin, "/audit", action="rotated"))["audit_logs"][0]["changed_by"] == "auto_rotate"
        # The old one is good for as long as it was said, and then it is gone.
        admin.clock.advance(2 * DAY_S - 1)
        assert await _status(admin, made["key"]) == 200
        admin.clock.advance(2)
        assert await job.step() == 0
        assert await _status(admin, made["key"]) == 401
        assert await _status(admin, fetched["key"]) == 200
        assert (await admin.as_key(fetched["key"], "GET", "/key/rotated")).status_code == 404


async def test_who_slept_through_two_rotations_is_told_the_newest_key(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        job = _job(admin, [])
        made = await made_key(admin, auto_rotate=True, rotation_interval="1d", grace_period="7d")
        for _ in range(2):
            admin.clock.advance(DAY_S)
            assert await job.step() == 1
        fetched = (await admin.as_key(made["key"], "GET", "/key/rotated")).json()["key"]
        info = (await admin.as_key(fetched, "GET", "/key/info")).json()["info"]
        assert (info["rotation_count"], info["key_name"]) == (2, f"sk-...{fetched[-4:]}")


@pytest.mark.parametrize(("grace", "status"), [(None, 401), ("1h", 200)])
async def test_a_key_replaced_by_hand_without_grace_takes_all_older_ones_along(
    address: Address, tmp_path: Path, grace: str | None, status: int
) -> None:
    async with admin_app(address, tmp_path) as admin:
        made = await made_key(admin, auto_rotate=True, rotation_interval="1d", grace_period="7d")
        admin.clock.advance(DAY_S)
        assert await _job(admin, []).step() == 1
        fetched = (await admin.as_key(made["key"], "GET", "/key/rotated")).json()["key"]
        new = await post(admin, "/key/regenerate", {"key": fetched, "grace_period": grace})
        for old in (made["key"], fetched):
            assert await _status(admin, old) == status
        assert await _status(admin, new["key"]) == 200
        assert made["token"] in admin.invalidated


async def test_of_two_nodes_one_replaces_a_key(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        told: list[str] = []
        await made_key(admin, auto_rotate=True, rotation_interval="1d")
        admin.clock.advance(DAY_S)
        counts = await asyncio.gather(*(_job(admin, told).step() for _ in range(3)))
        assert sorted(counts) == [0, 0, 1]
        assert len(told) == 1


async def test_a_rotation_is_changed_put_off_and_ended(address: Address, tmp_path: Path) -> None:
    async with admin_app(address, tmp_path) as admin:
        job = _job(admin, [])
        key = (await made_key(admin))["key"]
        changed = await post(admin, "/key/update", {"key": key, "auto_rotate": True, "rotation_interval": "2d"})
        due = changed["key_rotation_at"]
        # What does not concern the interval does not put it off.
        for change in ({"grace_period": "1h"}, {"auto_rotate": True}, {"key_alias": "x"}):
            admin.clock.advance(60)
            assert (await post(admin, "/key/update", {"key": key, **change}))["key_rotation_at"] == due
        admin.clock.advance(DAY_S)
        # A new key by hand begins a new interval.
        again = await post(admin, "/key/regenerate", {"key": key})
        assert (again["rotation_count"], again["key_rotation_at"] > due) == (1, True)
        admin.clock.advance(1.5 * DAY_S)
        assert await job.step() == 0
        ended = await post(admin, "/key/update", {"key": again["key"], "auto_rotate": False})
        assert ended["key_rotation_at"] is None
        admin.clock.advance(9 * DAY_S)
        assert await job.step() == 0


@pytest.mark.parametrize(
    ("wish", "param"),
    [
        ({"auto_rotate": True}, "rotation_interval"),
        ({"auto_rotate": True, "rotation_interval": "0d"}, "rotation_interval"),
        ({"auto_rotate": True, "rotation_interval": "1d", "grace_period": "0s"}, "grace_period"),
    ],
)
async def test_a_wish_that_would_lock_somebody_out_is_refused(
    tmp_path: Path, wish: dict[str, object], param: str
) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        assert (await post(admin, "/key/generate", wish, status=400))["error"]["param"] == param
        await post(admin, "/key/generate", {"rotation_interval": "soon"}, status=422)


async def test_a_new_salt_key_does_not_lose_what_was_not_fetched(tmp_path: Path) -> None:
    async with admin_app(read_address(None, tmp_path), tmp_path) as admin:
        made = await made_key(admin, auto_rotate=True, rotation_interval="1d")
        admin.clock.advance(DAY_S)
        assert await _job(admin, []).step() == 1
        old, new = (Cipher(Secret(salt), purpose=PURPOSE) for salt in ("salt", "pepper"))
        assert (await rotate(admin.database, old=old, new=new)).keys == 1
        # Under the salt key that is no longer configured it cannot be told.
        assert (await admin.as_key(made["key"], "GET", "/key/rotated")).status_code == 404
        (key,) = (await admin.keys.page(KeyFilter(), offset=0, limit=None)).keys
        fetched = await Rotations(admin.database, admin.keys, new, clock=admin.clock).new_key_of(key.key_hash)
        assert fetched is not None
        assert await _status(admin, fetched[0].reveal()) == 200
