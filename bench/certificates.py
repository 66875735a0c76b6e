"""A certificate authority for one run, and a certificate of the mock upstream."""

from pathlib import Path
from typing import NamedTuple

import trustme


class Certificates(NamedTuple):
    ca: Path
    chain: Path
    key: Path


def make(directory: Path) -> Certificates:
    """For `localhost` and 127.0.0.1."""
    made = Certificates(directory / "ca.pem", directory / "chain.pem", directory / "key.pem")
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(str(made.ca))
    server.private_key_pem.write_to_path(str(made.key))
    for position, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(str(made.chain), append=position > 0)
    return made
