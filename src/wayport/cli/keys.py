"""`wayport keys create|list|delete`: keys, asked of a running gateway."""

import sys
from collections.abc import Sequence
from typing import Any

import httpx

from wayport.cli.asking import Gateway, complain

_TIMEOUT_S = 10.0
_PAGE = 100


def create(fields: dict[str, Any], *, url: str, key: str) -> int:
    """Prints the new key, and nothing else: this is the one time that it is shown."""
    answer = _ask(Gateway.of(url, key), "POST", "/key/generate", json=fields)
    if not isinstance(answer, httpx.Response):
        return answer
    sys.stdout.write(f"{answer.json()['key']}\n")
    return 0


def listed(*, url: str, key: str) -> int:
    gateway = Gateway.of(url, key)
    page = pages = 1
    while page <= pages:
        params = {"page": page, "size": _PAGE, "return_full_object": "true"}
        answer = _ask(gateway, "GET", "/key/list", params=params)
        if not isinstance(answer, httpx.Response):
            return answer
        told = answer.json()
        for each in told["keys"]:
            sys.stdout.write(line_of(each) + "\n")
        page, pages = page + 1, told["total_pages"]
    return 0


def delete(names: Sequence[str], *, url: str, key: str) -> int:
    """By key, hash or alias."""
    body = {
        "keys": [name for name in names if _is_key(name)],
        "key_aliases": [name for name in names if not _is_key(name)],
    }
    answer = _ask(Gateway.of(url, key), "POST", "/key/delete", json=body)
    if not isinstance(answer, httpx.Response):
        return answer
    sys.stdout.write(f"deleted: {len(answer.json()['deleted_keys'])}\n")
    return 0


def line_of(key: dict[str, Any]) -> str:
    budget = f" of {key['max_budget']}" if key.get("max_budget") is not None else ""
    words = [
        key["key_name"],
        key.get("key_alias") or "-",
        f"user={key.get('user_id') or '-'}",
        f"team={key.get('team_id') or '-'}",
        f"spend={key['spend']:.6f}{budget} USD",
        f"expires={key.get('expires') or 'never'}",
    ]
    return "  ".join(words) + ("  blocked" if key.get("blocked") else "")


def _is_key(name: str) -> bool:
    return name.startswith("sk-") or (len(name) == 64 and set(name) <= set("0123456789abcdef"))


def _ask(gateway: Gateway, method: str, path: str, **arguments: Any) -> httpx.Response | int:
    """The answer; or, when there is none or it is a refusal, the exit status."""
    try:
        answer = httpx.request(
            method, gateway.url + path, headers=gateway.headers, timeout=_TIMEOUT_S, trust_env=False, **arguments
        )
    except httpx.HTTPError as error:
        sys.stderr.write(f"{gateway.url}: {str(error) or type(error).__name__}\n")
        return 1
    return answer if answer.status_code == 200 else complain(answer)
