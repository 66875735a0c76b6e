"""Where a request goes and under which head, where its head may have to be signed together with its body."""

from wayport.pipeline.targets import Target
from wayport.routing.snapshot import Deployment
from wayport.upstream.credentials import Credentials
from wayport.upstream.transport import Origin


async def way_to(
    credentials: Credentials, deployment: Deployment, target: Target, body: bytes, lines: bytes = b""
) -> tuple[Origin, bytes]:
    """`lines`: header lines of this call, beside the constant ones."""
    if not deployment.signed:
        return target.origin, target.head + lines
    signed = await credentials.sign(
        provider=deployment.behaves_like or deployment.provider,
        settings=deployment.credential.settings,
        url=target.url,
        body=body,
        headers=target.headers,
        lines=lines,
        tls=deployment.tls,
        proxy=deployment.proxy,
    )
    return signed.origin, signed.head
