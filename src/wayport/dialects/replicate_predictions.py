"""Replicate's predictions: a prompt in, pieces of text out; polled, or streamed as plain text events.

Models there have inputs of their own. What language models share is written (`prompt`, `system_prompt`, `max_tokens`,
`temperature` …); a conversation becomes one text, since most take no list of messages. Tools do not exist here.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from wayport.core.errors import Fault, FaultClass
from wayport.core.usage import Usage
from wayport.dialects.dialect import Dialect, Encoded, Headers, Profile, StreamDecoder
from wayport.dialects.neutral import (
    BlockClosed,
    BlockDelta,
    BlockOpened,
    Choice,
    ChoiceFinished,
    Delta,
    DialectName,
    Ended,
    Failed,
    FinishReason,
    Message,
    Request,
    Response,
    Started,
    Text,
)
from wayport.wire.sse import Event

_NAME: DialectName = "replicate_predictions"
_WAIT_S = 60
"""the longest that the API holds a request open for its result"""

_SPEAKER = {"user": "User", "assistant": "Assistant", "tool": "Tool"}


class Metrics(Struct, frozen=True):
    input_token_count: int | None = None
    output_token_count: int | None = None


class Prediction(Struct, frozen=True):
    id: str = ""
    model: str = ""
    status: str = ""
    output: Any = None
    error: Any = None
    metrics: Metrics | None = None


_prediction = msgspec.json.Decoder(Prediction)
_encode = msgspec.json.Encoder().encode


class Upstream:
    name: DialectName = _NAME

    def encode_request(self, request: Request, profile: Profile) -> Encoded:
        dropped: list[str] = []
        given = _input(request, dropped)
        for name in profile.unsupported & given.keys():
            dropped.append(name)
            del given[name]
        for name, other in profile.renames.items():
            if name in given:
                given[other] = given.pop(name)
        body: dict[str, Any] = {**profile.constants, "input": given}
        if request.stream:
            body["stream"] = True
        headers = {} if request.stream else {"prefer": f"wait={_WAIT_S}"}
        return Encoded(body=_encode(body), dropped=dropped, headers=headers)

    def decode_response(self, body: bytes) -> Response:
        prediction = _prediction.decode(body)
        if not prediction.id:
            raise ValueError("this is no prediction")
        text = _text(prediction.output)
        finish: FinishReason = "stop" if prediction.status == "succeeded" else "error"
        choice = Choice(parts=[Text(text=text)], finish=finish, finish_raw=prediction.status)
        usage = _usage(prediction)
        return Response(dialect=_NAME, id=prediction.id, model=prediction.model, choices=[choice], usage=usage)

    def stream_decoder(self) -> StreamDecoder:
        return Decoder()

    def decode_error(self, status: int, headers: Headers, body: bytes, profile: Profile) -> Fault:  # noqa: ARG002 (no prose to read)
        try:
            stated = msgspec.json.decode(body)
        except (ValueError, RecursionError):
            stated = None
        detail = stated.get("detail") or stated.get("title") if isinstance(stated, dict) else None
        try:
            retry_after_s = float(headers.get("retry-after", ""))
        except ValueError:
            retry_after_s = None
        return Fault(
            kind=_kind(status),
            status=status,
            message=str(detail or f"The upstream answered with status {status}.")[:2000],
            retry_after_s=retry_after_s,
        )


_KINDS: dict[int, FaultClass] = {
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    429: "rate_limit",
    503: "overloaded",
}


def _kind(status: int) -> FaultClass:
    return _KINDS.get(status) or ("server" if status >= 500 else "bad_request")


def _input(request: Request, dropped: list[str]) -> dict[str, Any]:
    sampling = request.sampling
    system = "\n\n".join(_words(message) for message in request.messages if message.role in ("system", "developer"))
    given: dict[str, Any] = {"prompt": _prompt(request.messages)}
    wanted: tuple[tuple[str, Any], ...] = (
        ("system_prompt", system or None),
        ("max_tokens", sampling.max_output_tokens),
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("top_k", sampling.top_k),
        ("seed", sampling.seed),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
        # One string, parted by commas: so the language models here take it.
        ("stop_sequences", ",".join(sampling.stop) or None),
    )
    given |= {name: value for name, value in wanted if value is not None}
    for name, there in (
        ("tools", bool(request.tools)),
        ("response_format", request.output is not None and request.output.kind != "text"),
        ("reasoning_effort", request.reasoning is not None),
        ("n", (sampling.n or 1) > 1),
        ("logprobs", bool(sampling.logprobs)),
        ("logit_bias", sampling.logit_bias is not None),
    ):
        if there:
            dropped.append(name)
    return given


def _prompt(messages: Iterable[Message]) -> str:
    """One question as it is; a longer conversation with who said what, ending where the assistant is to go on."""
    turns = [message for message in messages if message.role not in ("system", "developer")]
    if len(turns) == 1:
        return _words(turns[0])
    said = "\n\n".join(f"{_SPEAKER[message.role]}: {_words(message)}" for message in turns)
    return f"{said}\n\nAssistant:"


def _words(message: Message) -> str:
    return "\n".join(part.text for part in message.parts if isinstance(part, Text))


def _text(output: Any) -> str:
    if isinstance(output, list):
        return "".join(piece for piece in output if isinstance(piece, str))
    return output if isinstance(output, str) else ""


def _usage(prediction: Prediction) -> Usage | None:
    metrics = prediction.metrics
    if metrics is None or metrics.output_token_count is None:
        return None
    return Usage(input_tokens=metrics.input_token_count or 0, output_tokens=metrics.output_token_count)


class Decoder:
    """`output` events carry the text itself, not JSON; `done` is the end, with a reason if it was no good one."""

    def __init__(self) -> None:
        self._started = False
        self._ended = False

    def feed(self, event: Event) -> Iterator[Delta]:
        if self._ended:
            return
        if event.name == "output":
            yield from self._open()
            yield BlockDelta(block=0, text=event.data.decode("utf-8", "replace"))
        elif event.name == "error":
            yield from self._fail("server", event.data.decode("utf-8", "replace"))
        elif event.name == "done":
            reason = _reason(event.data)
            if reason is None:
                yield from self._open()
                yield from self._close()
            else:
                yield from self._fail("server", f"the prediction ended: {reason}")

    def end(self) -> Iterator[Delta]:
        if not self._ended:
            yield from self._fail("cut", "the stream ended before the prediction did")

    def _open(self) -> Iterator[Delta]:
        if not self._started:
            self._started = True
            yield Started(id="", model="", dialect=_NAME)
            yield BlockOpened(block=0, part=Text(text=""))

    def _close(self) -> Iterator[Delta]:
        self._ended = True
        yield BlockClosed(block=0)
        yield ChoiceFinished(finish="stop", finish_raw="succeeded")
        yield Ended()

    def _fail(self, kind: FaultClass, message: str) -> Iterator[Delta]:
        self._ended = True
        yield Failed(fault=Fault(kind=kind, status=0, message=message[:2000] or "the prediction failed"))


def _reason(data: bytes) -> str | None:
    try:
        stated = msgspec.json.decode(data or b"{}")
    except ValueError:
        return None
    return stated.get("reason") if isinstance(stated, dict) else None


DIALECT = Dialect(name=_NAME, upstream=Upstream())
