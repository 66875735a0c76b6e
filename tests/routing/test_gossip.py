"""What workers tell each other of the deployments that they share."""

from random import Random

import msgspec
import pytest
from tests.fakes.manual_clock import ManualClock
from tests.routing.places import deployment, fault

from wayport.core.errors import FaultClass
from wayport.routing.affinity import Affinity
from wayport.routing.gossip import Gossip
from wayport.routing.health import Health
from wayport.routing.live import LiveStates
from wayport.routing.news import News
from wayport.routing.snapshot import UpstreamCredential

A = deployment("a")
B = deployment("b", credential=UpstreamCredential(value="sk-very-secret"))
THE_SAME_KEY = deployment("c", credential=B.credential)


class Neighbour:
    """A worker, as far as it talks; the seconds that it counts for itself began at some other time."""

    def __init__(self, began_s: float = 0.0) -> None:
        self.clock = ManualClock(1_800_000_000.0 - began_s)
        self.clock.advance(began_s)
        self.health = Health()
        self.health.shares = True
        self.lives = LiveStates()
        self.affinity = Affinity()
        self.affinity.shares = True
        self.told: list[News] = []
        self.gossip = Gossip(self.health, self.lives, self.affinity, clock=self.clock, tell=self.told.append)

    @property
    def now_s(self) -> float:
        return self.clock.steady_s()

    def fail(self, where: object = A, kind: FaultClass = "rate_limit", retry_after_s: float | None = None) -> None:
        assert isinstance(where, type(A))
        self.health.failed(where, fault(kind, retry_after_s), now_s=self.now_s, cooldown_s=5.0)

    def talk_to(self, other: "Neighbour") -> int:
        """How many messages that took. They travel as bytes."""
        self.gossip.tick()
        for news in self.told:
            other.gossip.hear(msgspec.msgpack.decode(msgspec.msgpack.encode(news), type=News))
        count = len(self.told)
        self.told.clear()
        return count

    def call(self, where: str, *, tokens: int = 0) -> None:
        live = self.lives.of(where)
        live.begin(self.now_s)
        live.end()
        live.used(tokens)


def test_a_time_that_an_upstream_names_holds_for_the_neighbours_too() -> None:
    first, second = Neighbour(), Neighbour(began_s=1000)
    first.fail(retry_after_s=30.0)
    first.clock.advance(10)
    first.talk_to(second)
    blocked = second.health.blocked(A, second.now_s)
    assert blocked is not None
    assert blocked.until_s == second.now_s + 20
    assert (blocked.fault.kind, blocked.soft) == ("rate_limit", False)
    assert second.health.blocked(A, second.now_s + 21) is None


def test_what_was_heard_is_told_to_nobody_again() -> None:
    first, second = Neighbour(), Neighbour()
    first.fail(retry_after_s=30.0)
    first.call("a", tokens=7)
    assert first.talk_to(second) == 1
    assert second.talk_to(first) == 0
    assert first.talk_to(second) == 0


def test_a_breaker_that_opened_goes_on_from_there_at_the_neighbours() -> None:
    first, second = Neighbour(), Neighbour()
    for _ in range(3):
        first.fail(kind="server")
    first.talk_to(second)
    assert second.health.state_of(A, second.now_s) == "open"
    second.clock.advance(6)
    assert second.health.state_of(A, second.now_s) == "half_open"
    second.fail(kind="server")
    blocked = second.health.blocked(A, second.now_s)
    assert blocked is not None
    assert blocked.until_s == second.now_s + 10


def test_failures_that_opened_nothing_are_no_news() -> None:
    first, second = Neighbour(), Neighbour()
    first.fail(kind="server")
    assert first.talk_to(second) == 0
    assert second.health.quiet


def test_a_refused_credential_is_known_by_its_hash_and_cleared_when_it_works_again() -> None:
    first, second = Neighbour(), Neighbour()
    first.fail(B, "authentication")
    first.gossip.tick()
    assert b"sk-very-secret" not in msgspec.json.encode(first.told)
    first.talk_to(second)
    blocked = second.health.blocked(THE_SAME_KEY, second.now_s)
    assert blocked is not None
    assert blocked.scope == "credential"
    first.health.succeeded(B, first.now_s)
    first.talk_to(second)
    assert second.health.blocked(THE_SAME_KEY, second.now_s) is None


def test_a_missing_model_is_known_by_address_and_name() -> None:
    first, second = Neighbour(), Neighbour()
    first.fail(A, "not_found")
    first.talk_to(second)
    assert second.health.blocked(deployment("other", upstream_model="a"), 0.0) is not None
    assert second.health.blocked(deployment("b"), 0.0) is None


def test_a_shorter_rest_does_not_end_a_longer_one() -> None:
    first, second = Neighbour(), Neighbour()
    second.fail(retry_after_s=60.0)
    first.fail(retry_after_s=1.0)
    first.talk_to(second)
    assert second.health.cooling_until_s("a") == second.now_s + 60


def test_who_listens_again_hears_of_all_that_still_rests() -> None:
    first, late = Neighbour(), Neighbour()
    first.fail(A, retry_after_s=30.0)
    first.fail(B, retry_after_s=3.0)
    first.gossip.tick()
    first.told.clear()
    first.clock.advance(10)
    first.gossip.restate()
    first.talk_to(late)
    assert late.health.cooling_until_s("a") == late.now_s + 20
    assert late.health.cooling_until_s("b") == 0


def test_every_call_counts_once_at_everybody_whatever_the_minute() -> None:
    random = Random(3)
    crowd = [Neighbour(began_s=17.0 * number) for number in range(3)]
    total = 0
    for _ in range(400):
        who = random.choice(crowd)
        who.call("a", tokens=5)
        total += 1
        if random.random() < 0.3:
            teller = random.choice(crowd)
            teller.gossip.tick()
            for news in teller.told:
                for other in crowd:
                    if other is not teller:
                        other.gossip.hear(news)
            teller.told.clear()
    for teller in crowd:
        teller.gossip.tick()
        for news in teller.told:
            for other in crowd:
                if other is not teller:
                    other.gossip.hear(news)
    assert [each.lives.of("a").requests_now(each.now_s) for each in crowd] == [total] * 3
    assert [each.lives.of("a").tokens_now(each.now_s) for each in crowd] == [5 * total] * 3


def test_what_a_minute_ended_with_is_told_in_the_next() -> None:
    first, second = Neighbour(), Neighbour()
    first.call("a", tokens=3)
    first.clock.advance(61)
    first.call("a", tokens=4)
    first.talk_to(second)
    assert second.lives.of("a").requests_now(second.now_s) == 2
    assert second.lives.of("a").tokens_now(second.now_s) == 7
    assert first.lives.of("a").requests_now(first.now_s) == 1


def pinned(who: Neighbour, key: str = "session m s") -> str | None:
    found = who.affinity.of((key,), who.now_s)
    return None if found is None else found[1]


def test_a_session_comes_back_to_the_same_deployment_through_any_neighbour() -> None:
    first, second = Neighbour(), Neighbour(began_s=500)
    first.affinity.pin(("session m s", "response r1"), "a", first.now_s)
    assert first.talk_to(second) == 1
    assert (pinned(second), pinned(second, "response r1")) == ("a", "a")
    # The next turns say nothing new.
    first.affinity.pin(("session m s",), "a", first.now_s)
    second.affinity.pin(("session m s",), "a", second.now_s)
    assert (first.talk_to(second), second.talk_to(first)) == (0, 0)
    # It has moved, as where it was failed.
    second.clock.advance(5)
    first.clock.advance(5)
    second.affinity.pin(("session m s",), "b", second.now_s)
    second.talk_to(first)
    assert pinned(first) == "b"


def test_neighbours_that_pin_at_the_same_moment_agree() -> None:
    first, second = Neighbour(), Neighbour(began_s=500)
    first.affinity.pin(("session m s",), "a", first.now_s)
    second.affinity.pin(("session m s",), "b", second.now_s)
    first.gossip.tick()
    second.gossip.tick()
    told, other = [*first.told], [*second.told]
    for news in told:
        second.gossip.hear(news)
    for news in other:
        first.gossip.hear(news)
    assert (pinned(first), pinned(second)) == ("a", "a")


@pytest.mark.parametrize("between_s", [0.25, 1.5, 60.0])
@pytest.mark.parametrize("places", ["ab", "ba"])
def test_neighbours_that_hear_of_each_other_late_never_swap_places(between_s: float, places: str) -> None:
    """Whoever pinned last is followed, whatever else was called between the pin and the news of it."""
    first, second = Neighbour(), Neighbour(began_s=500)
    first.affinity.pin(("session m s",), places[0], first.now_s)
    for neighbour in (first, second):
        neighbour.clock.advance(between_s)
    second.affinity.pin(("session m s",), places[1], second.now_s)
    for neighbour, place in ((first, places[0]), (second, places[1])):
        neighbour.clock.advance(3)
        neighbour.affinity.pin(("session m s",), place, neighbour.now_s)
        neighbour.gossip.tick()
    told, other = [*first.told], [*second.told]
    for news in told:
        second.gossip.hear(news)
    for news in other:
        first.gossip.hear(news)
    assert (pinned(first), pinned(second)) == (places[1], places[1])


def test_one_that_is_alone_keeps_nothing_for_telling() -> None:
    alone = Neighbour()
    alone.health.shares = alone.affinity.shares = False
    alone.affinity.pin(("session m s",), "a", alone.now_s)
    alone.fail(retry_after_s=30.0)
    alone.gossip.restate()
    alone.gossip.tick()
    assert not alone.told
