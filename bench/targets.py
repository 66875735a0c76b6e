"""What can be called and measured: a name, an address and the processes whose work is counted."""

import http.client
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.wording import TEXT, Pace, chat_body


class NotUsable(Exception):
    """What was to be measured does not start or answers wrongly; says why."""


@dataclass(kw_only=True)
class Target:
    name: str
    port: int
    pids: Callable[[], list[int]] = list
    """of the processes whose CPU time counts as its own"""
    model: str = "bench"
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    settled: Callable[[], object] = lambda: None
    """returns when nothing that it put off is left to do"""
    connections: int = 64
    """that are kept busy with whole calls"""

    def body(self, pace: Pace | None = None) -> bytes:
        return chat_body(self.model, pace)

    def request(self, pace: Pace | None = None) -> bytes:
        body = self.body(pace)
        head = [f"POST {self.path} HTTP/1.1", "host: 127.0.0.1", "content-type: application/json"]
        head += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*head, f"content-length: {len(body)}", "", ""]).encode() + body

    def ask(self, *, at_most_s: float = 30.0) -> tuple[int, dict[str, str], bytes]:
        """One call. Raises OSError and `http.client.HTTPException`."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=at_most_s)
        try:
            connection.request("POST", self.path, self.body(), {"content-type": "application/json", **self.headers})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def why_not(self, *, at_most_s: float) -> str | None:
        """Why a call does not succeed; None: it does."""
        try:
            status, _, body = self.ask(at_most_s=at_most_s)
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        return None if status == 200 else f"{status} {message_of(body)}"

    def check(self) -> dict[str, str]:
        """Whether it relays what the upstream says. Returns the answer's headers; raises `NotUsable`."""
        try:
            status, headers, body = self.ask()
        except (OSError, http.client.HTTPException) as error:
            raise NotUsable(f"{self.name} does not answer: {error}") from error
        if status != 200:
            raise NotUsable(f"{self.name} answers {status}: {body[:300].decode(errors='replace')}")
        answer = json.loads(body)
        content = answer["choices"][0]["message"]["content"]
        if content.strip() != TEXT.strip() or not answer.get("usage"):
            raise NotUsable(f"{self.name} does not give the upstream's answer: {body[:300].decode(errors='replace')}")
        return headers


def message_of(body: bytes) -> str:
    """What an answer says, as far as it fits into a line."""
    try:
        text = str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        text = body.decode(errors="replace")
    return " ".join(text.split())[:160]


def wait_for(
    what: str, usable: Callable[[], bool], *, at_most_s: float, alive: Callable[[], bool] = lambda: True
) -> float:
    """Asks again and again; returns when it was first so, on the `perf_counter` clock. Raises `NotUsable`."""
    end_s = time.perf_counter() + at_most_s
    while time.perf_counter() < end_s:
        try:
            if usable():
                return time.perf_counter()
        except (OSError, http.client.HTTPException):
            pass
        if not alive():
            raise NotUsable(f"{what}: its process ended by itself")
        time.sleep(0.002)
    raise NotUsable(f"{what}: not within {at_most_s:g} s")


def answers(port: int, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bool:
    """Whether that request gives 200. Raises OSError and `http.client.HTTPException`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body or None, dict(headers or {}))
        return connection.getresponse().status == 200
    finally:
        connection.close()
