"""A call as routing looks at it: what it needs, where it was before, what its key may use. Worked out when asked for."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from wayport.access.allow import may_use
from wayport.access.refusals import model_denied
from wayport.pipeline.call import Call
from wayport.routing.affinity import prompt_key, response_key, session_key, stored_at
from wayport.routing.needs import SURE_BYTES_PER_TOKEN, Needs, needs_of
from wayport.routing.table import Found

_text = msgspec.json.Decoder(str).decode


class CallAsking:
    __slots__ = ("_call", "_needs")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._needs: Needs | None = None

    def needs(self) -> Needs:
        if self._needs is None:
            call = self._call
            self._needs = needs_of(call.fields, call.client.body, stream=call.stream)
        return self._needs

    def most_tokens(self) -> int:
        return len(self._call.client.body) // SURE_BYTES_PER_TOKEN

    def tags(self) -> Sequence[str]:
        call = self._call
        of_key = call.principal.tags if call.principal is not None else ()
        return [*call.tags, *of_key]

    def pins(self, found: Found, kinds: Sequence[str]) -> tuple[str, ...]:
        """The strongest first: what only one deployment has stored, then the session, then a prompt in the cache."""
        call = self._call
        keys: list[str] = []
        conversation = call.conversation
        if "response" in kinds and conversation is not None and conversation.earlier:
            place = conversation.earlier[-1].deployment
            if place is not None:
                keys.append(stored_at(place))
        elif "response" in kinds and (raw := call.fields.get("previous_response_id")) is not None:
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                keys.append(response_key(_text(raw)[:256]))
        if "session" in kinds:
            header = call.client.header(b"x-wayport-session-id")
            session = header[:256].decode("latin-1") if header is not None else call.session_id
            if session:
                keys.append(session_key(found.name, session))
        if "prompt_cache" in kinds and (key := prompt_key(found.name, call.fields)) is not None:
            keys.append(key)
        return tuple(keys)

    def region(self) -> str | None:
        """Where the end user's data may go; None: everywhere."""
        return next((holder.region.lower() for holder in self._call.beside if holder.region is not None), None)

    def check_fallbacks(self, models: Sequence[str]) -> None:
        """Raises `PermissionDenied`: LiteLLM refuses what we pass over."""
        call = self._call
        if call.principal is None or call.snapshot is None or call.snapshot.compat != "litellm":
            return
        for model in models:
            if not self.may_use(model):
                raise model_denied("litellm", model, call.principal.models)

    def may_use(self, model: str) -> bool:
        call = self._call
        principal, snapshot = call.principal, call.snapshot
        known = snapshot.models.get(model) if snapshot is not None else None
        groups = known.access_groups if known is not None else ()
        return principal is None or may_use(principal, model, groups, call.beside)
