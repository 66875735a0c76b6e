"""What a connection to somebody else is made with: the settings that travel from a configuration down to a socket."""

from msgspec import Struct


class TlsSettings(Struct, kw_only=True, frozen=True):
    verify: bool = True
    ca_file: str | None = None
    """trusted instead of the system's store"""
    cert_file: str | None = None
    """our own certificate, for servers that ask for one"""
    key_file: str | None = None
    """its key, if that is not in `cert_file`"""


class AddressPattern(Struct, kw_only=True, frozen=True):
    """A regular expression for addresses, in two halves: no wildcard of the first reaches beyond the host's end."""

    origin: str
    """for the whole of `scheme://host:port`"""
    path: str
    """for the whole of what follows; empty: nothing follows"""


class ClientSide(Struct, kw_only=True, frozen=True):
    """What a client may say itself, in a request, of where its call goes and with whose credential."""

    key: bool = False
    base: bool = False
    """any address, asked without a credential or header of ours"""
    bases: tuple[AddressPattern, ...] = ()
    """addresses that may have our credential"""


class Timeouts(Struct, kw_only=True, frozen=True):
    """Seconds; None: no limit of this kind."""

    connect_s: float = 10.0
    first_byte_s: float | None = 600.0
    """from the request's last byte handed over to the answer's head"""
    idle_s: float | None = 120.0
    """between bytes of an answer"""
    total_s: float | None = 6000.0
    first_token_s: float | None = None
    """of streams: from the request to the first content, whatever bytes came before"""
    stream_idle_s: float | None = None
    """of streams, in the place of `idle_s`"""
