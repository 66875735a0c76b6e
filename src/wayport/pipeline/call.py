"""The one mutable object of a request, filled in as the exchange goes on; fields are grouped by when they become true."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from wayport.access.admit import Reservation
from wayport.access.principal import Holder, Principal
from wayport.core.errors import WayportError
from wayport.core.net import Timeouts
from wayport.core.record import AttemptRecord
from wayport.core.usage import Usage, UsageSource
from wayport.dialects.dialect import Dialect
from wayport.dialects.neutral import Request
from wayport.ledger.pricing import Cost
from wayport.pipeline.conversation import Conversation
from wayport.providers.provider import Operation
from wayport.routing.plan import Plan
from wayport.routing.snapshot import Deployment, Snapshot
from wayport.wire.patch import Fields

if TYPE_CHECKING:
    from wayport.pipeline.bodies import Kept


PROBES_ROUTE = "/health"
"""of the calls that ask whether a deployment answers"""


class Client(Protocol):
    """Who asked: gives the request's bytes and takes the answer's. See server/exchange.py."""

    body: bytes
    query: bytes
    path: str
    started: bool
    client: tuple[str, int]
    on_pause: Callable[[], None] | None
    on_resume: Callable[[], None] | None
    kept: "Kept | None"
    """where the answer's bytes are kept, if they are"""

    @property
    def gone(self) -> bool: ...
    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Names in lower case."""
        ...

    @property
    def paused(self) -> bool: ...
    def header(self, name: bytes) -> bytes | None: ...
    def respond(self, status: int, head: bytes, body: bytes) -> None: ...
    def start(self, status: int, head: bytes) -> None: ...
    def write(self, data: bytes) -> None: ...
    def line(self) -> Callable[[bytes], None] | None: ...
    def end(self, data: bytes = b"") -> None: ...
    def release_body(self) -> None: ...


class Call(Struct, eq=False):
    """One request from credential to cost."""

    # A Struct, for its making: fifty fields are set by the dozen and not one by one.
    client: Client
    dialect: Dialect
    id: str
    operation: Operation
    route: str
    started_s: float
    steady_s: float
    asked_s: float
    """steady seconds at which the present attempt was sent; at first those of the call"""
    request_bytes: int
    key_query: bytes = b""
    """the query string, on routes where the key may stand in it"""
    conversation: Conversation | None = None
    """what a call of the Responses API goes on from and is kept in"""
    # once the envelope is read
    fields: Fields = {}
    model_asked: str = ""
    stream: bool = False
    neutral: Request | None = None
    neutral_with: Fields = {}
    """the deployment's parameters that are in it"""
    end_user: str | None = None
    beside: tuple[Holder, ...] = ()
    """its end user and its tags, as far as they bind it"""
    tags: list[str] = []
    """of the call itself; those of its key are the principal's"""
    session_id: str | None = None
    trace_id: str | None = None
    parent_span_id: str | None = None
    metadata: bytes | None = None
    """the client's metadata object as JSON, unless it is too large"""
    thoughts_back: int = 0
    """to how many tool calls of its history thoughts were put back that the client had dropped"""
    # once admitted
    principal: Principal | None = None
    snapshot: Snapshot | None = None
    plan: Plan | None = None
    reservation: Reservation | None = None
    """what it has taken of its limits and budgets"""
    open_slot: int = 0
    """where it stands among the calls under way; 0: nowhere"""
    charged: Reservation | None = None
    """the same, once it has been settled"""
    lowered_to: int | None = None
    """the output limit that it was given because no more is left of a budget"""
    # as attempts are made
    attempts: list[AttemptRecord] = []
    deployment: Deployment | None = None
    dropped: list[str] = []
    timeouts: Timeouts | None = None
    """of the present attempt; None: the deployment's own"""
    upstream_wait_s: float = 0.0
    # as the answer passes
    first_content_s: float | None = None
    content_bytes: int = 0
    said_tokens: int = 0
    """of the answer as we count them, where what the upstream states is not to be believed"""
    upstream_id: str | None = None
    finish: str | None = None
    service_tier: str | None = None
    usage: Usage | None = None
    usage_source: UsageSource = "none"
    # at the end
    cost: Cost | None = None
    error: WayportError | None = None
    ended: bool = False
    """it has a record, if somebody is known to have made it"""

    def __repr__(self) -> str:
        # It holds what was asked.
        return f"<Call {self.id}>"

    def release(self) -> None:
        """Lets go of the request: nothing needs it once an answer has begun."""
        self.fields = {}
        self.neutral = None
        self.client.release_body()

    def let_go(self) -> None:
        """It is over: undoes what makes a circle of it, so that its memory goes at once and no collector is needed."""
        self.release()
        self.plan = None
        error = self.error
        if error is not None:
            error.__traceback__ = error.__context__ = error.__cause__ = None


def began(
    client: Client,
    dialect: Dialect,
    *,
    call_id: str,
    operation: Operation,
    route: str,
    started_s: float,
    steady_s: float,
) -> Call:
    """A call that has just come in."""
    return Call(
        client, dialect, call_id, operation, route, started_s, steady_s, steady_s, request_bytes=len(client.body)
    )
