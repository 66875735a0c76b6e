"""What a translated event of a stream costs, from each dialect to each other: decoding and encoding, in one process.

python -m bench.event_pairs

The streams are the golden ones of the tests: small events of every type that a dialect has. What a relay adds to both (reading
the socket, writing to the client) is in `make bench`, under "Translated streams".
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from bench.report import table
from wayport.core.errors import WayportError
from wayport.dialects.neutral import DialectName
from wayport.dialects.registry import DIALECTS
from wayport.wire.sse import Splitter, parse

_GOLDEN = Path(__file__).parent.parent / "tests" / "golden"
_ROUNDS = 30


def _streams(name: str) -> list[bytes]:
    return [file.read_bytes() for file in sorted((_GOLDEN / name).glob("*/*.sse"))]


def _told(upstream: DialectName, client: DialectName, data: bytes) -> tuple[int, float]:
    """Events, and seconds of CPU for all of them, at best. Raises what decoders and encoders raise."""
    half, other = DIALECTS[upstream].upstream, DIALECTS[client].client
    assert half is not None
    assert other is not None
    best_s, count = float("inf"), 0
    for _ in range(_ROUNDS):
        decoder, count = half.stream_decoder(), 0
        encoder = other.stream_encoder(request=None, response_id="r", created=1)
        began_s = time.process_time()
        for event in Splitter().feed(data):
            count += 1
            for delta in decoder.feed(parse(event)):
                encoder.feed(delta)
        for delta in decoder.end():
            encoder.feed(delta)
        best_s = min(best_s, time.process_time() - began_s)
    return count, best_s


def pairs() -> Iterator[tuple[str, str, int, float, float]]:
    """Upstream, client, events, µs per event, and those of the dearest stream."""
    names = get_args(DialectName)
    for upstream in names:
        for client in names:
            if upstream == client or DIALECTS[upstream].upstream is None or DIALECTS[client].client is None:
                continue
            found = []
            for data in _streams(upstream):
                try:
                    found.append(_told(upstream, client, data))
                except (WayportError, ValueError):
                    # A stream that is no stream: what becomes of it is for the tests.
                    continue
            found = [each for each in found if each[0]]
            if count := sum(events for events, _ in found):
                whole_us = sum(spent_s for _, spent_s in found) * 1e6
                yield upstream, client, count, whole_us / count, max(each[1] / each[0] for each in found) * 1e6


def main() -> None:
    rows = [[up, down, str(count), f"{each:.1f}", f"{most:.1f}"] for up, down, count, each, most in pairs()]
    print(table(["from", "to", "events", "CPU µs per event", "in the dearest stream"], rows))


if __name__ == "__main__":
    main()
