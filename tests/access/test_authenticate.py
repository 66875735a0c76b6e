import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.fakes.manual_clock import ManualClock
from tests.fakes.scripted_control import ScriptedControl

from wayport.access.authenticate import Authenticator
from wayport.access.cache import PrincipalCache
from wayport.access.principal import Principal
from wayport.access.refusals import Compat
from wayport.core.errors import PermissionDenied, Unauthenticated, Unavailable
from wayport.core.secret import Secret, key_hash
from wayport.core.tasks import Tasks

KEY = "sk-a-virtual-key-of-ours"
OURS = Principal(kind="key", key_hash=key_hash(KEY), user_id="alice")


@asynccontextmanager
async def _authenticator(
    *principals: Principal, compat: Compat = "wayport", keyless: bool = False, away: bool = False
) -> AsyncIterator[Authenticator]:
    async with Tasks() as tasks:
        control = ScriptedControl(*principals)
        control.away = away
        yield Authenticator(
            PrincipalCache(control, clock=ManualClock(), tasks=tasks),
            master_keys=[Secret("sk-master-1"), Secret("master two")],
            compat=compat,
            keyless=keyless,
        )


async def _of(authenticator: Authenticator, key: str | None) -> Principal:
    headers = {} if key is None else {b"authorization": f"Bearer {key}".encode()}
    found = authenticator.authenticate(headers.get)
    return found if isinstance(found, Principal) else await found


async def test_a_remembered_key_needs_no_waiting() -> None:
    async with _authenticator(OURS) as authenticator:
        assert await _of(authenticator, KEY) == OURS
        assert authenticator.authenticate({b"x-api-key": KEY.encode()}.get) is OURS


@pytest.mark.parametrize("key", ["sk-master-1", "master two"])
async def test_each_master_key_is_the_administrators(key: str) -> None:
    async with _authenticator() as authenticator:
        principal = await _of(authenticator, key)
    assert (principal.kind, principal.role, principal.key_hash) == ("master", "proxy_admin", key_hash(key))


@pytest.mark.parametrize("key", ["sk-master", "sk-master-11", "sk-master-1 x", "MASTER TWO"])
async def test_nearly_a_master_key_is_none(key: str) -> None:
    async with _authenticator() as authenticator:
        with pytest.raises(Unauthenticated):
            await _of(authenticator, key)


async def test_without_a_key_the_answer_says_how_to_send_one() -> None:
    async with _authenticator() as authenticator:
        with pytest.raises(Unauthenticated, match="Authorization: Bearer") as error:
            await _of(authenticator, None)
        assert (error.value.status, error.value.type, error.value.code) == (
            401,
            "authentication_error",
            "invalid_api_key",
        )


@pytest.mark.parametrize(
    ("principal", "key", "text", "code"),
    [
        (None, "sk-not-known-anywhere", "sk-...here is not known", "invalid_api_key"),
        (None, "not even one of ours", "begin with `sk-`", "invalid_api_key"),
        ({"blocked": True}, KEY, "blocked", "key_blocked"),
        ({"expires_s": 1.0}, KEY, "expired", "key_expired"),
    ],
)
async def test_each_refusal_says_what_is_wrong(
    principal: dict[str, object] | None, key: str, text: str, code: str
) -> None:
    known = [] if principal is None else [Principal(kind="key", key_hash=key_hash(KEY), **principal)]  # type: ignore[arg-type]  # fields of each case
    async with _authenticator(*known) as authenticator:
        with pytest.raises(Unauthenticated, match=text) as error:
            await _of(authenticator, key)
    assert (error.value.status, error.value.code) == (401, code)
    assert key not in error.value.message


@pytest.mark.parametrize(
    ("principal", "key", "text", "kind"),
    [
        (None, None, "Authentication Error, No api key passed in.", "auth_error"),
        (None, "eyJhbGciOi", "expected to start with 'sk-'.", "auth_error"),
        (None, "sk-not-known-anywhere", "Invalid proxy server token passed. Received API Key", "token_not_found_in_db"),
        ({"blocked": True}, KEY, "Key is blocked", "auth_error"),
        ({"expires_s": 1.0}, KEY, "Authentication Error - Expired Key.", "expired_key"),
    ],
)
async def test_litellms_wording(principal: dict[str, object] | None, key: str | None, text: str, kind: str) -> None:
    known = [] if principal is None else [Principal(kind="key", key_hash=key_hash(KEY), **principal)]  # type: ignore[arg-type]  # fields of each case
    async with _authenticator(*known, compat="litellm") as authenticator:
        with pytest.raises(Unauthenticated) as error:
            await _of(authenticator, key)
    assert text in error.value.message
    assert (error.value.status, error.value.type) == (401, kind)


async def test_with_control_away_a_key_is_not_called_wrong() -> None:
    async with _authenticator(away=True) as authenticator:
        with pytest.raises(Unavailable):
            await _of(authenticator, KEY)
        assert (await _of(authenticator, "sk-master-1")).kind == "master"


async def test_in_keyless_mode_a_key_is_ignored_and_the_guard_stands() -> None:
    async with _authenticator(keyless=True) as authenticator:
        local = {
            b"host": b"127.0.0.1:4000",
            b"content-type": b"application/json",
            b"authorization": b"Bearer not-needed",
        }
        principal = authenticator.authenticate(local.get)
        assert isinstance(principal, Principal)
        assert principal.kind == "keyless"
        with pytest.raises(PermissionDenied):
            authenticator.authenticate((local | {b"host": b"evil.example"}).get)


def test_imports_stay_light() -> None:
    code = (
        "import sys, wayport.access.authenticate, wayport.access.allow; "
        "print([m for m in ('sqlalchemy', 'pydantic', 'fastapi') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
