"""What wins, what is recognised, and what stays secret."""

from pathlib import Path

import pytest
from tests.config.conftest import Load

from wayport.config.database import async_database_url
from wayport.config.environment import TABLE, TOLD
from wayport.config.load import Options, export, load, process_environment, spelling_of
from wayport.config.problems import ConfigError
from wayport.config.settings import Settings, from_json, to_json

EXAMPLES = Path(__file__).parent / "examples"
SECRETS = {
    "OPENAI_API_KEY": "sk-secret-openai",
    "ANTHROPIC_API_KEY": "sk-secret-anthropic",
    "GWDG_API_KEY": "secret-gwdg",
    "GATEWAY_KEY": "secret-gateway-key",
    "LITELLM_MASTER_KEY": "secret-master-key",
    "DATABASE_URL": "postgres://user:secret-password@db/wayport",
    "HTTPS_PROXY": "http://me:secret-proxy@proxy:3128",
}


# -------------------------------------------------------------------------------------------------- shape
@pytest.mark.parametrize(
    ("root", "spelling"),
    [
        ({}, "wayport"),
        ({"models": {}}, "wayport"),
        ({"model_list": []}, "litellm"),
        ({"litellm_settings": {}}, "litellm"),
        ({"include": ["x"]}, "litellm"),
        ({"environment_variables": {}}, "litellm"),
        ({"litellm": {}}, "host"),
        ({"litellm": {}, "models": {}}, "host"),
        ({"litellm": {}, "environment_variables": {}}, "host"),
        ({"litellm": {}, "model_list": []}, "litellm"),
    ],
)
def test_the_spelling_is_told_by_the_shape(root: dict[str, object], spelling: str) -> None:
    assert spelling_of(root) == spelling


@pytest.mark.parametrize("example", sorted(EXAMPLES.iterdir()), ids=lambda path: path.stem)
@pytest.mark.parametrize("environ", [{}, SECRETS], ids=["bare", "with secrets"])
def test_every_example_loads_travels_as_json_and_shows_no_secret(example: Path, environ: dict[str, str]) -> None:
    settings = load(Options(config=str(example)), environ)
    assert from_json(to_json(settings)) == settings
    assert "secret" not in repr(settings).replace("aws_secret", "")
    assert settings.models


# --------------------------------------------------------------------------------------------- precedence
@pytest.mark.parametrize(
    ("environ", "options", "port"),
    [
        ({}, {}, 4100),
        ({"PORT": "1"}, {}, 1),
        ({"PORT": "1", "LITELLM_PORT": "2"}, {}, 2),
        ({"PORT": "1", "LITELLM_PORT": "2", "WAYPORT_PORT": "3"}, {}, 3),
        ({"PORT": "1", "LITELLM_PORT": "2", "WAYPORT_PORT": "3"}, {"port": 4}, 4),
        ({"WAYPORT_PORT": ""}, {}, 4100),
        ({"WAYPORT_PORT": "tcp://10.0.0.1:4000", "LITELLM_PORT": "5"}, {}, 5),
    ],
)
def test_flag_then_ours_then_aliases_then_file(
    load_text: Load, environ: dict[str, str], options: dict[str, int], port: int
) -> None:
    assert load_text("server: {port: 4100}\n", environ, **options).server.port == port


def test_the_default_comes_last(load_text: Load) -> None:
    settings = load_text(None)
    assert (settings.server.port, settings.server.host, settings.server.workers) == (4000, "127.0.0.1", 1)
    assert settings.spelling == "none"
    assert settings.implicit_models


@pytest.mark.parametrize(
    ("environ", "options", "host"),
    [
        ({}, {}, "10.0.0.1"),
        ({"HOST": "10.0.0.2"}, {}, "10.0.0.2"),
        ({"HOST": "my-laptop"}, {}, "10.0.0.1"),
        ({"HOST": "10.0.0.2", "WAYPORT_HOST": "10.0.0.3"}, {}, "10.0.0.3"),
        ({"WAYPORT_HOST": "localhost"}, {}, "127.0.0.1"),
        ({"WAYPORT_HOST": "10.0.0.3"}, {"host": "10.0.0.4"}, "10.0.0.4"),
        ({"WAYPORT_DEFAULT_HOST": "0.0.0.0"}, {}, "10.0.0.1"),
    ],
)
def test_where_the_host_comes_from(
    load_text: Load, environ: dict[str, str], options: dict[str, str], host: str
) -> None:
    assert load_text("server: {host: 10.0.0.1}\n", environ, **options).server.host == host


@pytest.mark.parametrize("name", ["WAYPORT_CONFIG", "CONFIG_FILE_PATH"])
def test_the_config_file_may_be_named_by_a_variable(tmp_path: Path, name: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("server: {port: 4711}\n")
    assert load(Options(), {name: str(file)}).server.port == 4711


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("NUM_WORKERS", "3", lambda s: s.server.workers == 3),
        ("SERVER_ROOT_PATH", "/llm/", lambda s: s.server.root_path == "/llm"),
        ("LITELLM_LOG", "WARN", lambda s: s.logging.level == "warning"),
        ("LITELLM_LOG_LEVEL", "ERROR", lambda s: s.logging.level == "error"),
        ("LITELLM_SALT_KEY", "s", lambda s: s.auth.salt_key.reveal() == "s"),
        ("REDIS_URL", "redis://x", lambda s: s.storage.redis_url.reveal() == "redis://x"),
        ("DATABASE_URL", "postgresql://h/d", lambda s: s.storage.database_url.reveal() == "postgresql+asyncpg://h/d"),
        ("WAYPORT_IMPLICIT_MODELS", "true", lambda s: s.implicit_models),
        ("WAYPORT_COMPAT", "litellm", lambda s: s.compat == "litellm"),
        ("WAYPORT_RESPONSE_MODEL", "requested", lambda s: s.response_model == "requested"),
        ("WAYPORT_DROP_PARAMS", "off", lambda s: not s.drop_params),
        ("WAYPORT_CORS_ORIGINS", "https://a, https://b", lambda s: s.server.cors_origins == ("https://a", "https://b")),
        ("WAYPORT_MEDIA_FETCH", "no", lambda s: not s.media.fetch),
        ("WAYPORT_SPOOL_SYNC", "always", lambda s: s.spool.sync == "always"),
        ("WAYPORT_DRAIN_DELAY_S", "2.5", lambda s: s.server.drain_delay_s == 2.5),
        ("WAYPORT_LOG_JSON", "false", lambda s: not s.logging.json),
    ],
)
def test_variables_that_are_settings(load_text: Load, name: str, value: str, read: object) -> None:
    assert callable(read)
    assert read(load_text("models: {m: openai/a}\n", {name: value}))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("WAYPORT_PORT", "abc", "environment: WAYPORT_PORT: must be a whole number from 1 to 65535"),
        ("LITELLM_LOG", "LOUD", "environment: LITELLM_LOG: must be one of debug, info, warning, error"),
        ("WAYPORT_AUTH", "maybe", "environment: WAYPORT_AUTH: must be one of none, key"),
        ("WAYPORT_DROP_PARAMS", "perhaps", "environment: WAYPORT_DROP_PARAMS: must be true or false"),
        ("DATABASE_URL", "mysql://u:secret@h/d", "environment: DATABASE_URL: must begin with postgresql://"),
    ],
)
def test_wrong_variables_are_errors_without_their_value(load_text: Load, name: str, value: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(None, {name: value})
    assert told in str(caught.value)
    assert value not in str(caught.value)


def test_a_misspelt_variable_is_warned_about(load_text: Load) -> None:
    environ = {"WAYPORT_MASTERKEY": "x", "WAYPORT_SERVICE_HOST": "x", "WAYPORT_API_KEY": "x"}
    assert load_text(None, environ).warnings == (
        "environment: WAYPORT_MASTERKEY is no setting; did you mean WAYPORT_MASTER_KEY?",
    )


def test_no_name_means_two_settings() -> None:
    names = [name for variable in (*TABLE, *TOLD) for name in variable.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("options", [{"port": 70000}, {"workers": 0}, {"log_level": "loud"}])
def test_wrong_flags_are_errors(load_text: Load, options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="command line: --"):
        load_text(None, {}, **options)


# ------------------------------------------------------------------------------------------ other defaults
@pytest.mark.parametrize(("terminal", "drain", "json"), [(True, 0.0, False), (False, 5.0, True)])
def test_a_person_at_a_terminal_need_not_wait_and_reads_lines(
    load_text: Load, terminal: bool, drain: float, json: bool
) -> None:
    settings = load_text(None, terminal=terminal)
    assert (settings.server.drain_delay_s, settings.logging.json) == (drain, json)


def test_the_data_directory(tmp_path: Path, load_text: Load) -> None:
    def data_dir(environ: dict[str, str]) -> str:
        return load_text(None, environ, data_dir=None).storage.data_dir

    assert data_dir({"HOME": "/home/me"}) == "/home/me/.local/share/wayport"
    assert data_dir({"HOME": "/home/me", "XDG_DATA_HOME": "/share"}) == "/share/wayport"
    assert data_dir({"WAYPORT_DATA_DIR": "/d"}) == "/d"
    assert load_text("storage: {data_dir: state}\n", data_dir=None).storage.data_dir == str(tmp_path / "state")


def test_without_a_database_it_is_sqlite_in_the_data_directory(load_text: Load) -> None:
    url = load_text(None, data_dir="/d").storage.database_url.reveal()
    assert url == "sqlite+aiosqlite:////d/wayport.db"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("postgres://u:p@h:5432/d?sslmode=require", "postgresql+asyncpg://u:p@h:5432/d?sslmode=require"),
        ("postgresql://h/d", "postgresql+asyncpg://h/d"),
        ("postgresql+psycopg2://h/d", "postgresql+asyncpg://h/d"),
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
    ],
)
def test_database_urls(written: str, url: str) -> None:
    assert async_database_url(written) == url


def test_tls_files_must_be_there(load_text: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.tls_cert: there is no file"):
        load_text(f"server: {{tls_cert: {tmp_path}/none.pem}}\n")
    with pytest.raises(ConfigError, match=r"server\.tls_cert: is missing"):
        load_text(None, tls_key=__file__)


def test_variables_that_are_no_text_are_left_out(load_text: Load) -> None:
    settings = load_text(None, {"GOOD": "1", "BAD": "\udcff"})
    assert set(settings.environ) == {"GOOD"}
    assert from_json(to_json(settings)) == settings


def test_the_process_environment_is_read_and_written_in_one_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WAYPORT_TEST_VARIABLE", "before")
    assert process_environment()["WAYPORT_TEST_VARIABLE"] == "before"
    (tmp_path / ".env").write_text("WAYPORT_TEST_ADDED=from-file\n")
    file = tmp_path / "config.yaml"
    file.write_text("{}\n")
    settings = load(Options(config=str(file)), process_environment())
    export(settings)
    assert process_environment()["WAYPORT_TEST_ADDED"] == "from-file"
    monkeypatch.delenv("WAYPORT_TEST_ADDED")


def test_settings_have_defaults_for_everything() -> None:
    assert from_json(to_json(Settings())) == Settings()
