"""A client that keeps the answer to itself: for calls that we make of our own models."""

from collections.abc import Callable, Mapping

from wayport.pipeline.bodies import Kept


class Overheard:
    def __init__(
        self,
        body: bytes,
        *,
        path: str,
        headers: Mapping[bytes, bytes],
        client: tuple[str, int] = ("", 0),
        is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        """`is_gone`: whether nobody wants the answer any more."""
        self.body = body
        self.query = b""
        self.path = path
        self.started = False
        self.client = client
        self.on_pause: Callable[[], None] | None = None
        self.on_resume: Callable[[], None] | None = None
        self.kept: Kept | None = None
        self.paused = False
        self.headers = headers
        self.status = 0
        self.head = b""
        self.answer = b""
        self._is_gone = is_gone

    @property
    def gone(self) -> bool:
        return self._is_gone()

    def header(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        self.status, self.head, self.answer = status, head, body

    def start(self, status: int, head: bytes) -> None:
        self.started = True
        self.status, self.head = status, head

    def write(self, data: bytes) -> None:
        self.answer += data

    def line(self) -> None:
        return None

    def end(self, data: bytes = b"") -> None:
        self.answer += data

    def release_body(self) -> None:
        self.body = b""
