"""Cross-origin requests of browsers: off but for listed origins."""

from collections.abc import Collection

from wayport.server.exchange import Exchange

_ALLOWED = b"access-control-allow-methods: GET, POST, PUT, PATCH, DELETE, OPTIONS\r\naccess-control-max-age: 600\r\n"
_EXPOSED = b"access-control-expose-headers: x-wayport-call-id, x-wayport-model, x-wayport-cost-usd, retry-after\r\n"


class Cors:
    def __init__(self, origins: Collection[str]) -> None:
        self.origins = frozenset(origin.encode() for origin in origins)

    def answered(self, exchange: Exchange) -> bool:
        """Adds what a listed origin may see; answers a preflight itself and says so."""
        origin = exchange.header(b"origin")
        if origin is None or (origin not in self.origins and b"*" not in self.origins):
            return False
        lines = b"access-control-allow-origin: %b\r\nvary: origin\r\n" % origin
        if exchange.method == b"OPTIONS" and exchange.header(b"access-control-request-method") is not None:
            wanted = exchange.header(b"access-control-request-headers") or b"authorization, content-type"
            exchange.respond(204, lines + _ALLOWED + b"access-control-allow-headers: %b\r\n" % wanted, b"")
            return True
        exchange.extra_head = lines + _EXPOSED
        return False
