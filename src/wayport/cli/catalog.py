"""`wayport catalog update --from FILE|URL`: newer prices and models without a newer Wayport."""

import sys
import urllib.error
import urllib.request
from pathlib import Path

from wayport.catalog.update import NotACatalog, install
from wayport.cli.models import data_dir

_MOST_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 60.0


def update(source: str, *, into: Path | None = None) -> int:
    """0: installed; 1: not, and nothing has changed. `into`: the data directory, else the environment's."""
    folder = into or data_dir()
    if folder is None:
        sys.stderr.write("the data directory is not known: give --data-dir\n")
        return 1
    try:
        data = _read(source)
        done = install(data, folder, name=source)
    except (NotACatalog, OSError, ValueError) as error:
        sys.stderr.write(f"the catalogue stays as it was: {error}\n")
        return 1
    sys.stdout.write(
        f"catalogue {done.version} with {done.models} models is in {folder}: "
        f"{done.added} new, {done.removed} gone, {done.repriced} with other prices.\n"
        "A running gateway takes it when its configuration is loaded again (SIGHUP).\n"
    )
    return 0


def _read(source: str) -> bytes:
    """Raises `OSError`, or `ValueError` for an address that is none."""
    if "://" not in source:
        return Path(source).read_bytes()
    if not source.startswith(("https://", "http://")):
        raise ValueError(f"`{source}` is neither a file nor an http address")
    request = urllib.request.Request(source, headers={"accept": "application/json"})  # noqa: S310 (the scheme is checked above)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 (as above; the operator names it)
            data: bytes = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise OSError(f"{source} answered {error.code}") from None
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{source} is larger than {_MOST_BYTES} bytes")
    return data
