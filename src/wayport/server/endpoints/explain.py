"""`GET /v1/calls/{id}/explain`: why a call went where it went. This worker's latest calls are answered here; all others,
from their records, by the control process.
"""

import re
from typing import TYPE_CHECKING

import msgspec

from wayport.access.principal import Principal
from wayport.core.record import CallRecord
from wayport.routing.traces import explain
from wayport.server.endpoints.control import relay_to_control
from wayport.server.exchange import Exchange

if TYPE_CHECKING:
    from wayport.server.app import Worker

PATH = re.compile(r"(?:/v1)?/calls/(?P<id>[^/]{1,200})/explain")
_JSON = b"content-type: application/json\r\n"
_encode = msgspec.json.Encoder().encode


async def explain_call(worker: "Worker", exchange: Exchange, principal: Principal, call_id: str) -> None:
    """A key sees its own calls; whoever sees all spend sees all."""
    record = worker.routing.traces.of(call_id)
    if record is None or not _may_see(principal, record):
        await relay_to_control(worker, exchange)
        return
    exchange.respond(200, _JSON, _encode(explain(record)))


def _may_see(principal: Principal, record: CallRecord) -> bool:
    if principal.role in {"proxy_admin", "proxy_admin_viewer"}:
        return True
    return principal.key_hash is not None and principal.key_hash == record.key_hash
