"""Gemini on both sides: what must be read and changed, nothing else decoded.

The model stands in the path, so a request is not changed for it. Every event states usage so far, and the last one of a
candidate its finish reason: such an event is TERMINAL even when it still brings content.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from wayport.core.errors import Fault
from wayport.core.usage import Usage
from wayport.dialects.dialect import Glance, Profile, Stated
from wayport.dialects.gemini_content_errors import fault_in_stream
from wayport.dialects.gemini_content_request import REMOVED, is_ours
from wayport.dialects.gemini_content_seals import without_seals
from wayport.dialects.gemini_content_usage import usage_of
from wayport.dialects.gemini_content_words import NAME, billed_tier, finish_of
from wayport.dialects.neutral import DialectName
from wayport.dialects.sealing import PREFIX_BYTES
from wayport.wire import patch, sse
from wayport.wire.gemini_content import SNAKE_OF, Object, UsageOnly, decode_object, decode_usage_only, encode
from wayport.wire.patch import Fields

_ERROR = re.compile(rb'(?:data:)?\s*\[?\s*\{\s*"error"\s*:')
_FINISH = re.compile(rb'"(?:finishReason|blockReason)"\s*:\s*"')
_NO_WORDS = re.compile(rb'"parts"\s*:\s*\[\s*(?:\{\s*"text"\s*:\s*""\s*\}\s*,?\s*)*\]')


class _Finish(Struct, rename="camel"):
    finish_reason: str | None = None


class _Block(Struct, rename="camel"):
    block_reason: str | None = None


class _Ends(Struct, rename="camel"):
    candidates: list[_Finish] = []
    prompt_feedback: _Block | None = None


_decode_ends = msgspec.json.Decoder(_Ends).decode


class GeminiPassthrough:
    """`Passthrough` of `gemini_content`."""

    name: DialectName = NAME
    removed: frozenset[str] = REMOVED

    def patch_request(
        self, fields: Fields, *, model: str, profile: Profile, want_usage: bool
    ) -> tuple[bytes, Sequence[str]]:
        del model, want_usage
        kept = {name: value for name, value in fields.items() if not is_ours(name)}
        contents = kept.get("contents")
        if contents is not None and bytes(contents).find(PREFIX_BYTES) >= 0:
            kept["contents"] = without_seals(contents)
        must_fit = profile.unsupported or profile.max_output_tokens is not None
        changed = _fit(kept, profile) if must_fit else []
        return patch.join(kept), changed

    def patch_response(self, body: bytes, *, model: str | None) -> tuple[bytes, Stated]:
        stated = _stated(body)
        if model is None:
            return body, stated
        return _renamed(body, model), stated

    def glance(self, event: bytes) -> Glance:
        if _FINISH.search(event) is not None and _ends(sse.parse(event).data):
            return Glance.TERMINAL
        if event.find(b'"parts"') >= 0 and _NO_WORDS.search(event) is None:
            return Glance.CONTENT
        if event.find(b'"error"') >= 0 and _ERROR.match(event) is not None:
            return Glance.ERROR
        return Glance.USAGE if event.find(b'"usageMetadata"') >= 0 else Glance.OPENING

    def passes(self, data: bytes, start: int) -> bool:
        return self.glance(data[start:]) is Glance.CONTENT

    def usage_of(self, event: bytes, before: Usage | None) -> Usage | None:
        return _usage(sse.parse(event).data, before)

    def fault_of(self, event: bytes) -> Fault:
        return fault_in_stream(sse.parse(event).data)

    def patch_event(self, event: bytes, *, model: str | None, keep_usage: bool) -> bytes:
        """Usage is part of every Gemini event and stays."""
        del keep_usage
        if model is None or event.find(b'"modelVersion"') < 0:
            return event
        parsed = sse.parse(event)
        return sse.write(_renamed(parsed.data, model), parsed.name)


def _renamed(body: bytes, model: str) -> bytes:
    fields = patch.split(body)
    if "modelVersion" not in fields:
        return body
    fields["modelVersion"] = patch.encode(model)
    return patch.join(fields)


def _ends(data: bytes) -> bool:
    try:
        seen = _decode_ends(data)
    except ValueError:
        return False
    if any(one.finish_reason is not None for one in seen.candidates):
        return True
    return not seen.candidates and seen.prompt_feedback is not None and seen.prompt_feedback.block_reason is not None


def _stated(body: bytes) -> Stated:
    try:
        seen: UsageOnly = decode_usage_only(body)
    except ValueError:
        return Stated()
    stated = Stated(_usage_in(seen, None), seen.response_id)
    if seen.usage_metadata is not None:
        stated.service_tier = billed_tier(seen.usage_metadata.service_tier, seen.usage_metadata.traffic_type)
    if seen.candidates and (word := seen.candidates[0].finish_reason) is not None:
        stated.finish = finish_of(word, calls=False)
    return stated


def _usage(data: bytes, before: Usage | None) -> Usage | None:
    """The counts that an answer or an event states; searches seen before are not forgotten."""
    if data.find(b'"usageMetadata"') < 0:
        return before
    try:
        seen: UsageOnly = decode_usage_only(data)
    except ValueError:
        return before
    return _usage_in(seen, before)


def _usage_in(seen: UsageOnly, before: Usage | None) -> Usage | None:
    if seen.usage_metadata is None:
        return before
    searches = 0 if before is None else before.web_search_requests
    for candidate in seen.candidates:
        if candidate.grounding_metadata is not None:
            searches = max(searches, len(candidate.grounding_metadata.web_search_queries))
    return usage_of(seen.usage_metadata, searches)


def _fit(fields: Fields, profile: Profile) -> list[str]:
    """Takes out what the target refuses, at the top level and in `generationConfig`, and lowers the output limit to the
    model's own; the names of what was changed, as the client spelled them.
    """
    refused = {*profile.unsupported, *(SNAKE_OF[name] for name in profile.unsupported if name in SNAKE_OF)}
    changed = [name for name in fields if name in refused]
    for name in changed:
        del fields[name]
    for key in ("generationConfig", "generation_config"):
        held = fields.get(key)
        if held is None:
            continue
        try:
            config = decode_object(held)
        except ValueError:
            continue
        inner = [name for name in config if name in refused]
        kept = {name: value for name, value in config.items() if name not in refused}
        inner += [name for name in _LIMITS if _lower(kept, name, profile.max_output_tokens)]
        if inner:
            fields[key] = Raw(encode(kept))
            changed.extend(f"{key}.{name}" for name in inner)
    return changed


_LIMITS = ("maxOutputTokens", "max_output_tokens")
_decode_int = msgspec.json.Decoder(int).decode


def _lower(config: Object, name: str, limit: int | None) -> bool:
    if limit is None or name not in config:
        return False
    try:
        above = _decode_int(config[name]) > limit
    except ValueError:
        return False
    if above:
        config[name] = Raw(encode(limit))
    return above
