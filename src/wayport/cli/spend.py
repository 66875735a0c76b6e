"""`wayport spend`: what was spent, by team, user, key, model …, asked of a running gateway."""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from wayport.cli.asking import Gateway, complain

_TIMEOUT_S = 60.0
_AGO = re.compile(r"(\d+)([dw])")


def spend(*, by: str, since: str, until: str, zone: str, daily: bool, as_csv: bool, url: str, key: str) -> int:
    """0: told; 1: the gateway refused or does not answer; 2: the command line is wrong."""
    first = _day(since)
    if first is None:
        sys.stderr.write(f"--since is {since!r}: write 30d, 4w or 2026-11-20\n")
        return 2
    gateway = Gateway.of(url, key)
    query: dict[str, str] = {"by": by, "start_date": first, "daily": str(daily).lower()}
    query |= {"format": "csv"} if as_csv else {}
    query |= {name: value for name, value in (("end_date", until), ("timezone", zone)) if value}
    try:
        answer = httpx.get(f"{gateway.url}/v1/spend", params=query, headers=gateway.headers, timeout=_TIMEOUT_S)
    except httpx.HTTPError as error:
        sys.stderr.write(f"{gateway.url}: {str(error) or type(error).__name__}\n")
        return 1
    if answer.status_code != 200:
        return complain(answer)
    sys.stdout.write(answer.text if as_csv else table(answer.json()["data"], by, daily=daily))
    return 0


def table(rows: list[dict[str, Any]], by: str, *, daily: bool) -> str:
    """For people: names to the left, numbers to the right, and a total."""
    total = sum(row["spend_nano_usd"] for row in rows)
    columns = [*(("date",) if daily else ()), by, "calls", "failures", "input_tokens", "output_tokens", "spend"]
    lines = [columns]
    for row in rows:
        cells = {**row, "spend": f"${row['spend_nano_usd'] / 1e9:.4f}", by: row[by] or "(none)"}
        lines.append([str(cells[name]) for name in columns])
    widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
    texts = {"date", by}
    shown = [
        "  ".join(
            cell.ljust(width) if name in texts else cell.rjust(width)
            for name, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*shown, f"total ${total / 1e9:.4f}", ""])


def _day(text: str) -> str | None:
    if (match := _AGO.fullmatch(text)) is not None:
        days = int(match[1]) * (7 if match[2] == "w" else 1)
        return (datetime.now(tz=UTC) - timedelta(days=max(0, days - 1))).date().isoformat()
    try:
        return datetime.fromisoformat(text).date().isoformat()
    except ValueError:
        return None
