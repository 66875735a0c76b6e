"""What passthrough must do to a chat request for one target, worked out once per profile.

Most requests need a new model name and nothing else. Where the target wants the content itself otherwise (another role,
no markers, reasoning sent back), the request is read and written anew instead: `Plan.minds_messages` and
`Plan.minds_fields` say so.
"""

import msgspec
from msgspec import UNSET, Raw

from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.openai_read import encode, is_null
from wayport.wire.openai_chat import OWN_FIELDS, MessageGlimpse, messages_glimpse_decoder
from wayport.wire.patch import Fields

_LIMITS = ("max_tokens", "max_completion_tokens")
_THINKING = frozenset(("reasoning_effort", "thinking", "reasoning"))
_number: msgspec.json.Decoder[int | float] = msgspec.json.Decoder(int | float)
_REQUIRED = b'"required"'
_LIST = 0x5B
_MARKER = b'"cache_control"'
_SIGNATURE = b'"thought_signature"'


class Plan:
    """The work for one profile. `touches`: the fields that call for any. `plain`: those that are known and call for none,
    whatever they say.
    """

    def __init__(self, profile: Profile, *, limit: str | None = None) -> None:
        """`limit`: the name of the output limit, where the profile's is not meant."""
        self.profile = profile
        self.stream_usage = profile.stream_usage and "stream_options" not in profile.unsupported
        self._limit = limit or profile.max_tokens_field
        self._any_limit = self._limit == "any"
        if self._any_limit:
            self._limit = _LIMITS[1]
        self._other_limit = _LIMITS[1] if self._limit == _LIMITS[0] else _LIMITS[0]
        self._constants = {name: Raw(encode(value)) for name, value in profile.constants.items()}
        self._efforts = frozenset(encode(effort) for effort in profile.reasoning_efforts)
        self.always = bool(profile.constants or profile.default_max_tokens is not None)
        touches = {*profile.unsupported, *profile.exclusive, *profile.renames}
        if not self._any_limit or profile.max_output_tokens is not None:
            touches.add(self._other_limit)
        if profile.max_output_tokens is not None:
            touches.add(self._limit)
        if profile.temperature_max is not None:
            touches.add("temperature")
        if not profile.tool_choice_required:
            touches.add("tool_choice")
        if not profile.stream_usage:
            touches.add("stream_options")
        self.touches = frozenset(touches)
        self._rewritten = self._fields_to_rewrite()
        self.plain = OWN_FIELDS - self.touches - self._rewritten
        if not profile.cache_markers:
            self.plain -= {"tools"}
        self._unwanted = self._unwanted_in_answers()
        self._no_developer = profile.system_role != "developer"
        self._only_user = profile.system_role == "user"
        self._minds_ids = profile.tool_id_chars > 0
        self._needed = (
            profile.reasoning_field
            if profile.reasoning_back == "tool_turns" and profile.reasoning_field in ("reasoning_content", "reasoning")
            else None
        )

    # -- whether the content must change ----------------------------------------------------------------------------
    def _fields_to_rewrite(self) -> frozenset[str]:
        profile = self.profile
        names = set(profile.unsupported_reasoning - profile.unsupported)
        if profile.reasoning is not None:
            names |= _THINKING
        if not profile.tools_with_reasoning or not profile.strict_tools:
            names.add("tools")
        if profile.json_schema not in ("native", "tool"):
            names.add("response_format")
        return frozenset(names)

    def _unwanted_in_answers(self) -> tuple[str, ...]:
        """Fields of an assistant's message that this target does not take."""
        profile = self.profile
        wanted = {profile.reasoning_field}
        if profile.reasoning_field == "reasoning_details":
            wanted.add("reasoning")
        names = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks")
        unwanted = [name for name in names if name not in wanted]
        if not profile.thought_signatures:
            unwanted += ["extra_content", "provider_specific_fields"]
        return tuple(unwanted)

    def minds_messages(self, fields: Fields) -> bool:
        """Whether the target wants the messages otherwise than they are."""
        try:
            messages = messages_glimpse_decoder.decode(fields["messages"])
        except (ValueError, RecursionError, KeyError):
            messages = []
        if not messages:
            # Reading it whole says what is wrong, and where.
            return True
        first, profile = messages[0], self.profile
        for message in messages:
            if message.role != "user" and self._minds_role(message, is_first=message is first):
                return True
            content = message.content
            if content is not UNSET:
                given = bytes(content)
                if given[0] == _LIST and self._minds_list(given):
                    return True
            if message.cache_control is not UNSET and not profile.cache_markers:
                return True
        return False

    def minds_fields(self, fields: Fields) -> bool:
        """The same of what stands beside the messages."""
        if not self.profile.cache_markers and "tools" in fields and bytes(fields["tools"]).find(_MARKER) >= 0:
            return True
        if self._rewritten.isdisjoint(fields):
            return False
        return any(self._minds(name, fields[name]) for name in self._rewritten if name in fields)

    def _minds_role(self, message: MessageGlimpse, *, is_first: bool) -> bool:
        role = message.role
        if role in ("system", "developer"):
            if self._only_user or (role == "developer" and self._no_developer):
                return True
            return self.profile.one_system_message and not is_first
        return role == "assistant" and self._minds_answer(message)

    def _minds_list(self, content: bytes) -> bool:
        profile = self.profile
        return not profile.content_parts or (not profile.cache_markers and content.find(_MARKER) >= 0)

    def _minds_answer(self, message: MessageGlimpse) -> bool:
        for name in self._unwanted:
            if getattr(message, name) is not UNSET:
                return True
        calls = message.tool_calls
        if calls is UNSET or is_null(calls):
            return False
        if self._minds_ids or (self._needed is not None and getattr(message, self._needed) is UNSET):
            return True
        return not self.profile.thought_signatures and bytes(calls).find(_SIGNATURE) >= 0

    def _minds(self, name: str, raw: Raw) -> bool:
        if is_null(raw):
            return False
        value = bytes(raw)
        if name == "tools":
            return not self.profile.tools_with_reasoning or b'"strict"' in value
        if name == "response_format":
            return b'"json_schema"' in value
        if name == "reasoning_effort" and self.profile.reasoning in ("effort", "level"):
            return bool(self._efforts) and value not in self._efforts
        if name == "reasoning" and self.profile.reasoning == "reasoning_object":
            return False
        return not (name == "thinking" and self.profile.reasoning in ("thinking_flag", "budget", "adaptive"))

    # -- fields -----------------------------------------------------------------------------------------------------
    def apply(self, fields: Fields, dropped: list[str]) -> None:
        """Changes top-level fields in place; `dropped` gets the names of what was left out or lowered."""
        profile = self.profile
        if self._any_limit and self._other_limit in fields:
            self._lower(fields, self._other_limit, profile.max_output_tokens, dropped)
        elif self._other_limit in fields:
            limit = fields.pop(self._other_limit)
            # Both given: the newer name is the one that counts.
            if self._limit not in fields or self._limit == "max_tokens":
                fields[self._limit] = limit
        if self._limit in fields:
            self._lower(fields, self._limit, profile.max_output_tokens, dropped)
        elif profile.default_max_tokens is not None and self._other_limit not in fields:
            fields[self._limit] = Raw(b"%d" % profile.default_max_tokens)
        self._lower(fields, "temperature", profile.temperature_max, dropped)
        if not profile.tool_choice_required and bytes(fields.get("tool_choice", b"")) == _REQUIRED:
            fields["tool_choice"] = Raw(b'"auto"')
            dropped.append("tool_choice")
        if not profile.stream_usage and "stream_options" in fields:
            _forget_usage(fields)
        given = [name for name in profile.exclusive if name in fields]
        for name in given[1:]:
            if not is_null(fields.pop(name)):
                dropped += [name]
        for name in sorted(profile.unsupported & fields.keys()):
            raw = fields.get(name)
            if raw is None or is_kept_default(name, bytes(raw)):
                continue
            del fields[name]
            if name != "stream_options" and not is_default(name, bytes(raw)):
                dropped.append(name)
        for name, other in profile.renames.items():
            if name in fields:
                fields[other] = fields.pop(name)
        for name, raw in self._constants.items():
            fields.setdefault(name, raw)

    @staticmethod
    def _lower(fields: Fields, name: str, most: float | None, dropped: list[str]) -> None:
        raw = fields.get(name)
        if most is None or raw is None or is_null(raw):
            return
        try:
            wanted = _number.decode(raw)
        except ValueError:
            return
        if wanted > most:
            fields[name] = Raw(encode(most))
            dropped.append(name)


# What says no more than silence does. Targets that refuse a parameter take its default all the same (Groq and `n: 1`,
# OpenAI's reasoning models and `temperature: 1`), so that nothing need be taken out of such a request.
_KEPT_DEFAULTS = {
    "n": (b"1",),
    "tool_choice": (b'"auto"',),
    "temperature": (b"1", b"1.0"),
    "top_p": (b"1", b"1.0"),
    "presence_penalty": (b"0", b"0.0"),
    "frequency_penalty": (b"0", b"0.0"),
}
_DEFAULTS = {
    "logprobs": (b"false",),
    "parallel_tool_calls": (b"true",),
    "store": (b"false",),
    "response_format": (b'{"type":"text"}',),
    "service_tier": (b'"auto"', b'"default"'),
}


def is_kept_default(name: str, value: bytes) -> bool:
    return value in _KEPT_DEFAULTS.get(name, ())


def is_default(name: str, value: bytes) -> bool:
    """Whether leaving the parameter out changes nothing, and so need not be reported."""
    return value == b"null" or value in _DEFAULTS.get(name, ())


def _forget_usage(fields: Fields) -> None:
    options = fields.pop("stream_options")
    if is_null(options):
        return
    inner = read.fields(options, "stream_options")
    inner.pop("include_usage", None)
    if inner:
        fields["stream_options"] = Raw(encode(inner))


_ASK = b'{"include_usage":true}'


def ask_for_usage(fields: Fields) -> None:
    """Makes a stream end with its usage."""
    options = fields.get("stream_options")
    if options is None or is_null(options):
        fields["stream_options"] = Raw(_ASK)
        return
    inner = read.fields(options, "stream_options")
    if bytes(inner.get("include_usage", b"")) != b"true":
        inner["include_usage"] = Raw(b"true")
        fields["stream_options"] = Raw(encode(inner))
