"""After a change: the workers are told, and the audit log has a line."""

from collections.abc import Sequence

from wayport.access.audit import Action
from wayport.access.principal import AskedFor, Principal
from wayport.control.admin.parts import Parts


async def tell(
    parts: Parts,
    *,
    hashes: Sequence[str] = (),
    user_ids: Sequence[str] = (),
    team_ids: Sequence[str] = (),
    organization_ids: Sequence[str] = (),
    project_ids: Sequence[str] = (),
) -> None:
    """Whoever has a key of any of these is looked up again at its next call."""
    found = await parts.stores.hashes_of(
        hashes, user_ids=user_ids, team_ids=team_ids, organization_ids=organization_ids, project_ids=project_ids
    )
    if found:
        parts.invalidate(found)


def tell_all(parts: Parts) -> None:
    """Everybody may be concerned."""
    parts.invalidate(None)


def tell_of(parts: Parts, scope: AskedFor, names: Sequence[str]) -> None:
    """The limits of these end users or tags have changed."""
    parts.invalidate_holders([f"{scope}:{name}" for name in names])


async def note(
    parts: Parts,
    by: Principal,
    action: Action,
    table: str,
    object_id: str,
    *,
    before: object = None,
    after: object = None,
) -> None:
    await parts.stores.audit.note(by, action, table, object_id, before=before, after=after)
