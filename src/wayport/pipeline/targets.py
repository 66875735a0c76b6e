"""Where a deployment's bytes go: origin, path and constant head, worked out once and kept."""

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from wayport.core.errors import BadRequest
from wayport.dialects.dialect import Profile, takes_beta
from wayport.pipeline.betas import BETAS_HEADER
from wayport.providers.provider import Operation
from wayport.routing.snapshot import Deployment
from wayport.upstream.headers import head_for
from wayport.upstream.transport import Origin, origin_of

_MEMORY = 8192


class Target(Struct, kw_only=True, frozen=True):
    origin: Origin
    url: str
    head: bytes
    """request line and constant headers, the credential among them; without length and blank line"""
    headers: Mapping[str, str] = {}
    """the constant ones, for a signer"""
    betas: bytes = b""
    """constant `anthropic-beta` values: in no head, since those of a call are joined with them"""
    takes_beta: Callable[[str], bool] | None = None
    """which values of the client's go into the header; None: all"""


class Targets:
    def __init__(self) -> None:
        self._known: dict[tuple[str, Operation, bool], tuple[Deployment, Target]] = {}

    def of(self, deployment: Deployment, operation: Operation, *, stream: bool) -> Target:
        key = (deployment.id, operation, stream)
        known = self._known.get(key)
        # The same id may come with another credential value or header after a reload.
        if known is not None and known[0] is deployment:
            return known[1]
        target = _build(deployment, operation, stream=stream)
        if len(self._known) >= _MEMORY:
            self._known.clear()
        self._known[key] = (deployment, target)
        return target


def path_of(deployment: Deployment, operation: Operation, *, stream: bool) -> str | None:
    """The path of an operation below the base URL, or None if the provider does not offer it."""
    paths: Mapping[str, str] = deployment.paths
    path = (paths.get(f"{operation}_stream") if stream else None) or paths.get(operation)
    if path is None:
        return None
    return path.replace("{model}", quote(deployment.upstream_model, safe="/:@-._~"))


def _build(deployment: Deployment, operation: Operation, *, stream: bool) -> Target:
    path = path_of(deployment, operation, stream=stream)
    if path is None:
        raise BadRequest(
            f"The provider `{deployment.provider}` of the model `{deployment.model}` does not offer {operation}.",
            param="model",
            code="operation_not_supported",
        )
    url = deployment.base_url.rstrip("/") + path
    origin, _ = origin_of(url, tls=deployment.tls, proxy=deployment.proxy)
    if deployment.address:
        origin = replace(origin, address=deployment.address)
    headers = {**_format_headers(deployment, operation), **deployment.headers}
    betas = headers.pop(BETAS_HEADER, "")
    head = head_for(
        method="POST",
        url=url,
        auth=deployment.auth,
        credential=deployment.credential.value,
        headers=headers,
    )
    return Target(
        origin=origin,
        url=url,
        head=head,
        headers=headers,
        betas=betas.encode(),
        takes_beta=_takes_beta(deployment.profile),
    )


def _takes_beta(profile: Profile) -> Callable[[str], bool] | None:
    if profile.betas_in_body:
        return lambda _: False
    return partial(takes_beta, profile) if profile.betas is not None or profile.refused_betas else None


def _format_headers(deployment: Deployment, operation: Operation) -> Mapping[str, str]:
    """What a format wants in the head wherever it is spoken: also by a provider whose own format is another."""
    speaks = operation == "messages" or deployment.dialect == "anthropic_messages"
    if not speaks or "anthropic_version" in deployment.profile.constants:
        return {}
    return {"anthropic-version": "2023-06-01"}
