"""`anthropic-beta` values come from the client, the content and the configuration: one header, or one list in the body."""

from collections.abc import Callable

import msgspec
from msgspec import Raw

from wayport.dialects.dialect import Profile, takes_beta
from wayport.wire.patch import Fields

BETAS_HEADER = "anthropic-beta"
_LINE = b"anthropic-beta:"
_FIELD = "anthropic_beta"


def joined(lines: bytes, constant: bytes) -> bytes:
    """Header lines in which the constant values stand together with those that are there already, each once."""
    kept = []
    values = constant.split(b",")
    for line in lines.splitlines(keepends=True):
        if line.lower().startswith(_LINE):
            values += line[len(_LINE) :].split(b",")
        else:
            kept.append(line)
    once = dict.fromkeys(value.strip() for value in values if value.strip())
    return b"".join(kept) + b"%b %b\r\n" % (_LINE, b",".join(once))


def named(header: Callable[[bytes], bytes | None]) -> list[str]:
    """The client's values."""
    given = header(BETAS_HEADER.encode())
    if given is None:
        return []
    return [name for each in given.decode("latin-1").split(",") if (name := each.strip())]


def in_body(fields: Fields, header: Callable[[bytes], bytes | None], profile: Profile) -> Fields:
    """The fields with the client's values as a list, for targets that read no header."""
    names = [name for name in named(header) if takes_beta(profile, name)]
    if not names:
        return fields
    return {**fields, _FIELD: Raw(msgspec.json.encode(names))}
