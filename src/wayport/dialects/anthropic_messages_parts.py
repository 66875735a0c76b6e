"""Content blocks of the Messages API to neutral parts and back: what both halves and the streams share.

A block is read as its top-level fields; those that the neutral form knows are decoded, the others stay as written in
the part's extras. Whole blocks that only this API knows become `Opaque`.
"""

from collections.abc import Callable

from msgspec import Raw

from wayport.dialects.anthropic_messages_fields import (
    EMPTY_LIST,
    ISSUER,
    NAME,
    NULL,
    Block,
    decode_source,
    encode_source,
    finish,
    id_from_wire,
    id_to_wire,
    is_string,
    need,
    optional_text,
    take_cache,
    take_citations,
    text_of,
    type_of,
)
from wayport.dialects.neutral import Document, Image, Media, Opaque, Part, Reasoning, Text, ToolCall, ToolResult
from wayport.wire import anthropic_messages as wire
from wayport.wire.patch import Fields

# Claude Code's first system block; it means something to Anthropic's billing and nothing to anybody else.
BILLING_HEADER = "x-anthropic-billing-header:"


def _document_text(source: Raw) -> str | None:
    """The text of a source of type `content` (a string, or text blocks); None for any other source."""
    fields = wire.decode_fields(source)
    if type_of(fields) != "content":
        return None
    content = need(fields, "content")
    if is_string(content):
        return wire.decode_str(content)
    blocks = wire.decode_blocks(content)
    return "\n\n".join(text_of(block, "text") for block in blocks if type_of(block) == "text")


# ------------------------------------------------------------------------------------------------------ blocks to parts
def _text(fields: Fields, raw: Raw) -> Part:
    del raw
    del fields["type"]
    text = text_of(fields, "text")
    citations = take_citations(fields)
    return Text(text=text, citations=citations, cache=take_cache(fields), extras=fields or None)


def _image(fields: Fields, raw: Raw) -> Part:
    media, rest = decode_source(need(fields, "source"))
    if media is None or rest:
        return Opaque(dialect=NAME, kind="image", raw=raw)
    del fields["type"]
    return Image(source=media, cache=take_cache(fields), extras=fields or None)


def _document(fields: Fields, raw: Raw) -> Part:
    source = need(fields, "source")
    media, rest = decode_source(source)
    del fields["type"]
    if media is None:
        text = _document_text(source)
        if text is None:
            return Opaque(dialect=NAME, kind="document", raw=raw)
        # Kept beside its text: blocks with cache markers or images among them have no neutral form.
        media = Media(kind="text", value=text)
        fields["source"] = source
    elif rest:
        return Opaque(dialect=NAME, kind="document", raw=raw)
    asked: bool | None = None
    if (citations := fields.get("citations")) is not None and citations != NULL:
        config = wire.decode_fields(citations)
        if config.keys() == {"enabled"}:
            asked = wire.decode_bool(config["enabled"])
            del fields["citations"]
    title = optional_text(fields, "title")
    context = optional_text(fields, "context")
    return Document(
        source=media, title=title, context=context, citations=asked, cache=take_cache(fields), extras=fields or None
    )


def _tool_use(fields: Fields, raw: Raw) -> Part:
    del raw
    del fields["type"]
    call_id = id_from_wire(text_of(fields, "id"))
    name = text_of(fields, "name")
    arguments = bytes(need(fields, "input")).decode()
    if arguments[:1] != "{":
        raise ValueError("input: must be an object")
    return ToolCall(id=call_id, name=name, arguments=arguments, cache=take_cache(fields), extras=fields or None)


def _tool_result(fields: Fields, raw: Raw) -> Part:
    del raw
    del fields["type"]
    call_id = id_from_wire(text_of(fields, "tool_use_id"))
    parts: list[Part] = []
    plain = False
    content = fields.get("content")
    if content is not None and content not in (NULL, EMPTY_LIST):
        del fields["content"]
        parts, plain = decode_content(content)
    is_error: bool | None = None
    if (flag := fields.get("is_error")) is not None and flag != NULL:
        is_error = wire.decode_bool(fields.pop("is_error"))
    return ToolResult(
        call_id=call_id,
        parts=parts,
        plain=plain,
        is_error=is_error,
        cache=take_cache(fields),
        extras=fields or None,
    )


def _thinking(fields: Fields, raw: Raw) -> Part:
    del raw
    del fields["type"]
    text = text_of(fields, "thinking")
    signature = optional_text(fields, "signature") or None
    return Reasoning(text=text, signature=signature, issuer=ISSUER, extras=fields or None)


def _redacted_thinking(fields: Fields, raw: Raw) -> Part:
    del raw
    del fields["type"]
    return Reasoning(redacted=text_of(fields, "data"), issuer=ISSUER, extras=fields or None)


def _search_result(fields: Fields, raw: Raw) -> Part:
    texts = [
        text_of(block, "text") for block in wire.decode_blocks(need(fields, "content")) if type_of(block) == "text"
    ]
    head = "\n".join(filter(None, (optional_text(fields, "title"), optional_text(fields, "source"))))
    return Opaque(dialect=NAME, kind="search_result", raw=raw, text="\n\n".join([head, *texts]))


def _compaction(fields: Fields, raw: Raw) -> Part:
    # The summary stands for all that went before it: without it another model would know nothing of the conversation.
    return Opaque(dialect=NAME, kind="compaction", raw=raw, text=optional_text(fields, "content"))


def _tool_reference(fields: Fields, raw: Raw) -> Part:
    return Opaque(
        dialect=NAME, kind="tool_reference", raw=raw, text=f"The tool {text_of(fields, 'tool_name')} is available."
    )


_known: dict[str, Callable[[Fields, Raw], Part]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted_thinking,
    "search_result": _search_result,
    "compaction": _compaction,
    "tool_reference": _tool_reference,
}


def decode_block(raw: Raw) -> Part:
    """Any content block. Raises `ValueError` that begins with the name of the wrong field."""
    fields = wire.decode_fields(raw)
    kind = type_of(fields)
    if not kind:
        raise ValueError("type: this field is required")
    decode = _known.get(kind)
    return decode(fields, raw) if decode else Opaque(dialect=NAME, kind=kind, raw=raw)


def decode_content(content: Raw) -> tuple[list[Part], bool]:
    """Content as a string or as blocks, and whether it was a string. Errors begin with the block's number."""
    if is_string(content):
        return [Text(text=wire.decode_str(content))], True
    parts: list[Part] = []
    for number, raw in enumerate(wire.decode_list(content)):
        try:
            parts.append(decode_block(raw))
        except ValueError as error:
            raise ValueError(f"{number}.{error}") from error
    return parts, False


def plain_parts(blocks: list[wire.TextBlock | wire.ThinkingBlock | wire.ToolUseBlock]) -> list[Part]:
    """The parts of an answer that holds nothing else. As `decode_content` reads them, and raises."""
    if len(blocks) == 1 and type(only := blocks[0]) is wire.TextBlock:
        return [Text(text=only.text)]
    return [_plain_part(block) for block in blocks]


def _plain_part(block: wire.TextBlock | wire.ThinkingBlock | wire.ToolUseBlock) -> Part:
    match block:
        case wire.TextBlock():
            return Text(text=block.text)
        case wire.ThinkingBlock():
            return Reasoning(text=block.thinking, signature=block.signature or None, issuer=ISSUER)
        case wire.ToolUseBlock():
            arguments = bytes(block.input).decode()
            if arguments[:1] != "{":
                raise ValueError("input: must be an object")
            return ToolCall(id=id_from_wire(block.id), name=block.name, arguments=arguments)


# ------------------------------------------------------------------------------------------------------ parts to blocks
def text_block(part: Text, *, own: bool) -> Block:
    block: Block = {"type": "text", "text": part.text}
    cited = [c for c in part.citations if c.dialect == NAME and c.raw is not None]
    if cited:
        block["citations"] = [c.raw for c in cited]
    return finish(block, part.cache, part.extras, own=own)


def thinking_block(part: Reasoning, *, own: bool) -> Block:
    """A thinking block that Anthropic issued."""
    if part.redacted is not None:
        block: Block = {"type": "redacted_thinking", "data": part.redacted}
    else:
        block = {"type": "thinking", "thinking": part.text, "signature": part.signature or ""}
    return finish(block, None, part.extras, own=own)


def own_document_block(part: Document) -> Block:
    """A document as it came, from its own dialect."""
    block: Block = {"type": "document", "source": encode_source(part.source)}
    add_document_facts(block, part)
    extras = part.extras
    if extras and (source := extras.get("source")) is not None and _document_text(source) != part.source.value:
        # A guardrail changed the text: what it read is what is sent.
        extras = {name: value for name, value in extras.items() if name != "source"}
    return finish(block, part.cache, extras, own=True)


def add_document_facts(block: Block, part: Document) -> None:
    if part.title is not None:
        block["title"] = part.title
    if part.context is not None:
        block["context"] = part.context
    if part.citations is not None:
        block["citations"] = {"enabled": part.citations}


def is_json(text: str) -> bool:
    try:
        wire.decode_raw(text)
    except ValueError:
        return False
    return True


def tool_input(call: ToolCall) -> Raw:
    """A call's arguments as the object that `input` must be. Text that is no object is wrapped, as Anthropic advises."""
    if call.kind == "custom":
        return Raw(wire.encode({"input": call.arguments}))
    arguments = call.arguments.strip()
    if not arguments:
        return Raw(b"{}")
    try:
        wire.decode_fields(arguments)
    except ValueError:
        return Raw(wire.encode({"INVALID_JSON": call.arguments}))
    return Raw(arguments.encode())


def tool_use_block(call: ToolCall, name: str, *, own: bool) -> Block:
    block: Block = {"type": "tool_use", "id": id_to_wire(call.id), "name": name, "input": tool_input(call)}
    return finish(block, call.cache, call.extras, own=own)
