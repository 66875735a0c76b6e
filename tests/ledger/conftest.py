from tests.fakes.databases import address, postgresql

__all__ = ["address", "postgresql"]
