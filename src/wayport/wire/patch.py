"""Replacing the top-level fields that we own in a JSON object, keeping every other value byte for byte.

A repeated key keeps its last value, so what was authorised is what is sent.
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

Fields = dict[str, msgspec.Raw]

_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


# A \uD800–\uDBFF without its second half, or a second half without its first.
_LONE_SURROGATE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def split(body: bytes) -> Fields:
    """The top-level fields of a JSON object, values undecoded. Raises `msgspec.DecodeError` with a position."""
    try:
        return _decoder.decode(body)
    except RecursionError:
        raise msgspec.DecodeError("JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"JSON is not valid UTF-8: {error.reason}") from None
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError as error:
        # A lone surrogate before the closing quote is called a truncation there.
        if ("truncated" in str(error) or "surrogate" in str(error)) and (lone := _LONE_SURROGATE.search(body)):
            raise msgspec.DecodeError(
                f"JSON is malformed: half of a surrogate pair, which is no character (byte {lone.start()})"
            ) from None
        raise


def join(fields: Mapping[str, msgspec.Raw | bytes]) -> bytes:
    """The object again. Values are copied as they are; only the white space between top-level fields is ours."""
    if bytes in map(type, fields.values()):
        fields = {name: msgspec.Raw(value) if type(value) is bytes else value for name, value in fields.items()}
    return _encoder.encode(fields)


def encode(value: object) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(value))


def without(fields: Fields, names: Iterable[str]) -> Fields:
    gone = frozenset(names)
    return {name: value for name, value in fields.items() if name not in gone}
