"""Migrations: one file each under versions/, additive, so that an older gateway works on a newer database."""

from pathlib import Path

VERSION_TABLE = "wayport_schema"
DIRECTORY = Path(__file__).parent


def newest() -> str:
    """The revision that this version of Wayport brings a database to: the last file's number."""
    return max(path.stem[1:5] for path in (DIRECTORY / "versions").glob("v[0-9]*.py"))
