"""What ordinary calls share, worked out once: by the head that they come with, and by the model that they name.

A lane leads to one deployment. Where a model has several, each call chooses, and takes the lane that leads there.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from wayport.access.allow import allow, may_call
from wayport.access.authenticate import Authenticator
from wayport.access.principal import Principal
from wayport.core.errors import WayportError
from wayport.core.net import Timeouts
from wayport.core.secret import CREDENTIAL_NAMES
from wayport.dialects.dialect import Dialect, Passthrough
from wayport.pipeline import attribution, cache_points
from wayport.pipeline.admission import Admit, Standing
from wayport.pipeline.attempt import Attempt
from wayport.pipeline.betas import BETAS_HEADER
from wayport.pipeline.call import Client
from wayport.pipeline.pipeline import Pipeline
from wayport.pipeline.prepare import takes_no_addresses
from wayport.pipeline.targets import Target
from wayport.pipeline.thoughts import wants_back
from wayport.pipeline.tracing import TraceContext
from wayport.providers.provider import Operation
from wayport.routing import wishes
from wayport.routing.group import Candidate
from wayport.routing.routing import Routing
from wayport.routing.snapshot import Deployment
from wayport.routing.table import Found, RoutingTable
from wayport.upstream.headers import forwarded

_GROUNDS = 20_000
_WAYS = 16
_CALLERS = 10_000
_MOST = 16
"""deployments to choose among: a way to each of them is worked out"""
_NAME_BYTES = 1024
_BETAS: Final = BETAS_HEADER.encode()

_OF_INTEREST: Final = wishes.IN_BODY | CREDENTIAL_NAMES | {cache_points.FIELD}
"""fields that somebody on the long way looks at"""

_text = msgspec.json.Decoder(str).decode


class Known(Protocol):
    """A head that comes again."""

    caller: "Caller | None"
    """what is worked out of it alone"""


class Knowing(Client, Protocol):
    @property
    def known(self) -> Known | None:
        """Its head; None: it will not come again."""
        ...


class Lane(Struct, frozen=True, eq=False, gc=False):
    """What leads to one deployment, for all ordinary calls from one dialect."""

    deployment: Deployment
    candidate: Candidate
    target: Target
    upstream: Dialect
    """what is spoken with the target"""
    operation: Operation
    """by whose path"""
    passthrough: Passthrough | None
    """None: the client speaks another dialect"""
    of_interest: frozenset[str]
    """fields of requests that are not ordinary for it"""
    betas: bool
    """the target has its own mind about beta flags"""
    whole: Timeouts
    streamed: Timeouts | None
    """None: streams have a time to their first token, which needs a task, or an address of their own"""
    no_addresses: bool
    """media by address would have to be fetched for it"""


class Fan(Struct, frozen=True, eq=False, gc=False):
    """All that calls of one model in one dialect may come to."""

    lanes: dict[str, Lane]
    """by the deployment's id"""
    chooses: bool
    """each call chooses among several, or asks whether there is room"""
    of_interest: frozenset[str]
    """fields of requests that are not ordinary"""
    of_note: frozenset[str]
    """these, and those that say where a call comes from"""
    streams: bool
    """streams may be ordinary"""
    no_addresses: bool
    """media by address would have to be fetched for some of them"""


class Ground(Struct, frozen=True, eq=False, gc=False):
    """What all ordinary calls of one key to one model on one path have in common."""

    asked: str
    """the model, behind the key's aliases"""
    table: RoutingTable
    found: Found
    fan: Fan
    renames: str | None
    """the model's name in the answer, if it is not the upstream's"""
    standing: Standing | None
    """what binds them; None: nothing does"""
    compat: bool


class Way(Struct, frozen=True, eq=False, gc=False):
    """What all ordinary calls share that come with the same head, name the same model and go to the same deployment."""

    principal: Principal
    table: RoutingTable
    ground: Ground | None
    """None: none of them is ordinary"""
    lane: Lane | None = None
    """None: each chooses its own"""
    head: bytes = b""
    """of what is sent upstream"""
    trace: TraceContext | None = None
    """what each of them is told of"""
    branches: "dict[str, Way]" = {}
    """the ways to those that may be chosen"""


class Caller(Struct, frozen=True, eq=False, gc=False):
    """What a request's head says of the call."""

    path: str
    dialect: Dialect
    name: str
    """who it says to be, for the authenticator"""
    attributed: bool
    """it says where the call comes from"""
    stays: bool
    """it is kept with a head that comes again"""
    ways: dict[bytes, Way]
    """by the model as it stands in the body"""


class Lanes:
    """Finds them, and makes those that are new."""

    def __init__(
        self,
        *,
        paths: Mapping[str, Dialect],
        pipeline: Pipeline,
        authenticator: Authenticator,
        routing: Routing,
        admit: Admit,
        attempt: Attempt,
    ) -> None:
        self._paths = paths
        self._pipeline = pipeline
        self._named = authenticator.named
        self._routing = routing
        self._admit = admit
        self._attempt = attempt
        self._grounds: dict[tuple[str | None, str, bytes], tuple[Principal, Ground | None]] = {}
        self._fans: dict[tuple[str, str], Fan | None] = {}
        self._callers: dict[int, Caller] = {}
        """those that ways are known of, by their identity"""
        self._table: RoutingTable | None = None

    def caller(self, client: Knowing) -> Caller | None:
        """Worked out, and kept with a head that comes again. None: calls with such a head are not ordinary."""
        known, path = client.known, client.path
        dialect = self._paths.get(path)
        if dialect is None or not wishes.IN_HEAD.isdisjoint(client.headers):
            return None
        name = self._named(client.header)
        if name is None:
            return None
        attributed = not attribution.IN_HEAD.isdisjoint(client.headers)
        caller = Caller(path, dialect, name, attributed, known is not None, {})
        if known is not None:
            known.caller = caller
        return caller

    def forget(self) -> None:
        """What was worked out of a table that is no more is nobody's: it holds that table, and credentials of that time."""
        self._grounds.clear()
        self._fans.clear()
        for caller in self._callers.values():
            caller.ways.clear()
        self._callers.clear()

    def way(self, client: Client, caller: Caller, principal: Principal, model: bytes) -> Way:
        """Worked out, and kept in the place of one that holds no more. `model`: as it stands in the body."""
        table = self._pipeline.table
        if len(model) > _NAME_BYTES:
            return Way(principal, table, None)
        way = self._way(client, principal, table, self._ground_of(principal, caller, model))
        if len(caller.ways) >= _WAYS:
            caller.ways.clear()
        if caller.stays:
            self._callers[id(caller)] = caller
        caller.ways[model] = way
        return way

    def _way(self, client: Client, principal: Principal, table: RoutingTable, ground: Ground | None) -> Way:
        lanes = {} if ground is None else ground.fan.lanes
        if ground is None or (client.header(_BETAS) is not None and any(lane.betas for lane in lanes.values())):
            return Way(principal, table, None)
        ways = {}
        for name, lane in lanes.items():
            trace = None if b"\ntraceparent:" in lane.target.head else self._attempt.trace
            ways[name] = Way(principal, table, ground, lane, head_of(client, lane), trace)
        if ground.fan.chooses:
            return Way(principal, table, ground, branches=ways)
        (way,) = ways.values()
        return way

    def _ground_of(self, principal: Principal, caller: Caller, model: bytes) -> Ground | None:
        table = self._pipeline.table
        if table is not self._table or len(self._grounds) >= _GROUNDS or len(self._callers) >= _CALLERS:
            self._table = table
            self.forget()
        key = (principal.key_hash, caller.path, model)
        known = self._grounds.get(key)
        if known is not None and known[0] is principal:
            return known[1]
        try:
            ground = self._ground(principal, caller.path, caller.dialect, _text(model))
        except (WayportError, ValueError):
            # It is refused on the long way, which says why.
            ground = None
        self._grounds[key] = (principal, ground)
        return ground

    def _ground(self, principal: Principal, path: str, dialect: Dialect, asked: str) -> Ground | None:
        """None: such calls are not ordinary. Raises `WayportError` where they would be refused."""
        table = self._pipeline.table
        snapshot = table.snapshot
        if not asked or principal.ips or not may_call(principal, path) or ("tag" in principal.asks and principal.tags):
            return None
        asked = principal.aliases.get(asked, asked)
        found = table.find_or_all(asked, "chat")
        if found.auto:
            return None
        allow(principal, asked, found.name, groups=found.model.access_groups, compat=snapshot.compat)
        fan = self._fan_of(table, dialect, found)
        if fan is None:
            return None
        return Ground(
            asked=asked,
            table=table,
            found=found,
            fan=fan,
            renames=asked if snapshot.response_model == "requested" else None,
            standing=self._admit.standing(principal, asked, table=table, found=found),
            compat=snapshot.compat == "litellm",
        )

    def _fan_of(self, table: RoutingTable, dialect: Dialect, found: Found) -> Fan | None:
        """The same for every key."""
        key = (dialect.name, found.name)
        if key not in self._fans:
            self._fans[key] = self._fan(table, dialect, found)
        return self._fans[key]

    def _fan(self, table: RoutingTable, dialect: Dialect, found: Found) -> Fan | None:
        only = self._routing.only(found)
        candidates = self._routing.candidates(found) if only is None else (only,)
        if not 0 < len(candidates) <= _MOST or (only is None and table.mocked):
            return None
        lanes = {each.id: lane for each in candidates if (lane := self._lane(table, dialect, each)) is not None}
        if len(lanes) < len(candidates):
            return None
        of_interest = _OF_INTEREST.union(*(lane.of_interest for lane in lanes.values()))
        return Fan(
            lanes,
            only is None,
            of_interest,
            of_interest | attribution.IN_BODY,
            streams=all(lane.streamed is not None for lane in lanes.values()),
            no_addresses=any(lane.no_addresses for lane in lanes.values()),
        )

    def _lane(self, table: RoutingTable, dialect: Dialect, candidate: Candidate) -> Lane | None:
        deployment = candidate.deployment
        profile = deployment.profile
        if (
            not deployment.base_url
            or deployment.params
            or deployment.signed
            or deployment.follows
            or deployment.max_parallel is not None
            or profile.betas_in_body
        ):
            return None
        prepare, targets = self._attempt.prepare, self._attempt.targets
        upstream, operation = prepare.route(dialect, "chat", deployment)
        passthrough = dialect.passthrough if upstream is dialect else None
        try:
            target = targets.of(deployment, operation, stream=False)
            streams = targets.of(deployment, operation, stream=True)
        except WayportError:
            return None
        if target.betas or (passthrough is None and upstream is dialect):
            return None
        whole, streamed = _timeouts(deployment, table.snapshot.router.request_timeout_s)
        return Lane(
            deployment=deployment,
            candidate=candidate,
            target=target,
            upstream=upstream,
            operation=operation,
            passthrough=passthrough,
            # Some targets want back what led to their tool calls.
            of_interest=frozenset({"tools"} if passthrough is not None and wants_back(profile) else ()),
            betas=passthrough is not None and (profile.betas is not None or bool(profile.refused_betas)),
            whole=whole,
            streamed=streamed if streams.url == target.url else None,
            no_addresses=passthrough is not None and takes_no_addresses(profile),
        )


def head_of(client: Client, lane: Lane, lines: bytes = b"") -> bytes:
    """Of a request. `lines`: what the content asks for."""
    target = lane.target
    head = target.head + lines
    return head + forwarded(lane.upstream.name, client.header, taken=head, betas=target.takes_beta)


def _timeouts(deployment: Deployment, patience_s: float | None) -> tuple[Timeouts, Timeouts | None]:
    """Of whole answers and of streams, as the long way finds them for calls that wish nothing."""
    own = deployment.timeouts
    if patience_s is not None and (own.total_s is None or patience_s < own.total_s):
        own = replace(own, total_s=patience_s)
    if own.first_token_s is not None:
        return own, None
    return own, own if own.stream_idle_s is None else replace(own, idle_s=own.stream_idle_s)
