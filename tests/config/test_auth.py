"""Key or keyless, weak master keys, and the key that Wayport makes for itself."""

import stat
from pathlib import Path

import pytest
from msgspec import structs
from tests.config.conftest import Load

from wayport.config.auth import ensure_master_key, is_weak, salt_key, with_master_key
from wayport.config.problems import ConfigError
from wayport.config.settings import AuthSettings, Settings, StorageSettings
from wayport.core.secret import Secret

LITELLM = "model_list: [{model_name: m, litellm_params: {model: openai/a}}]\n"
HOST = "litellm: {enabled: true, models: {m: [{provider: openai, model: x}]}}\n"
OWN = "models: {m: openai/a}\n"
STRONG = "sk-quite-a-long-key"


def told(load_text: Load, text: str | None, environ: dict[str, str] | None = None, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_text(text, environ, **options)
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- keyless
@pytest.mark.parametrize("text", [LITELLM, HOST])
@pytest.mark.parametrize("host", [None, "127.0.0.1", "::1", "localhost", "[::1]"])
def test_brought_configurations_without_a_key_are_keyless_on_loopback(
    load_text: Load, text: str, host: str | None
) -> None:
    settings = load_text(text, host=host)
    assert settings.auth.mode == "keyless"
    assert sum("keyless" in warning for warning in settings.warnings) == 1


@pytest.mark.parametrize("text", [LITELLM, HOST])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "127.0.0.2", "gateway"])
def test_on_any_other_address_a_key_is_generated(load_text: Load, text: str, host: str) -> None:
    settings = load_text(text, host=host)
    assert (settings.auth.mode, settings.auth.generate) == ("key", True)


@pytest.mark.parametrize("text", [OWN, None])
def test_our_own_format_and_no_file_are_never_keyless_by_accident(load_text: Load, text: str | None) -> None:
    settings = load_text(text)
    assert (settings.auth.mode, settings.auth.generate) == ("key", True)


@pytest.mark.parametrize("name", ["LITELLM_MASTER_KEY", "WAYPORT_MASTER_KEY"])
@pytest.mark.parametrize("text", [LITELLM, HOST, OWN, None])
def test_a_key_in_the_environment_asks_for_it(load_text: Load, text: str | None, name: str) -> None:
    auth = load_text(text, {name: STRONG}).auth
    assert (auth.mode, [key.reveal() for key in auth.master_keys], auth.source) == ("key", [STRONG], f"env {name}")


def test_an_empty_variable_is_no_key(load_text: Load) -> None:
    assert load_text(LITELLM, {"LITELLM_MASTER_KEY": ""}).auth.mode == "keyless"


@pytest.mark.parametrize("written", ["os.environ/NOT_SET", "'${NOT_SET}'", "''", "null"])
def test_a_written_key_that_comes_to_nothing_never_opens_the_gateway(load_text: Load, written: str) -> None:
    settings = load_text(LITELLM + f"general_settings: {{master_key: {written}}}\n")
    assert (settings.auth.mode, settings.auth.generate) == ("key", True)
    assert any("which is not set" in warning for warning in settings.warnings)


def test_written_none_binds_loopback(load_text: Load) -> None:
    settings = load_text("auth: none\n")
    assert (settings.auth.mode, settings.server.host) == ("keyless", "127.0.0.1")
    assert settings.server.addresses == ("127.0.0.1", "::1")


def test_written_none_yields_to_no_default_address(load_text: Load) -> None:
    settings = load_text("auth: none\n", {"WAYPORT_DEFAULT_HOST": "0.0.0.0"})
    assert settings.server.host == "127.0.0.1"
    assert any("not on 0.0.0.0" in warning for warning in settings.warnings)


def test_written_none_and_a_reachable_address_is_refused(load_text: Load) -> None:
    assert "auth: none: nobody would be asked for a key, and others can reach 0.0.0.0" in told(
        load_text, "auth: none\n", host="0.0.0.0"
    )
    assert "WAYPORT_AUTH=none" in told(load_text, OWN, {"WAYPORT_AUTH": "none"}, host="0.0.0.0")


def test_the_variable_can_demand_a_key(load_text: Load) -> None:
    assert load_text(LITELLM, {"WAYPORT_AUTH": "key"}).auth.generate


def test_the_container_image_is_not_keyless(load_text: Load) -> None:
    settings = load_text(LITELLM, {"WAYPORT_DEFAULT_HOST": "0.0.0.0"})
    assert (settings.server.host, settings.auth.generate) == ("0.0.0.0", True)


# ---------------------------------------------------------------------------------------------- weak keys
@pytest.mark.parametrize("key", ["sk-1234", "", "short", "sk-aaaaaaaaaaaaaaa", "sk-1234567890", "sk-your-secret-key"])
def test_weak_keys(key: str) -> None:
    assert is_weak(key)


@pytest.mark.parametrize("key", [STRONG, "sk-nodus-master-key", "f3b1c9d2e8a74650"])
def test_keys_that_will_do(key: str) -> None:
    assert not is_weak(key)


@pytest.mark.parametrize("text", [OWN, HOST, None])
def test_a_weak_key_on_a_reachable_address_is_refused(load_text: Load, text: str | None) -> None:
    message = told(load_text, text, {"WAYPORT_MASTER_KEY": "sk-1234"}, host="0.0.0.0")
    assert "short or known from a manual" in message
    assert "sk-1234" not in message


def test_a_weak_key_on_loopback_does_no_harm(load_text: Load) -> None:
    assert load_text(OWN, {"WAYPORT_MASTER_KEY": "sk-1234"}).warnings == ()


def test_a_weak_key_in_litellms_format_is_warned_about_on_every_start(load_text: Load) -> None:
    settings = load_text(LITELLM + "general_settings: {master_key: sk-1234}\n", host="0.0.0.0")
    assert settings.auth.mode == "key"
    assert any("anybody may guess it" in warning for warning in settings.warnings)


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("auth: {master_key: sk-1234, allow_weak_master_key: true}\n", {}),
        ("auth: {master_key: sk-1234}\n", {"WAYPORT_ALLOW_WEAK_MASTER_KEY": "true"}),
    ],
)
def test_a_weak_key_may_be_allowed(load_text: Load, text: str, environ: dict[str, str]) -> None:
    settings = load_text(text, environ, host="0.0.0.0")
    assert len(settings.auth.master_keys) == 1
    assert settings.warnings == ()


def test_several_keys_overlap_during_a_rotation(load_text: Load) -> None:
    text = "auth: {master_key: ['${NEW_ONE}', old-and-long-enough]}\n"
    assert len(load_text(text, {"NEW_ONE": STRONG}).auth.master_keys) == 2
    environ = {"WAYPORT_MASTER_KEY": f"{STRONG}, another-long-key"}
    assert [key.reveal() for key in load_text(OWN, environ).auth.master_keys] == [STRONG, "another-long-key"]


def test_a_differing_key_in_the_file_is_told(load_text: Load) -> None:
    settings = load_text(
        LITELLM + "general_settings: {master_key: from-the-file-key}\n", {"LITELLM_MASTER_KEY": STRONG}
    )
    assert any("LITELLM_MASTER_KEY is the master key" in warning for warning in settings.warnings)


# ------------------------------------------------------------------------------------------- generated key
def test_the_generated_key_is_kept_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    first = ensure_master_key(folder)
    assert first.created
    assert first.value.reveal().startswith("sk-")
    assert not is_weak(first.value.reveal())
    assert stat.S_IMODE(Path(first.path).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    second = ensure_master_key(folder)
    assert (second.created, second.value) == (False, first.value)
    assert [path.name for path in folder.iterdir()] == ["master_key"]


def test_an_empty_key_file_is_an_error_and_not_an_open_door(tmp_path: Path) -> None:
    (tmp_path / "master_key").write_text("\n")
    with pytest.raises(OSError, match="is empty"):
        ensure_master_key(tmp_path)


def test_the_generated_key_comes_into_force(tmp_path: Path) -> None:
    key = ensure_master_key(tmp_path)
    auth = with_master_key(Settings(), key).auth
    assert auth.master_keys == (key.value,)
    assert auth.source == f"file {key.path}"
    assert key.value.reveal() not in repr(key)


def test_the_salt_key_is_the_configured_one_else_the_data_directorys_own(tmp_path: Path) -> None:
    settings = Settings(storage=StorageSettings(data_dir=str(tmp_path)))
    made = salt_key(settings)
    assert made == salt_key(settings)
    assert len(made.reveal()) >= 32
    assert stat.S_IMODE((tmp_path / "salt_key").stat().st_mode) == 0o600
    configured = structs.replace(settings, auth=AuthSettings(salt_key=Secret("mine")))
    assert salt_key(configured).reveal() == "mine"
