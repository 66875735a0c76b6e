"""`wayport tail`: calls as they end, line by line, asked of a running gateway."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx

from wayport.cli.asking import Gateway, complain


def tail(*, filters: dict[str, str], as_json: bool, url: str, key: str) -> int:
    """Until Ctrl-C (0), or until the gateway ends it, refuses or does not answer (1)."""
    gateway = Gateway.of(url, key)
    query = {name: value for name, value in filters.items() if value}
    try:
        with httpx.stream(
            "GET",
            f"{gateway.url}/v1/calls/stream",
            params=query,
            headers=gateway.headers,
            timeout=httpx.Timeout(10.0, read=60.0),
        ) as answer:
            if answer.status_code != 200:
                answer.read()
                return complain(answer)
            for event, data in events(answer.iter_lines()):
                if event == "missed":
                    sys.stderr.write(f"{data} calls were not shown: they came faster than they were read\n")
                else:
                    sys.stdout.write(data + "\n" if as_json else line_of(json.loads(data)))
                    sys.stdout.flush()
    except httpx.HTTPError as error:
        sys.stderr.write(f"{gateway.url}: {str(error) or type(error).__name__}\n")
        return 1
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    sys.stderr.write("the gateway ended the stream\n")
    return 1


def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    event = "message"
    for line in lines:
        if line.startswith("event: "):
            event = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield event, line.removeprefix("data: ")
            event = "message"


def line_of(call: dict[str, Any]) -> str:
    tokens = f" {call['input_tokens']}→{call.get('output_tokens', 0)} tokens" if "input_tokens" in call else ""
    cost = f" ${call['cost_usd']}" if call.get("cost_usd") is not None else ""
    who = call.get("key") or "-"
    error = f" {call['error_class']}: {call.get('error', '')}" if "error_class" in call else ""
    target = f" → {call['provider']}/{call['upstream_model']}" if call.get("provider") else ""
    stream = " stream" if call.get("stream") else ""
    return (
        f"{call['time']} {call['http_status']} {call['operation']}{stream} {call['model']}{target}"
        f" {call['duration_ms']} ms{tokens}{cost} {who} {call['call_id']}{error}\n"
    )
