"""Legacy completions' answers: texts, whole and streamed.

What must stay true: an answer of this dialect comes out as equal JSON; of another dialect's answer a client sees its text.
"""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from wayport.core.errors import BadRequest, UpstreamFault
from wayport.core.usage import Usage
from wayport.dialects import openai_read as read
from wayport.dialects.neutral import (
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Delta,
    Ended,
    Extras,
    Failed,
    FinishReason,
    LogprobsAdded,
    Part,
    Pinged,
    Refusal,
    Request,
    Response,
    Started,
    Text,
    TokenLogprob,
    UsageReported,
)
from wayport.dialects.openai_chat_fault import error_body
from wayport.dialects.openai_chat_message import read_finish, write_finish
from wayport.dialects.openai_chat_usage import read_usage, write_usage
from wayport.dialects.openai_read import Object, encode, is_null
from wayport.wire import patch, sse

Written = dict[str, Any]

NAME = "openai_completions"


# ----------------------------------------------------------------------------------------------------------- logprobs
class _Logprobs(Struct, frozen=True):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None = None
    text_offset: list[int] | None = None


_logprobs = msgspec.json.Decoder(_Logprobs)


def read_logprobs(raw: Raw) -> list[TokenLogprob] | None:
    """The tokens; None where they cannot be told in the neutral form (an echoed prompt's first has no probability)."""
    try:
        given = _logprobs.decode(raw)
    except ValueError:
        return None
    tops = given.top_logprobs or [{} for _ in given.tokens]
    if not len(given.tokens) == len(given.token_logprobs) == len(tops):
        return None
    return [
        TokenLogprob(token=token, logprob=logprob, top=[TokenLogprob(token=t, logprob=p) for t, p in top.items()])
        for token, logprob, top in zip(given.tokens, given.token_logprobs, tops, strict=True)
    ]


def write_logprobs(tokens: Iterable[TokenLogprob], offset: int) -> Written:
    """`offset`: where the first token begins in the text."""
    written: Written = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token in tokens:
        written["tokens"].append(token.token)
        written["token_logprobs"].append(token.logprob)
        written["top_logprobs"].append({top.token: top.logprob for top in token.top})
        written["text_offset"].append(offset)
        offset += len(token.token)
    return written


# -------------------------------------------------------------------------------------------------------------- whole
def decode_response(body: bytes) -> Response:
    """Raises `ValueError` if the body is no completion."""
    try:
        given = patch.split(body)
        raw = given.pop("choices", None)
        if raw is None or bytes(raw)[:1] != b"[":
            raise ValueError("the answer has no list of choices")
        response = Response(dialect="openai_completions", id="", model="")
        for name in ("id", "model", "service_tier"):
            word = given.get(name)
            if word is not None and bytes(word)[:1] == b'"':
                setattr(response, name, read.text(word, name))
                del given[name]
        if bytes(given.get("object", b"")) == b'"text_completion"':
            del given["object"]
        created = given.pop("created", None)
        if created is not None and not is_null(created):
            response.created = int(read.number(created, "created"))
        usage = given.get("usage")
        if usage is not None and not is_null(usage):
            response.usage, response.usage_raw = read_usage(usage), Raw(bytes(usage))
            del given["usage"]
        response.choices = [
            _read_choice(read.fields(item, f"choices[{n}]"), n) for n, item in enumerate(read.items(raw, "choices"))
        ]
        response.extras = given
    except BadRequest as error:
        raise ValueError(error.message) from error
    return response


def _read_choice(given: Object, number: int) -> Choice:
    index = given.pop("index", None)
    choice = Choice(index=read.whole(index, "index") if index is not None else number)
    text = read.text(read.need(given, "text", f"choices[{number}]"), f"choices[{number}].text")
    del given["text"]
    choice.parts = [Text(text=text)]
    word = given.pop("finish_reason", None)
    if word is not None and not is_null(word):
        choice.finish_raw = read.text(word, "finish_reason")
        choice.finish = read_finish(choice.finish_raw, has_calls=False)
    logprobs = given.get("logprobs")
    if logprobs is not None and not is_null(logprobs):
        choice.logprobs = read_logprobs(logprobs)
        if choice.logprobs is not None and _as_before(choice.logprobs, logprobs):
            del given["logprobs"]
    choice.extras = given or None
    return choice


def _as_before(tokens: list[TokenLogprob], raw: Raw) -> bool:
    """Whether the tokens, written again, say what they were read from; else that is kept beside them."""
    return bool(write_logprobs(tokens, 0) == read.value(raw, "logprobs"))


def encode_response(response: Response) -> bytes:
    own = response.dialect == NAME
    body: Written = {
        "id": response.id,
        "object": "text_completion",
        "created": response.created or 0,
        "model": response.model,
        "choices": [_write_choice(choice, own=own) for choice in response.choices],
    }
    if own and response.usage_raw is not None:
        body["usage"] = response.usage_raw
    elif response.usage is not None:
        body["usage"] = write_usage(response.usage)
    if own:
        if response.service_tier is not None:
            body["service_tier"] = response.service_tier
        body.update(response.extras)
    return encode(body)


def text_of(parts: Iterable[Part]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Text | Refusal))


def _write_choice(choice: Choice, *, own: bool) -> Written:
    written: Written = {
        "index": choice.index,
        "text": text_of(choice.parts),
        "logprobs": write_logprobs(choice.logprobs, 0) if choice.logprobs else None,
        "finish_reason": _finish(choice.finish, choice.finish_raw, own=own),
    }
    if own:
        if "logprobs" not in (choice.extras or {}) and not choice.logprobs:
            del written["logprobs"]
        written.update(choice.extras or {})
    return written


def _finish(finish: FinishReason | None, word: str | None, *, own: bool) -> str | None:
    told = write_finish(finish, word, own=own)
    # There is no word for a call of tools, which a completion cannot make.
    return "stop" if told == "tool_calls" and not own else told


# ------------------------------------------------------------------------------------------------------------ streams
class CompletionStreamEncoder:
    def __init__(self, request: Request | None, response_id: str, created: int) -> None:
        self._include_usage = request is not None and request.include_usage
        self._own = False
        self._id = response_id
        self._created = created
        self._head = b""
        self._extras: Extras = {}
        self._said: dict[int, int] = {}
        self._tokens: dict[int, list[TokenLogprob]] = {}
        self._texts: set[tuple[int, int]] = set()
        self._usage: Usage | None = None
        self._usage_raw: Raw | None = None

    def feed(self, delta: Delta) -> bytes:
        match delta:
            case BlockDelta():
                is_text = (delta.choice, delta.block) in self._texts
                return self._chunk(delta.choice, delta.text) if is_text and delta.text else b""
            case BlockOpened(part=Text(text=text) | Refusal(text=text)):
                self._texts.add((delta.choice, delta.block))
                return self._chunk(delta.choice, text) if text else b""
            case Started():
                self._started(delta)
                return b""
            case LogprobsAdded(refusal=False):
                self._tokens.setdefault(delta.choice, []).extend(delta.tokens)
                return b""
            case ChoiceFinished():
                finish = _finish(delta.finish, delta.finish_raw or None, own=self._own)
                return self._chunk(delta.choice, "", finish=finish, extras=delta.extras if self._own else None)
            case UsageReported():
                self._usage, self._usage_raw = delta.usage, delta.raw
                return b""
            case Pinged():
                return sse.COMMENT
            case Failed():
                return sse.write(encode(error_body(UpstreamFault(delta.fault))))
            case Ended():
                return self._ended()
            case _:
                return b""

    def _started(self, delta: Started) -> None:
        self._own = delta.dialect == NAME
        created = self._created if delta.created is None else delta.created
        head = {"id": delta.id or self._id, "object": "text_completion", "created": created, "model": delta.model}
        self._head = encode({**head, **(delta.extras or {} if self._own else {})})[:-1]

    def _chunk(self, choice: int, text: str, *, finish: str | None = None, extras: Extras | None = None) -> bytes:
        tokens = self._tokens.pop(choice, None)
        said = self._said.get(choice, 0)
        self._said[choice] = said + len(text)
        entry: Written = {"text": text, "index": choice, "finish_reason": finish, **(extras or {})}
        if tokens or not self._own:
            entry["logprobs"] = write_logprobs(tokens, said) if tokens else None
        body = self._head + b',"choices":[' + encode(entry) + b"]}"
        return b"data: " + body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"

    def _ended(self) -> bytes:
        last = b""
        if self._include_usage and self._usage is not None:
            raw = self._usage_raw if self._own else None
            usage = bytes(raw) if raw is not None else encode(write_usage(self._usage))
            body = self._head + b',"choices":[],"usage":' + usage + b"}"
            last = b"data: " + body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n\n"
        return last + sse.DONE
