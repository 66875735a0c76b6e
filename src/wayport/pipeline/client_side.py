"""Where calls go and whose credential they carry is the operator's to say: a request that says it is refused.

An address from a client would be asked from inside our network, and with our credential.
"""

from typing import Final

from wayport.core.errors import BadRequest
from wayport.wire.patch import Fields

NAMES: Final = frozenset((
    "api_key", "api_base", "base_url", "user_config",
    "azure_ad_token", "vertex_credentials", "vertex_ai_credentials",
    "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "aws_profile_name", "aws_role_name",
    "aws_web_identity_token", "aws_sts_endpoint", "aws_bedrock_runtime_endpoint",
))  # fmt: skip

_NOTHING = (b"null", b'""', b"{}")


def refuse_credentials(fields: Fields) -> None:
    """Raises `BadRequest` for an address or a credential in a request. One that holds nothing is passed over."""
    if NAMES.isdisjoint(fields):
        return
    for name in sorted(NAMES & fields.keys()):
        if bytes(fields[name]) not in _NOTHING:
            raise BadRequest(
                f"`{name}` may not stand in a request: here the operator decides where calls go and with whose "
                "credential. There is no setting that allows it (`allow_client_side_credentials` and "
                "`configurable_clientside_auth_params` have no effect); a model with that address or credential "
                "belongs into the configuration.",
                param=name,
                code="client_side_credentials",
            )
