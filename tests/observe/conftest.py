from tests.fakes.databases import postgresql

__all__ = ["postgresql"]
