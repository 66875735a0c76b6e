"""A short look for model servers on this machine (Ollama, vLLM, LM Studio …): all at once, and over after a moment.

Only without a config file: an operator who wrote one has said whom to call. HTTP/1.0 over a bare stream, because an
answer is a few kilobytes from a neighbour process and start must not wait for a library.
"""

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

from wayport.config.settings import Settings
from wayport.control.addresses import is_own, moved_by_environment
from wayport.control.snapshots import LocalServer
from wayport.providers.discovery import listed
from wayport.providers.placement import first_set, settled
from wayport.providers.provider import Provider
from wayport.providers.registry import Registry, builtin

LONGEST_S = 0.3
_MOST_BYTES = 1024 * 1024


def wanted(settings: Settings) -> bool:
    return settings.spelling == "none" and settings.server.probe_local_servers


async def probe(
    settings: Settings, *, registry: Registry | None = None, longest_s: float = LONGEST_S
) -> tuple[LocalServer, ...]:
    """The servers that answered with a list of models within `longest_s`, in the order of the registry. Never raises."""
    candidates = [provider for provider in (registry or builtin()).all() if provider.probe_url is not None]
    looking = [asyncio.ensure_future(_look(provider, settings)) for provider in candidates]
    if not looking:
        return ()
    done, pending = await asyncio.wait(looking, timeout=longest_s)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return tuple(found for task in looking if task in done and (found := task.result()) is not None)


async def _look(provider: Provider, settings: Settings) -> LocalServer | None:
    base_url = moved_by_environment(provider, provider.name, settings).url or provider.probe_url or ""
    base_url = settled(base_url, provider.paths)
    if not base_url.startswith("http://") or is_own(base_url, settings.server):
        return None
    environ = {name: settings.variable(name) for name in provider.credential_env}
    key = first_set(provider.credential_env, environ) or ""
    try:
        body = await _get(base_url + provider.paths.get("models", "/v1/models"), key)
        names = [facts.model for facts in listed(provider.name, body)]
    except (OSError, ValueError, asyncio.LimitOverrunError):
        return None
    if not names:
        return None
    return LocalServer(provider=provider.name, base_url=base_url, models=tuple(sorted(set(names))))


async def _get(url: str, key: str) -> bytes:
    """The body of a 200. Raises `OSError` or `ValueError` for everything else."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        credential = f"authorization: Bearer {key}\r\n" if key else ""
        head = f"GET {parts.path} HTTP/1.0\r\nhost: {parts.netloc}\r\naccept: application/json\r\n{credential}\r\n"
        writer.write(head.encode())
        answer = await reader.read(_MOST_BYTES)
        while not reader.at_eof() and len(answer) < _MOST_BYTES:
            answer += await reader.read(_MOST_BYTES)
    finally:
        writer.close()
    status, _, rest = answer.partition(b"\r\n")
    if status.split(b" ")[1:2] != [b"200"]:
        raise ValueError("not a 200")
    return rest.partition(b"\r\n\r\n")[2]


def describe(found: Sequence[LocalServer]) -> list[str]:
    """One line per server, for people."""
    return [f"{server.provider} at {server.base_url}: {len(server.models)} models" for server in found]
