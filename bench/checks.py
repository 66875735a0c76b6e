"""Whether what should be on is on, and did its work: a gateway that skips it would look fast."""

from collections.abc import Mapping

from bench.gateway import Gateway, expected_cost_usd
from bench.targets import NotUsable

_LIMITS = {"rpm_limit": 10**9, "tpm_limit": 10**12, "max_budget": 1e6}
"""none of them is ever reached; each has to be counted"""


def features(gateway: Gateway, *, virtual_key: bool) -> dict[str, str]:
    """Chooses the key with which calls are made, and tries what every call is to have. Raises `NotUsable`."""
    found = (
        _key_with_limits(gateway) if virtual_key else {"key": "master key", "limits": "none: the master key has none"}
    )
    target = gateway.target("bench")
    headers = target.check()
    cost = float(headers.get("x-wayport-cost-usd", "nan"))
    if abs(cost - expected_cost_usd()) > 1e-9:
        raise NotUsable(f"Wayport says that a call costs {cost} and not {expected_cost_usd()}")
    found["cost"] = "right to the nano-dollar"
    gateway.target("translated").check()
    wrong = gateway.target("bench")
    wrong.headers = {"authorization": "Bearer sk-nobody-knows-this-one"}
    if (status := wrong.ask()[0]) != 401:
        raise NotUsable(f"Wayport answers {status} to a wrong key")
    found["wrong key"] = "401"
    return found


def _key_with_limits(gateway: Gateway) -> dict[str, str]:
    """A key with every limit that this version enforces and that lets calls through."""
    on: dict[str, float] = {}
    off = []
    for name, value in _LIMITS.items():
        if (why := _refused(gateway, {name: value})) is None:
            on[name] = value
        else:
            off.append(f"{name} ({why})")
    if (why := _refused(gateway, on)) is not None:
        off.append(f"{' with '.join(on)} ({why})")
        on = {}
        if (why := _refused(gateway, on)) is not None:
            raise NotUsable(f"Wayport answers no call with a key of its own: {why}")
    return {"key": "virtual key", "limits": (", ".join(on) or "none") + "".join(f"; NOT ON: {each}" for each in off)}


def _refused(gateway: Gateway, limits: Mapping[str, float]) -> str | None:
    """Takes a new key with these limits; says why no call succeeds with it."""
    return gateway.use_virtual_key(limits) or gateway.target("bench").why_not(at_most_s=5)


def kept(answered: int, *, arrived: int, log_lines: int, in_database: int) -> dict[str, str]:
    """Of one burst of calls. Those that the load generator dropped at its end are calls, too."""
    well = answered <= arrived <= answered + 200
    return {
        "journal": f"of {answered} answered calls {arrived} are in the database{'' if well else ': NOT AS MANY'}",
        "database": f"{in_database} calls in all",
        "call log": f"{log_lines} lines of {arrived} calls{'' if log_lines >= arrived else ': NOT ALL'}",
    }
