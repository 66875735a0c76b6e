"""Reasoning in chat messages, in the four fields that are in use, and the carrying of what another dialect signed.

`reasoning_content` (DeepSeek and most), `reasoning` (Groq, OpenRouter, vLLM), `reasoning_details` (OpenRouter: typed and
signed) and `thinking_blocks` (LiteLLM: Anthropic's blocks). A `Reasoning` says in its extras how it was written:
`fields` (where its text stands, if not in `reasoning_content` alone), `details` and `block` (the rest of its entry).

What a client of this dialect is given of foreign reasoning: the text as `reasoning_content`, and what must survive the
round trip (signatures, encrypted and redacted thoughts) in `thinking_blocks`, sealed with its issuer's name unless it is
Anthropic's own, which stands there as LiteLLM writes it.
"""

from typing import Any

import msgspec
from msgspec import Raw

from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Profile
from wayport.dialects.neutral import BlockDelta, Issuer, Reasoning, append
from wayport.dialects.openai_chat_parts import write_thinking
from wayport.dialects.openai_read import Object, encode
from wayport.dialects.sealing import seal, unseal

Written = dict[str, Any]

TEXT_FIELDS = ("reasoning_content", "reasoning")
_STANDARD = ["reasoning_content"]

_ISSUER_OF_FORMAT: dict[str, Issuer] = {
    "anthropic-claude-v1": "anthropic",
    "openai-responses-v1": "openai",
    "azure-openai-responses-v1": "openai",
    "google-gemini-v1": "gemini",
}
_FORMAT_OF_ISSUER: dict[Issuer, str] = {
    "anthropic": "anthropic-claude-v1",
    "bedrock": "anthropic-claude-v1",
    "openai": "openai-responses-v1",
    "gemini": "google-gemini-v1",
}


class Sealed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What an envelope holds of a reasoning that is more than text and signature."""

    signature: str | None = None
    redacted: str | None = None
    encrypted: str | None = None
    id: str | None = None
    summary: list[str] | None = None


_sealed = msgspec.json.Decoder(Sealed)


# ------------------------------------------------------------------------------------------------------------ reading
def take_reasoning(message: Object, path: str) -> list[Reasoning]:
    """Takes the reasoning out of a message's fields. What says nothing, or says it twice in two ways, stays there."""
    texts: dict[str, str] = {}
    for name in TEXT_FIELDS:
        raw = message.get(name)
        if raw is not None and bytes(raw)[:1] == b'"' and len(bytes(raw)) > 2:
            texts[name] = read.text(raw, f"{path}.{name}")
    parts = _take_entries(message, path)
    told = "".join(text_of(part) for part in parts)
    fields = [name for name, text in texts.items() if not parts or text == told]
    if not parts and fields:
        if len(set(texts.values())) > 1:
            fields = fields[:1]
        parts = [Reasoning(text=texts[fields[0]])]
    for name in fields:
        del message[name]
    for part in parts:
        _mark_fields(part, fields)
    return parts


def _mark_fields(part: Reasoning, fields: list[str]) -> None:
    """Notes where the text stands, where that is not told by the part's other marks."""
    marks = part.extras or {}
    usual = [] if "details" in marks or "block" in marks else _STANDARD
    if fields != usual and text_of(part):
        part.extras = {**marks, "fields": Raw(encode(fields))}


def _take_entries(message: Object, path: str) -> list[Reasoning]:
    for name, reader in (("reasoning_details", read_detail), ("thinking_blocks", read_block)):
        raw = message.get(name)
        if raw is None or bytes(raw)[:1] != b"[" or read.is_empty(raw):
            continue
        at = f"{path}.{name}"
        parts = [reader(read.fields(item, f"{at}[{n}]"), f"{at}[{n}]") for n, item in enumerate(read.items(raw, at))]
        del message[name]
        return parts
    return []


def text_of(part: Reasoning) -> str:
    return part.text or "".join(part.summary or ())


def _string(entry: Object, name: str, path: str) -> str | None:
    raw = entry.get(name)
    if raw is None or bytes(raw)[:1] != b'"':
        return None
    del entry[name]
    return read.text(raw, f"{path}.{name}")


def read_detail(entry: Object, path: str) -> Reasoning:
    """One entry of `reasoning_details`; what is left of it is its mark."""
    text = _string(entry, "text", path)
    summary = _string(entry, "summary", path)
    issuer = _ISSUER_OF_FORMAT.get(bytes(entry.get("format", b"")).decode("utf-8", "replace").strip('"'), "other")
    part = Reasoning(
        text=text or "",
        summary=[summary] if summary is not None else None,
        signature=_string(entry, "signature", path),
        encrypted=_string(entry, "data", path),
        id=_string(entry, "id", path),
        issuer=issuer,
    )
    if text == "":
        entry["text"] = Raw(b'""')
    part.extras = {"details": Raw(encode(entry))}
    return part


def read_block(entry: Object, path: str) -> Reasoning:
    """One entry of `thinking_blocks`: Anthropic's own, or an envelope of ours."""
    text = _string(entry, "thinking", path) or ""
    signature = _string(entry, "signature", path)
    data = _string(entry, "data", path)
    envelope = unseal(signature or data or "")
    if envelope is None:
        issuer: Issuer | None = "anthropic" if signature or data else None
        part = Reasoning(text=text, signature=signature, redacted=data, issuer=issuer)
    else:
        part = _opened(text, *envelope)
    part.extras = {"block": Raw(encode(entry))}
    return part


def _opened(text: str, issuer: Issuer, payload: str) -> Reasoning:
    if not payload.startswith("{"):
        return Reasoning(text=text, signature=payload, issuer=issuer)
    try:
        held = _sealed.decode(payload)
    except ValueError:
        return Reasoning(text=text, issuer=issuer)
    return Reasoning(
        text="" if held.summary is not None else text,
        summary=held.summary,
        signature=held.signature,
        redacted=held.redacted,
        encrypted=held.encrypted,
        id=held.id,
        issuer=issuer,
    )


# ------------------------------------------------------------------------------------------------------------ writing
def fields_of(part: Reasoning, *, own: bool) -> list[str]:
    """The message fields in which the part's text is written."""
    marks = (part.extras or {}) if own else {}
    if "fields" in marks:
        return read.texts(marks["fields"], "fields")
    return [] if "details" in marks or "block" in marks else _STANDARD


def write_reasoning(parts: list[Reasoning], *, own: bool) -> Written:
    """The message fields that tell a client of this reasoning. `own`: its extras are this dialect's."""
    written: Written = {}
    for part in parts:
        text = text_of(part)
        for name in fields_of(part, own=own):
            if text:
                written[name] = written.get(name, "") + text
        marks = (part.extras or {}) if own else {}
        if "details" in marks:
            written.setdefault("reasoning_details", []).append(write_detail(part))
        elif "block" in marks or needs_block(part):
            written.setdefault("thinking_blocks", []).append(write_block(part, own=own))
    return written


def needs_block(part: Reasoning) -> bool:
    """Whether something would be lost if a client got the text alone."""
    return bool(part.signature or part.redacted or part.encrypted)


def write_detail(part: Reasoning) -> Written:
    rest = read.fields(part.extras["details"], "details") if part.extras and "details" in part.extras else {}
    entry: Written = {}
    if "type" not in rest:
        kind = "encrypted" if part.encrypted or part.redacted else "summary" if part.summary is not None else "text"
        entry = {"type": f"reasoning.{kind}", "format": _FORMAT_OF_ISSUER.get(part.issuer or "other", "unknown")}
    if part.summary is not None:
        entry["summary"] = "".join(part.summary)
    elif part.text:
        entry["text"] = part.text
    for name, value in (("data", part.encrypted or part.redacted), ("signature", part.signature), ("id", part.id)):
        if value is not None:
            entry[name] = value
    return {**rest, **entry}


def write_block(part: Reasoning, *, own: bool) -> Written:
    rest = read.fields(part.extras["block"], "block") if own and part.extras and "block" in part.extras else {}
    simple = not (part.encrypted or part.id or part.summary is not None)
    if part.issuer in ("anthropic", None) and simple:
        if part.redacted is not None:
            return {**rest, "type": "redacted_thinking", "data": part.redacted}
        entry: Written = {"type": "thinking", "thinking": part.text}
        if part.signature is not None:
            entry["signature"] = part.signature
        return {**rest, **entry}
    if simple and part.signature is not None and part.redacted is None:
        payload = part.signature
    else:
        payload = encode(
            Sealed(
                signature=part.signature,
                redacted=part.redacted,
                encrypted=part.encrypted,
                id=part.id,
                summary=part.summary,
            )
        ).decode()
    sealed = seal(part.issuer or "other", payload)
    text = text_of(part)
    if text:
        return {**rest, "type": "thinking", "thinking": text, "signature": sealed}
    return {**rest, "type": "redacted_thinking", "data": sealed}


class ThoughtWriter:
    """Tells one reasoning to a client as it comes."""

    def __init__(self, part: Reasoning, *, own: bool) -> None:
        self._own = own
        self._part = msgspec.structs.replace(part, summary=list(part.summary) if part.summary is not None else None)
        self._fields = fields_of(part, own=own)
        marks: Object = (part.extras or {}) if own else {}
        self._is_detail = "details" in marks
        self._is_block = "block" in marks
        self._is_content = "type" in marks
        self._rest = (
            read.fields(marks[_ENTRY[self._is_detail]], "reasoning") if self._is_detail or self._is_block else {}
        )

    def opened(self) -> list[Written]:
        part = self._part
        if self._is_detail:
            told: Written = dict.fromkeys(self._fields, text_of(part)) if text_of(part) else {}
            return [{**told, "reasoning_details": [write_detail(part)]}]
        if self._is_content:
            return [{"content": [write_thinking(part)]}]
        return self._text(text_of(part))

    def _text(self, text: str) -> list[Written]:
        if not text:
            return []
        if self._is_block and not self._fields:
            # Its text stands in the blocks alone, so that they are told in pieces.
            return [{"thinking_blocks": [{**self._rest, "type": "thinking", "thinking": text}]}]
        return [dict.fromkeys(self._fields, text)] if self._fields else []

    def more(self, delta: BlockDelta) -> list[Written]:
        append(self._part, delta)
        if self._is_detail:
            return [self._more_detail(delta)]
        if self._is_content:
            piece = Reasoning(text=delta.text, signature=delta.signature)
            return [{"content": [write_thinking(piece)]}]
        return self._text(delta.text)

    def _more_detail(self, delta: BlockDelta) -> Written:
        entry: Written = dict(self._rest)
        if delta.text:
            entry["summary" if delta.summary_index is not None else "text"] = delta.text
        if delta.signature is not None:
            entry["signature"] = delta.signature
        if delta.encrypted is not None:
            entry["data"] = delta.encrypted
        told: Written = dict.fromkeys(self._fields, delta.text) if delta.text else {}
        return {**told, "reasoning_details": [entry]}

    def closed(self, whole: Reasoning | None) -> list[Written]:
        """What only the end can tell: the signed block. `whole`: the part as its end states it."""
        if self._is_detail or self._is_content:
            return []
        part = whole or self._part
        if self._is_block and not self._fields and text_of(part):
            if part.signature is None:
                return []
            return [
                {"thinking_blocks": [{**self._rest, "type": "thinking", "thinking": "", "signature": part.signature}]}
            ]
        is_block = self._is_block or (self._own and whole is not None and "block" in (whole.extras or {}))
        if is_block or needs_block(part):
            return [{"thinking_blocks": [write_block(part, own=self._own)]}]
        return []


_ENTRY = {True: "details", False: "block"}


# ---------------------------------------------------------------------------------------------------- to an upstream
def reasoning_back(parts: list[Reasoning], profile: Profile, *, wanted: bool, required: bool, own: bool) -> Written:
    """The fields in which an upstream gets earlier reasoning again. What another issuer signed never goes as text.

    `wanted`: the message stands in a turn for which the target wants it; `required`: it refuses the message without.
    What a client of this dialect wrote in the target's own field goes there in any case: it knows whom it speaks with.
    """
    field = profile.reasoning_field
    wanted = wanted and profile.reasoning_back != "never"
    if field == "thinking_blocks":
        blocks = [
            write_block(p, own=own) for p in parts if p.issuer == "anthropic" and (wanted or _has(p, "block", own=own))
        ]
        return {"thinking_blocks": blocks} if blocks else {}
    if field == "reasoning_details":
        return _details_back([p for p in parts if wanted or _has(p, "details", own=own)], own=own)
    if field not in TEXT_FIELDS:
        return {}
    unsigned = [part for part in parts if part.issuer in (None, "other")]
    text = "".join(text_of(p) for p in unsigned if wanted or (own and field in fields_of(p, own=own)))
    if text:
        return {field: text}
    # DeepSeek and Kimi refuse a tool turn without the field, and an empty one too; another issuer's thoughts are not
    # theirs to read.
    return {field: " "} if required else {}


def _has(part: Reasoning, mark: str, *, own: bool) -> bool:
    return own and part.extras is not None and mark in part.extras


def _details_back(parts: list[Reasoning], *, own: bool) -> Written:
    if not parts:
        return {}
    written: Written = {"reasoning_details": [write_detail(part) for part in parts]}
    told = [part for part in parts if own and "reasoning" in fields_of(part, own=own)]
    if told:
        written["reasoning"] = "".join(text_of(part) for part in told)
    return written
