"""Usage, log probabilities and sources of a Gemini answer, to and from the neutral form."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from wayport.core.usage import Usage
from wayport.dialects.gemini_content_parts import Json
from wayport.dialects.gemini_content_words import billed_tier, traffic_of
from wayport.dialects.neutral import Citation, Part, Text, TokenLogprob
from wayport.wire.gemini_content import ModalityTokenCount, UsageMetadata, decode_usage, encode

# ------------------------------------------------------------------------------------------------------------- usage


def read_usage(raw: Raw, searches: int = 0) -> tuple[Usage | None, str | None]:
    """Counts and service tier of a `usageMetadata` object, if it is one. `searches`: how often the model looked up."""
    try:
        given = decode_usage(raw)
    except ValueError:
        return None, None
    return usage_of(given, searches), billed_tier(given.service_tier, given.traffic_type)


def usage_of(given: UsageMetadata, searches: int = 0) -> Usage:
    """Google counts thoughts apart from the answer, and server tools' results apart from the prompt."""
    usage = Usage(
        input_tokens=given.prompt_token_count + given.tool_use_prompt_token_count,
        output_tokens=given.candidates_token_count + given.thoughts_token_count,
        cache_read_tokens=given.cached_content_token_count,
        tool_input_tokens=given.tool_use_prompt_token_count,
        reasoning_tokens=given.thoughts_token_count,
        web_search_requests=searches,
    )
    for one in given.prompt_tokens_details or ():
        if one.modality == "AUDIO":
            usage.audio_input_tokens += one.token_count
        elif one.modality == "IMAGE":
            usage.image_input_tokens += one.token_count
        elif one.modality == "VIDEO":
            usage.video_input_tokens += one.token_count
    for one in given.cache_tokens_details or ():
        if one.modality == "AUDIO":
            usage.audio_cache_read_tokens += one.token_count
        elif one.modality == "IMAGE":
            usage.image_cache_read_tokens += one.token_count
    for one in given.candidates_tokens_details or ():
        if one.modality == "AUDIO":
            usage.audio_output_tokens += one.token_count
        elif one.modality == "IMAGE":
            usage.image_output_tokens += one.token_count
    return usage


def write_usage(usage: Usage, tier: str | None) -> UsageMetadata:
    """Another upstream's counts in Google's names."""
    answer = usage.output_tokens - usage.reasoning_tokens
    return UsageMetadata(
        prompt_token_count=usage.input_tokens - usage.tool_input_tokens,
        candidates_token_count=answer,
        total_token_count=usage.total_tokens,
        traffic_type=traffic_of(tier),
        cached_content_token_count=usage.cache_read_tokens,
        thoughts_token_count=usage.reasoning_tokens,
        tool_use_prompt_token_count=usage.tool_input_tokens,
        prompt_tokens_details=_details(
            usage.input_tokens - usage.tool_input_tokens,
            AUDIO=usage.audio_input_tokens,
            IMAGE=usage.image_input_tokens,
            VIDEO=usage.video_input_tokens,
        ),
        cache_tokens_details=_details(
            usage.cache_read_tokens, AUDIO=usage.audio_cache_read_tokens, IMAGE=usage.image_cache_read_tokens
        ),
        candidates_tokens_details=_details(answer, AUDIO=usage.audio_output_tokens, IMAGE=usage.image_output_tokens),
    )


def _details(total: int, **kinds: int) -> list[ModalityTokenCount] | None:
    """Tokens by modality; None when all of them are text."""
    named = [ModalityTokenCount(modality=name, token_count=count) for name, count in kinds.items() if count]
    if not named:
        return None
    text = total - sum(one.token_count for one in named)
    return [ModalityTokenCount(modality="TEXT", token_count=text), *named] if text > 0 else named


# ----------------------------------------------------------------------------------------------------- log probabilities
class _Token(Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Top(Struct):
    candidates: list[_Token] = []


class _LogprobsResult(Struct, rename="camel"):
    chosen_candidates: list[_Token] = []
    top_candidates: list[_Top] = []


_decode_logprobs = msgspec.json.Decoder(_LogprobsResult).decode


def read_logprobs(raw: Raw) -> list[TokenLogprob]:
    try:
        given = _decode_logprobs(raw)
    except ValueError:
        return []
    tops: Sequence[_Top] = given.top_candidates
    return [
        TokenLogprob(
            token=one.token,
            logprob=one.log_probability,
            top=[
                TokenLogprob(token=other.token, logprob=other.log_probability)
                for other in (tops[number].candidates if number < len(tops) else ())
            ],
        )
        for number, one in enumerate(given.chosen_candidates)
    ]


def merge_logprobs(pieces: Sequence[Raw]) -> Raw:
    """The log probabilities of a stream's events as one object."""
    if len(pieces) == 1:
        return pieces[0]
    merged: Json = {}
    for piece in pieces:
        for key, value in msgspec.json.decode(piece, type=dict[str, Any]).items():
            merged[key] = merged[key] + value if key in merged else value
    return Raw(encode(merged))


def write_logprobs(tokens: Iterable[TokenLogprob]) -> Json:
    chosen, tops = [], []
    for one in tokens:
        chosen.append({"token": one.token, "logProbability": one.logprob})
        tops.append({"candidates": [{"token": other.token, "logProbability": other.logprob} for other in one.top]})
    out: Json = {"chosenCandidates": chosen}
    if any(top["candidates"] for top in tops):
        out["topCandidates"] = tops
    return out


# ----------------------------------------------------------------------------------------------------------- sources
def searches_in(grounding: Raw) -> int:
    """How many searches a groundingMetadata object tells of: they are billed by the query."""
    with contextlib.suppress(ValueError):
        return len(msgspec.json.decode(grounding, type=_Queries).web_search_queries)
    return 0


class _Queries(Struct, rename="camel"):
    web_search_queries: list[str] = []


class _Segment(Struct, rename="camel", frozen=True):
    start_index: int = 0
    end_index: int | None = None
    text: str = ""


class _Support(Struct, rename="camel"):
    segment: _Segment = _Segment()
    grounding_chunk_indices: list[int] = []


class _Place(Struct, rename="camel"):
    uri: str | None = None
    source_uri: str | None = None
    title: str | None = None
    document_name: str | None = None


class _Chunk(Struct, rename="camel"):
    web: _Place | None = None
    maps: _Place | None = None
    image: _Place | None = None
    retrieved_context: _Place | None = None


class _Grounding(Struct, rename="camel"):
    grounding_chunks: list[_Chunk] = []
    grounding_supports: list[_Support] = []


_decode_grounding = msgspec.json.Decoder(_Grounding).decode


def read_sources(grounding: Raw, text: str) -> list[Citation]:
    """The sources that a groundingMetadata object names for `text`. Google counts bytes, the neutral form characters."""
    try:
        given = _decode_grounding(grounding)
    except ValueError:
        return []
    data = text.encode("utf-8", "surrogatepass")
    citations: list[Citation] = []
    cited: set[int] = set()
    for support in given.grounding_supports:
        start, end = _characters(data, text, support.segment)
        for index in support.grounding_chunk_indices:
            if 0 <= index < len(given.grounding_chunks):
                cited.add(index)
                citation = _citation(given.grounding_chunks[index])
                citation.cited_text = support.segment.text or None
                citation.start, citation.end = start, end
                citations.append(citation)
    citations.extend(_citation(chunk) for index, chunk in enumerate(given.grounding_chunks) if index not in cited)
    return citations


class _Recitation(Struct, rename="camel"):
    start_index: int = 0
    end_index: int | None = None
    uri: str | None = None
    title: str | None = None


class _Recitations(Struct, rename="camel"):
    citations: list[_Recitation] = []
    citation_sources: list[_Recitation] = []


_decode_recitations = msgspec.json.Decoder(_Recitations).decode


def read_recitations(metadata: Raw, text: str) -> list[Citation]:
    """What a citationMetadata object says of `text`: passages that stand in a source word for word."""
    try:
        given = _decode_recitations(metadata)
    except ValueError:
        return []
    data = text.encode("utf-8", "surrogatepass")
    citations = []
    for one in (*given.citations, *given.citation_sources):
        start, end = _characters(data, text, _Segment(start_index=one.start_index, end_index=one.end_index))
        cited = None if start is None else text[start:end]
        citations.append(
            Citation(kind="url", url=one.uri, title=one.title, cited_text=cited or None, start=start, end=end)
        )
    return citations


def _characters(data: bytes, text: str, segment: _Segment) -> tuple[int | None, int | None]:
    if segment.end_index is not None:
        piece = data[segment.start_index : segment.end_index].decode("utf-8", "ignore")
        if not segment.text or piece == segment.text:
            start = len(data[: segment.start_index].decode("utf-8", "ignore"))
            return start, start + len(piece)
    at = text.find(segment.text) if segment.text else -1
    return (at, at + len(segment.text)) if at >= 0 else (None, None)


def _citation(chunk: _Chunk) -> Citation:
    place = chunk.web or chunk.maps or chunk.image
    if place is not None:
        return Citation(kind="url", url=place.uri or place.source_uri, title=place.title)
    place = chunk.retrieved_context or _Place()
    kind = "url" if (place.uri or "").startswith(("http://", "https://")) else "file"
    return Citation(kind=kind, url=place.uri, title=place.title or place.document_name)


def write_sources(parts: Iterable[Part]) -> Json | None:
    """Grounding for the citations of another upstream; None when there are none."""
    chunks: list[Json] = []
    supports: list[Json] = []
    places: dict[tuple[str | None, str | None], int] = {}
    for number, part in enumerate(parts):
        if not isinstance(part, Text):
            continue
        for citation in part.citations:
            index = places.get((citation.url, citation.title))
            if index is None:
                index = places[citation.url, citation.title] = len(chunks)
                chunks.append(_chunk(citation))
            if citation.start is not None and citation.end is not None:
                supports.append(_support(part.text, citation, number, index))
    if not chunks:
        return None
    return {"groundingChunks": chunks, **({"groundingSupports": supports} if supports else {})}


def _chunk(citation: Citation) -> Json:
    place: dict[str, Any] = {"uri": citation.url, "title": citation.title}
    if citation.url is None:
        place["text"] = citation.cited_text
    place = {key: value for key, value in place.items() if value is not None}
    return {"web" if citation.url is not None else "retrievedContext": place}


def _support(text: str, citation: Citation, part: int, index: int) -> Json:
    start, end = citation.start or 0, citation.end or 0
    segment: Json = {
        "startIndex": len(text[:start].encode("utf-8", "surrogatepass")),
        "endIndex": len(text[:end].encode("utf-8", "surrogatepass")),
        "text": text[start:end],
    }
    if part:
        segment["partIndex"] = part
    return {"segment": segment, "groundingChunkIndices": [index]}
