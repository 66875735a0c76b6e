"""A price: what one deployment charges for each kind of unit. Made by the catalogue, used by the ledger."""

from msgspec import Struct, field


class Rates(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Nano-dollars per million tokens (per single request where named so). None: this kind has no price of its own."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    """None: billed as input"""
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    """None: billed as output"""
    audio_input: int | None = None
    audio_cache_read: int | None = None
    audio_output: int | None = None
    image_input: int | None = None
    image_cache_read: int | None = None
    image_output: int | None = None
    video_input: int | None = None
    video_output: int | None = None


class Tier(Struct, kw_only=True, frozen=True):
    """Rates that hold for the whole call once its input has more than `above_input_tokens`."""

    above_input_tokens: int
    rates: Rates


class Hours(Struct, kw_only=True, frozen=True):
    """Rates that replace the ordinary ones between two times of a day (peak and off-peak prices).

    Seconds of the UTC day; an end before the start runs over midnight.
    """

    start_s: int
    end_s: int
    rates: Rates
    workdays: bool = False
    """from Monday to Friday only (UTC)"""


class Price(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """All that a call on one deployment may cost, with where the figures come from."""

    rates: Rates = Rates()
    tiers: tuple[Tier, ...] = ()
    """rising"""
    service_tiers: dict[str, Rates] = field(default_factory=dict)
    """`flex`, `priority`, `batch`: rates that replace the ordinary ones where they name a kind"""
    service_tier_tiers: dict[str, tuple[Tier, ...]] = field(default_factory=dict)
    """tiers by input that hold under a service tier; a service tier named only in `service_tiers` has none"""
    hours: tuple[Hours, ...] = ()
    per_request_nano_usd: int | None = None
    per_second_nano_usd: int | None = None
    per_hour_nano_usd: int | None = None
    """of audio, where the price list says so; used when there is no price per second"""
    min_billed_seconds: int = 0
    per_web_search_nano_usd: int | None = None
    per_query_nano_usd: int | None = None
    per_file_search_nano_usd: int | None = None
    per_page_nano_usd: int | None = None
    per_image_nano_usd: int | None = None
    per_million_characters_nano_usd: int | None = None
    free: bool = False
    """known to cost nothing (local models, `wayport/echo`): cost 0 is a fact, not a gap"""
    source: str = ""
    """`config`, `genai-prices 0.2.3`, `wayport 2026-11`"""
    version: str = ""
