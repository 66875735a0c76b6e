"""`cost-based-routing`: the cheapest for this request by its expected tokens. Who has no price comes after all others."""

from collections.abc import Sequence

from wayport.routing.group import Candidate
from wayport.routing.strategies.strategy import View, lowest

_UNPRICED = float(1 << 62)


class CostBased:
    def choose(self, able: Sequence[Candidate], view: View) -> Candidate:
        return lowest(able, [self.score(candidate, view) for candidate in able], view.random)

    def score(self, candidate: Candidate, view: View) -> float:
        if candidate.price is None:
            return _UNPRICED
        price = candidate.deployment.price
        assert price is not None
        if price.free:
            return 0.0
        rates = price.rates
        for tier in price.tiers:
            if view.needs.expected_tokens > tier.above_input_tokens:
                rates = tier.rates
        tokens = view.needs.expected_tokens * (rates.input or 0) + view.needs.output_tokens * (rates.output or 0)
        return tokens / 1_000_000 + (price.per_request_nano_usd or 0)
