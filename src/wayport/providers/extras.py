"""The optional packages that some providers' credentials need."""

from collections.abc import Mapping
from importlib.util import find_spec

_MODULES: Mapping[str, str] = {"aws": "botocore", "google": "google.auth", "azure": "azure.identity"}


def missing(extra: str | None) -> bool:
    """Whether the packages of an extra are not installed."""
    module = _MODULES.get(extra or "")
    if module is None:
        return False
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:
        return True
