"""What a client calls a parameter, by its dialect: dropped and lowered parameters are reported in the client's own words.

Keys are OpenAI chat's names; a name that a dialect does not list is the same there.
"""

from collections.abc import Mapping

from wayport.dialects.neutral import DialectName

_RESPONSES = {
    "max_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning",
    "verbosity": "text.verbosity",
}

_ANTHROPIC = {
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "thinking",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}

_GEMINI = {
    "audio": "generationConfig.speechConfig",
    "frequency_penalty": "generationConfig.frequencyPenalty",
    "logprobs": "generationConfig.responseLogprobs",
    "max_tokens": "generationConfig.maxOutputTokens",
    "modalities": "generationConfig.responseModalities",
    "n": "generationConfig.candidateCount",
    "presence_penalty": "generationConfig.presencePenalty",
    "reasoning_effort": "generationConfig.thinkingConfig",
    "response_format": "generationConfig.responseSchema",
    "seed": "generationConfig.seed",
    "stop": "generationConfig.stopSequences",
    "temperature": "generationConfig.temperature",
    "tool_choice": "toolConfig",
    "top_k": "generationConfig.topK",
    "top_logprobs": "generationConfig.logprobs",
    "top_p": "generationConfig.topP",
    "user": "labels",
}

_BEDROCK = {
    "max_tokens": "inferenceConfig.maxTokens",
    "stop": "inferenceConfig.stopSequences",
    "temperature": "inferenceConfig.temperature",
    "tool_choice": "toolConfig.toolChoice",
    "tools": "toolConfig.tools",
    "top_p": "inferenceConfig.topP",
}

_COHERE = {
    "reasoning_effort": "thinking",
    "stop": "stop_sequences",
    "top_k": "k",
    "top_p": "p",
}

_WORDS: Mapping[DialectName, Mapping[str, str]] = {
    "openai_chat": {},
    "openai_completions": {},
    "openai_responses": _RESPONSES,
    "anthropic_messages": _ANTHROPIC,
    "gemini_content": _GEMINI,
    "bedrock_converse": _BEDROCK,
    "cohere_chat": _COHERE,
}


def word(dialect: DialectName, name: str) -> str:
    """The client's name of what OpenAI chat calls `name`."""
    return _WORDS[dialect].get(name, name)
