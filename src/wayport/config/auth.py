"""Who must show a key: the rules for keyless mode, weak master keys, and the key that Wayport makes for itself."""

import ipaddress
import os
from pathlib import Path as FilePath

from msgspec import Struct, structs

from wayport.config.problems import Problem
from wayport.config.settings import LOOPBACK, AuthSettings, Settings, Spelling
from wayport.core.ids import random_hex
from wayport.core.secret import Secret

MASTER_KEY_FILE = "master_key"
SALT_KEY_FILE = "salt_key"
_SHORTEST_KEY = 12
_KNOWN_TO_EVERYBODY = frozenset({
    "sk-1234567890", "sk-123456789", "sk-12345678", "sk-master-key", "sk-your-secret-key", "sk-your-master-key",
    "sk-litellm-master-key", "your-master-key", "your-secret-key", "sk-changeme", "changeme1234", "password1234",
    "sk-xxxxxxxxxxxx", "sk-replace-me", "sk-your-litellm-key",
})  # fmt: skip


def is_weak(key: str) -> bool:
    """Whether a stranger would guess it: known from a manual, or too short."""
    return len(key) < _SHORTEST_KEY or key.lower() in _KNOWN_TO_EVERYBODY or len(set(key)) < 5


def plain_host(host: str) -> str:
    """`localhost` as the address it stands for; every spelling of a loopback address as the usual one."""
    bare = host.strip().strip("[]")
    if bare.lower() in ("localhost", "localhost.", "ip6-localhost"):
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


class Wish(Struct, kw_only=True, frozen=True):
    """What was said about authentication, by whom it matters."""

    spelling: Spelling
    host: str = ""
    """as somebody wrote it; empty: nobody did"""
    default_host: str = "127.0.0.1"
    none: bool = False
    none_source: str = "auth: none"
    key_demanded: bool = False
    """`auth: key` is written: never keyless by itself"""
    master_keys: tuple[Secret, ...] = ()
    master_key_source: str = ""
    master_key_unset: tuple[str, ...] = ()
    allow_weak: bool = False


class Decision(Struct, kw_only=True):
    host: str
    auth: AuthSettings
    problems: list[Problem]
    warnings: list[str]


def decide(wish: Wish, base: AuthSettings) -> Decision:
    """Key or keyless, and the address that goes with it. Nothing here ever opens a gateway that others can reach."""
    host = plain_host(wish.host or wish.default_host)
    found = Decision(host=host, auth=base, problems=[], warnings=[])
    if wish.none:
        _none_written(wish, found)
    elif wish.master_keys:
        found.auth = structs.replace(
            base, mode="key", master_keys=wish.master_keys, source=wish.master_key_source,
            allow_weak_master_key=wish.allow_weak,
        )  # fmt: skip
        _judge_strength(wish, found)
    elif _open_by_custom(wish, host):
        reason = "no master key is configured and only this machine can reach the address"
        found.auth = structs.replace(base, mode="keyless", reason=reason)
        found.warnings.append(
            f"keyless: {reason}; nobody is asked for a key. Set LITELLM_MASTER_KEY or WAYPORT_MASTER_KEY to ask for one"
        )
    else:
        reason = "no master key is configured"
        if wish.master_key_unset:
            reason = f"the master key refers to {' and '.join(wish.master_key_unset)}, which is not set"
            found.warnings.append(f"{reason}; a generated one is used")
        found.auth = structs.replace(base, mode="key", generate=True, reason=reason)
    return found


def _none_written(wish: Wish, found: Decision) -> None:
    if found.host not in LOOPBACK:
        if wish.host:
            found.problems.append(
                Problem(
                    key=wish.none_source,
                    text=f"nobody would be asked for a key, and others can reach {found.host}: keyless mode listens on "
                    "127.0.0.1 or ::1 only. Give a master key, or bind to 127.0.0.1",
                )
            )
        else:
            found.warnings.append(f"{wish.none_source}: keyless mode listens on 127.0.0.1, not on {found.host}")
            found.host = "127.0.0.1"
    if wish.master_keys:
        found.warnings.append(f"{wish.none_source}: the configured master key is not used")
    found.auth = structs.replace(found.auth, mode="keyless", reason=f"{wish.none_source} is written")


def _open_by_custom(wish: Wish, host: str) -> bool:
    """Those who come with these files have clients that send no key; on loopback they need none."""
    brought = wish.spelling in ("litellm", "host")
    return brought and host in LOOPBACK and not wish.key_demanded and not wish.master_key_unset


def _judge_strength(wish: Wish, found: Decision) -> None:
    weak = any(is_weak(key.reveal()) for key in wish.master_keys)
    if not weak or wish.allow_weak or found.host in LOOPBACK:
        return
    where = wish.master_key_source
    told = f"the master key ({where}) is short or known from a manual, and others can reach {found.host}"
    if wish.spelling == "litellm":
        found.warnings.append(f"{told}: anybody may guess it. Choose a random one")
    else:
        found.problems.append(
            Problem(
                key="auth.master_key",
                text=f"{told}. Choose a random one, bind to 127.0.0.1, or write `allow_weak_master_key: true`",
            )
        )


class MasterKey(Struct, kw_only=True, frozen=True):
    value: Secret
    path: str
    created: bool
    """just now: the one moment to show it"""


def ensure_master_key(data_dir: str | FilePath) -> MasterKey:
    """The generated master key of a data directory, made if there is none. Only its owner may read the file.

    Raises `OSError` when the directory cannot be written.
    """
    return _ensure_secret(FilePath(data_dir), MASTER_KEY_FILE, "sk-")


def salt_key(settings: Settings) -> Secret:
    """What encrypts in the database: the configured one, else the data directory's own, made if there is none.

    Never the master key: whoever changes that must not lose what is stored. Raises `OSError`.
    """
    return settings.auth.salt_key or _ensure_secret(FilePath(settings.storage.data_dir), SALT_KEY_FILE, "").value


def _ensure_secret(folder: FilePath, name: str, prefix: str) -> MasterKey:
    file = folder / name
    if (value := _kept(file)) is not None:
        return MasterKey(value=Secret(value), path=str(file), created=False)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    value = prefix + random_hex(48)
    draft = folder / f".{name}.{random_hex(12)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as writing:
            writing.write(value + "\n")
            writing.flush()
            os.fsync(writing.fileno())
        if _put(draft, file):
            return MasterKey(value=Secret(value), path=str(file), created=True)
    finally:
        draft.unlink(missing_ok=True)
    kept = _kept(file)
    if kept is None:
        raise OSError(f"{file} exists and is empty; remove it")
    return MasterKey(value=Secret(kept), path=str(file), created=False)


def _put(draft: FilePath, file: FilePath) -> bool:
    """Whether `draft` became `file`. It appears whole or not at all: processes that start together keep one key."""
    try:
        os.link(draft, file)
    except FileExistsError:
        return False
    except OSError:
        # Some shared folders know no links.
        draft.replace(file)
    return True


def _kept(file: FilePath) -> str | None:
    try:
        return file.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def with_master_key(settings: Settings, key: MasterKey) -> Settings:
    """The settings with the generated key in force."""
    auth = structs.replace(settings.auth, master_keys=(key.value,), source=f"file {key.path}")
    return structs.replace(settings, auth=auth)
