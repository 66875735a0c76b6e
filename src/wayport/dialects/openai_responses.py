"""The dialect `openai_responses`: OpenAI's Responses API. Codex, the AI SDK and OpenAI's own SDKs speak it.

Its files: `_client` and `_upstream` (the halves), `_items`, `_parts`, `_tools` (JSON to neutral and back), `_foreign`,
`_turns`, `_fit` (requests of other dialects), `_stream`, `_progress`, `_whole` (answers read), `_encoder`, `_blocks`, `_thoughts`,
`_made`, `_frame` (answers told), `_seals` (foreign signatures), `_errors`, `_control`, `_passthrough`, `_stored` (kept turns).
"""

from wayport.dialects.dialect import Dialect
from wayport.dialects.openai_responses_client import ResponsesClient
from wayport.dialects.openai_responses_parts import NAME
from wayport.dialects.openai_responses_passthrough import ResponsesPassthrough
from wayport.dialects.openai_responses_upstream import ResponsesUpstream

DIALECT = Dialect(name=NAME, client=ResponsesClient(), upstream=ResponsesUpstream(), passthrough=ResponsesPassthrough())
