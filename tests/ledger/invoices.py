"""What calls cost by the published prices, worked out by hand, part by part: `tokens × dollars per million tokens`.

Amounts are nano-dollars. A price of $1 per million tokens is 1,000 nano-dollars a token; each part is rounded half up.

Where the prices are published. They hold on `DAY`, which was the day on which they were last compared with these pages (by the
facts in genai-prices 0.2.3 of 2026-11, where nothing else is said):

* OpenAI: developers.openai.com/api/docs/pricing. Read again, in resellers' copies: gpt-5.4 (twice the input and one and a half times the output above
  272,000 tokens), gpt-5.6-sol ($4/$0.40/$20 since 2026-08-21, "at least through 2026-11-21"; $5/$30 before). Azure: the same prices, azure.microsoft.com/pricing/details/cognitive-services/openai-service
* Anthropic: platform.claude.com/docs/en/about-claude/pricing and …/models/*/overview. Read again: the cache at 1.25 times (5 minutes), twice (1 hour) and
  a tenth of the input, batch at half, Haiku 5.5 ($0.10/$0.50, five times that above 100,000 tokens), Opus 4.8 ($5/$25, fast $10/$50)
* Google: ai.google.dev/gemini-api/docs/pricing, cloud.google.com/vertex-ai/generative-ai/pricing
* Amazon: aws.amazon.com/bedrock/pricing (a tenth more for regional endpoints of Claude from 4.5 on)
* DeepSeek: api-docs.deepseek.com/quick_start/pricing, as of 2026-11-15. Read again: peak hours 01:00–04:00 and 06:00–10:00 UTC from Monday to
  Friday at twice the price
* Perplexity: docs.perplexity.ai/getting-started/pricing. Read again: $5, $8 and $12 per 1,000 requests of sonar by search size, low unless asked for
* Groq: console.groq.com/docs/models (ten seconds of audio at least) · Mistral: mistral.ai/pricing/api · xAI: docs.x.ai/docs/models · Cohere:
  cohere.com/pricing (rerank $2 per 1,000) · OpenRouter: openrouter.ai/models · Together: together.ai/pricing · Fireworks: fireworks.ai/pricing ·
  Cerebras: cerebras.ai/pricing · Replicate: replicate.com/meta/llama-2-70b-chat · Moonshot: platform.kimi.ai/docs/pricing/chat · Z.ai:
  docs.z.ai/guides/overview/pricing · Voyage: docs.voyageai.com/docs/pricing · Hugging Face: router.huggingface.co/v1/models
"""

from datetime import date

from msgspec import Struct

from wayport.core.usage import Usage
from wayport.ledger.pricing import Units

DAY = date(2026, 11, 20)
"""the day of the invoices: later prices do not change them"""


class Invoice(Struct, frozen=True):
    name: str
    provider: str
    model: str
    usage: Usage
    service_tier: str | None = None
    units: Units | None = None
    at: str | None = None
    """time of the day, UTC"""
    days_later: int = 0
    """than `DAY`, a Friday"""
    parts: dict[str, int] = {}
    total: int = 0


# fmt: off
INVOICES = [
    Invoice("plain chat", "openai", "gpt-4o",
        Usage(input_tokens=1000, output_tokens=500), parts={
            "input": 2_500_000,  # 1,000 tokens × $2.50/M
            "output": 5_000_000,  # 500 tokens × $10/M
        }, total=7_500_000),
    Invoice("cached prompt", "openai", "gpt-4o",
        Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=600), parts={
            "cache_read": 750_000,  # 600 tokens × $1.25/M
            "input": 1_000_000,  # 400 tokens × $2.50/M
            "output": 5_000_000,  # 500 tokens × $10/M
        }, total=6_750_000),
    Invoice("odd counts", "openai", "gpt-4o-mini",
        Usage(input_tokens=12_345, output_tokens=678), parts={
            "input": 1_851_750,  # 12,345 tokens × $0.15/M
            "output": 406_800,  # 678 tokens × $0.60/M
        }, total=2_258_550),
    Invoice("the smallest call", "openai", "gpt-4o-mini",
        Usage(input_tokens=1, output_tokens=1, cache_read_tokens=1), parts={
            "cache_read": 75,  # 1 tokens × $0.075/M
            "output": 600,  # 1 tokens × $0.60/M
        }, total=675),
    Invoice("batch", "openai", "gpt-4o-mini",
        Usage(input_tokens=7, output_tokens=3), service_tier="batch", parts={
            "input": 525,  # 7 tokens × $0.075/M
            "output": 900,  # 3 tokens × $0.30/M
        }, total=1_425),
    Invoice("turbo of 2024", "openai", "gpt-3.5-turbo",
        Usage(input_tokens=4096, output_tokens=1024), parts={
            "input": 2_048_000,  # 4,096 tokens × $0.50/M
            "output": 1_536_000,  # 1,024 tokens × $1.50/M
        }, total=3_584_000),
    Invoice("GPT-4", "openai", "gpt-4",
        Usage(input_tokens=8000, output_tokens=192), parts={
            "input": 240_000_000,  # 8,000 tokens × $30/M
            "output": 11_520_000,  # 192 tokens × $60/M
        }, total=251_520_000),
    Invoice("GPT-4 Turbo", "openai", "gpt-4-turbo",
        Usage(input_tokens=100_000, output_tokens=4096), parts={
            "input": 1_000_000_000,  # 100,000 tokens × $10/M
            "output": 122_880_000,  # 4,096 tokens × $30/M
        }, total=1_122_880_000),
    Invoice("GPT-4 Turbo preview, batch", "openai", "gpt-4-1106-preview",
        Usage(input_tokens=100_000, output_tokens=4096), service_tier="batch", parts={
            "input": 500_000_000,  # 100,000 tokens × $5/M
            "output": 61_440_000,  # 4,096 tokens × $15/M
        }, total=561_440_000),
    Invoice("reasoning is output", "openai", "o1",
        Usage(input_tokens=2000, output_tokens=9000, reasoning_tokens=8500), parts={
            "input": 30_000_000,  # 2,000 tokens × $15/M
            "output": 540_000_000,  # 9,000 tokens × $60/M
        }, total=570_000_000),
    Invoice("small reasoning with cache", "openai", "o3-mini",
        Usage(input_tokens=5000, output_tokens=2500, cache_read_tokens=4096, reasoning_tokens=2000), parts={
            "cache_read": 2_252_800,  # 4,096 tokens × $0.55/M
            "input": 994_400,  # 904 tokens × $1.10/M
            "output": 11_000_000,  # 2,500 tokens × $4.40/M
        }, total=14_247_200),
    Invoice("GPT-4.1", "openai", "gpt-4.1",
        Usage(input_tokens=900_000, output_tokens=32_768), parts={
            "input": 1_800_000_000,  # 900,000 tokens × $2/M
            "output": 262_144_000,  # 32,768 tokens × $8/M
        }, total=2_062_144_000),
    Invoice("GPT-5 with cache", "openai", "gpt-5",
        Usage(input_tokens=10_000, output_tokens=3000, cache_read_tokens=8192, reasoning_tokens=2500), parts={
            "cache_read": 1_024_000,  # 8,192 tokens × $0.125/M
            "input": 2_260_000,  # 1,808 tokens × $1.25/M
            "output": 30_000_000,  # 3,000 tokens × $10/M
        }, total=33_284_000),
    Invoice("flex", "openai", "gpt-5",
        Usage(input_tokens=10_000, output_tokens=3000, cache_read_tokens=8192), service_tier="flex", parts={
            "cache_read": 512_000,  # 8,192 tokens × $0.0625/M
            "input": 1_130_000,  # 1,808 tokens × $0.625/M
            "output": 15_000_000,  # 3,000 tokens × $5/M
        }, total=16_642_000),
    Invoice("priority", "openai", "gpt-5",
        Usage(input_tokens=10_000, output_tokens=3000), service_tier="priority", parts={
            "input": 25_000_000,  # 10,000 tokens × $2.50/M
            "output": 60_000_000,  # 3,000 tokens × $20/M
        }, total=85_000_000),
    Invoice("default tier is the list price", "openai", "gpt-5",
        Usage(input_tokens=10_000, output_tokens=3000), service_tier="default", parts={
            "input": 12_500_000,  # 10,000 tokens × $1.25/M
            "output": 30_000_000,  # 3,000 tokens × $10/M
        }, total=42_500_000),
    Invoice("at the threshold", "openai", "gpt-5.4",
        Usage(input_tokens=272_000, output_tokens=1000), parts={
            "input": 680_000_000,  # 272,000 tokens × $2.50/M
            "output": 15_000_000,  # 1,000 tokens × $15/M
        }, total=695_000_000),
    Invoice("over the threshold the whole call is dearer", "openai", "gpt-5.4",
        Usage(input_tokens=272_001, output_tokens=1000, cache_read_tokens=200_000), parts={
            "cache_read": 100_000_000,  # 200,000 tokens × $0.50/M
            "input": 360_005_000,  # 72,001 tokens × $5/M
            "output": 22_500_000,  # 1,000 tokens × $22.50/M
        }, total=482_505_000),
    Invoice("flex over the threshold", "openai", "gpt-5.4",
        Usage(input_tokens=300_000, output_tokens=1000), service_tier="flex", parts={
            "input": 750_000_000,  # 300,000 tokens × $2.50/M
            "output": 11_250_000,  # 1,000 tokens × $11.25/M
        }, total=761_250_000),
    Invoice("batch", "openai", "gpt-4o",
        Usage(input_tokens=1_000_000, output_tokens=100_000), service_tier="batch", parts={
            "input": 1_250_000_000,  # 1,000,000 tokens × $1.25/M
            "output": 500_000_000,  # 100,000 tokens × $5/M
        }, total=1_750_000_000),
    Invoice("cache writes have a price since 5.6", "openai", "gpt-5.6-sol",
        Usage(input_tokens=20_000, output_tokens=800, cache_read_tokens=4000, cache_write_5m_tokens=12_000), parts={
            "cache_read": 1_600_000,  # 4,000 tokens × $0.40/M
            "cache_write_5m": 60_000_000,  # 12,000 tokens × $5/M
            "input": 16_000_000,  # 4,000 tokens × $4/M
            "output": 16_000_000,  # 800 tokens × $20/M
        }, total=93_600_000),
    Invoice("audio in and out", "openai", "gpt-4o-audio-preview",
        Usage(input_tokens=1500, output_tokens=900, audio_input_tokens=1200, audio_output_tokens=700), parts={
            "audio_input": 48_000_000,  # 1,200 tokens × $40/M
            "input": 750_000,  # 300 tokens × $2.50/M
            "audio_output": 56_000_000,  # 700 tokens × $80/M
            "output": 2_000_000,  # 200 tokens × $10/M
        }, total=106_750_000),
    Invoice("two web searches", "openai", "gpt-4o",
        Usage(input_tokens=1000, output_tokens=500, web_search_requests=2), parts={
            "input": 2_500_000,  # 1,000 tokens × $2.50/M
            "output": 5_000_000,  # 500 tokens × $10/M
            "web_search": 20_000_000,  # 2 × $0.01
        }, total=27_500_000),
    Invoice("embedding", "openai", "text-embedding-3-small",
        Usage(input_tokens=8191), parts={
            "input": 163_820,  # 8,191 tokens × $0.02/M
        }, total=163_820),
    Invoice("a minute and a half of speech", "openai", "whisper-1",
        Usage(), units=Units(seconds=90.0), parts={
            "second": 9_000_000,  # 1.5 minutes × $0.006/minute
        }, total=9_000_000),
    Invoice("spoken text", "openai", "tts-1",
        Usage(), units=Units(characters=4000), parts={
            "character": 60_000_000,  # 4,000 characters × $15/M
        }, total=60_000_000),
    Invoice("an image drawn from an image", "openai", "gpt-image-1",
        Usage(input_tokens=500, output_tokens=4160, image_input_tokens=300), parts={
            "image_input": 3_000_000,  # 300 tokens × $10/M
            "input": 1_000_000,  # 200 tokens × $5/M
            "output": 166_400_000,  # 4,160 tokens × $40/M
        }, total=170_400_000),
    Invoice("Claude 3 Haiku", "anthropic", "claude-3-haiku-20240307",
        Usage(input_tokens=20_000, output_tokens=1000), parts={
            "input": 5_000_000,  # 20,000 tokens × $0.25/M
            "output": 1_250_000,  # 1,000 tokens × $1.25/M
        }, total=6_250_000),
    Invoice("Claude 3 Opus", "anthropic", "claude-3-opus-20240229",
        Usage(input_tokens=20_000, output_tokens=1000), parts={
            "input": 300_000_000,  # 20,000 tokens × $15/M
            "output": 75_000_000,  # 1,000 tokens × $75/M
        }, total=375_000_000),
    Invoice("cache written and read", "anthropic", "claude-3-5-sonnet-20241022",
        Usage(input_tokens=12_100, output_tokens=300, cache_read_tokens=8000, cache_write_5m_tokens=4000), parts={
            "cache_read": 2_400_000,  # 8,000 tokens × $0.30/M
            "cache_write_5m": 15_000_000,  # 4,000 tokens × $3.75/M
            "input": 300_000,  # 100 tokens × $3/M
            "output": 4_500_000,  # 300 tokens × $15/M
        }, total=22_200_000),
    Invoice("cache kept for an hour", "anthropic", "claude-sonnet-4-5",
        Usage(input_tokens=10_010, output_tokens=300, cache_write_5m_tokens=4000, cache_write_1h_tokens=6000), parts={
            "cache_write_5m": 15_000_000,  # 4,000 tokens × $3.75/M
            "cache_write_1h": 36_000_000,  # 6,000 tokens × $6/M
            "input": 30_000,  # 10 tokens × $3/M
            "output": 4_500_000,  # 300 tokens × $15/M
        }, total=55_530_000),
    Invoice("long context", "anthropic", "claude-sonnet-4-5",
        Usage(input_tokens=250_000, output_tokens=2000, cache_read_tokens=240_000), parts={
            "cache_read": 144_000_000,  # 240,000 tokens × $0.60/M
            "input": 60_000_000,  # 10,000 tokens × $6/M
            "output": 45_000_000,  # 2,000 tokens × $22.50/M
        }, total=249_000_000),
    Invoice("thinking is output", "anthropic", "claude-haiku-4-5",
        Usage(input_tokens=700, output_tokens=5000, reasoning_tokens=4000), parts={
            "input": 700_000,  # 700 tokens × $1/M
            "output": 25_000_000,  # 5,000 tokens × $5/M
        }, total=25_700_000),
    Invoice("three web searches", "anthropic", "claude-haiku-4-5",
        Usage(input_tokens=30_000, output_tokens=900, web_search_requests=3), parts={
            "input": 30_000_000,  # 30,000 tokens × $1/M
            "output": 4_500_000,  # 900 tokens × $5/M
            "web_search": 30_000_000,  # 3 × $0.01
        }, total=64_500_000),
    Invoice("batch with cache", "anthropic", "claude-opus-4-8",
        Usage(input_tokens=9000, output_tokens=1000, cache_read_tokens=5000, cache_write_5m_tokens=2000), service_tier="batch", parts={
            "cache_read": 1_250_000,  # 5,000 tokens × $0.25/M
            "cache_write_5m": 6_250_000,  # 2,000 tokens × $3.125/M
            "input": 5_000_000,  # 2,000 tokens × $2.50/M
            "output": 12_500_000,  # 1,000 tokens × $12.50/M
        }, total=25_000_000),
    Invoice("fast mode", "anthropic", "claude-opus-4-8",
        Usage(input_tokens=9000, output_tokens=1000), service_tier="fast", parts={
            "input": 90_000_000,  # 9,000 tokens × $10/M
            "output": 50_000_000,  # 1,000 tokens × $50/M
        }, total=140_000_000),
    Invoice("a small model over its threshold", "anthropic", "claude-haiku-5-5",
        Usage(input_tokens=100_001, output_tokens=10), parts={
            "input": 50_000_500,  # 100,001 tokens × $0.50/M
            "output": 25_000,  # 10 tokens × $2.50/M
        }, total=50_025_500),
    Invoice("up to 200k", "gemini", "gemini-2.5-pro",
        Usage(input_tokens=200_000, output_tokens=4000, reasoning_tokens=3000), parts={
            "input": 250_000_000,  # 200,000 tokens × $1.25/M
            "output": 40_000_000,  # 4,000 tokens × $10/M
        }, total=290_000_000),
    Invoice("above 200k", "gemini", "gemini-2.5-pro",
        Usage(input_tokens=200_001, output_tokens=4000, cache_read_tokens=100_000), parts={
            "cache_read": 25_000_000,  # 100,000 tokens × $0.25/M
            "input": 250_002_500,  # 100,001 tokens × $2.50/M
            "output": 60_000_000,  # 4,000 tokens × $15/M
        }, total=335_002_500),
    Invoice("audio and cache", "gemini", "gemini-2.5-flash",
        Usage(input_tokens=10_000, output_tokens=200, audio_input_tokens=6000, cache_read_tokens=1000), parts={
            "cache_read": 30_000,  # 1,000 tokens × $0.03/M
            "audio_input": 6_000_000,  # 6,000 tokens × $1/M
            "input": 900_000,  # 3,000 tokens × $0.30/M
            "output": 500_000,  # 200 tokens × $2.50/M
        }, total=7_430_000),
    Invoice("cached audio", "gemini", "gemini-2.5-flash",
        Usage(input_tokens=10_000, output_tokens=200, audio_input_tokens=6000, cache_read_tokens=5000, audio_cache_read_tokens=4000), parts={
            "audio_cache_read": 400_000,  # 4,000 tokens × $0.10/M
            "cache_read": 30_000,  # 1,000 tokens × $0.03/M
            "audio_input": 2_000_000,  # 2,000 tokens × $1/M
            "input": 900_000,  # 3,000 tokens × $0.30/M
            "output": 500_000,  # 200 tokens × $2.50/M
        }, total=3_830_000),
    Invoice("Gemini 2.0 Flash", "gemini", "gemini-2.0-flash",
        Usage(input_tokens=1_000_000, output_tokens=8192), parts={
            "input": 100_000_000,  # 1,000,000 tokens × $0.10/M
            "output": 3_276_800,  # 8,192 tokens × $0.40/M
        }, total=103_276_800),
    Invoice("Gemini 1.5 Pro, long", "gemini", "gemini-1.5-pro",
        Usage(input_tokens=500_000, output_tokens=1000), parts={
            "input": 1_250_000_000,  # 500,000 tokens × $2.50/M
            "output": 10_000_000,  # 1,000 tokens × $10/M
        }, total=1_260_000_000),
    Invoice("batch", "gemini", "gemini-2.5-flash",
        Usage(input_tokens=10_000, output_tokens=200), service_tier="batch", parts={
            "input": 1_500_000,  # 10,000 tokens × $0.15/M
            "output": 250_000,  # 200 tokens × $1.25/M
        }, total=1_750_000),
    Invoice("grounded by search", "gemini", "gemini-3-flash-preview",
        Usage(input_tokens=3000, output_tokens=400, web_search_requests=1), parts={
            "input": 1_500_000,  # 3,000 tokens × $0.50/M
            "output": 1_200_000,  # 400 tokens × $3/M
            "web_search": 14_000_000,  # 1 × $0.014
        }, total=16_700_000),
    Invoice("the same price on Vertex AI", "vertex_ai", "gemini-2.5-pro",
        Usage(input_tokens=1000, output_tokens=100), parts={
            "input": 1_250_000,  # 1,000 tokens × $1.25/M
            "output": 1_000_000,  # 100 tokens × $10/M
        }, total=2_250_000),
    Invoice("Claude on Vertex AI", "vertex_ai", "claude-3-5-sonnet@20240620",
        Usage(input_tokens=1000, output_tokens=100, cache_write_1h_tokens=500), parts={
            "cache_write_1h": 3_000_000,  # 500 tokens × $6/M
            "input": 1_500_000,  # 500 tokens × $3/M
            "output": 1_500_000,  # 100 tokens × $15/M
        }, total=6_000_000),
    Invoice("OpenAI's price on Azure", "azure", "gpt-4o",
        Usage(input_tokens=1000, output_tokens=500, cache_read_tokens=600), parts={
            "cache_read": 750_000,  # 600 tokens × $1.25/M
            "input": 1_000_000,  # 400 tokens × $2.50/M
            "output": 5_000_000,  # 500 tokens × $10/M
        }, total=6_750_000),
    Invoice("Nova Lite in a region", "bedrock", "us.amazon.nova-lite-v1:0",
        Usage(input_tokens=50_000, output_tokens=2000), parts={
            "input": 3_000_000,  # 50,000 tokens × $0.06/M
            "output": 480_000,  # 2,000 tokens × $0.24/M
        }, total=3_480_000),
    Invoice("Nova Pro with cache", "bedrock", "amazon.nova-pro-v1:0",
        Usage(input_tokens=50_000, output_tokens=2000, cache_read_tokens=40_000), parts={
            "cache_read": 8_000_000,  # 40,000 tokens × $0.20/M
            "input": 8_000_000,  # 10,000 tokens × $0.80/M
            "output": 6_400_000,  # 2,000 tokens × $3.20/M
        }, total=22_400_000),
    Invoice("a tenth more in a region", "bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
        Usage(input_tokens=1000, output_tokens=100), parts={
            "input": 1_100_000,  # 1,000 tokens × $1.10/M
            "output": 550_000,  # 100 tokens × $5.50/M
        }, total=1_650_000),
    Invoice("the list price worldwide", "bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        Usage(input_tokens=1000, output_tokens=100), parts={
            "input": 1_000_000,  # 1,000 tokens × $1/M
            "output": 500_000,  # 100 tokens × $5/M
        }, total=1_500_000),
    Invoice("Llama on Bedrock", "bedrock", "meta.llama3-1-70b-instruct-v1:0",
        Usage(input_tokens=1234, output_tokens=567), parts={
            "input": 888_480,  # 1,234 tokens × $0.72/M
            "output": 408_240,  # 567 tokens × $0.72/M
        }, total=1_296_720),
    Invoice("Llama on Groq", "groq", "llama-3.3-70b-versatile",
        Usage(input_tokens=3333, output_tokens=777), parts={
            "input": 1_966_470,  # 3,333 tokens × $0.59/M
            "output": 613_830,  # 777 tokens × $0.79/M
        }, total=2_580_300),
    Invoice("cached on Groq", "groq", "openai/gpt-oss-120b",
        Usage(input_tokens=4000, output_tokens=900, cache_read_tokens=3000, reasoning_tokens=700), parts={
            "cache_read": 225_000,  # 3,000 tokens × $0.075/M
            "input": 150_000,  # 1,000 tokens × $0.15/M
            "output": 540_000,  # 900 tokens × $0.60/M
        }, total=915_000),
    Invoice("an hour of speech", "groq", "whisper-large-v3-turbo",
        Usage(), units=Units(seconds=3600.0), parts={
            "second": 40_000_000,  # 1 hour × $0.04/hour
        }, total=40_000_000),
    Invoice("ten seconds at least", "groq", "whisper-large-v3-turbo",
        Usage(), units=Units(seconds=3.2), parts={
            "second": 111_111,  # 10 seconds of $0.04/hour
        }, total=111_111),
    Invoice("off-peak", "deepseek", "deepseek-flash",
        Usage(input_tokens=9000, output_tokens=1000, cache_read_tokens=8000), at="05:59:59", parts={
            "cache_read": 24_000,  # 8,000 tokens × $0.003/M
            "input": 150_000,  # 1,000 tokens × $0.15/M
            "output": 600_000,  # 1,000 tokens × $0.60/M
        }, total=774_000),
    Invoice("no peak on a Saturday", "deepseek", "deepseek-flash",
        Usage(input_tokens=9000, output_tokens=1000, cache_read_tokens=8000), at="06:00:00", days_later=1, parts={
            "cache_read": 24_000,  # 8,000 tokens × $0.003/M
            "input": 150_000,  # 1,000 tokens × $0.15/M
            "output": 600_000,  # 1,000 tokens × $0.60/M
        }, total=774_000),
    Invoice("Nova's vectors", "bedrock", "amazon.nova-2-multimodal-embeddings-v1:0",
        Usage(input_tokens=12_000), parts={
            "input": 1_620_000,  # 12,000 tokens × $0.135/M
        }, total=1_620_000),
    Invoice("peak hour", "deepseek", "deepseek-flash",
        Usage(input_tokens=9000, output_tokens=1000, cache_read_tokens=8000), at="06:00:00", parts={
            "cache_read": 48_000,  # 8,000 tokens × $0.006/M
            "input": 300_000,  # 1,000 tokens × $0.30/M
            "output": 1_200_000,  # 1,000 tokens × $1.20/M
        }, total=1_548_000),
    Invoice("Mistral Large", "mistral", "mistral-large-2411",
        Usage(input_tokens=4500, output_tokens=1500), parts={
            "input": 9_000_000,  # 4,500 tokens × $2/M
            "output": 9_000_000,  # 1,500 tokens × $6/M
        }, total=18_000_000),
    Invoice("Mistral Medium", "mistral", "mistral-medium-2508",
        Usage(input_tokens=4500, output_tokens=1500), parts={
            "input": 1_800_000,  # 4,500 tokens × $0.40/M
            "output": 3_000_000,  # 1,500 tokens × $2/M
        }, total=4_800_000),
    Invoice("Codestral, batch", "mistral", "codestral-2508",
        Usage(input_tokens=4500, output_tokens=1500), service_tier="batch", parts={
            "input": 675_000,  # 4,500 tokens × $0.15/M
            "output": 675_000,  # 1,500 tokens × $0.45/M
        }, total=1_350_000),
    Invoice("scanned pages", "mistral", "mistral-ocr-2512",
        Usage(), units=Units(pages=12), parts={
            "page": 24_000_000,  # 12 × $0.002
        }, total=24_000_000),
    Invoice("Grok 3 with cache", "xai", "grok-3",
        Usage(input_tokens=7000, output_tokens=400, cache_read_tokens=6500), parts={
            "cache_read": 4_875_000,  # 6,500 tokens × $0.75/M
            "input": 1_500_000,  # 500 tokens × $3/M
            "output": 6_000_000,  # 400 tokens × $15/M
        }, total=12_375_000),
    Invoice("Grok Code", "xai", "grok-code-fast-1",
        Usage(input_tokens=100_000, output_tokens=20_000, reasoning_tokens=15_000), parts={
            "input": 20_000_000,  # 100,000 tokens × $0.20/M
            "output": 30_000_000,  # 20,000 tokens × $1.50/M
        }, total=50_000_000),
    Invoice("Command R+", "cohere", "command-r-plus-08-2024",
        Usage(input_tokens=2500, output_tokens=250), parts={
            "input": 6_250_000,  # 2,500 tokens × $2.50/M
            "output": 2_500_000,  # 250 tokens × $10/M
        }, total=8_750_000),
    Invoice("a half nano-dollar rounds up", "cohere", "command-r7b-12-2024",
        Usage(input_tokens=333, output_tokens=77), parts={
            "input": 12_488,  # 333 tokens × $0.0375/M
            "output": 11_550,  # 77 tokens × $0.15/M
        }, total=24_038),
    Invoice("embedding", "cohere", "embed-v4.0",
        Usage(input_tokens=100_000), parts={
            "input": 12_000_000,  # 100,000 tokens × $0.12/M
        }, total=12_000_000),
    Invoice("reranking", "cohere", "rerank-v3.5",
        Usage(), units=Units(queries=3), parts={
            "query": 6_000_000,  # 3 × $0.002
        }, total=6_000_000),
    Invoice("a fee per request", "perplexity", "sonar",
        Usage(input_tokens=15, output_tokens=285), parts={
            "input": 15_000,  # 15 tokens × $1/M
            "output": 285_000,  # 285 tokens × $1/M
            "request": 5_000_000,  # 1 × $0.005: no search size is asked for, and the smallest is the default
        }, total=5_300_000),
    Invoice("reasoning at its own price", "perplexity", "sonar-deep-research",
        Usage(input_tokens=100, output_tokens=80_000, reasoning_tokens=70_000, web_search_requests=30), parts={
            "input": 200_000,  # 100 tokens × $2/M
            "reasoning": 210_000_000,  # 70,000 tokens × $3/M
            "output": 80_000_000,  # 10,000 tokens × $8/M
            "web_search": 150_000_000,  # 30 × $0.005
        }, total=440_200_000),
    Invoice("Claude through OpenRouter", "openrouter", "anthropic/claude-sonnet-4.5",
        Usage(input_tokens=210_000, output_tokens=100), parts={
            "input": 1_260_000_000,  # 210,000 tokens × $6/M
            "output": 2_250_000,  # 100 tokens × $22.50/M
        }, total=1_262_250_000),
    Invoice("Llama on Together", "together_ai", "meta-llama/Llama-3.3-70B-Instruct-Turbo",
        Usage(input_tokens=600, output_tokens=400), parts={
            "input": 528_000,  # 600 tokens × $0.88/M
            "output": 352_000,  # 400 tokens × $0.88/M
        }, total=880_000),
    Invoice("DeepSeek on Fireworks", "fireworks_ai", "accounts/fireworks/models/deepseek-v3p2",
        Usage(input_tokens=600, output_tokens=400, cache_read_tokens=500), parts={
            "cache_read": 140_000,  # 500 tokens × $0.28/M
            "input": 56_000,  # 100 tokens × $0.56/M
            "output": 672_000,  # 400 tokens × $1.68/M
        }, total=868_000),
    Invoice("GPT-OSS on Cerebras", "cerebras", "gpt-oss-120b",
        Usage(input_tokens=600, output_tokens=400), parts={
            "input": 210_000,  # 600 tokens × $0.35/M
            "output": 300_000,  # 400 tokens × $0.75/M
        }, total=510_000),
    Invoice("Llama 2 on Replicate", "replicate", "meta/llama-2-70b-chat",
        Usage(input_tokens=600, output_tokens=400), parts={
            "input": 390_000,  # 600 tokens × $0.65/M
            "output": 1_100_000,  # 400 tokens × $2.75/M
        }, total=1_490_000),
    Invoice("Kimi K2", "moonshot", "kimi-k2-0905-preview",
        Usage(input_tokens=9000, output_tokens=400, cache_read_tokens=8000), parts={
            "cache_read": 1_200_000,  # 8,000 tokens × $0.15/M
            "input": 600_000,  # 1,000 tokens × $0.60/M
            "output": 1_000_000,  # 400 tokens × $2.50/M
        }, total=2_800_000),
    Invoice("GLM 4.6", "zai", "glm-4.6",
        Usage(input_tokens=9000, output_tokens=400, cache_read_tokens=8000), parts={
            "cache_read": 880_000,  # 8,000 tokens × $0.11/M
            "input": 600_000,  # 1,000 tokens × $0.60/M
            "output": 880_000,  # 400 tokens × $2.20/M
        }, total=2_360_000),
    Invoice("embedding", "voyage", "voyage-3.5",
        Usage(input_tokens=12_345), parts={
            "input": 740_700,  # 12,345 tokens × $0.06/M
        }, total=740_700),
    Invoice("DeepSeek R1 at Together through Hugging Face", "huggingface", "together/deepseek-ai/DeepSeek-R1",
        Usage(input_tokens=50, output_tokens=3000, reasoning_tokens=2500), parts={
            "input": 150_000,  # 50 tokens × $3/M
            "output": 21_000_000,  # 3,000 tokens × $7/M
        }, total=21_150_000),
]
