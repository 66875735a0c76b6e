"""One try at one deployment: prepare, send, relay.

What must stay true: it returns only when the client has its answer (or the beginning of one and an error event), and raises
only while the client has nothing of this attempt's.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from wayport.access.tenant import tenant_of
from wayport.core.clock import Clock
from wayport.core.errors import BadRequest, Fault, Unavailable, UpstreamFault
from wayport.core.record import AttemptRecord
from wayport.core.tasks import Tasks
from wayport.core.thought import ThoughtStore
from wayport.core.usage import Usage
from wayport.dialects.dialect import Dialect, Stated
from wayport.dialects.gemini_content_beside import encode_embed_response
from wayport.dialects.neutral import Delta, DialectName, Response, unfold
from wayport.dialects.openai_embeddings import Embedded, write_answer
from wayport.dialects.openai_responses_stored import final_response
from wayport.pipeline.answer_head import JSON, STREAM, head_lines
from wayport.pipeline.betas import joined
from wayport.pipeline.call import Call
from wayport.pipeline.call_ids import FreshIds, answer_id
from wayport.pipeline.count import Counting
from wayport.pipeline.estimate import estimate_answer, estimate_bytes
from wayport.pipeline.follow import Following, FollowOf
from wayport.pipeline.framing import Splits, splitter_of
from wayport.pipeline.lessons import MOST_LESSONS, Lesson, Lessons
from wayport.pipeline.one_by_one import OneByOne, embedded, together
from wayport.pipeline.passing import PassthroughRelay, error_event
from wayport.pipeline.prepare import MediaInline, Preparation, Prepared
from wayport.pipeline.relay import Collected, Settle, Source, StreamRelay, TranslatedRelay
from wayport.pipeline.sent import Sent
from wayport.pipeline.signing import way_to
from wayport.pipeline.targets import Targets
from wayport.pipeline.thoughts import ThoughtMemory, WatchedSplitter
from wayport.pipeline.tracing import TraceContext
from wayport.pipeline.turns import Turns
from wayport.providers.echo import answer_of, deltas_of
from wayport.routing.resets import reset_s
from wayport.routing.snapshot import Deployment
from wayport.upstream.credentials import Credentials
from wayport.upstream.faults import masked, redirected, refusal, stated_error, unexpected
from wayport.upstream.headers import forwarded, passed_on
from wayport.upstream.transport import Answer, Transport, TransportFault
from wayport.wire.eventstream import MalformedFrame
from wayport.wire.sse import EventTooLarge, Splitter

_ERROR_BYTES = 1024 * 1024
ANSWER_BYTES = 256 * 1024 * 1024


class Attempt:
    def __init__(
        self,
        *,
        transport: Transport,
        targets: Targets,
        dialects: Mapping[DialectName, Dialect],
        settle: Settle,
        media: MediaInline,
        credentials: Credentials,
        clock: Clock,
        follow_of: FollowOf,
        turns: Turns,
        tasks: Tasks,
        thoughts: ThoughtStore | None = None,
        trace: TraceContext | None = None,
        hold_max_s: float = 10.0,
    ) -> None:
        self._transport = transport
        self.targets = targets
        self.thoughts = ThoughtMemory(thoughts)
        self.prepare = Preparation(dialects=dialects, media=media, thoughts=self.thoughts)
        self._settle = settle
        self._credentials = credentials
        self._clock = clock
        self._turns = turns
        self._tasks = tasks
        self.trace = trace
        self._hold_max_s = hold_max_s
        self.lessons = Lessons()
        self._one_by_one = OneByOne(transport=transport, targets=targets, credentials=credentials)
        self.following = Following(transport, follow_of)
        self._counting = Counting(
            transport=transport, targets=targets, prepare=self.prepare, credentials=credentials, settle=settle
        )

    async def make(
        self, call: Call, deployment: Deployment, record: AttemptRecord, *, sent: Sent | None = None
    ) -> Fault | None:
        """Asks `deployment`, or goes on from what was `sent` to it. Returns None after a clean answer, or the fault that
        broke a stream after its beginning.

        Raises `UpstreamFault` while nothing of this attempt was sent to the client, `BadRequest` for what cannot be put
        to this target.
        """
        # What was sent was sent to it as it was then: what others learned meanwhile has to be learned of it, too.
        known = sent is None or (sent.answer is None and sent.fault is None)
        asked = self.lessons.taught(deployment) if known else deployment
        lessons: tuple[Lesson, ...] = ()
        while True:
            try:
                begun, sent = sent, None
                if begun is None:
                    fault = await self._ask(call, asked, record)
                else:
                    fault = await self._go_on(call, asked, record, begun)
                break
            except UpstreamFault as error:
                lesson = self.lessons.lesson(call, asked, error.fault) if len(lessons) < MOST_LESSONS else None
                if lesson is None:
                    raise
                asked = lesson.applied(asked)
                lessons += (lesson,)
                call.dropped = []
        for lesson in lessons:
            self.lessons.keep(deployment, lesson)
        return fault

    async def _go_on(self, call: Call, deployment: Deployment, record: AttemptRecord, sent: Sent) -> Fault | None:
        if sent.fault is not None:
            raise UpstreamFault(sent.fault.with_traceback(None).fault) from None
        if sent.answer is None:
            call.dropped = []
            return await self._ask(call, deployment, record, again=True)
        return await self._answered(call, deployment, record, sent.prepared, sent.answer)

    async def _ask(
        self, call: Call, deployment: Deployment, record: AttemptRecord, *, again: bool = False
    ) -> Fault | None:
        """`again`: it was sent before, and died without an answer on a connection that had been idle."""
        if call.operation == "count_tokens":
            await self._counting.count(call, deployment, record)
            return None
        if not deployment.base_url:
            return await self._echo(call, deployment)
        if "tools" in call.fields and self.prepare.may_recall(call, deployment):
            await self.prepare.recall(call, deployment)
        prepared = self.prepare.at_once(call, deployment) or await self.prepare.translated(call, deployment)
        target = self.targets.of(deployment, prepared.operation, stream=call.stream)
        lines = prepared.lines + forwarded(
            prepared.upstream.name,
            call.client.header,
            taken=target.head + prepared.lines,
            betas=target.takes_beta,
        )
        if target.betas:
            lines = joined(lines, target.betas)
        if self.trace is not None and b"\ntraceparent:" not in target.head:
            lines += self.trace.lines(call)
        origin, head = target.origin, target.head + lines
        if deployment.signed:
            origin, head = await way_to(self._credentials, deployment, target, prepared.body, lines)
        if not again:
            call.asked_s = self._clock.steady_s()
        try:
            answer = await self._transport.send(
                origin,
                head,
                prepared.body,
                timeouts=call.timeouts or deployment.timeouts,
                first_sent_s=call.asked_s if again else None,
            )
        except TransportFault as error:
            # The connection remembers it: without its frames, or they would hold the whole call in a circle.
            raise UpstreamFault(error.with_traceback(None).fault) from None
        return await self._answered(call, deployment, record, prepared, answer)

    async def _answered(
        self, call: Call, deployment: Deployment, record: AttemptRecord, prepared: Prepared, answer: Answer
    ) -> Fault | None:
        prepared.body = b""
        try:
            if deployment.follows and answer.status < 400:
                answer = await self.following.last(answer, deployment, stream=call.stream)
            record.status = answer.status
            if answer.status >= 400:
                refused = await _refused(call, deployment, prepared, answer)
                if call.conversation is not None and call.conversation.forgotten(deployment, refused.fault):
                    return await self._ask(call, deployment, record)
                raise refused
            if answer.status >= 300:
                answer.abort()
                raise UpstreamFault(redirected(answer))
            streams = is_stream(answer)
            if not call.stream:
                await self._whole(call, deployment, prepared, answer, streams=streams)
                return None
            if streams:
                return await self._stream(call, prepared, answer)
            return await self._whole_as_stream(call, deployment, prepared, answer)
        except TransportFault as error:
            # The connection remembers it: without its frames, or they would hold the whole call in a circle.
            raise UpstreamFault(error.with_traceback(None).fault) from None

    # --------------------------------------------------------------------------------------------------- answers
    async def _whole(
        self, call: Call, deployment: Deployment, prepared: Prepared, answer: Answer, *, streams: bool
    ) -> None:
        """A whole answer for a client that wants one."""
        response: Response | None = None
        body = b""
        if streams:
            half = prepared.upstream.upstream
            assert half is not None
            splitter = splitter_of(answer.header(b"content-type"), prepared.upstream.name)
            collected = Collected(prepared.upstream, half.stream_decoder(), splitter)
            await answer.pump(collected.on_bytes)
            try:
                response = collected.response()
            except UpstreamFault as error:
                raise UpstreamFault(masked(error.fault, deployment.credential.value)) from None
        else:
            body = await answer.read(ANSWER_BYTES)
            if is_events(body):
                answer.put_back(body)
                await self._whole(call, deployment, prepared, answer, streams=True)
                return
        call.upstream_wait_s += self._clock.steady_s() - call.asked_s
        if prepared.embedder is not None:
            parts = [embedded(prepared, answer, body)]
            if prepared.more:
                parts += await self._one_by_one.rest(call, deployment, prepared)
            data = _embedded(call, prepared, together(parts))
        elif response is not None or prepared.translated:
            response = response or _decoded(deployment, prepared, answer, body)
            data = _told(call, prepared, response, self.thoughts if prepared.watched else None)
        else:
            data = _passed(call, deployment, prepared, answer, body)
            if prepared.watched:
                _watch_whole(call, prepared, body, self.thoughts)
        if deployment.unvouched and prepared.embedder is None:
            call.said_tokens = _said(prepared, response, body)
        if call.conversation is not None and call.conversation.stores:
            await self._turns.keep(call, data, native=prepared.upstream is call.dialect)
        self._settle(call)
        passed = passed_on(answer.head, compat=_compat(call))
        call.client.respond(answer.status, head_lines(call, JSON, passed), data)

    async def _stream(self, call: Call, prepared: Prepared, answer: Answer) -> Fault | None:
        splitter = splitter_of(answer.header(b"content-type"), prepared.upstream.name)
        relay = self._relay(call, prepared, answer, passed_on(answer.head, compat=_compat(call)), splitter)
        self._keep_with(relay, call, prepared)
        try:
            try:
                await answer.pump(relay.on_bytes, relay.on_chunk)
            except (TransportFault, MalformedFrame, EventTooLarge) as error:
                # What came after the dialect's terminal event, or did not, concerns nobody any more.
                relay.on_fault(error.with_traceback(None).fault)
            else:
                relay.on_end()
            if relay.keeping is not None:
                await asyncio.shield(relay.keeping)
        finally:
            relay.close()
        return relay.fault

    async def _whole_as_stream(
        self, call: Call, deployment: Deployment, prepared: Prepared, answer: Answer
    ) -> Fault | None:
        """The upstream ignored the wish for a stream: its whole answer goes out as one."""
        body = await answer.read(ANSWER_BYTES)
        if is_events(body):
            answer.put_back(body)
            return await self._stream(call, prepared, answer)
        response = _decoded(deployment, prepared, answer, body)
        if not prepared.translated:
            prepared.translated = True
            prepared.request = self.prepare.neutral(call, deployment)
        passed = passed_on(answer.head, compat=_compat(call))
        return await self._tell(call, prepared, answer, unfold(response), passed)

    async def _tell(
        self, call: Call, prepared: Prepared, source: Source, deltas: Iterable[Delta], passed: bytes
    ) -> Fault | None:
        relay = self._relay(call, prepared, source, passed)
        assert isinstance(relay, TranslatedRelay)
        self._keep_with(relay, call, prepared)
        try:
            relay.on_deltas(deltas)
            if relay.keeping is not None:
                await asyncio.shield(relay.keeping)
        finally:
            relay.close()
        return relay.fault

    def _relay(
        self, call: Call, prepared: Prepared, source: Source, passed: bytes, splitter: Splits | None = None
    ) -> StreamRelay:
        model = call.model_asked if _renames(call) else None
        head: Callable[[Call], bytes] = lambda call: head_lines(call, STREAM % call.dialect.stream_type, passed)  # noqa: E731 (a closure over one value)
        if not prepared.translated:
            return PassthroughRelay(
                call,
                source,
                dialect=call.dialect,
                model=model,
                keep_usage=_wants_usage(call),
                head=head,
                settle=self._settle,
                now=self._clock.steady_s,
                hold_max_s=self._hold_max_s,
                splitter=self._watching_events(call, prepared, splitter) if prepared.watched else splitter,
            )
        upstream = prepared.upstream.upstream
        client = call.dialect.client
        assert upstream is not None
        assert client is not None
        return TranslatedRelay(
            call,
            source,
            dialect=call.dialect,
            decoder=upstream.stream_decoder(),
            encoder=client.stream_encoder(request=prepared.request, response_id=call.id, created=int(call.started_s)),
            restore=self._watching(call, prepared),
            model=model,
            head=head,
            settle=self._settle,
            now=self._clock.steady_s,
            hold_max_s=self._hold_max_s,
            splitter=splitter,
            answer_id=answer_id(call) if prepared.upstream is not call.dialect else None,
        )

    def _watching(self, call: Call, prepared: Prepared) -> Callable[[Delta], Iterable[Delta]] | None:
        """What every delta of a stream goes through: the way back to the client's own tools, and who remembers."""
        restore: Callable[[Delta], Iterable[Delta]] | None = prepared.tools.stream().feed if prepared.tools else None
        if not prepared.watched or call.principal is None:
            return restore
        if prepared.request is not None:
            restore = FreshIds(prepared.request, salt=call.id).before(restore)
        return self.thoughts.watch(tenant_of(call.principal)).through(restore)

    def _watching_events(self, call: Call, prepared: Prepared, splitter: Splits | None) -> Splits | None:
        half = prepared.upstream.upstream
        if half is None or call.principal is None:
            return splitter
        watch = self.thoughts.watch(tenant_of(call.principal))
        return WatchedSplitter(splitter or Splitter(), half.stream_decoder(), watch)

    def tell(self, call: Call, prepared: Prepared, body: bytes) -> bytes:
        """A whole answer in another dialect than the client's, in the client's. Raises `ValueError` and the like where it has
        to be looked at what it is.
        """
        half = prepared.upstream.upstream
        assert half is not None
        response = half.decode_response(body)
        if not response.choices:
            raise ValueError("there is no answer in it")
        return _told(call, prepared, response, self.thoughts if prepared.watched else None)

    # ------------------------------------------------------------------------------------------------ kept answers
    def _keep_with(self, relay: StreamRelay, call: Call, prepared: Prepared) -> None:
        if call.conversation is not None and call.conversation.stores:
            native = prepared.upstream is call.dialect
            relay.keep = lambda last: self._tasks.start(self._end_kept(call, last, native=native), name="keep")

    async def _end_kept(self, call: Call, last: bytes, *, native: bool) -> None:
        """The end of a stream whose answer is kept: first that, then the client learns of it."""
        response = final_response(last)
        try:
            if response is not None:
                await self._turns.keep(call, response, native=native)
        except Unavailable as error:
            call.error = error
            fault = Fault(kind="server", status=error.status, message=error.message, type=error.type, code=error.code)
            last = error_event(call, call.dialect, fault)
        self._settle(call)
        call.client.end(last)

    # ------------------------------------------------------------------------------------------------------ echo
    async def _echo(self, call: Call, deployment: Deployment) -> Fault | None:
        """The built-in model answers without any upstream."""
        if call.operation == "embeddings":
            raise BadRequest(f"`{deployment.model}` answers chat only.", param="model", code="operation_not_supported")
        request = self.prepare.neutral(call, deployment)
        response = answer_of(replace(request, model=call.model_asked), response_id=call.id, created=int(call.started_s))
        return await self.say(call, deployment, response, deltas_of(response))

    async def say(
        self, call: Call, deployment: Deployment, response: Response, deltas: Iterable[Delta]
    ) -> Fault | None:
        """Gives the client an answer that no upstream made; `deltas` is the same as a stream."""
        request = self.prepare.neutral(call, deployment)
        prepared = Prepared(body=b"", upstream=call.dialect, operation="chat", translated=True, request=request)
        if call.dialect.name == "openai_responses":
            # An answer of that format would bring its envelope along; one that is made up has none and is given one.
            response.dialect = "openai_chat"
        if call.stream:
            return await self._tell(call, prepared, _NOTHING, deltas, b"")
        data = _told(call, prepared, response)
        if call.conversation is not None and call.conversation.stores:
            await self._turns.keep(call, data, native=False)
        self._settle(call)
        call.client.respond(200, head_lines(call, JSON), data)
        return None


def _said(prepared: Prepared, response: Response | None, body: bytes) -> int:
    """How much a whole answer says, as we count it."""
    if response is None:
        half = prepared.upstream.upstream
        assert half is not None
        try:
            response = half.decode_response(body)
        except (ValueError, LookupError, TypeError):
            return estimate_bytes(body)
    return estimate_answer(response)


class _Nothing:
    """Where an answer that needs no upstream comes from."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


_NOTHING = _Nothing()


# ------------------------------------------------------------------------------------------------- reading answers
async def _refused(call: Call, deployment: Deployment, prepared: Prepared, answer: Answer) -> UpstreamFault:
    body = await answer.read(_ERROR_BYTES)
    half = prepared.upstream.upstream
    assert half is not None
    fault = refusal(answer, body, half.decode_error, deployment.profile, deployment.credential.value)
    if fault.kind == "rate_limit" and fault.retry_after_s is None:
        fault = replace(fault, retry_after_s=reset_s(answer.headers, call.started_s))
    error = UpstreamFault(fault)
    error.passed_on = passed_on(answer.head, compat=_compat(call))
    return error


def _stated(deployment: Deployment, prepared: Prepared, body: bytes) -> Fault | None:
    """The error that a 200 holds, if it holds one."""
    half = prepared.upstream.upstream
    assert half is not None
    return stated_error(body, half.decode_error, deployment.profile, deployment.credential.value)


def _passed(call: Call, deployment: Deployment, prepared: Prepared, answer: Answer, body: bytes) -> bytes:
    """An answer of the client's own dialect: its usage is read, its model perhaps renamed, nothing else looked at."""
    passthrough = call.dialect.passthrough
    assert passthrough is not None
    try:
        data, stated = passthrough.patch_response(body, model=call.model_asked if _renames(call) else None)
    except ValueError as error:
        raise UpstreamFault(_stated(deployment, prepared, body) or unexpected(answer, body, error)) from None
    if stated.usage is None and (fault := _stated(deployment, prepared, body)) is not None:
        raise UpstreamFault(fault)
    note_stated(call, stated)
    _take(call, stated.usage, len(data))
    return data


def note_stated(call: Call, stated: Stated) -> None:
    """What an answer that passed through says of itself, but for its usage."""
    call.upstream_id = stated.id
    call.service_tier = stated.service_tier
    call.finish = stated.finish


def _decoded(deployment: Deployment, prepared: Prepared, answer: Answer, body: bytes) -> Response:
    half = prepared.upstream.upstream
    assert half is not None
    try:
        response = half.decode_response(body)
    except (ValueError, RecursionError) as error:
        raise UpstreamFault(_stated(deployment, prepared, body) or unexpected(answer, body, error)) from None
    if not response.choices and (fault := _stated(deployment, prepared, body)) is not None:
        raise UpstreamFault(fault)
    return response


def _watch_whole(call: Call, prepared: Prepared, body: bytes, thoughts: ThoughtMemory) -> None:
    """An answer that passed through as it was: read for what led to its tool calls."""
    half = prepared.upstream.upstream
    if half is None or call.principal is None:
        return
    try:
        response = half.decode_response(body)
    except (ValueError, RecursionError):
        # The client has it as it is, and sees itself what is wrong with it.
        return
    for choice in response.choices:
        thoughts.remember(tenant_of(call.principal), choice.parts)


def _told(call: Call, prepared: Prepared, response: Response, thoughts: ThoughtMemory | None = None) -> bytes:
    """A response in the client's dialect."""
    half = call.dialect.client
    assert half is not None
    call.upstream_id = response.id
    call.service_tier = response.service_tier
    if response.choices:
        call.finish = response.choices[0].finish
    if response.dialect != call.dialect.name:
        if response.created is None:
            response.created = int(call.started_s)
        response.id = answer_id(call) or response.id
    if prepared.watched and prepared.request is not None:
        FreshIds(prepared.request, salt=call.id).response(response)
    if prepared.tools:
        response = prepared.tools.restore_response(response)
    if thoughts is not None and call.principal is not None:
        for choice in response.choices:
            thoughts.remember(tenant_of(call.principal), choice.parts)
    if _renames(call):
        response.model = call.model_asked
    data = half.encode_response(response, request=prepared.request)
    _take(call, response.usage, len(data))
    return data


def _embedded(call: Call, prepared: Prepared, found: Embedded) -> bytes:
    assert prepared.embeds is not None
    _take(call, found.usage, 0)
    if prepared.google is not None:
        tokens = found.usage.input_tokens if found.usage is not None else None
        return encode_embed_response(found.vectors, batch=prepared.google.batch, tokens=tokens)
    return write_answer(found, prepared.embeds, model=call.model_asked)


_BYTES_PER_TOKEN = 4


def _take(call: Call, usage: Usage | None, answer_bytes: int) -> None:
    """What an unstreamed answer used: as stated, else estimated from what was sent and received."""
    if usage is not None:
        call.usage = usage
        call.usage_source = "reported"
    else:
        call.usage = Usage(
            input_tokens=call.request_bytes // _BYTES_PER_TOKEN, output_tokens=answer_bytes // _BYTES_PER_TOKEN
        )
        call.usage_source = "estimated"


def _renames(call: Call) -> bool:
    return call.snapshot is not None and call.snapshot.response_model == "requested"


def _compat(call: Call) -> bool:
    return call.snapshot is not None and call.snapshot.compat == "litellm"


def _wants_usage(call: Call) -> bool:
    """Whether the client asked for the usage chunk of a chat stream; in other dialects usage is part of every stream."""
    if call.dialect.name not in ("openai_chat", "openai_completions"):
        return True
    options = call.fields.get("stream_options")
    return options is not None and b'"include_usage"' in bytes(options) and b"true" in bytes(options)


def is_stream(answer: Answer) -> bool:
    kind = answer.header(b"content-type")
    return kind is not None and kind.lower().startswith((b"text/event-stream", b"application/vnd.amazon.eventstream"))


def is_events(body: bytes) -> bool:
    """Whether a body that is not called a stream of events is one all the same."""
    return body.removeprefix(b"\xef\xbb\xbf").startswith((b"data:", b"event:", b":"))
