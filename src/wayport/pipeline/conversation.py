"""What one call of the Responses API goes on from, and what of it is kept. Bytes only: where they come from is in turns.py."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from wayport.core.errors import Fault, ResponseNotFound
from wayport.core.turn import KeptConversation, KeptTurn
from wayport.dialects.neutral import Request
from wayport.dialects.openai_responses_frame import ECHO
from wayport.dialects.openai_responses_parts import is_text
from wayport.dialects.openai_responses_stored import Turn, input_items, with_references, with_turns
from wayport.routing.snapshot import Deployment
from wayport.wire import patch
from wayport.wire.openai_responses import EMPTY_LIST, LIST, NULL, OBJECT, STRING, TAG
from wayport.wire.patch import Fields

CONVERSATION = "conversation"
PREFIX = "conv_"
_PREVIOUS = "previous_response_id"
_TRUE = Raw(b"true")
# Items that a target takes without an id; its own tools' items it does not.
_ID_FREE = frozenset(
    {"message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output"}
)


class Conversation:
    """What one call of the Responses API goes on from."""

    __slots__ = (
        "_found",
        "_given",
        "_native_at",
        "_places",
        "_stateless",
        "earlier",
        "home",
        "must_keep",
        "stores",
        "tenant",
        "unknown",
    )

    def __init__(self) -> None:
        self.tenant = ""
        self.stores = False
        self.must_keep = False
        """an answer that cannot be kept is an error: `store: true` is written, or it belongs to a conversation of ours"""
        self.home: str | None = None
        """the conversation of ours to which the turn is added"""
        self.unknown: str | None = None
        """a conversation that is not ours: perhaps the target's"""
        self.earlier: tuple[KeptTurn, ...] = ()
        """oldest first"""
        self._given: Raw | None = None
        """the input, once the request is let go of"""
        self._found: dict[str, Raw] = {}
        """items that the request refers to"""
        self._places: dict[str, str | None] = {}
        self._native_at: str | None = None
        """the deployment that was last asked to go on from what it keeps itself"""
        self._stateless: set[str] = set()
        """deployments that did not know any more what they had been told"""

    # ------------------------------------------------------------------------------------------------- the request
    def learn(self, earlier: tuple[KeptTurn, ...]) -> int:
        """What the request goes on from; returns its size."""
        self.earlier = earlier
        return sum(len(turn.input) + len(turn.response) for turn in earlier)

    def learn_home(self, chain: tuple[KeptTurn, ...]) -> int:
        """The conversation that the request belongs to, and what was said in it; returns its size."""
        self.home = chain[-1].response_id
        self.must_keep = True
        return self.learn(turns_in(chain))

    def learn_items(
        self, wanted: Sequence[str], turns: Sequence[KeptTurn], places: dict[str, str | None]
    ) -> str | None:
        """The items that the request refers to; returns the first of them that is not known."""
        self._places = places
        for turn in turns:
            for raw in items_of(turn):
                item_id = OBJECT.decode(raw).get("id", NULL)
                if item_id != NULL and (name := STRING.decode(item_id)) in places:
                    self._found[name] = raw
        return next((name for name in wanted if name not in self._found), None)

    def told_whole(self, fields: Fields) -> Fields:
        """The request with all that it goes on from in its input, for a target that keeps nothing."""
        if self.unknown is not None:
            raise ResponseNotFound(f"Conversation with id '{self.unknown}' not found.", param=CONVERSATION)
        if self._found:
            fields = with_references(fields, self._found.get)
        if self.earlier:
            fields = with_turns(fields, [Turn(input=given_of(t), output=said_of(t)) for t in self.earlier])
        return fields

    def passed(self, fields: Fields, deployment: Deployment) -> Fields:
        """The request for a deployment of this dialect: as it is for the one that keeps the conversation itself."""
        if self.home is not None:
            fields = {name: value for name, value in fields.items() if name != CONVERSATION}
        if not self.earlier and not self._found:
            return fields
        if self._goes_on_at(deployment):
            self._native_at = deployment.id
            return with_references(fields, lambda name: self._unless_at(name, deployment.id))
        self._native_at = None
        if self._found:
            fields = self._carried(fields)
        if self.earlier:
            items = [
                carried for turn in self.earlier for raw in items_of(turn) if (carried := _portable(raw)) is not None
            ]
            rest = {name: value for name, value in fields.items() if name != _PREVIOUS}
            fields = {**rest, "input": patch.encode(items + _own_items(fields.get("input", NULL)))}
        return fields

    def _carried(self, fields: Fields) -> Fields:
        items: list[Raw] = []
        for raw in LIST.decode(fields["input"]):
            name = referred(raw)
            found = self._found.get(name) if name is not None else None
            if found is None:
                items.append(raw)
            elif (carried := _portable(found)) is not None:
                items.append(carried)
        return {**fields, "input": patch.encode(items)}

    def _goes_on_at(self, deployment: Deployment) -> bool:
        if deployment.id in self._stateless or _PREVIOUS in deployment.profile.unsupported:
            return False
        return not self.earlier or self.earlier[-1].deployment == deployment.id

    def _unless_at(self, name: str, deployment_id: str) -> Raw | None:
        return None if self._places.get(name) == deployment_id else self._found.get(name)

    def forgotten(self, deployment: Deployment, fault: Fault) -> bool:
        """Whether the deployment says that it does not know the conversation: then it is to be told all of it, once."""
        if self._native_at != deployment.id or fault.status not in {400, 404}:
            return False
        told = f"{fault.code} {fault.param} {fault.message}".lower()
        if _PREVIOUS not in told and "previous response" not in told and "not found" not in told:
            return False
        self._native_at = None
        self._stateless.add(deployment.id)
        return True

    def repeat(self, request: Request) -> None:
        """The answer of a target that was told the whole still says what it goes on from."""
        if self.earlier and self.home is None:
            name = patch.encode(self.earlier[-1].response_id)
            request.spelling[ECHO] = {**request.spelling.get(ECHO, {}), _PREVIOUS: name}

    # -------------------------------------------------------------------------------------------------- the answer
    def hold(self, fields: Fields) -> None:
        """Remembers of the request what is to be kept with its answer."""
        self._given = fields.get("input", NULL)

    def kept(self, response: bytes | Raw, *, deployment: str | None) -> tuple[KeptTurn, list[str], list[str]]:
        """The turn as it is kept, the ids of the answer's items and of the request's. Raises ValueError."""
        answer = OBJECT.decode(response)
        response_id = STRING.decode(answer["id"])
        given = input_items(with_references({"input": self._given or NULL}, self._found.get), response_id)
        said = LIST.decode(answer.get("output", EMPTY_LIST))
        turn = KeptTurn(
            response_id=response_id,
            previous_id=self.earlier[-1].response_id if self.earlier else None,
            # Servers that keep nothing have the API, too, and pass over `previous_response_id` in silence.
            deployment=deployment if answer.get("store") == _TRUE else None,
            input=bytes(patch.encode(given)),
            response=bytes(response),
        )
        return turn, ids_of(said), ids_of(given)


# -------------------------------------------------------------------------------------------------------- conversations
decode_conversation = msgspec.json.Decoder(KeptConversation).decode


def turns_in(chain: Sequence[KeptTurn]) -> tuple[KeptTurn, ...]:
    """What was said in a conversation (the last of its chain), without what was deleted from it."""
    *turns, head = chain
    gone = frozenset(decode_conversation(head.response).without)
    return tuple(turns) if not gone else tuple(_less(turn, gone) for turn in turns)


def _less(turn: KeptTurn, gone: frozenset[str]) -> KeptTurn:
    given = [raw for raw in given_of(turn) if gone.isdisjoint(ids_of([raw]))]
    said = [raw for raw in said_of(turn) if gone.isdisjoint(ids_of([raw]))]
    return replace(turn, input=bytes(patch.encode(given)), response=bytes(patch.encode({"output": said})))


# --------------------------------------------------------------------------------------------------------------- items
def items_of(turn: KeptTurn) -> list[Raw]:
    return given_of(turn) + said_of(turn)


def given_of(turn: KeptTurn) -> list[Raw]:
    return LIST.decode(turn.input)


def said_of(turn: KeptTurn) -> list[Raw]:
    output = OBJECT.decode(turn.response).get("output", NULL)
    return LIST.decode(output) if output != NULL else []


def status_of(turn: KeptTurn) -> str | None:
    status = OBJECT.decode(turn.response).get("status", NULL)
    return STRING.decode(status) if status != NULL else None


def ids_of(items: Sequence[Raw]) -> list[str]:
    ids = (OBJECT.decode(raw).get("id", NULL) for raw in items)
    return [STRING.decode(each) for each in ids if each != NULL]


def _own_items(given: Raw) -> list[Raw]:
    """A request's input as a list, its items as the client wrote them."""
    if given == NULL:
        return []
    return [patch.encode({"role": "user", "content": given})] if is_text(given) else LIST.decode(given)


def _portable(raw: Raw) -> Raw | None:
    """An item as a deployment takes it that did not say it: thoughts are bound to who thought them, ids to who gave them."""
    kind = TAG.decode(raw).type
    if kind == "reasoning":
        return None
    if kind not in _ID_FREE:
        return raw
    return Raw(patch.join({name: value for name, value in OBJECT.decode(raw).items() if name != "id"}))


def referred(raw: Raw) -> str | None:
    """The id in a reference to an item; None for an item that stands there itself."""
    tag = TAG.decode(raw)
    if tag.type not in {None, "item_reference"} or tag.role is not None:
        return None
    item_id = OBJECT.decode(raw).get("id", NULL)
    return STRING.decode(item_id) if item_id != NULL else None
