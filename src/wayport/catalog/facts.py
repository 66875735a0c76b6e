"""What is known of a model: windows, modalities, capabilities, prices over time. Values only."""

from datetime import date
from typing import Literal

from msgspec import Struct

from wayport.core.price import Price

Mode = Literal[
    "chat",
    "completion",
    "embedding",
    "image_generation",
    "audio_transcription",
    "audio_speech",
    "realtime",
    "rerank",
    "moderation",
    "ocr",
    "video_generation",
]

Modality = Literal["text", "image", "audio", "video", "pdf"]

Capability = Literal[
    "tools",
    "parallel_tools",
    "tool_choice",
    "json_schema",
    "reasoning",
    "caching",
    "web_search",
    "computer_use",
    "prefill",
    "system",
]


class Dated(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A price and the first day (UTC) on which it holds; None: since ever."""

    since: date | None = None
    price: Price


class ModelFacts(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One model as one provider offers it. None and empty mean unknown, never "no"."""

    provider: str
    model: str
    display_name: str = ""
    base_model: str = ""
    """of what it is an instance (a deployment of Azure's)"""
    mode: Mode = "chat"
    context_window: int | None = None
    max_input_tokens: int | None = None
    """None: the context window"""
    max_output_tokens: int | None = None
    input_modalities: tuple[Modality, ...] = ()
    output_modalities: tuple[Modality, ...] = ()
    capabilities: tuple[Capability, ...] = ()
    embedding_dimensions: int | None = None
    deprecated: bool = False
    deprecation_date: date | None = None
    """announced or past day of retirement"""
    prices: tuple[Dated, ...] = ()
    """rising by day"""
    names: tuple[str, ...] = ()
    """further exact names, lower case"""
    match: str | None = None
    """regular expression, searched in the lower-cased name: still further names"""
    source: str = ""
    """where the prices come from"""

    def price_at(self, day: date) -> Price | None:
        found = None
        for dated in self.prices:
            if dated.since is None or dated.since <= day:
                found = dated.price
        return found
