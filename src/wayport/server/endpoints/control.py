"""What is not a model's business is the control process's: relayed as it is, so that there is one port."""

import asyncio
from typing import TYPE_CHECKING

from wayport.core.errors import RouteNotFound, Unavailable
from wayport.core.net import Timeouts
from wayport.server.exchange import Exchange
from wayport.upstream.answer import Answer
from wayport.upstream.transport import Origin, TransportFault

if TYPE_CHECKING:
    from wayport.server.app import Worker

_TIMEOUTS = Timeouts(connect_s=5.0, first_byte_s=120.0, idle_s=300.0, total_s=None)
# Decided anew for the other side of the relay.
_NOT_RELAYED = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"te", b"trailer", b"upgrade",
     b"proxy-authorization", b"expect", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"}
)  # fmt: skip
_NOT_RETURNED = frozenset({b"connection", b"content-length", b"transfer-encoding", b"keep-alive", b"date", b"server"})

_WITHOUT_BODY = frozenset({204, 304})
_STRAY_BYTES = 65_536
_AWAY_S = 10.0
"""so long after it went, or did not come, requests wait for it: it takes a moment to start"""
_LOOK_AGAIN_S = 0.05


async def relay_to_control(worker: "Worker", exchange: Exchange) -> None:
    """Raises `Unavailable` where the control process stays away, `RouteNotFound` where there is none."""
    if not worker.admin_socket:
        raise RouteNotFound(f"There is no {exchange.path} here.")
    lines = [b"%b %b HTTP/1.1\r\nhost: control\r\n" % (exchange.method, exchange.target)]
    lines += [b"%b: %b\r\n" % (n, v) for n, v in exchange.headers.items() if n not in _NOT_RELAYED]
    lines.append(b"x-forwarded-for: %b\r\n" % exchange.client[0].encode("latin-1", "replace"))
    lines.append(b"x-forwarded-host: %b\r\n" % (exchange.header(b"host") or b""))
    try:
        answer = await _send(worker, b"".join(lines), exchange.body)
        head = b"".join(b"%b: %b\r\n" % (n, v) for n, v in answer.headers if n not in _NOT_RETURNED)
        if exchange.method == b"HEAD" or answer.status in _WITHOUT_BODY:
            # No byte may follow such a head, not even those that end a chunked body: they would begin the next answer.
            await answer.read(_STRAY_BYTES)
            exchange.respond(answer.status, head, b"")
            return
        exchange.start(answer.status, head)
        exchange.on_pause, exchange.on_resume = answer.pause, answer.resume
        await answer.pump(exchange.write)
        exchange.end()
    except TransportFault as fault:
        if exchange.started:
            exchange.abort()
            return
        raise Unavailable(
            "The control process does not answer; models can be called all the same. Try again in a moment.",
            code="control_unavailable",
            retry_after_s=1,
        ) from fault


async def _send(worker: "Worker", head: bytes, body: bytes) -> Answer:
    """Waits a while for a control process that is not there (yet): of such a request nothing was sent."""
    while True:
        try:
            answer = await worker.transport.send(Origin("unix", worker.admin_socket, 0), head, body, timeouts=_TIMEOUTS)
        except TransportFault as fault:
            now_s = worker.clock.steady_s()
            if worker.control_away_s is None:
                worker.control_away_s = now_s
            if fault.fault.body_sent or now_s - worker.control_away_s >= _AWAY_S:
                raise
            await asyncio.sleep(_LOOK_AGAIN_S)
        else:
            worker.control_away_s = None
            return answer
