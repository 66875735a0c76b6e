from tests.fakes.databases import postgresql
from tests.fakes.nodes import shared

__all__ = ["postgresql", "shared"]
