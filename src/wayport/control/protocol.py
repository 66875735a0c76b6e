"""What workers and the control process say to each other: length-prefixed MessagePack over one Unix socket.

A request carries an id that its answer repeats. A message that one side does not know is passed over, so that both need
not be replaced at the same moment.
"""

import logging
import struct
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from wayport.access.principal import AskedFor, Holder, Principal
from wayport.core.lease import Claim, Grant
from wayport.core.probe import Probed
from wayport.core.turn import ConversationChange, FoundItems, KeptTurn
from wayport.observe.vitals import Vitals
from wayport.routing.news import News

log = logging.getLogger("wayport.control")

_LENGTH = struct.Struct("<I")
MAX_MESSAGE_BYTES = 256 * 1024 * 1024


class Hello(Struct, kw_only=True, frozen=True, tag="hello"):
    """The first message of a worker."""

    worker: int
    pid: int
    version: str
    writer: str = ""
    """of its spool: under this name it holds leases"""


class SnapshotPushed(Struct, kw_only=True, frozen=True, tag="snapshot"):
    """To workers: after their hello, and whenever there is a new one."""

    json: bytes


class PrincipalAsked(Struct, kw_only=True, frozen=True, tag="principal_asked"):
    id: int
    key_hash: str


class PrincipalAnswered(Struct, kw_only=True, frozen=True, tag="principal"):
    id: int
    principal: Principal | None = None
    unavailable: str | None = None
    """why it cannot be known now; then `principal` means nothing"""


class Invalidated(Struct, kw_only=True, frozen=True, tag="invalidated"):
    """To workers: what is remembered of these keys is wrong."""

    hashes: tuple[str, ...] = ()
    everything: bool = False
    holders: tuple[str, ...] = ()
    """end users and tags that have changed: `end_user:ann`"""


class DatabaseTold(Struct, kw_only=True, frozen=True, tag="database"):
    """To workers: how the database is, to show it."""

    status: str
    models: bool = False
    """whether the snapshot that was pushed before it has the stored models, as far as they can be known"""


class AsksTold(Struct, kw_only=True, frozen=True, tag="asks"):
    """To workers: about whom they must ask when the master key, or nobody's, calls. Of other keys each answer says it."""

    asks: tuple[AskedFor, ...] = ()


class HolderAsked(Struct, kw_only=True, frozen=True, tag="holder_asked"):
    """Whether an end user or a tag has limits."""

    id: int
    scope: AskedFor
    holder_id: str


class HolderAnswered(Struct, kw_only=True, frozen=True, tag="holder"):
    id: int
    holder: Holder | None = None
    unavailable: str | None = None


class Claimed(Struct, kw_only=True, frozen=True, tag="claimed"):
    """A worker states what it has of a limit and claims more. With `id` 0 no answer is wanted."""

    id: int
    claim: Claim


class Granted(Struct, kw_only=True, frozen=True, tag="granted"):
    id: int
    grant: Grant


class Recalled(Struct, kw_only=True, frozen=True, tag="recalled"):
    """To a worker: others need this. It states what it has, having given back what is free."""

    counter: str
    next_one: bool = False
    """one slot is needed: if none is free, the next that will be"""


class RoutingTold(Struct, kw_only=True, frozen=True, tag="routing"):
    """What one worker has learned of deployments, and all others are told."""

    news: News


class ProbeAsked(Struct, kw_only=True, frozen=True, tag="probe_asked"):
    """To a worker: asks a deployment whether it answers."""

    id: int
    deployment: str
    timeout_s: float


class ProbeAnswered(Struct, kw_only=True, frozen=True, tag="probe_answered"):
    id: int
    probed: Probed


class ProbedTold(Struct, kw_only=True, frozen=True, tag="probed"):
    """To workers: what the last probe of deployments has come to; None: they are not asked any more."""

    found: dict[str, Probed | None]


class TurnPut(Struct, kw_only=True, frozen=True, tag="turn_put"):
    """Keep this turn. Answered by `TurnsAnswered` when it is safe."""

    id: int
    tenant: str
    turn: KeptTurn
    said: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    conversation: str | None = None


class ChainAsked(Struct, kw_only=True, frozen=True, tag="chain_asked"):
    id: int
    tenant: str
    response_id: str


class ItemsAsked(Struct, kw_only=True, frozen=True, tag="items_asked"):
    id: int
    tenant: str
    item_ids: tuple[str, ...]


class TurnForgotten(Struct, kw_only=True, frozen=True, tag="turn_forgotten"):
    """Delete this turn."""

    id: int
    tenant: str
    response_id: str


class ConversationChanged(Struct, kw_only=True, frozen=True, tag="conversation_changed"):
    """Change this conversation."""

    id: int
    tenant: str
    conversation: str
    change: ConversationChange


class TurnsAnswered(Struct, kw_only=True, frozen=True, tag="turns"):
    """The answer to all five of these. `done`: what was asked for has happened."""

    id: int
    done: bool = False
    found: FoundItems = FoundItems()
    unavailable: str | None = None
    too_large: str | None = None
    """why the client must do with less"""
    param: str | None = None


class ThoughtsTold(Struct, kw_only=True, frozen=True, tag="thoughts_told"):
    """What led to tool calls that a worker has passed on. Not answered."""

    thoughts: dict[bytes, bytes]


class ThoughtsAsked(Struct, kw_only=True, frozen=True, tag="thoughts_asked"):
    id: int
    names: tuple[bytes, ...]


class ThoughtsFound(Struct, kw_only=True, frozen=True, tag="thoughts"):
    id: int
    thoughts: dict[bytes, bytes]


class VitalsTold(Struct, kw_only=True, frozen=True, tag="vitals"):
    """How a worker is doing. Not answered."""

    vitals: Vitals


TurnQuestion = TurnPut | ChainAsked | ItemsAsked | TurnForgotten | ConversationChanged
Message = (
    Hello
    | VitalsTold
    | SnapshotPushed
    | PrincipalAsked
    | PrincipalAnswered
    | Invalidated
    | DatabaseTold
    | AsksTold
    | TurnPut
    | ChainAsked
    | ItemsAsked
    | TurnForgotten
    | ConversationChanged
    | TurnsAnswered
    | HolderAsked
    | HolderAnswered
    | Claimed
    | Granted
    | Recalled
    | ThoughtsTold
    | ThoughtsAsked
    | ThoughtsFound
    | RoutingTold
    | ProbeAsked
    | ProbeAnswered
    | ProbedTold
)
Answer = PrincipalAnswered | TurnsAnswered | HolderAnswered | Granted | ThoughtsFound

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class MessageTooLarge(ValueError):
    """What came is not of this protocol, or what should go would not be taken for it."""


def frame(message: Message, max_bytes: int = MAX_MESSAGE_BYTES) -> bytes:
    """Raises `MessageTooLarge` for what the other side would not take."""
    payload = _encode(message)
    if len(payload) > max_bytes:
        raise MessageTooLarge(f"a message of {len(payload)} bytes")
    return _LENGTH.pack(len(payload)) + payload


class Frames:
    """Cuts a stream of bytes into messages, however they arrive."""

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> Iterator[Message]:
        """Raises `MessageTooLarge` where the other side speaks something else."""
        self._buffer += data
        while (payload := self._next()) is not None:
            try:
                message = _decode(payload)
            except msgspec.DecodeError as error:
                log.warning("a message was not understood", extra={"error": str(error)})
            else:
                yield message

    def _next(self) -> bytes | None:
        buffer = self._buffer
        if len(buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(buffer)
        if length > self._max_bytes:
            raise MessageTooLarge(f"a message of {length} bytes")
        end = _LENGTH.size + length
        if end > len(buffer):
            return None
        payload = bytes(buffer[_LENGTH.size : end])
        # Cutting the front off a bytearray moves no bytes.
        del buffer[:end]
        return payload
