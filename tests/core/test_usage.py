"""What an upstream states that it consumed is taken as far as it can be true."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from wayport.core.usage import Usage, plausible

_MOST = 1 << 40
_DEAREST = 1 << 60
_COUNTS = st.one_of(st.integers(-5, 5), st.sampled_from([_MOST - 1, _MOST, _MOST + 1, 1 << 70, -(1 << 70)]))
_KINDS = [name for name in Usage.__struct_fields__ if name != "cost_nano_usd"]


@given(
    st.dictionaries(st.sampled_from(_KINDS), _COUNTS),
    st.none() | st.sampled_from([-1, 0, 7, _DEAREST - 1, _DEAREST]),
)
def test_each_count_is_the_nearest_that_can_be_and_a_cost_that_cannot_be_is_none(
    counts: dict[str, int], stated: int | None
) -> None:
    told = asdict(plausible(Usage(**counts, cost_nano_usd=stated)))
    assert told.pop("cost_nano_usd") == (stated if stated is not None and 0 <= stated < _DEAREST else None)
    assert told == {name: max(0, min(counts.get(name, 0), _MOST)) for name in _KINDS}


def test_what_can_be_is_the_very_same() -> None:
    for usage in (
        Usage(input_tokens=3, output_tokens=4),
        Usage(input_tokens=3, cache_read_tokens=2, reasoning_tokens=1),
    ):
        assert plausible(usage) is usage
