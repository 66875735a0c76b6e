"""The dialects there are, by name."""

from collections.abc import Mapping

from wayport.dialects.anthropic_messages import DIALECT as ANTHROPIC_MESSAGES
from wayport.dialects.bedrock_converse import DIALECT as BEDROCK_CONVERSE
from wayport.dialects.cohere_chat import DIALECT as COHERE_CHAT
from wayport.dialects.dialect import Dialect
from wayport.dialects.gemini_content import DIALECT as GEMINI_CONTENT
from wayport.dialects.neutral import DialectName
from wayport.dialects.openai_chat import DIALECT as OPENAI_CHAT
from wayport.dialects.openai_completions import DIALECT as OPENAI_COMPLETIONS
from wayport.dialects.openai_responses import DIALECT as OPENAI_RESPONSES
from wayport.dialects.replicate_predictions import DIALECT as REPLICATE_PREDICTIONS

DIALECTS: Mapping[DialectName, Dialect] = {
    dialect.name: dialect
    for dialect in (
        OPENAI_CHAT,
        OPENAI_COMPLETIONS,
        OPENAI_RESPONSES,
        ANTHROPIC_MESSAGES,
        GEMINI_CONTENT,
        BEDROCK_CONVERSE,
        COHERE_CHAT,
        REPLICATE_PREDICTIONS,
    )
}
