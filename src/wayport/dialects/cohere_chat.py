"""Cohere's Chat API, version 2: what is sent to Cohere and understood of its answers. We do not offer it to clients."""

from wayport.dialects.cohere_chat_answer import NAME
from wayport.dialects.cohere_chat_upstream import Upstream
from wayport.dialects.dialect import Dialect

DIALECT = Dialect(name=NAME, upstream=Upstream())
