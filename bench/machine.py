"""The machine: what it is, whether it is quiet, and the tools that the benchmark needs."""

import os
import platform
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from wayport import __version__

TOOLS = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
"""program to Debian package"""

QUIET_LOAD = 0.5
QUIET_CORES = 0.05
"""what others may take during a run without being mentioned"""


def facts() -> dict[str, str | int | float]:
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count() or 1,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wayport": wayport_version(),
        "nginx": _version(["nginx", "-v"]),
        "wrk": _version(["wrk", "-v"]),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def wayport_version() -> str:
    """With the commit, where there is one."""
    git = shutil.which("git")
    if git is None:
        return __version__
    command = [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{__version__} ({done.stdout.strip()})" if done.returncode == 0 else __version__


def _version(command: list[str]) -> str:
    """The first line, whichever output it goes to: `nginx version: nginx/1.22.1`, `wrk debian/4.1.0 … `."""
    if (program := _find(command[0])) is None:
        return "missing"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    first = (done.stdout + done.stderr).splitlines()[0]
    return first.removeprefix("nginx version: ").partition(" [")[0].removeprefix("wrk ")


class Account(NamedTuple):
    """Seconds since the machine's start, over all cores."""

    busy_s: float
    stolen_s: float
    """the hypervisor gave them to others while we wanted them"""
    ours_s: float
    """of them this process and its children, as far as those have ended"""


def account() -> Account:
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _, _, irq, soft_irq, stolen = (int(f) / os.sysconf("SC_CLK_TCK") for f in fields[1:9])
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Account(
        busy_s=user + nice + system + irq + soft_irq,
        stolen_s=stolen,
        ours_s=sum(each.ru_utime + each.ru_stime for each in used),
    )


def disturbance(before: Account, after: Account, *, wall_s: float) -> dict[str, float]:
    """What others took meanwhile, in cores: programs on this machine, and other machines on this hardware."""
    others_s = (after.busy_s - before.busy_s) - (after.ours_s - before.ours_s)
    return {
        "others_cores": round(max(0.0, others_s) / wall_s, 3),
        "stolen_cores": round((after.stolen_s - before.stolen_s) / wall_s, 3),
    }


def _find(program: str) -> str | None:
    """Debian keeps nginx where an ordinary user's PATH does not look."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")


def tool(program: str) -> str:
    found = _find(program)
    assert found is not None, f"{program} is missing"
    return found


def provide_tools() -> str | None:
    """Installs what is missing when we may. Returns what is to be done when we may not."""
    missing = [package for program, package in TOOLS.items() if _find(program) is None]
    if not missing:
        return None
    by_hand = f"Missing: {', '.join(missing)}. On Debian: apt-get install {' '.join(missing)}"
    apt = shutil.which("apt-get")
    if os.geteuid() != 0 or apt is None:
        return by_hand
    print(f"installing {', '.join(missing)}", file=sys.stderr)
    done = subprocess.run(
        [apt, "install", "-y", "-q", "--no-install-recommends", *missing],
        # The run level keeps the package's script from starting a web server of its own.
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},  # noqa: TID251 (apt needs it)
        stdout=sys.stderr,
        check=False,
    )
    return None if done.returncode == 0 and all(_find(each) for each in TOOLS) else by_hand
