"""`wayport explain ID`: why a call went where it went, asked of a running gateway and printed for people."""

import json
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from wayport.config.load import process_environment

_TIMEOUT_S = 10.0


def explain(call_id: str, *, url: str, key: str, as_json: bool) -> int:
    """0: told; 1: the gateway does not know the call, refused, or does not answer."""
    environment = process_environment()
    url = url or environment.get("WAYPORT_URL") or "http://127.0.0.1:4000"
    key = key or environment.get("WAYPORT_API_KEY") or environment.get("WAYPORT_MASTER_KEY") or ""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    address = f"{url.rstrip('/')}/v1/calls/{quote(call_id, safe='')}/explain"
    try:
        answer = httpx.get(address, headers=headers, timeout=_TIMEOUT_S)
        told = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        sys.stderr.write(f"{url}: {str(error) or type(error).__name__}\n")
        return 1
    if answer.status_code != 200:
        refusal = told.get("error", {}) if isinstance(told, dict) else {}
        sys.stderr.write(f"{answer.status_code}: {refusal.get('message', 'the gateway refused')}\n")
        return 1
    sys.stdout.write(json.dumps(told, indent=2) + "\n" if as_json else text_of(told))
    return 0


def text_of(told: Mapping[str, Any]) -> str:
    lines = [f"call {told['call_id']}: {told.get('status', 'running')}"]
    if told.get("duration_ms") is not None:
        lines[0] += f" after {told['duration_ms']:.0f} ms, of which Wayport {told.get('overhead_ms') or 0:.1f} ms"
    lines += [f"  {sentence}" for sentence in told.get("explanation", ())]
    return "\n".join(lines) + "\n"
