"""Anthropic: an API key in its own header, or an OAuth bearer token (Claude subscriptions, gateways)."""

from collections.abc import Mapping

from msgspec import structs

from wayport.providers.provider import AuthStyle, Behaviour, Placement

OAUTH_BETA = "oauth-2025-04-20"
"""the beta without which the API refuses OAuth tokens"""


def place(placement: Placement, credential: str, settings: Mapping[str, str]) -> Placement:
    if credential.startswith("sk-ant-oat"):
        headers = {**placement.headers, "anthropic-beta": OAUTH_BETA}
        return structs.replace(placement, auth=AuthStyle(), headers=headers)
    if settings.get("credential_from") == "ANTHROPIC_AUTH_TOKEN":
        return structs.replace(placement, auth=AuthStyle())
    return placement


behaviour = Behaviour(place=place)
