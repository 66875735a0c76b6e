"""What a file is, told by its first bytes (the WHATWG's patterns, as far as models take such files)."""

_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "audio/ogg"),
    (b"fLaC", "audio/flac"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/avi"}
_BRANDS = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}


def type_of(data: bytes) -> str | None:
    """The media type, or None for what is none of these."""
    for start, media_type in _STARTS:
        if data.startswith(start):
            return media_type
    if data.startswith(b"RIFF"):
        return _RIFF.get(data[8:12])
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "video/mp4")
    if _is_mpeg_audio(data):
        return "audio/mpeg"
    # Some writers of PDF put a few bytes before it; readers look through the first kilobyte.
    return "application/pdf" if b"%PDF-" in data[:1024] else None


def _is_mpeg_audio(data: bytes) -> bool:
    """A frame header of MPEG audio layer 3: eleven set bits, then a layer and rates that exist."""
    return (
        len(data) > 4
        and data[0] == 0xFF
        and data[1] & 0xE6 == 0xE2
        and data[1] & 0x18 != 0x08
        and data[2] & 0xF0 != 0xF0
        and data[2] & 0x0C != 0x0C
    )
