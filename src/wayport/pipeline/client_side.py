"""Where calls go and whose credential they carry is the operator's to say; a client says it where the operator lets it.

What must stay true: a client's address is asked without any secret of ours, unless the operator wrote a pattern for it; it is
checked after its name is looked up, and the connection goes to the address that was checked; a client's credential goes
to the deployment that it is for and nowhere else.
"""

import asyncio
import hashlib
import re
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from wayport.core.errors import BadRequest, Unavailable
from wayport.core.price import Price
from wayport.core.secret import CREDENTIAL_NAMES
from wayport.pipeline.call import Call
from wayport.providers.provider import AuthStyle
from wayport.routing.snapshot import CLIENTS_OWN, OWN_MARK, Deployment, UpstreamCredential
from wayport.routing.table import Found
from wayport.upstream.faults import TransportFault
from wayport.upstream.media import public
from wayport.upstream.origin import Origin, origin_of
from wayport.upstream.resolve import Resolver, TooManyLookUps

_MAY_BE: Final = frozenset(("api_key", "api_base", "base_url"))
_NOTHING = (b"null", b'""', b"{}")
_BESIDE = frozenset({"responses", "messages"})
"""what another server speaks beside chat is not known"""
_TRUE = Raw(b"true")
_LOOKUP_S = 5.0
_NOT_OURS = Price(free=True, source="config")
"""As the operator's own price: it wins over what the address states."""

_text = msgspec.json.Decoder(str).decode


class Own(Struct, frozen=True):
    """What a request says itself."""

    key: str
    base: str
    name: str
    """of the field to speak of"""


def take(call: Call) -> Own | None:
    """Takes addresses and credentials out of a request. Raises `BadRequest` for those that no client may say."""
    if CREDENTIAL_NAMES.isdisjoint(call.fields):
        return None
    fields = dict(call.fields)
    found: dict[str, str] = {}
    for name in sorted(CREDENTIAL_NAMES & fields.keys()):
        value = fields.pop(name)
        if bytes(value) in _NOTHING:
            continue
        if name not in _MAY_BE:
            raise _refused(name, "here the operator decides where calls go and with whose credential")
        try:
            found[name] = _text(value).strip()
        except ValueError:
            raise BadRequest(f"`{name}` must be a string.", param=name, code="invalid_type") from None
    call.fields = fields
    base = next((name for name in ("api_base", "base_url") if found.get(name)), "")
    own = Own(found.get("api_key", ""), found.get(base, ""), base or "api_key")
    if not own.key and not own.base:
        return None
    # Another model belongs to somebody else: it is neither told this credential nor asked with ours.
    fields["disable_fallbacks"] = _TRUE
    return own


class ClientSide:
    """`networks`: those that are not public, and that a client's address may lie in all the same."""

    def __init__(self, resolver: Resolver, *, networks: Sequence[str]) -> None:
        self._resolver = resolver
        self._networks = tuple(ip_network(each, strict=False) for each in networks)

    async def found(self, found: Found, own: Own) -> Found:
        """The deployments that let a client say what it says, as it wants them. Raises `BadRequest`."""
        if found.auto:
            raise _refused(own.name, "it belongs to one model, and the request names none")
        able = [each for each in found.deployments if _permits(each, own)]
        if not able:
            wanted = " and ".join([*(["api_key"] if own.key else []), *(["api_base"] if own.base else [])])
            raise _refused(own.name, f"no deployment of `{found.name}` lets clients say {wanted}")
        address = await self._checked(own.base) if own.base else ""
        deployments = tuple(_with(each, own, address) for each in able)
        model = replace(found.model, deployments=deployments, fallbacks=())
        return Found(name=found.name, model=model, deployments=deployments)

    async def _checked(self, base: str) -> str:
        """The address that may be connected to."""
        origin = _origin(base)
        try:
            async with asyncio.timeout(_LOOKUP_S):
                addresses = await self._resolver.resolve(origin.host, origin.port, guest=True)
        except TooManyLookUps:
            raise Unavailable(
                "`api_base` cannot be looked up now: names of other clients are being looked up. Ask again.",
                param="api_base",
                code="client_address_busy",
                retry_after_s=1,
            ) from None
        except (TransportFault, TimeoutError):
            raise _wrong(f"leads to {origin.host}, which cannot be found") from None
        for address in addresses:
            ip = str(address.sockaddr[0])
            if self._may_ask(ip):
                return ip
        raise _wrong(
            f"leads to {origin.host}, which has no public address (`server.client_networks` lists others that may be asked)"
        )

    def _may_ask(self, address: str) -> bool:
        if public(address):
            return True
        ip = ip_address(address.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return any(ip in network for network in self._networks)


def _origin(base: str) -> Origin:
    if not base.lower().startswith(("http://", "https://")):
        raise _wrong("is no http or https URL")
    if "?" in base or "#" in base:
        raise _wrong("holds a query or a fragment")
    try:
        origin, _ = origin_of(base)
    except ValueError:
        raise _wrong("is no usable URL") from None
    return origin


def _wrong(text: str) -> BadRequest:
    return BadRequest(f"`api_base` {text}.", param="api_base", code="client_address_refused")


def _permits(deployment: Deployment, own: Own) -> bool:
    allowed = deployment.client
    if allowed is None or deployment.signed:
        return False
    if (own.key and not allowed.key) or (own.base and deployment.follows):
        # An answer that leads on to another address is another answer than the one that was checked.
        return False
    return not own.base or allowed.base or _is_vouched_for(deployment, own)


def _is_vouched_for(deployment: Deployment, own: Own) -> bool:
    """Whether the operator wrote a pattern for this very address."""
    patterns = deployment.client.bases if deployment.client is not None else ()
    if not patterns:
        return False
    # What is matched is what is connected to, however the client wrote it.
    origin = _origin(own.base)
    where = {f"{origin.scheme}://{origin.authority}", f"{origin.scheme}://{origin.authority_with_port}"}
    path = urlsplit(own.base).path
    return any(
        re.fullmatch(pattern.path, path) and any(re.fullmatch(pattern.origin, each, re.IGNORECASE) for each in where)
        for pattern in patterns
    )


def _with(deployment: Deployment, own: Own, address: str) -> Deployment:
    # Breakers, limits and lessons of the operator's own deployment are not a client's to trip.
    told = hashlib.sha256(f"{own.key}\0{own.base}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    changed = replace(deployment, id=f"{deployment.id}{OWN_MARK}{told}")
    if own.base:
        changed = replace(
            changed,
            base_url=own.base.rstrip("/"),
            address=address,
            paths={name: path for name, path in deployment.paths.items() if name not in _BESIDE},
        )
        if not _is_vouched_for(deployment, own):
            # The operator pays nothing there, and the address must not say what is spent of anybody's budget.
            changed = replace(
                changed,
                credential=UpstreamCredential(reference=CLIENTS_OWN + told),
                auth=AuthStyle(where="none"),
                headers={},
                tls=None,
                missing=(),
                price=_NOT_OURS,
                unvouched=True,
            )
    if own.key:
        auth = deployment.auth if deployment.auth.where != "none" else AuthStyle()
        changed = replace(
            changed, auth=auth, credential=UpstreamCredential(reference=CLIENTS_OWN + told, value=own.key), missing=()
        )
    return changed


def _refused(name: str, why: str) -> BadRequest:
    return BadRequest(
        f"`{name}` may not stand in a request: {why}. The operator can allow `api_key` and `api_base` "
        "(`client_credentials` of a deployment or of `server`; in LiteLLM's configuration "
        "`configurable_clientside_auth_params` or `allow_client_side_credentials`).",
        param=name,
        code="client_side_credentials",
    )
