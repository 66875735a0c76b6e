"""Wayport as it is measured: everything on, started by its own command line, its processes told apart."""

import http.client
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from bench.certificates import Certificates
from bench.processes import Memory, Started, command_line, cpu_s, memory, pin
from bench.targets import NotUsable, Target, answers, message_of, wait_for
from bench.wording import INPUT_TOKENS, OUTPUT_TOKENS

MASTER_KEY = "sk-bench-" + "0123456789abcdef" * 2
Role = Literal["worker", "control", "supervisor"]
_MODULES: tuple[tuple[str, Role], ...] = (("wayport.server.worker", "worker"), ("wayport.control.main", "control"))

_USD_PER_MILLION = (2.5, 10.0)
_BOUNDS = {"context_window": 128_000, "max_output_tokens": 4096}
"""a key with a budget may call only what is bounded"""

# The pool opens at most 1,024 connections to one origin: 2,000 streams need two.
TLS_STREAM_MODELS = ("tls-streams-0", "tls-streams-1")


class Ports(NamedTuple):
    """Where the mock upstreams listen."""

    whole: int
    whole_tls: int
    stamped: int
    """whole answers, each with an id of its own in its head"""
    streams: int
    streams_tls: tuple[int, int]


def config(ports: Ports, certificates: Certificates) -> dict[str, object]:
    """Priced models, the spool synced each second, a log line per call; JSON is YAML."""
    tls = {"ca_file": str(certificates.ca)}

    def openai(port: int, **rest: object) -> dict[str, object]:
        scheme = "https" if rest else "http"
        return {"api_base": f"{scheme}://127.0.0.1:{port}/v1", "api_key": "sk-upstream", **rest}

    def anthropic(port: int) -> dict[str, object]:
        return {"api_base": f"http://127.0.0.1:{port}", "api_key": "sk-upstream", "dialect": "anthropic_messages"}

    models = {
        "bench": "whole",
        "bench-tls": "whole_tls",
        "bench-stamped": "stamped",
        "streams": "streams",
        TLS_STREAM_MODELS[0]: "streams_tls_0",
        TLS_STREAM_MODELS[1]: "streams_tls_1",
        "translated": "anthropic_whole",
        "translated-streams": "anthropic_streams",
    }
    prices = dict(zip(("input", "output"), _USD_PER_MILLION, strict=True))
    return {
        "auth": {"master_key": MASTER_KEY},
        "providers": {
            "whole": openai(ports.whole),
            "whole_tls": openai(ports.whole_tls, tls=tls),
            "stamped": openai(ports.stamped),
            "streams": openai(ports.streams),
            "streams_tls_0": openai(ports.streams_tls[0], tls=tls),
            "streams_tls_1": openai(ports.streams_tls[1], tls=tls),
            "anthropic_whole": anthropic(ports.whole),
            "anthropic_streams": anthropic(ports.streams),
        },
        "models": {
            name: {"deployments": [{"model": f"{provider}/bench-model", "prices": prices, **_BOUNDS}]}
            for name, provider in models.items()
        },
        "spool": {"sync": "1s"},
        "logging": {"level": "info", "json": True},
        "server": {"drain_delay_s": 0, "grace_s": 1},
    }


class Start(NamedTuple):
    """Seconds from the execution of `wayport serve`."""

    alive_s: float
    """to the first 200 from /health/liveliness"""
    echo_s: float
    """to the first 200 from a chat call to the built-in model"""
    cpu_s: float
    """what all its processes had used by then; the control process is not ready yet and works on"""


class Journal(NamedTuple):
    calls: int
    """in the database"""
    records: int
    """more than calls where one that is bounded by a budget found no place among those under way"""
    backlog_bytes: int


class Gateway:
    """A running Wayport. Its data workers have a core of their own; the rest shares the load's."""

    def __init__(
        self, directory: Path, *, port: int, ports: Ports, certificates: Certificates, workers: int = 1
    ) -> None:
        self.port = port
        self.key = MASTER_KEY
        self._data_dir = directory / "data"
        file = directory / "config.yaml"
        file.write_text(json.dumps(config(ports, certificates)))
        command = [str(Path(sys.executable).with_name("wayport")), "serve"]
        command += [
            "--config",
            str(file),
            "--data-dir",
            str(self._data_dir),
            "--port",
            str(port),
            "--workers",
            str(workers),
        ]
        self.process = Started(command, log=directory / "wayport.log", env={"WAYPORT_MASTER_KEY": ""})
        self._pids: dict[Role, list[int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.process.stop()

    def started(self) -> Start:
        """Waits until it answers. Raises `NotUsable`."""
        body = b'{"model":"wayport/echo","messages":[{"role":"user","content":"Hello"}]}'
        headers = {"content-type": "application/json", **self._headers(MASTER_KEY)}
        alive_s = self._wait("Wayport is alive", lambda: answers(self.port, "GET", "/health/liveliness"))
        echo_s = self._wait(
            "Wayport answers a call",
            lambda: answers(self.port, "POST", "/v1/chat/completions", headers=headers, body=body),
        )
        return Start(alive_s - self.process.began_s, echo_s - self.process.began_s, cpu_s(self.process.pids()))

    def _wait(self, what: str, so: Callable[[], bool], *, at_most_s: float = 30.0) -> float:
        """Raises `NotUsable` with what Wayport said last."""
        try:
            return wait_for(what, so, at_most_s=at_most_s, alive=self.process.alive)
        except NotUsable as error:
            raise NotUsable(f"{error}; it said: {self.process.tail()}") from error

    def settle_in(self, *, gateway_core: int, load_core: int) -> None:
        """Waits for the control process and its database, tells the processes apart and pins them."""
        self._wait("Wayport's database is connected", lambda: self.journal() is not None)
        pids: dict[Role, list[int]] = {"worker": [], "control": [], "supervisor": [self.process.pid]}
        for pid in self.process.pids():
            line = command_line(pid)
            for module, role in _MODULES:
                if module in line:
                    pids[role].append(pid)
        if not pids["worker"] or not pids["control"]:
            raise NotUsable(f"Wayport's processes are not found: {pids}")
        self._pids = pids
        for role, found in pids.items():
            for pid in found:
                pin(pid, gateway_core if role == "worker" else load_core)

    # ------------------------------------------------------------------------------------------------------- asking
    def _headers(self, key: str) -> dict[str, str]:
        return {"authorization": f"Bearer {key}"}

    def admin(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"content-type": "application/json", **self._headers(MASTER_KEY)}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def use_virtual_key(self, limits: Mapping[str, float]) -> str | None:
        """Calls are made with a key that Wayport issued, as its users' are. Returns why not."""
        status, body = self.admin("POST", "/key/generate", {"key_alias": f"bench {time.time_ns()}", **limits})
        if status != 200:
            return f"{status} {message_of(body)}"
        self.key = json.loads(body)["key"]
        return None

    def journal(self) -> Journal | None:
        status, body = self.admin("GET", "/health/control")
        if status != 200 or (state := json.loads(body))["database"]["status"] != "connected":
            return None
        journal = state["journal"]
        return Journal(journal["inserted"], journal["records"], journal["backlog_bytes"])

    def drained(self, *, at_most_s: float = 60.0) -> Journal:
        """Waits until the journal is in the database. Raises `NotUsable`."""
        found: list[Journal] = []

        def empty() -> bool:
            time.sleep(0.1)  # each look costs what it measures
            journal = self.journal()
            if journal is None:
                return False
            found.append(journal)
            # Two looks alike: the spool's last bytes may still be on their way to where the backlog is read.
            return journal.backlog_bytes == 0 and found[-2:-1] == [journal]

        self._wait("Wayport's journal is in the database", empty, at_most_s=at_most_s)
        return found[-1]

    def target(self, model: str) -> Target:
        return Target(
            name="wayport",
            port=self.port,
            pids=lambda: self._pids["worker"],
            model=model,
            headers=self._headers(self.key),
            settled=self.drained,
        )

    # ------------------------------------------------------------------------------------------------------- counting
    def cpu_s(self, role: Role) -> float:
        return cpu_s(self._pids[role])

    def memory(self) -> Mapping[Role, Memory]:
        return {role: memory(pids) for role, pids in self._pids.items()}

    def calls_in_database(self) -> int:
        file = next(self._data_dir.glob("*.db"), None) or next(self._data_dir.glob("*.sqlite*"), None)
        if file is None:
            raise NotUsable(f"no database in {self._data_dir}")
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            (count,) = database.execute("SELECT count(*) FROM wayport_calls").fetchone()
        return int(count)

    def log_lines(self) -> int:
        with self.process.log.open("rb") as file:
            return sum(b'"event":"call"' in line for line in file)

    def settled_log_lines(self) -> int:
        """Once no more are coming: they are written behind the calls."""
        before = -1
        while (lines := self.log_lines()) != before:
            before = lines
            time.sleep(1.0)  # several times as long as lines are collected for
        return lines


def expected_cost_usd() -> float:
    """What the upstream's usage costs at the configured prices."""
    dollars_in, dollars_out = _USD_PER_MILLION
    return (INPUT_TOKENS * dollars_in + OUTPUT_TOKENS * dollars_out) / 1e6
