"""Who should come back to the same deployment: a session, the chain of stored answers, a prompt that is in its cache.

Bounded, per worker; neighbours tell each other of new pins. A pin is a wish: it never leads to a deployment that may not
be called now.
"""

import hashlib
from collections import OrderedDict
from typing import NamedTuple

from wayport.wire.patch import Fields

_MOST = 20_000
_TTL_S = 3600.0
_CACHE_TTL_S = 300.0
"""how long providers keep a prompt"""
_PREFIX_BYTES = 4096
"""about the shortest prompt that providers keep"""
_AT = "response at "
_MOST_UNTOLD = 2_000
_MOST_AHEAD = 8
"""a pinned deployment that has this many calls more in flight than the idlest is too busy for a cache to pay"""


class _Pin(NamedTuple):
    deployment: str
    since_s: float
    """when it was first led there, whoever did it"""
    until_s: float


class Affinity:
    def __init__(self) -> None:
        self._pins: OrderedDict[str, _Pin] = OrderedDict()
        self.shares = False
        """whether others are to be told of it (`news`)"""
        self._untold: dict[str, _Pin] = {}

    def of(self, keys: tuple[str, ...], now_s: float) -> tuple[str, str] | None:
        """The first key that is pinned, and the id of its deployment."""
        for key in keys:
            if key.startswith(_AT):
                return key, key[len(_AT) :]
            pin = self._pins.get(key)
            if pin is not None and pin.until_s > now_s:
                return key, pin.deployment
        return None

    def pin(self, keys: tuple[str, ...], deployment_id: str, now_s: float) -> None:
        for key in keys:
            if key.startswith(_AT):
                continue
            known = self._pins.get(key)
            if known is not None and known.deployment == deployment_id:
                self._put(key, deployment_id, known.since_s, now_s)
                continue
            pin = self._put(key, deployment_id, now_s, now_s)
            if self.shares and len(self._untold) < _MOST_UNTOLD:
                self._untold[key] = pin

    def _put(self, key: str, deployment_id: str, since_s: float, now_s: float) -> _Pin:
        pin = self._pins[key] = _Pin(deployment_id, since_s, now_s + _ttl_s(key))
        self._pins.move_to_end(key)
        while len(self._pins) > _MOST:
            self._pins.popitem(last=False)
        return pin

    def news(self) -> list[tuple[str, str, float]]:
        """Pins that are new, or lead elsewhere, since this was last asked: key, deployment, and when it was pinned."""
        found = [(key, pin.deployment, pin.since_s) for key, pin in self._untold.items()]
        self._untold.clear()
        return found

    def hear(self, key: str, deployment_id: str, since_s: float, now_s: float) -> None:
        """A pin of somebody else, made at `since_s`. The newer one stays, whoever hears of it when: so all come to the
        same one.
        """
        known = self._pins.get(key)
        if known is None or known.until_s <= now_s or _gives_way(known, deployment_id, since_s):
            self._put(key, deployment_id, since_s, now_s)


def _gives_way(known: _Pin, deployment_id: str, since_s: float) -> bool:
    """Whether the other one is the newer; of two made in one millisecond, the one with the lesser name."""
    ours_ms, theirs_ms = round(known.since_s, 3), round(since_s, 3)
    return (theirs_ms, known.deployment) >= (ours_ms, deployment_id)


def _ttl_s(key: str) -> float:
    return _CACHE_TTL_S if key.startswith("prompt ") else _TTL_S


def is_stored(key: str) -> bool:
    """Whether it is more than a wish: what the request goes on from is stored at one deployment."""
    return key.startswith("response ")


def stored_at(deployment_id: str) -> str:
    """For what is known to be stored there."""
    return _AT + deployment_id


def too_busy(in_flight: int, least: int) -> bool:
    return in_flight > least + _MOST_AHEAD


def response_key(response_id: str) -> str:
    return f"response {response_id}"


def session_key(model: str, session_id: str) -> str:
    return f"session {model} {session_id}"


def prompt_key(model: str, fields: Fields) -> str | None:
    """By the first bytes of the conversation; None if it is too short to be kept by anybody."""
    content = bytes(fields.get("system") or b"") + bytes(
        fields.get("messages") or fields.get("input") or fields.get("contents") or b""
    )
    if len(content) < _PREFIX_BYTES:
        return None
    return f"prompt {model} {hashlib.blake2b(content[:_PREFIX_BYTES], digest_size=12).hexdigest()}"
