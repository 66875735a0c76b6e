"""Hugging Face: one router before many inference providers; the model's name may say which one serves it."""

from collections.abc import Mapping

from msgspec import structs

from wayport.providers.provider import Behaviour, Placement


def place(placement: Placement, _credential: str, _settings: Mapping[str, str]) -> Placement:
    """`together/deepseek-ai/DeepSeek-R1` (LiteLLM's spelling) is what the router calls `deepseek-ai/DeepSeek-R1:together`."""
    server, slash, rest = placement.model.partition("/")
    if slash and "/" in rest and ":" not in rest:
        return structs.replace(placement, model=f"{rest}:{server}")
    return placement


behaviour = Behaviour(place=place)
