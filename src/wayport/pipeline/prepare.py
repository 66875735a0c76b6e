"""What is sent for a call to one deployment: the client's body patched, or its meaning told in another dialect.

What must stay true: where client and deployment speak the same dialect, nothing but our own fields changes; what the
target lacks is dropped and reported, or refused, as the operator chose.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from wayport.access.tenant import tenant_of
from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Dialect, Profile, takes_beta
from wayport.dialects.gemini_content_beside import EmbedCall, decode_embed_request
from wayport.dialects.neutral import DialectName, Request
from wayport.dialects.openai_embeddings import UPSTREAMS as EMBEDDINGS
from wayport.dialects.openai_embeddings import EmbedRequest, EmbedUpstream, read_request
from wayport.dialects.tools import ToolMap, flatten_tools
from wayport.pipeline import cache_points
from wayport.pipeline.betas import BETAS_HEADER, in_body, named
from wayport.pipeline.call import Call
from wayport.pipeline.params import under
from wayport.pipeline.thoughts import ThoughtMemory, takes_back, wants_back
from wayport.providers.provider import Operation
from wayport.routing.snapshot import Deployment

_NATIVE: Mapping[DialectName, Operation] = {
    "openai_completions": "completions",
    "openai_responses": "responses",
    "anthropic_messages": "messages",
}
"""dialects that a deployment may offer beside its own, and the operation by which it says so"""
_MEDIA = (b'"image_url"', b'"file"', b'"document', b'"image"', b'"video_url"')
_OPENAIS_NAMES = frozenset({"openai_chat", "openai_completions"})
"""dialects whose parameters are called as those of a deployment"""
_CALLED = (b'"tool_calls"', b'"function_call"', b'"tool_use"', b'"functionCall"')
"""where a history may hold tool calls"""
_NO_TOOLS = ToolMap({})


class MediaInline(Protocol):
    """Fetches media that the target cannot fetch itself."""

    def needed(self, request: Request, profile: Profile) -> bool:
        """Whether there is something to fetch."""
        ...

    async def inline(self, request: Request, profile: Profile) -> Request: ...


class Prepared(Struct):
    """A body for the upstream, and how its answer comes back."""

    body: bytes
    upstream: Dialect
    """what is spoken with the deployment"""
    operation: Operation
    lines: bytes = b""
    """header lines that the content asks for"""
    translated: bool = False
    tools: ToolMap = _NO_TOOLS
    """the way back to the client's own tools"""
    request: Request | None = None
    """the client's, for the encoders of its dialect"""
    watched: bool = False
    """what led to the answer's tool calls is remembered"""
    embeds: EmbedRequest | None = None
    more: tuple[bytes, ...] = ()
    """bodies of further questions, where one text at a time is embedded"""
    embedder: EmbedUpstream | None = None
    google: EmbedCall | None = None
    """the client asked for embeddings in Google's format, and gets them so"""


class Preparation:
    def __init__(self, *, dialects: Mapping[DialectName, Dialect], media: MediaInline, thoughts: ThoughtMemory) -> None:
        self._dialects = dialects
        self._media = media
        self._thoughts = thoughts

    def dialect(self, name: DialectName) -> Dialect:
        return self._dialects[name]

    def may_recall(self, call: Call, deployment: Deployment) -> bool:
        """Whether other workers may know what led to tool calls of the history of this request, which has tools."""
        if self._thoughts.store is None or call.principal is None:
            return False
        upstream, operation = self.route(call.dialect, call.operation, deployment)
        if operation == "embeddings" or not takes_back(upstream.name, deployment.profile):
            return False
        if upstream is call.dialect and not wants_back(deployment.profile):
            # Clients of these dialects carry thoughts themselves.
            return False
        return _holds_any(call.client.body, _CALLED)

    async def recall(self, call: Call, deployment: Deployment) -> None:
        assert call.principal is not None
        request = self.neutral(call, deployment)
        call.thoughts_back += await self._thoughts.recall(tenant_of(call.principal), request)

    def at_once(self, call: Call, deployment: Deployment) -> Prepared | None:
        """The patched body, without waiting for anything; None if the call must be translated."""
        upstream, operation = self.route(call.dialect, call.operation, deployment)
        passthrough = call.dialect.passthrough
        if operation != "chat" and call.dialect.name == "gemini_content":
            # Google's embeddings are another format than its chat.
            return None
        if upstream.name != call.dialect.name or passthrough is None or _must_fetch(call, deployment.profile):
            return None
        fields = call.fields if call.conversation is None else call.conversation.passed(call.fields, deployment)
        if deployment.params:
            if call.dialect.name not in _OPENAIS_NAMES:
                return None
            fields = {**deployment.params, **fields}
        if cache_points.FIELD in fields:
            return None
        watched = "tools" in fields and wants_back(deployment.profile)
        if watched and self._thoughts and self._lacks_thoughts(call, deployment):
            return None
        if deployment.profile.betas_in_body:
            fields = in_body(fields, call.client.header, deployment.profile)
        try:
            body, dropped = passthrough.patch_request(
                fields, model=deployment.upstream_model, profile=deployment.profile, want_usage=call.stream
            )
        except (ValueError, RecursionError) as error:
            raise BadRequest(f"The request cannot be read: {error}.", code="invalid_request") from None
        if dropped:
            _report(call, deployment, dropped)
        profile = deployment.profile
        if (profile.refused_betas or profile.betas is not None) and operation != "embeddings":
            left_out = [name for name in named(call.client.header) if not takes_beta(profile, name)]
            call.dropped += [f"{BETAS_HEADER}: {name}" for name in left_out]
        return Prepared(body=body, upstream=upstream, operation=operation, watched=watched)

    def _lacks_thoughts(self, call: Call, deployment: Deployment) -> bool:
        """Whether the client dropped thoughts that this target wants again with its tool calls."""
        if not _holds_any(call.client.body, _CALLED):
            return False
        self.neutral(call, deployment)
        return call.thoughts_back > 0

    async def translated(self, call: Call, deployment: Deployment) -> Prepared:
        """The call in the deployment's dialect."""
        upstream, operation = self.route(call.dialect, call.operation, deployment)
        if operation == "embeddings":
            return self._embeddings(call, deployment, upstream)
        request, tools = self._for_target(call, deployment, upstream)
        request = await self._media.inline(request, deployment.profile)
        return self._told(call, deployment, request, tools, upstream=upstream, operation=operation)

    def translated_at_once(
        self, call: Call, deployment: Deployment, *, upstream: Dialect, operation: Operation
    ) -> Prepared | None:
        """As `translated`, of a chat call that goes this route; None where something has to be looked up or fetched first."""
        if "tools" in call.fields and self.may_recall(call, deployment):
            return None
        request, tools = self._for_target(call, deployment, upstream)
        if takes_no_addresses(deployment.profile) and self._media.needed(request, deployment.profile):
            return None
        return self._told(call, deployment, request, tools, upstream=upstream, operation=operation)

    def _for_target(self, call: Call, deployment: Deployment, upstream: Dialect) -> tuple[Request, ToolMap]:
        """The neutral request with the model that the target knows, and with tools that it knows."""
        given = self.neutral(call, deployment)
        request = replace(given, model=deployment.upstream_model, stream=call.stream)
        if (given.tools or given.dialect == "openai_responses") and upstream.name != "openai_responses":
            custom = not (upstream.name == "openai_chat" and deployment.profile.custom_tools)
            return flatten_tools(request, custom=custom)
        return request, _NO_TOOLS

    def _told(
        self,
        call: Call,
        deployment: Deployment,
        request: Request,
        tools: ToolMap,
        *,
        upstream: Dialect,
        operation: Operation,
    ) -> Prepared:
        half = upstream.upstream
        given = call.neutral
        assert half is not None
        assert given is not None
        encoded = half.encode_request(request, deployment.profile)
        if tools.dropped or encoded.dropped:
            _report(call, deployment, [*tools.dropped, *encoded.dropped])
        if encoded.lowered:
            call.dropped += encoded.lowered
        return Prepared(
            body=encoded.body,
            upstream=upstream,
            operation=operation,
            lines=_lines(encoded.headers) if encoded.headers else b"",
            translated=True,
            tools=tools.renamed(encoded.tool_names) if encoded.tool_names else tools,
            request=given,
            watched=bool(given.tools),
        )

    def neutral(self, call: Call, deployment: Deployment) -> Request:
        """The request in neutral form with the deployment's own parameters; decoded once for all that have the same."""
        params = deployment.params
        if call.neutral is not None and call.neutral_with == params:
            return call.neutral
        half = call.dialect.client
        assert half is not None
        conversation = call.conversation
        fields = call.fields if conversation is None else conversation.told_whole(call.fields)
        if not params:
            request = half.decode_request(fields, Headers(call))
        elif call.dialect.name in _OPENAIS_NAMES:
            request = half.decode_request({**params, **fields}, Headers(call))
        else:
            request = under(half.decode_request(fields, Headers(call)), params, self._dialects["openai_chat"])
        if cache_points.FIELD in call.fields or cache_points.FIELD in params:
            points = cache_points.points_of({**params, **call.fields})
            if points:
                request = cache_points.inject(request, points)
        if request.tools and self._thoughts and call.principal is not None:
            call.thoughts_back = self._thoughts.restore(tenant_of(call.principal), request)
        request.stream = call.stream
        if conversation is not None:
            conversation.repeat(request)
        call.neutral = request
        call.neutral_with = params
        return request

    def _embeddings(self, call: Call, deployment: Deployment, upstream: Dialect) -> Prepared:
        embedder = EMBEDDINGS.get(upstream.name)
        if embedder is None:
            raise BadRequest(
                f"The model `{deployment.model}` offers no embeddings.", param="model", code="operation_not_supported"
            )
        fields = {**deployment.params, **call.fields}
        google = None
        if call.dialect.name == "gemini_content":
            google = decode_embed_request(fields)
            request = EmbedRequest(
                model=call.model_asked, texts=google.texts, dimensions=google.dimensions, input_type=google.task_type
            )
        else:
            request = read_request(fields)
        model, profile = deployment.upstream_model, deployment.profile
        single = len(request.texts) > 1 and embedder.one_at_a_time(profile)
        asked = [replace(request, texts=[text]) for text in request.texts] if single else [request]
        told = [embedder.encode(each, model=model, profile=profile) for each in asked]
        dropped = told[0][1]
        if dropped:
            _report(call, deployment, dropped)
        return Prepared(
            body=told[0][0],
            more=tuple(body for body, _ in told[1:]),
            upstream=upstream,
            operation="embeddings",
            translated=True,
            embeds=request,
            embedder=embedder,
            google=google,
        )

    def route(self, asked: Dialect, operation: Operation, deployment: Deployment) -> tuple[Dialect, Operation]:
        """The dialect that is spoken with the deployment for a call in another, and the operation whose path it goes to."""
        own = deployment.dialect
        if operation == "embeddings":
            name: DialectName = own if own in EMBEDDINGS else "openai_chat"
            return self._dialects[name], "embeddings"
        if asked.name != own and (native := _NATIVE.get(asked.name)) is not None and native in deployment.paths:
            return self._dialects[asked.name], native
        return self._dialects[own], "chat"


class Headers(Mapping[str, str]):
    """A client's headers as dialects read them: names in lower case, looked up one at a time."""

    def __init__(self, call: Call) -> None:
        self._header = call.client.header

    def __getitem__(self, name: str) -> str:
        value = self._header(name.encode())
        if value is None:
            raise KeyError(name)
        return value.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _lines(headers: Mapping[str, str]) -> bytes:
    return b"".join(b"%b: %b\r\n" % (name.encode(), value.encode()) for name, value in headers.items())


def _must_fetch(call: Call, profile: Profile) -> bool:
    """Whether the call may hold media by URL that this target cannot fetch: then its content must be read."""
    return takes_no_addresses(profile) and points_to_media(call.client.body)


def takes_no_addresses(profile: Profile) -> bool:
    return profile.images == "data" or profile.documents == "data"


def points_to_media(body: bytes) -> bool:
    """Whether there may be media in it."""
    return _holds_any(body, _MEDIA)


def _holds_any(body: bytes, words: tuple[bytes, ...]) -> bool:
    return any(body.find(word) >= 0 for word in words)


def _report(call: Call, deployment: Deployment, dropped: Iterable[str]) -> None:
    """Reports what the target lacks, or refuses the call over it."""
    names = list(dropped)
    if not deployment.drop_params:
        listed = ", ".join(f"`{name}`" for name in names)
        raise BadRequest(
            f"`{deployment.model}` does not support {listed}. Leave it out, or set `drop_params: true`.",
            param=names[0],
            code="unsupported_parameter",
        )
    call.dropped += names
