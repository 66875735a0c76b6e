"""Replicate: predictions that are made, waited for and fetched; three kinds of addresses by the model's name."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct, structs

from wayport.core.errors import Fault, UpstreamFault
from wayport.providers.provider import Behaviour, FollowUp, Placement

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 5.0


class Urls(Struct, frozen=True):
    stream: str = ""


class Job(Struct, frozen=True):
    id: str = ""
    status: str = ""
    error: Any = None
    urls: Urls = Urls()


_job = msgspec.json.Decoder(Job)


def place(placement: Placement, _credential: str, _settings: Mapping[str, str]) -> Placement:
    """`owner/name`, `owner/name:version` (a community model) or `deployments/owner/name`."""
    name, colon, version = placement.model.partition(":")
    if name.startswith("deployments/"):
        path, constants = f"/{name}/predictions", {}
    elif colon:
        path, constants = "/predictions", {"version": version}
    else:
        path, constants = f"/models/{name}/predictions", {}
    profile = structs.replace(placement.profile, constants={**placement.profile.constants, **constants})
    return structs.replace(placement, model=name, paths={"chat": path}, profile=profile)


def follow(body: bytes, *, stream: bool, tries: int) -> FollowUp | None:
    """Waits longer from try to try. Raises `UpstreamFault` when the prediction failed or was cancelled."""
    job = _job.decode(body)
    if job.status in ("failed", "canceled", "aborted"):
        message = f"the prediction {job.status}: {job.error or 'no reason given'}"
        raise UpstreamFault(Fault(kind="server", status=502, message=message[:2000]))
    if stream and job.urls.stream:
        return FollowUp(url=job.urls.stream, stream=True)
    if job.status not in ("starting", "processing") or not job.id:
        return None
    # Not `urls.get`: behind a proxy of the operator's the provider's own address is not to be asked.
    return FollowUp(
        url=f"/predictions/{quote(job.id, safe='')}", after_s=min(_FIRST_WAIT_S * 1.5**tries, _LONGEST_WAIT_S)
    )


behaviour = Behaviour(place=place, follow=follow)
