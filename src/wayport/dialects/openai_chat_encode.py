"""A neutral request, written for an OpenAI-compatible target as its profile says.

What must stay true: a request of this dialect comes out as equal JSON where the profile asks for nothing else, the same
request gives the same bytes, and what the target lacks is left out and named.
"""

import hashlib
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw

from wayport.core.errors import BadRequest
from wayport.dialects import openai_chat_ask as thinking
from wayport.dialects import openai_read as read
from wayport.dialects.dialect import Encoded, Profile
from wayport.dialects.neutral import OutputFormat, Request, Sampling, Text, Tool
from wayport.dialects.openai_chat_messages import MessageWriter
from wayport.dialects.openai_chat_names import Names
from wayport.dialects.openai_chat_parts import write_cache
from wayport.dialects.openai_chat_plan import is_default, is_kept_default
from wayport.dialects.openai_chat_tools import choice_as_written, function_object, is_legacy
from wayport.dialects.openai_completions_prompt import refuse_what_chat_cannot
from wayport.dialects.openai_read import encode
from wayport.dialects.words import word

Written = dict[str, Any]

ANSWER_TOOL = "answer_in_json"
"""the tool that stands for a JSON schema at a target which can be bound to one by tools alone; its call is the answer"""

_STOPS = 4
_USER_CHARS = 64
_FREE_TEXT: Written = {
    "type": "object",
    "properties": {"input": {"type": "string", "description": "The tool's input, as free text."}},
    "required": ["input"],
}
_TIERS = {"auto": "auto", "standard_only": "default", "default": "default", "flex": "flex", "priority": "priority"}


_OTHERS = (
    "top_p", "n", "seed", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "top_k", "min_p",
)  # fmt: skip
_NOT_OPENAIS = frozenset({"top_k", "min_p"})
_others = attrgetter(*_OTHERS)
_NO_OTHERS = _others(Sampling())
_rest = attrgetter(
    "modalities", "audio", "verbosity", "service_tier", "user", "metadata", "cache_key", "cache_retention", "prediction", "store"
)  # fmt: skip
_NO_REST = _rest(Request(dialect="openai_chat", model="", messages=[]))


def encode_request(request: Request, profile: Profile) -> Encoded:
    """Raises `BadRequest` for what no chat target could be asked."""
    refuse_what_chat_cannot(request)
    return _Writer(request, profile).write()


class _Writer:
    def __init__(self, request: Request, profile: Profile) -> None:
        self._request = request
        self._profile = profile
        self._own = request.dialect == "openai_chat"
        self._names = Names(request.tools, own=self._own)
        self._dropped: dict[str, None] = {}
        self._lowered: dict[str, None] = {}
        self._instruction: str | None = None

    def write(self) -> Encoded:
        body: Written = {"model": self._request.model, "messages": None}
        self._write_sampling(body)
        self._write_tools(body)
        self._write_output(body)
        self._write_rest(body)
        self._write_extras(body)
        self._write_thinking(body)
        self._apply_profile(body)
        messages = MessageWriter(
            self._request, self._profile, self._names, instruction=self._instruction, drop=self._drop
        )
        body["messages"] = messages.write()
        try:
            encoded = encode(body)
        except UnicodeEncodeError as error:
            raise BadRequest("The request holds half of a surrogate pair, which is no character.") from error
        return Encoded(
            body=encoded, dropped=list(self._dropped), lowered=list(self._lowered), tool_names=self._names.changed
        )

    def _drop(self, name: str) -> None:
        self._dropped[word(self._request.dialect, name)] = None

    def _lower(self, name: str) -> None:
        self._lowered[word(self._request.dialect, name)] = None

    # -- sampling ---------------------------------------------------------------------------------------------------
    def _write_sampling(self, body: Written) -> None:
        sampling, profile = self._request.sampling, self._profile
        limit = sampling.max_output_tokens
        if limit is None:
            limit = profile.default_max_tokens
        elif profile.max_output_tokens is not None and limit > profile.max_output_tokens:
            limit = profile.max_output_tokens
            self._lower("max_tokens")
        if limit is not None:
            body[self._limit_field()] = limit
        temperature = sampling.temperature
        if temperature is not None and profile.temperature_max is not None and temperature > profile.temperature_max:
            temperature = profile.temperature_max
            self._lower("temperature")
        if temperature is not None:
            body["temperature"] = temperature
        others = _others(sampling)
        if others != _NO_OTHERS:
            for name, value in zip(_OTHERS, others, strict=True):
                if value is None:
                    continue
                # Some are not OpenAI's, but of many who speak like it: kept for those who wrote them in this dialect.
                if self._own or name not in _NOT_OPENAIS:
                    body[name] = value
                else:
                    self._drop(name)
        if sampling.stop:
            self._write_stop(body, sampling.stop)

    def _limit_field(self) -> str:
        field = self._profile.max_tokens_field
        if field != "any":
            return field
        wrote_older = self._own and self._request.spelling.get("max_tokens")
        return "max_tokens" if wrote_older else "max_completion_tokens"

    def _write_stop(self, body: Written, stop: list[str]) -> None:
        if self._own:
            body["stop"] = stop[0] if self._request.spelling.get("stop") and len(stop) == 1 else stop
            return
        if len(stop) > _STOPS:
            self._lower("stop")
        body["stop"] = stop[:_STOPS]

    # -- tools ------------------------------------------------------------------------------------------------------
    def _write_tools(self, body: Written) -> None:
        request = self._request
        allowed = self._allowed()
        tools: list[Any] = []
        functions: list[Any] = []
        for tool in request.tools:
            if allowed is not None and tool.name not in allowed:
                continue
            if self._own and is_legacy(tool.extras):
                extras = {name: raw for name, raw in (tool.extras or {}).items() if name != "legacy"}
                functions.append({**function_object(tool, tool.name, strict=self._profile.strict_tools), **extras})
            else:
                written = self._tool(tool)
                if written is not None:
                    tools.append(written)
        if tools:
            body["tools"] = tools
        if functions:
            body["functions"] = functions
        if tools or functions or self._own:
            self._write_choice(body)
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls

    def _allowed(self) -> set[str] | None:
        """The names of the only tools that another dialect's choice allows: a target is offered no more than them."""
        choice = self._request.tool_choice
        if self._own or choice is None or choice.mode not in ("auto", "required") or not choice.names:
            return None
        return set(choice.names)

    def _tool(self, tool: Tool) -> Written | None:
        if tool.kind == "server" or (tool.kind == "custom" and self._own and self._profile.custom_tools):
            if not self._own or tool.raw is None:
                self._drop(tool.name)
                return None
            return read.fields(tool.raw, "tools")
        name = self._names.sent(tool.name, tool.namespace)
        if tool.kind == "custom":
            return self._custom_tool(tool, name)
        if tool.strict is not None and not self._profile.strict_tools:
            self._drop("strict")
        written: Written = {
            "type": "function",
            "function": function_object(tool, name, strict=self._profile.strict_tools),
        }
        write_cache(tool.cache, self._profile, written)
        for key, raw in (tool.extras or {}).items() if self._own else ():
            if key == "function":
                written["function"].update(read.fields(raw, "tools"))
            elif key == "type":
                del written["type"]
            else:
                written[key] = raw
        return written

    def _custom_tool(self, tool: Tool, name: str) -> Written:
        """A tool that takes free text; at a target without such tools, a function of one text called `input`."""
        entry: Written = msgspec.json.decode(tool.raw) if tool.raw is not None else {}
        entry = entry.get("custom", entry)
        form: Any = entry.get("format")
        if self._profile.custom_tools:
            custom: Written = {"name": name}
            if tool.description is not None:
                custom["description"] = tool.description
            if isinstance(form, dict):
                is_flat = form.get("type") == "grammar" and "grammar" not in form
                rules = {key: form[key] for key in ("definition", "syntax") if key in form}
                custom["format"] = {"type": "grammar", "grammar": rules} if is_flat else form
            return {"type": "custom", "custom": custom}
        description = tool.description or ""
        if isinstance(form, dict):
            grammar = form.get("grammar") if isinstance(form.get("grammar"), dict) else form
            if isinstance(grammar, dict) and isinstance(grammar.get("definition"), str):
                kind = grammar.get("syntax", "lark")
                description += f"\n\nThe input follows this {kind} grammar:\n{grammar['definition']}"
        function: Written = {"name": name, "description": description.strip(), "parameters": _FREE_TEXT}
        return {"type": "function", "function": function}

    def _write_choice(self, body: Written) -> None:
        choice = self._request.tool_choice
        if choice is None:
            return
        if self._own and self._request.spelling.get("function_call"):
            body["function_call"] = {"name": choice.names[0]} if choice.mode == "named" else choice.mode
            return
        raw = choice_as_written(choice)
        if self._own and raw is not None and (self._profile.custom_tools or b'"custom"' not in bytes(raw)):
            body["tool_choice"] = raw
        elif choice.mode == "named":
            name = self._names.sent(choice.names[0])
            body["tool_choice"] = {"type": "function", "function": {"name": name}}
        else:
            body["tool_choice"] = choice.mode
        if choice.mode == "required" and not self._profile.tool_choice_required:
            body["tool_choice"] = "auto"
            self._lower("tool_choice")

    # -- the form of the answer -------------------------------------------------------------------------------------
    def _write_output(self, body: Written) -> None:
        output = self._request.output
        if output is None:
            return
        if output.kind == "other":
            if self._own and output.raw is not None:
                body["response_format"] = output.raw
            else:
                self._drop("response_format")
            return
        extras = (output.extras or {}) if self._own else {}
        if output.kind == "text":
            if self._own:
                body["response_format"] = {"type": "text", **extras}
        elif output.kind == "json":
            body["response_format"] = {"type": "json_object", **extras}
            if not self._own and not self._speaks_of_json():
                # OpenAI refuses the mode unless the word stands somewhere in the messages.
                self._instruction = "Answer with JSON."
        else:
            self._write_schema(body, output)

    def _speaks_of_json(self) -> bool:
        parts = (part for message in self._request.messages for part in message.parts)
        return any(isinstance(part, Text) and "json" in part.text.lower() for part in parts)

    def _write_schema(self, body: Written, output: OutputFormat) -> None:
        match self._profile.json_schema:
            case "native":
                body["response_format"] = self._json_schema(output)
            case "json_object":
                body["response_format"] = {"type": "json_object"}
                self._instruction = _schema_in_words(output)
            case "prompt":
                self._instruction = _schema_in_words(output)
            case "tool":
                self._write_answer_tool(body, output)
            case "none":
                self._drop("response_format")

    def _json_schema(self, output: OutputFormat) -> Written:
        inner: Written = {}
        name = output.name if output.name is not None or self._own else "answer"
        for key, value in (
            ("name", name),
            ("description", output.description),
            ("schema", output.schema),
            ("strict", output.strict),
        ):
            if value is not None:
                inner[key] = value
        written: Written = {"type": "json_schema", "json_schema": inner}
        for key, raw in (output.extras or {}).items() if self._own else ():
            if key == "json_schema":
                inner.update(read.fields(raw, "response_format.json_schema"))
            else:
                written[key] = raw
        return written

    def _write_answer_tool(self, body: Written, output: OutputFormat) -> None:
        description = "Gives the final answer." + (f" {output.description}" if output.description else "")
        function: Written = {"name": ANSWER_TOOL, "description": description, "parameters": output.schema or {}}
        others = body.get("tools", [])
        body["tools"] = [*others, {"type": "function", "function": function}]
        if others:
            body["tool_choice"] = "required" if self._profile.tool_choice_required else "auto"
        else:
            body["tool_choice"] = {"type": "function", "function": {"name": ANSWER_TOOL}}

    # -- everything else --------------------------------------------------------------------------------------------
    def _write_rest(self, body: Written) -> None:
        request = self._request
        if _rest(request) != _NO_REST:
            self._write_settings(body)
        if request.stream:
            body["stream"] = True
            options = dict(request.spelling.get("stream_options", {})) if self._own else {}
            options.pop("include_usage", None)
            if self._profile.stream_usage:
                # Always asked for: the call is charged by it. Whether the client sees it is its encoder's business.
                options["include_usage"] = True
            if options:
                body["stream_options"] = options
        elif self._own:
            if request.spelling.get("stream"):
                body["stream"] = False
            if "stream_options" in request.spelling:
                body["stream_options"] = request.spelling["stream_options"]

    def _write_settings(self, body: Written) -> None:
        request = self._request
        for name, value in (
            ("modalities", self._modalities()),
            ("audio", request.audio),
            ("verbosity", request.verbosity),
            ("service_tier", self._service_tier()),
            ("user", self._user()),
            ("metadata", request.metadata if self._own or request.dialect == "openai_responses" else None),
            ("prompt_cache_key", request.cache_key),
            ("prompt_cache_retention", request.cache_retention),
            ("prediction", request.prediction),
            # Elsewhere `store: false` is said for what no other target would do.
            ("store", request.store if self._own or request.store else None),
        ):
            if value is not None:
                body[name] = value

    def _modalities(self) -> list[str] | None:
        wanted = self._request.modalities
        if self._own or not wanted:
            return wanted or None
        if any(name not in ("text", "audio") for name in wanted):
            self._drop("modalities")
        return ["text", "audio"] if "audio" in wanted else None

    def _service_tier(self) -> str | None:
        tier = self._request.service_tier
        if tier is None or self._own or self._request.dialect == "openai_responses":
            return tier
        if tier not in _TIERS:
            self._drop("service_tier")
        return _TIERS.get(tier)

    def _user(self) -> str | None:
        user = self._request.user
        if user is None or self._own or len(user) <= _USER_CHARS:
            return user
        return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()

    def _write_extras(self, body: Written) -> None:
        for name, raw in self._request.extras.items():
            if self._own:
                body.setdefault(name, raw)
            elif not read.is_empty(raw):
                self._dropped[name] = None

    def _write_thinking(self, body: Written) -> None:
        profile = self._profile
        asked = thinking.put(self._request, profile)
        if asked.dropped:
            self._drop("reasoning_effort")
        if asked.lowered:
            self._lower("reasoning_effort")
        body.update(asked.fields)
        thinks = asked.thinks
        if thinks is None:
            thinks = profile.reasoning != "none" and profile.reasoning_default != "none"
        if thinks and not profile.tools_with_reasoning and body.get("tools"):
            body["reasoning_effort"] = "none"
            thinks = False
            self._lower("reasoning_effort")
        if thinks:
            for name in sorted(profile.unsupported_reasoning & body.keys()):
                del body[name]
                self._drop(name)

    def _apply_profile(self, body: Written) -> None:
        profile = self._profile
        given = [name for name in profile.exclusive if name in body]
        for name in given[1:]:
            del body[name]
            self._drop(name)
        for name in sorted(profile.unsupported & body.keys()):
            value = encode(body[name])
            if is_kept_default(name, value):
                continue
            del body[name]
            if name != "stream_options" and not is_default(name, value):
                self._drop(name)
        for name, other in profile.renames.items():
            if name in body:
                body[other] = body.pop(name)
        for name, constant in profile.constants.items():
            body.setdefault(name, constant)


def _schema_in_words(output: OutputFormat) -> str:
    schema = bytes(output.schema or Raw(b"{}")).decode("utf-8", "replace")
    told = f" ({output.description})" if output.description else ""
    return (
        f"Answer with one JSON object{told} that is valid under this JSON schema, and with nothing else: "
        f"no explanation, no Markdown fence.\n{schema}"
    )
