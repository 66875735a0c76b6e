"""To whom belongs what a caller leaves here: to its team, else to its user, else to its key."""

from wayport.access.principal import Principal


def tenant_of(principal: Principal) -> str:
    """One text per owner. All master keys are one, so that a rotation loses nothing."""
    if principal.kind != "key":
        return principal.kind
    if principal.team_id:
        return f"team:{principal.team_id}"
    if principal.user_id:
        return f"user:{principal.user_id}"
    return f"key:{principal.key_hash}"
