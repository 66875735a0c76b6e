"""A chunk is written in HTTP's way, and told from its size alone by how it begins."""

import pytest

from wayport.wire.chunks import HEADS, WHOLE, WHOLE_MOST, framed


@pytest.mark.parametrize("size", [1, 15, 16, 255, 256, 1023, 1024, 5000])
def test_a_chunk_states_its_size(size: int) -> None:
    assert framed(b"x" * size) == f"{size:x}\r\n".encode() + b"x" * size + b"\r\n"


def test_every_size_that_a_chunk_can_have_has_its_head_and_no_other_has_one() -> None:
    heads = {len(framed(b"x" * size)): HEADS[size] for size in range(1, len(HEADS))}
    assert {size: head for size, head in enumerate(WHOLE) if head in HEADS} == heads
    assert max(heads) < WHOLE_MOST
    nothing = {head for head in WHOLE if head not in HEADS}
    assert not any(head[:1] in b"0123456789abcdefABCDEF" for head in nothing)
