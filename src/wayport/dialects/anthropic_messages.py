"""Anthropic's Messages API, whole: both halves and passthrough."""

from typing import Final

from wayport.dialects.anthropic_messages_client import Client
from wayport.dialects.anthropic_messages_fields import NAME
from wayport.dialects.anthropic_messages_passthrough import MessagesPassthrough
from wayport.dialects.anthropic_messages_upstream import Upstream
from wayport.dialects.dialect import Dialect

DIALECT: Final = Dialect(name=NAME, client=Client(), upstream=Upstream(), passthrough=MessagesPassthrough())
