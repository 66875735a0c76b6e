"""The one mutable object of a request, filled in as the exchange goes on; fields are grouped by when they become true."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from wayport.access.admit import Reservation
from wayport.access.principal import Holder, Principal
from wayport.core.errors import WayportError
from wayport.core.net import Timeouts
from wayport.core.record import AttemptRecord, CallRecord
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


class Client(Protocol):
    """Who asked: gives the request's bytes and takes the answer's. See server/exchange.py."""

    body: bytes
    query: bytes
    path: str
    gone: bool
    started: bool
    bytes_out: int
    client: tuple[str, int]
    on_pause: Callable[[], None] | None
    on_resume: Callable[[], None] | None
    kept: "Kept | None"
    """where the answer's bytes are kept, if they are"""

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
    def end(self, data: bytes = b"") -> None: ...
    def release_body(self) -> None: ...


class Call:
    """One request from credential to cost."""

    __slots__ = (
        "asked_s",
        "attempts",
        "beside",
        "charged",
        "client",
        "content_bytes",
        "conversation",
        "cost",
        "deployment",
        "dialect",
        "dropped",
        "end_user",
        "ended",
        "error",
        "fields",
        "finish",
        "first_content_s",
        "id",
        "key_query",
        "lowered_to",
        "metadata",
        "model_asked",
        "neutral",
        "neutral_with",
        "open_slot",
        "operation",
        "parent_span_id",
        "plan",
        "principal",
        "record",
        "request_bytes",
        "reservation",
        "route",
        "service_tier",
        "session_id",
        "snapshot",
        "started_s",
        "steady_s",
        "stream",
        "tags",
        "thoughts_back",
        "timeouts",
        "trace_id",
        "upstream_id",
        "upstream_wait_s",
        "usage",
        "usage_source",
    )

    def __init__(
        self,
        client: Client,
        dialect: Dialect,
        *,
        call_id: str,
        operation: Operation,
        route: str,
        started_s: float,
        steady_s: float,
    ) -> None:
        # from the start
        self.client = client
        self.dialect = dialect
        self.id = call_id
        self.operation = operation
        self.route = route
        self.started_s = started_s
        self.steady_s = steady_s
        self.request_bytes = len(client.body)
        self.key_query = b""
        """the query string, on routes where the key may stand in it"""
        self.conversation: Conversation | None = None
        """what a call of the Responses API goes on from and is kept in"""
        # once the envelope is read
        self.fields: Fields = {}
        self.model_asked = ""
        self.stream = False
        self.neutral: Request | None = None
        self.neutral_with: Fields = {}
        """the deployment's parameters that are in it"""
        self.end_user: str | None = None
        self.beside: tuple[Holder, ...] = ()
        """its end user and its tags, as far as they bind it"""
        self.tags: list[str] = []
        """of the call itself; those of its key are the principal's"""
        self.session_id: str | None = None
        self.trace_id: str | None = None
        self.parent_span_id: str | None = None
        self.metadata: bytes | None = None
        """the client's metadata object as JSON, unless it is too large"""
        self.thoughts_back = 0
        """to how many tool calls of its history thoughts were put back that the client had dropped"""
        # once admitted
        self.principal: Principal | None = None
        self.snapshot: Snapshot | None = None
        self.plan: Plan | None = None
        self.reservation: Reservation | None = None
        """what it has taken of its limits and budgets"""
        self.open_slot = 0
        """where it stands among the calls under way; 0: nowhere"""
        self.charged: Reservation | None = None
        """the same, once it has been settled"""
        self.lowered_to: int | None = None
        """the output limit that it was given because no more is left of a budget"""
        # as attempts are made
        self.attempts: list[AttemptRecord] = []
        self.deployment: Deployment | None = None
        self.dropped: list[str] = []
        self.timeouts: Timeouts | None = None
        """of the present attempt; None: the deployment's own"""
        self.upstream_wait_s = 0.0
        self.asked_s = steady_s
        """steady seconds at which the present attempt was sent"""
        # as the answer passes
        self.first_content_s: float | None = None
        self.content_bytes = 0
        self.upstream_id: str | None = None
        self.finish: str | None = None
        self.service_tier: str | None = None
        self.usage: Usage | None = None
        self.usage_source: UsageSource = "none"
        # at the end
        self.cost: Cost | None = None
        self.error: WayportError | None = None
        self.ended = False
        self.record: CallRecord | None = None

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
