"""Snowflake Cortex: a key-pair JWT or a programmatic access token; a header says which of the two it is."""

from collections.abc import Mapping

from msgspec import structs

from wayport.core.secret import Secret
from wayport.providers.provider import Behaviour, Placement

KIND_HEADER = "x-snowflake-authorization-token-type"
_PAT = "pat/"
"""how LiteLLM's users mark an access token"""


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    marked = credential.startswith(_PAT)
    is_jwt = not marked and credential.count(".") == 2 and settings.get("credential_from") != "SNOWFLAKE_PAT"
    kind = "KEYPAIR_JWT" if is_jwt else "PROGRAMMATIC_ACCESS_TOKEN"
    return structs.replace(
        placement,
        headers={**placement.headers, KIND_HEADER: kind},
        credential=Secret(credential.removeprefix(_PAT)) if marked else None,
    )


behaviour = Behaviour(place=place)
