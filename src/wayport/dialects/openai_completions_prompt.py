"""How many prompts a legacy completion request holds, and which of them a chat model could answer."""

from wayport.core.errors import BadRequest
from wayport.dialects.neutral import Opaque, Request


def prompts(request: Request) -> int:
    """How many answers the client expects before `n` multiplies them."""
    return len(request.messages) if request.spelling.get("list") else 1


def refuse_what_chat_cannot(request: Request) -> None:
    """Raises `BadRequest` for prompts that no chat model could answer as they are meant."""
    if request.dialect != "openai_completions":
        return
    if prompts(request) > 1:
        raise BadRequest(
            "`prompt` holds several prompts, which this model can answer only one by one: it has no completions of its own.",
            param="prompt",
        )
    if any(isinstance(part, Opaque) for message in request.messages for part in message.parts):
        raise BadRequest("`prompt` holds tokens, but this model takes text only.", param="prompt")
