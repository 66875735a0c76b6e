"""What is said when limits are shared out: a holder states what it has and claims more; a grant answers.

One protocol on two levels: workers claim from their control process as control processes claim from the shared store.
Whatever is stated is absolute, so saying it twice, or again after a lost connection, changes nothing.
"""

from typing import Literal

from msgspec import Struct

Kind = Literal["money", "requests", "tokens", "slots"]


class Claim(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What a holder has of one window of one limit, and how much more it needs. `need=0` only states (and returns)."""

    counter: str
    kind: Kind
    limit: int
    window: int = 0
    """money: when the window began (seconds of the epoch; 0: the budget is for good). Rates: the number that the root
    gave the window that `held` belongs to; 0: none yet"""
    per_s: int = 0
    """how long a window of a rate is"""
    ends_in_s: float = 0.0
    """of the rate's window that `held` belongs to, for a root that has forgotten it"""
    held: int = 0
    """everything that the holder has had of this window and not given back: used, reserved and free"""
    busy: int = 0
    """of it: reserved by calls in flight"""
    free: int = 0
    """of it: neither used nor reserved"""
    need: int = 0
    """refused rather than granted in part"""
    want: int = 0
    """as much as would be welcome, to come less often"""
    watch: bool = False
    """wants to know what everybody has used, also where nothing is needed"""
    patience_s: float = 0.0
    """slots: how long the answer may wait for somebody to give one back"""
    seen: int = -1
    """the last grant that `held` counts in; -1: take `held` as it stands, and number grants anew"""


class Grant(Struct, kw_only=True, frozen=True, omit_defaults=True):
    counter: str
    window: int = 0
    ends_in_s: float | None = None
    """None: not by itself"""
    granted: int = 0
    number: int = 0
    """to be stated as `seen`"""
    left: int = 0
    """what could still be granted"""
    settled: int = 0
    """known to be used, by everybody together"""
    busy_elsewhere: int = 0
    """leased to other holders and not known to be used: it may come back"""
    unavailable: str | None = None
    """why nothing can be granted just now, whatever is left"""
