"""A running gateway, asked from the command line: its address and our key, from options or the environment."""

import sys

import httpx
from msgspec import Struct

from wayport.config.load import process_environment


class Gateway(Struct, frozen=True):
    url: str
    headers: dict[str, str]

    @classmethod
    def of(cls, url: str, key: str) -> "Gateway":
        environment = process_environment()
        url = url or environment.get("WAYPORT_URL") or "http://127.0.0.1:4000"
        key = key or environment.get("WAYPORT_API_KEY") or environment.get("WAYPORT_MASTER_KEY") or ""
        return cls(url.rstrip("/"), {"authorization": f"Bearer {key}"} if key else {})


def complain(answer: httpx.Response) -> int:
    """Says why the gateway refused. Always 1."""
    try:
        told = answer.json()
    except ValueError:
        told = {}
    refusal = told.get("error", {}) if isinstance(told, dict) else {}
    sys.stderr.write(f"{answer.status_code}: {refusal.get('message', 'the gateway refused')}\n")
    return 1
