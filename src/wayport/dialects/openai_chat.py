"""OpenAI's chat completions, as OpenAI and its many imitators speak them."""

from wayport.dialects.dialect import Dialect
from wayport.dialects.openai_chat_client import ChatClient
from wayport.dialects.openai_chat_ending import ending
from wayport.dialects.openai_chat_passthrough import ChatPassthrough
from wayport.dialects.openai_chat_upstream import ChatUpstream

DIALECT = Dialect(
    name="openai_chat", client=ChatClient(), upstream=ChatUpstream(), passthrough=ChatPassthrough(), ending=ending
)
