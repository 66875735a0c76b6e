"""The parameters that an operator sets on a deployment, in OpenAI's names, under a request of any dialect. A client's own value
wins.
"""

from collections.abc import Mapping

from msgspec import Raw, structs

from wayport.dialects.dialect import Dialect
from wayport.dialects.neutral import Request, Sampling

_ANY = {"model": Raw(b'"m"'), "messages": Raw(b'[{"role":"user","content":"x"}]')}
_WHOLE = ("output", "reasoning", "tool_choice", "parallel_tool_calls", "verbosity", "service_tier", "user", "cache_key")


def under(request: Request, params: Mapping[str, Raw], chat: Dialect) -> Request:
    """`request` with what it leaves open filled from `params`; `chat`: the dialect whose names they have."""
    assert chat.client is not None
    set_ = chat.client.decode_request({**_ANY, **params}, {})
    own = structs.asdict(request.sampling)
    merged = {name: value if value not in (None, []) else getattr(set_.sampling, name) for name, value in own.items()}
    more = {name: getattr(set_, name) for name in _WHOLE if getattr(request, name) is None}
    return structs.replace(request, sampling=Sampling(**merged), tools=request.tools or set_.tools, **more)
