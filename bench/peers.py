"""Other gateways on the same harness: how each is installed, started and called.

Each is started with one upstream, priced as ours where it knows prices, otherwise as it comes. What keeps one from being
installed, started or measured is reported in its place.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.processes import Started, free_ports
from bench.targets import NotUsable, Target, wait_for

CACHE = Path("~/.cache/wayport-bench").expanduser()
_KEY = "sk-bench-" + "0123456789abcdef" * 2


class Launch(NamedTuple):
    command: Sequence[str]
    env: Mapping[str, str] = {}
    port: int | None = None
    """None: it chooses one and says so"""


class Peer(NamedTuple):
    name: str
    title: str
    origin: str
    """the package, and where it comes from"""
    note: str
    """what it does, and does not do, in this run"""
    program: str
    """a pattern in its directory; tells whether it is installed"""
    launch: Callable[[Path, Path, int], Launch]
    """its directory, a directory to write to, the upstream's port"""
    version: Callable[[Path], str]
    model: str = "bench"
    path: str = "/v1/chat/completions"
    headers: Callable[[int], Mapping[str, str]] = lambda _: {}
    """by the upstream's port"""

    def directory(self, cache: Path) -> Path:
        return cache / self.name

    def installed(self, cache: Path) -> bool:
        return any(self.directory(cache).glob(self.program))

    def install(self, cache: Path) -> str | None:
        """Returns why it failed."""
        directory = self.directory(cache)
        directory.mkdir(parents=True, exist_ok=True)
        kind, _, package = self.origin.partition(" ")
        if kind == "npm":
            npm = shutil.which("npm")
            if npm is None:
                return "npm is missing"
            steps = [[npm, "install", "--no-audit", "--no-fund", "--prefix", str(directory), package]]
        else:
            pip = [str(directory / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", package]
            steps = [[sys.executable, "-m", "venv", str(directory)], pip]
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                return f"installation failed: {' '.join((done.stdout + done.stderr)[-300:].split())}"
        return None if self.installed(cache) else f"{package} brings no {self.program}"


@contextmanager
def started(peer: Peer, cache: Path, directory: Path, *, upstream: int, core: int) -> Iterator[tuple[Target, float]]:
    """A running peer on its core, and the seconds from its execution to its first 200. Raises `NotUsable`."""
    directory.mkdir()
    launch = peer.launch(peer.directory(cache), directory, upstream)
    with Started(launch.command, log=directory / "log", core=core, env=launch.env) as process:
        port = launch.port
        if port is None:
            wait_for(peer.title, lambda: _said_port(process.log) is not None, at_most_s=60, alive=process.alive)
            port = _said_port(process.log)
            assert port is not None
        headers = {**peer.headers(upstream), "authorization": f"Bearer {_KEY}"}
        target = Target(name=peer.name, port=port, pids=process.pids, model=peer.model, path=peer.path, headers=headers)
        try:
            up_s = wait_for(peer.title, lambda: target.ask()[0] == 200, at_most_s=90, alive=process.alive)
            target.check()
        except NotUsable as error:
            raise NotUsable(f"{error}; it said: {process.tail()}") from error
        yield target, up_s - process.began_s


def _said_port(log: Path) -> int | None:
    found = re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text(errors="replace"))
    return int(found[1]) if found else None


# ------------------------------------------------------------------------------------------------------------ each one
def _python_version(package: str) -> Callable[[Path], str]:
    def version(directory: Path) -> str:
        code = f"from importlib.metadata import version; print(version({package!r}))"
        done = subprocess.run([directory / "bin/python", "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return version


def _litellm(home: Path, directory: Path, upstream: int) -> Launch:
    parameters = {
        "model": "openai/bench-model",
        "api_base": f"http://127.0.0.1:{upstream}/v1",
        "api_key": "sk-upstream",
        "input_cost_per_token": 0.0000025,
        "output_cost_per_token": 0.00001,
    }
    file = directory / "config.yaml"
    file.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "bench", "litellm_params": parameters}],
                "general_settings": {"master_key": _KEY},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    (port,) = free_ports(1)
    command = [str(home / "bin/litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    return Launch([*command, "--num_workers", "1"], port=port)


_TENSORZERO_START = """\
import sys, signal
from tensorzero import _start_http_gateway
gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False)
print(gateway.base_url, flush=True)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.pause()
"""

_TENSORZERO_CONFIG = """\
[gateway]
observability.enabled = false
[models.bench]
routing = ["mock"]
[models.bench.providers.mock]
type = "openai"
api_base = "http://127.0.0.1:{upstream}/v1"
model_name = "bench-model"
api_key_location = "none"
"""


def _tensorzero(home: Path, directory: Path, upstream: int) -> Launch:
    config, start = directory / "tensorzero.toml", directory / "start.py"
    config.write_text(_TENSORZERO_CONFIG.format(upstream=upstream))
    start.write_text(_TENSORZERO_START)
    return Launch([str(home / "bin/python"), str(start), str(config)])


def _ferro(home: Path, directory: Path, upstream: int) -> Launch:
    file = directory / "config.json"
    file.write_text(json.dumps({"strategy": {"mode": "single"}, "targets": [{"virtual_key": "openai"}]}))
    (port,) = free_ports(1)
    env = {
        "OPENAI_API_KEY": "sk-upstream",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{upstream}",
        "GATEWAY_CONFIG": str(file),
        "MASTER_KEY": _KEY,
        "PORT": str(port),
        # By default it lets one address make some calls per second.
        "RATE_LIMIT_RPS": "1000000",
        "RATE_LIMIT_BURST": "1000000",
    }
    return Launch([str(home / "bin/ferrogw"), "serve"], env, port)


_PORTKEY = "node_modules/@portkey-ai/gateway"


def _portkey(home: Path, _: Path, __: int) -> Launch:
    (port,) = free_ports(1)
    node = shutil.which("node") or "node"
    return Launch([node, str(home / _PORTKEY / "build/start-server.js"), "--headless", f"--port={port}"], port=port)


def _portkey_version(home: Path) -> str:
    return str(json.loads((home / _PORTKEY / "package.json").read_text())["version"])


PEERS = (
    Peer(
        name="litellm", title="LiteLLM", origin="PyPI litellm[proxy]", program="bin/litellm",
        note="master key, priced model, no database: spend is computed and not kept",
        launch=_litellm, version=_python_version("litellm"),
    ),
    Peer(
        name="tensorzero", title="TensorZero", origin="PyPI tensorzero", program="lib/python*/site-packages/tensorzero",
        note="no key, no price, observability off; the gateway runs inside a Python process, as that package brings it",
        launch=_tensorzero, version=_python_version("tensorzero"),
        model="tensorzero::model_name::bench", path="/openai/v1/chat/completions",
    ),
    Peer(
        name="ferro", title="Ferro", origin="PyPI ferrogw", program="bin/ferrogw",
        note="its rate limit set so high that it is never reached, stores in memory, no plug-ins",
        launch=_ferro, version=_python_version("ferrogw"), model="gpt-4o",
    ),
    Peer(
        name="portkey", title="Portkey", origin="npm @portkey-ai/gateway", program=_PORTKEY,
        note="as it comes: no key of its own, no price, keeps nothing",
        launch=_portkey, version=_portkey_version,
        headers=lambda upstream: {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1",
        },
    ),
)  # fmt: skip


def install(names: Sequence[str], cache: Path) -> None:
    """Installs those that are missing, each apart from all others and from us."""
    cache.mkdir(parents=True, exist_ok=True)
    for peer in PEERS:
        if peer.name not in names:
            continue
        if peer.installed(cache):
            print(f"{peer.title} {peer.version(peer.directory(cache))} is installed")
            continue
        print(f"installing {peer.origin} …", flush=True)
        failed = peer.install(cache)
        print(f"  {failed}" if failed else f"  {peer.version(peer.directory(cache))}")
