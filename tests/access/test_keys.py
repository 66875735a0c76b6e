from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from tests.fakes.databases import opened
from tests.fakes.manual_clock import ManualClock

from wayport.access.duration import after
from wayport.access.keys import KeyFields, KeyFilter, Keys, hash_of, new_key
from wayport.core.errors import BadRequest, Unavailable
from wayport.core.secret import Secret, key_hash
from wayport.storage.address import Address
from wayport.storage.database import Database
from wayport.storage.tables import keys, spend

WHOLE = KeyFields(
    key_alias="ci",
    user_id="alice",
    team_id="blue",
    organization_id="org",
    role="internal_user",
    models=("gpt-4o", "openai/*"),
    routes=("llm_api_routes",),
    tags=("prod",),
    metadata={"purpose": {"deep": [1, "zwei"]}},
    limits={"max_budget": 5.0, "rpm_limit": 10},
    settings={"guardrails": ["pii"]},
    expires_s=1_900_000_000.5,
)


def test_keys_are_random_and_long() -> None:
    texts = {new_key().reveal() for _ in range(100)}
    assert len(texts) == 100
    assert all(text.startswith("sk-") and len(text) >= 35 for text in texts)


async def test_a_key_is_stored_as_its_hash_and_nothing_of_it_is_lost(address: Address) -> None:
    async with opened(address) as database:
        store = Keys(database, clock=ManualClock())
        secret, made = await store.create(WHOLE, by="master")
        assert await store.find(key_hash(secret.reveal())) == made
        assert (made.metadata, made.limits, made.settings) == (WHOLE.metadata, WHOLE.limits, WHOLE.settings)
        assert (made.created_s, made.created_by, made.key_name) == (
            1_800_000_000.0,
            "master",
            f"sk-...{secret.reveal()[-4:]}",
        )
        async with database.read() as connection:
            row = (await connection.execute(sa.select(keys))).one()
        assert secret.reveal() not in str(tuple(row))


async def test_a_chosen_key_is_taken_as_it_is_and_only_once(address: Address) -> None:
    async with opened(address) as database:
        store = Keys(database, clock=ManualClock())
        secret, _ = await store.create(KeyFields(), key=Secret("sk-chosen-by-myself"))
        assert secret.reveal() == "sk-chosen-by-myself"
        with pytest.raises(BadRequest) as error:
            await store.create(KeyFields(), key=Secret("sk-chosen-by-myself"))
        assert error.value.param == "key"


@pytest.mark.parametrize(
    "key", ["sk-short", "no-prefix-but-long-enough", "sk-with\nline-break-in-it", "sk-ümlaute-gehen-nicht"]
)
async def test_a_chosen_key_that_is_no_key_is_refused(address: Address, key: str) -> None:
    async with opened(address) as database:
        with pytest.raises(BadRequest, match="sk-"):
            await Keys(database, clock=ManualClock()).create(KeyFields(), key=Secret(key))


async def test_an_alias_is_given_once(address: Address) -> None:
    async with opened(address) as database:
        store = Keys(database, clock=ManualClock())
        await store.create(KeyFields(key_alias="ci"))
        with pytest.raises(BadRequest, match="'ci' exists") as error:
            await store.create(KeyFields(key_alias="ci"))
        assert error.value.param == "key_alias"
        await store.create(KeyFields())
        await store.create(KeyFields())


async def test_the_spend_of_a_key_comes_with_it(address: Address) -> None:
    async with opened(address) as database:
        store = Keys(database, clock=ManualClock())
        _, made = await store.create(KeyFields())
        assert made.spend_nano_usd == 0
        async with database.write() as connection:
            row = {"holder": made.key_hash, "spend_nano_usd": 12, "calls": 1, "updated_s": 1.0}
            await connection.execute(spend.insert(), [{"scope": "key", **row}, {"scope": "other", **row}])
        found = await store.find(made.key_hash)
        assert found is not None
        assert found.spend_nano_usd == 12


async def test_pages_are_newest_first_and_filtered(address: Address) -> None:
    clock = ManualClock()
    async with opened(address) as database:
        store = Keys(database, clock=clock)
        for number in range(5):
            await store.create(KeyFields(key_alias=f"k{number}", user_id="alice" if number % 2 else "bob"))
            clock.advance(1)
        first = await store.page(KeyFilter(), offset=0, limit=2)
        assert ([key.key_alias for key in first.keys], first.total) == (["k4", "k3"], 5)
        last = await store.page(KeyFilter(), offset=4, limit=2)
        assert [key.key_alias for key in last.keys] == ["k0"]
        alices = await store.page(KeyFilter(user_id="alice"), offset=0, limit=10)
        assert ([key.key_alias for key in alices.keys], alices.total) == (["k3", "k1"], 2)
        none = await store.page(KeyFilter(user_id="alice", key_alias="k0"), offset=0, limit=10)
        assert (none.keys, none.total) == ([], 0)


async def test_deleting_is_all_or_nothing(address: Address) -> None:
    async with opened(address) as database:
        store = Keys(database, clock=ManualClock())
        hashes = [(await store.create(KeyFields(key_alias=name)))[1].key_hash for name in ("a", "b")]
        assert await store.hashes_of(["a", "nobody"]) == {"a": hashes[0]}
        assert await store.delete([*hashes, "0" * 64]) == ["0" * 64]
        assert await store.find(hashes[0]) is not None
        assert await store.delete(hashes) == []
        assert await store.find(hashes[0]) is None


async def test_without_a_database_nobody_is_called_unknown(address: Address) -> None:
    with pytest.raises(Unavailable):
        await Keys(Database(address, clock=ManualClock()), clock=ManualClock()).find("0" * 64)


def test_a_key_may_be_named_by_its_hash() -> None:
    digest = key_hash("sk-1234")
    assert digest == "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b"
    assert hash_of("sk-1234") == digest
    assert hash_of(digest) == digest


def _at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        ("30s", "2026-01-31T12:00:30"),
        ("15m", "2026-01-31T12:15:00"),
        ("12h", "2026-02-01T00:00:00"),
        ("30d", "2026-03-02T12:00:00"),
        ("2w", "2026-02-14T12:00:00"),
        ("1mo", "2026-02-28T12:00:00"),
        ("12mo", "2027-01-31T12:00:00"),
        ("25mo", "2028-02-29T12:00:00"),
    ],
)
def test_durations(duration: str, expected: str) -> None:
    assert after(_at("2026-01-31T12:00:00"), duration) == _at(expected)


@pytest.mark.parametrize("duration", ["", "30", "d", "-1d", "1y", "1.5h", "99999mo", "30 d"])
def test_a_wrong_duration_names_its_field(duration: str) -> None:
    with pytest.raises(BadRequest) as error:
        after(0.0, duration, param="budget_duration")
    assert error.value.param == "budget_duration"
