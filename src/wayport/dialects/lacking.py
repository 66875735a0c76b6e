"""Naming what a client asked for and a target has no counterpart of. Nothing is lost in silence."""

from collections.abc import Callable, Iterable

from wayport.dialects.neutral import Request
from wayport.dialects.openai_read import is_empty

# What others ask for and a target does unasked, or what nobody misses.
_POINTLESS = frozenset({"cache_control", "prompt_cache_options", "stream", "stream_options"})


def report_lacking(request: Request, drop: Callable[[str], None], *, known: Iterable[str]) -> None:
    """Calls `drop` with OpenAI chat's name of each parameter that was given and is not among `known`."""
    sampling = request.sampling
    asked = {
        "n": (sampling.n or 1) > 1,
        "top_k": sampling.top_k is not None,
        "min_p": bool(sampling.min_p),
        "seed": sampling.seed is not None,
        "presence_penalty": bool(sampling.presence_penalty),
        "frequency_penalty": bool(sampling.frequency_penalty),
        "logit_bias": sampling.logit_bias is not None and not is_empty(sampling.logit_bias),
        "logprobs": bool(sampling.logprobs),
        "top_logprobs": bool(sampling.top_logprobs),
        "parallel_tool_calls": request.parallel_tool_calls is False and bool(request.tools),
        "modalities": any(each != "text" for each in request.modalities),
        "audio": request.audio is not None,
        "verbosity": request.verbosity is not None,
        "prediction": request.prediction is not None,
        "user": request.user is not None,
        "metadata": request.metadata is not None and not is_empty(request.metadata),
        "prompt_cache_key": request.cache_key is not None,
        "prompt_cache_retention": request.cache_retention is not None,
        "messages.name": any(message.name for message in request.messages),
    }
    said = frozenset(known)
    for name, wanted in asked.items():
        if wanted and name not in said:
            drop(name)


def report_extras(request: Request, drop: Callable[[str], None], *, known: Iterable[str]) -> None:
    """Calls `drop` with each field that only the client's dialect knows and that says something."""
    said = frozenset(known)
    for name, value in request.extras.items():
        if name not in said and name not in _POINTLESS and not name.startswith(("@", "~")) and not is_empty(value):
            drop(name)
