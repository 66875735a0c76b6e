"""What the workers of this node, and those of others, have told of deployments: remembered for workers that come later."""

from msgspec.structs import replace

from wayport.core.clock import Clock
from wayport.routing.news import News, Rest, Scope

_MOST = 4096


class Rumours:
    """Who is left alone as far as anybody has told. What was used is passed on and not kept."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._rests: dict[tuple[Scope, tuple[str, ...]], tuple[float, Rest]] = {}

    def hear(self, news: News) -> None:
        now_s = self._clock.steady_s()
        for rest in news.rests:
            key = (rest.scope, rest.names)
            if rest.left_s <= 0:
                self._rests.pop(key, None)
            elif key in self._rests or len(self._rests) < _MOST or self._forget(now_s):
                self._rests[key] = (now_s + rest.left_s, rest)

    def known(self) -> News:
        """For somebody who knows nothing."""
        now_s = self._clock.steady_s()
        self._forget(now_s)
        return News(rests=tuple(replace(rest, left_s=until_s - now_s) for until_s, rest in self._rests.values()))

    def _forget(self, now_s: float) -> bool:
        """Lets go of what is over; whether there is room now."""
        self._rests = {key: known for key, known in self._rests.items() if known[0] > now_s}
        return len(self._rests) < _MOST
