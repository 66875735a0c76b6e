"""Load of whole calls: wrk, 64 connections for each worker, as fast as they are answered."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from bench.machine import tool
from bench.processes import cpu_s
from bench.targets import NotUsable, Target

_FAILURES = 0.01
"""a larger share of failures: what is measured then is not the work"""

_SCRIPT = """\
wrk.method = "POST"
wrk.path = "{path}"
wrk.headers["content-type"] = "application/json"
{headers}
wrk.body = [==[{body}]==]
done = function(summary)
  local e = summary.errors
  io.write(string.format("done %d %d %d %d\\n", summary.requests, summary.duration, e.status,
    e.connect + e.read + e.write + e.timeout))
end
"""


class Load(NamedTuple):
    calls: int
    wall_s: float
    failed: int
    """answers that were no success, and broken connections"""
    cpu_s: float
    """of the target's own processes"""

    @property
    def calls_per_s(self) -> float:
        return self.calls / self.wall_s

    @property
    def cpu_us_per_call(self) -> float:
        return self.cpu_s / self.calls * 1e6

    @property
    def core_share(self) -> float:
        """How busy the gateway's core was: well below 1, and the load was the limit."""
        return self.cpu_s / self.wall_s


def script(target: Target) -> str:
    headers = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in target.headers.items())
    return _SCRIPT.format(path=target.path, headers=headers, body=target.body().decode())


def parse(output: str) -> tuple[int, float, int]:
    """Calls, seconds, failures out of the script's last line. Raises `NotUsable`."""
    for line in output.splitlines():
        if line.startswith("done "):
            calls, duration_us, bad, broken = (int(word) for word in line.split()[1:])
            return calls, duration_us / 1e6, bad + broken
    raise NotUsable(f"wrk said: {output[-300:]}")


def run(target: Target, *, seconds: int, directory: Path, core: int) -> Load:
    """Raises `NotUsable` when calls fail."""
    lua = directory / "wrk.lua"
    lua.write_text(script(target))
    pids = target.pids()
    command = [
        tool("taskset"), "-c", str(core), tool("wrk"), "-t1", f"-c{target.connections}", f"-d{seconds}s", "--timeout", "30s",
        "-s", str(lua), f"http://127.0.0.1:{target.port}",
    ]  # fmt: skip
    before_s = cpu_s(pids)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    used_s = cpu_s(pids) - before_s
    calls, wall_s, failed = parse(done.stdout + done.stderr)
    if failed > calls * _FAILURES:
        raise NotUsable(f"{target.name} failed {failed} of {calls} calls")
    return Load(calls - failed, wall_s, failed, used_s)
