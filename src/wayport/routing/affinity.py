"""Who should come back to the same deployment: a session, the chain of stored answers, a prompt that is in its cache.

Bounded, per worker. A pin is a wish: it never leads to a deployment that may not be called now.
"""

import hashlib
from collections import OrderedDict

from wayport.wire.patch import Fields

_MOST = 20_000
_TTL_S = 3600.0
_CACHE_TTL_S = 300.0
"""how long providers keep a prompt"""
_PREFIX_BYTES = 4096
"""about the shortest prompt that providers keep"""
_AT = "response at "
_MOST_AHEAD = 8
"""a pinned deployment that has this many calls more in flight than the idlest is too busy for a cache to pay"""


class Affinity:
    def __init__(self) -> None:
        self._pins: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def of(self, keys: tuple[str, ...], now_s: float) -> tuple[str, str] | None:
        """The first key that is pinned, and the id of its deployment."""
        for key in keys:
            if key.startswith(_AT):
                return key, key[len(_AT) :]
            pin = self._pins.get(key)
            if pin is not None and pin[1] > now_s:
                return key, pin[0]
        return None

    def pin(self, keys: tuple[str, ...], deployment_id: str, now_s: float) -> None:
        for key in keys:
            if key.startswith(_AT):
                continue
            self._pins[key] = (deployment_id, now_s + (_CACHE_TTL_S if key.startswith("prompt ") else _TTL_S))
            self._pins.move_to_end(key)
        while len(self._pins) > _MOST:
            self._pins.popitem(last=False)


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
