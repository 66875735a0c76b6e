"""TLS contexts, one per settings: building one reads a few hundred certificates."""

import asyncio
import ssl
from pathlib import Path

from wayport.core.net import TlsSettings
from wayport.upstream.faults import TransportFault

_STANDARD = TlsSettings()


class Contexts:
    def __init__(self) -> None:
        self._known: dict[TlsSettings, tuple[tuple[int, ...], asyncio.Future[ssl.SSLContext]]] = {}

    async def of(self, settings: TlsSettings | None) -> ssl.SSLContext:
        """Built in a thread, once, and again when a file of the settings has changed. Raises `TransportFault`."""
        settings = settings or _STANDARD
        stamp = _changed(settings)
        known = self._known.get(settings)
        if known is None or known[0] != stamp or (known[1].done() and (known[1].cancelled() or known[1].exception())):
            known = (stamp, asyncio.ensure_future(asyncio.to_thread(_build, settings)))
            self._known[settings] = known
        try:
            return await asyncio.shield(known[1])
        except (OSError, ssl.SSLError, ValueError) as error:
            files = [name for name in (settings.ca_file, settings.cert_file, settings.key_file) if name]
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise TransportFault(
                "connect", f"The TLS settings cannot be used ({', '.join(files)}): {reason}.", body_sent=False
            ) from None


def _changed(settings: TlsSettings) -> tuple[int, ...]:
    stamps = []
    for name in (settings.ca_file, settings.cert_file, settings.key_file):
        if name is not None:
            try:
                stamps.append(Path(name).stat().st_mtime_ns)
            except OSError:
                stamps.append(0)
    return tuple(stamps)


def _build(settings: TlsSettings) -> ssl.SSLContext:
    if settings.ca_file is not None and Path(settings.ca_file).is_dir():
        context = ssl.create_default_context(capath=settings.ca_file)
    else:
        # Without a file of its own this is the system's store, or what SSL_CERT_FILE names.
        context = ssl.create_default_context(cafile=settings.ca_file)
    if not settings.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.cert_file is not None:
        context.load_cert_chain(settings.cert_file, settings.key_file)
    context.set_alpn_protocols(["http/1.1"])
    return context
