"""The command line. One file per command; what a command needs is imported when it runs, so that `wayport` starts fast."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from wayport import __version__

app = typer.Typer(
    name="wayport",
    help="A self-hosted gateway to every LLM: one endpoint, one key, one bill.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def serve(  # noqa: PLR0917 (each is an option by name)
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", "-p", help="Port to listen on.", min=0, max=65535)] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "--num_workers", help="Data worker processes.", min=1)
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Directory for keys, database and spool.")] = None,
    env_file: Annotated[list[Path] | None, typer.Option(help="File of NAME=value lines; may be repeated.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): serve HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key (PEM) of the certificate.")] = None,
) -> None:
    """Start the gateway."""
    from wayport.server.waiting import Waiting  # noqa: PLC0415 (only to serve)

    # The worker's imports and the reading of the configuration take the same time: side by side.
    waiting = Waiting()
    from wayport.cli.serve import run  # noqa: PLC0415 (imports the server: only to serve)

    raise typer.Exit(
        run(
            waiting,
            config=config,
            host=host,
            port=port,
            workers=workers,
            data_dir=data_dir,
            env_files=tuple(env_file or ()),
            tls_cert=tls_cert,
            tls_key=tls_key,
        )
    )


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="Configuration file (YAML).")],
    env_file: Annotated[list[Path] | None, typer.Option(help="File of NAME=value lines; may be repeated.")] = None,
) -> None:
    """Validate a configuration and print the plan: model → deployments, and which credentials are missing."""
    from wayport.cli.check import check as run_check  # noqa: PLC0415 (imports the configuration: only to check)

    raise typer.Exit(run_check(config, env_files=tuple(env_file or ())))


@app.command()
def explain(
    call_id: Annotated[str, typer.Argument(metavar="ID", help="A call's id: the header x-wayport-call-id.")],
    url: Annotated[str, typer.Option(help="The gateway's address; else WAYPORT_URL, else this machine's.")] = "",
    key: Annotated[str, typer.Option(help="A key that may see the call; else WAYPORT_API_KEY.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,  # noqa: FBT002 (an option by name)
) -> None:
    """Tell why a call went where it went: candidates, filters, scores, attempts."""
    from wayport.cli.explain import explain as run_explain  # noqa: PLC0415 (imports an HTTP client: only to ask)

    raise typer.Exit(run_explain(call_id, url=url, key=key, as_json=json))


@app.command()
def providers(
    name: Annotated[str | None, typer.Argument(help="One of them; else all are listed.")] = None,
) -> None:
    """List the providers: what each wants to be set, and whether it is."""
    from wayport.cli.providers import providers as run_providers  # noqa: PLC0415 (reads the rows: only to list them)

    raise typer.Exit(run_providers(name))


@app.command()
def models(
    wanted: Annotated[str, typer.Argument(metavar="[FILTER]", help="Part of `provider/model` or of a name.")] = "",
    retired: Annotated[bool, typer.Option("--retired", help="Those too that are called no more.")] = False,  # noqa: FBT002 (an option by name)
) -> None:
    """List the models that the catalogue knows, with window and price."""
    from wayport.cli.models import models as run_models  # noqa: PLC0415 (reads the catalogue: only to list it)

    raise typer.Exit(run_models(wanted, retired=retired))


catalog = typer.Typer(help="The catalogue of models and prices.", no_args_is_help=True)
app.add_typer(catalog, name="catalog")


@catalog.command()
def update(
    source: Annotated[str, typer.Option("--from", help="File or URL: Wayport's models.json, or a LiteLLM price map.")],
    data_dir: Annotated[Path | None, typer.Option(help="Directory for keys, database and spool.")] = None,
) -> None:
    """Take newer prices and models. A file that is no good changes nothing."""
    from wayport.cli.catalog import update as run_update  # noqa: PLC0415 (only to update)

    raise typer.Exit(run_update(source, into=data_dir))


@app.command()
def spend(  # noqa: PLR0917 (each is an option by name)
    by: Annotated[str, typer.Option(help="team, user, key, organization, model, provider, tag or customer.")] = "team",
    since: Annotated[str, typer.Option(help="The first day: 30d, 4w or 2026-11-20.")] = "30d",
    until: Annotated[str, typer.Option(help="The last day; today if nothing is said.")] = "",
    zone: Annotated[str, typer.Option("--timezone", help="Whose days: Europe/Berlin. UTC if nothing is said.")] = "",
    daily: Annotated[bool, typer.Option("--daily", help="A line for each day.")] = False,  # noqa: FBT002 (an option by name)
    csv: Annotated[bool, typer.Option("--csv", help="As CSV, exact to the nano-dollar.")] = False,  # noqa: FBT002 (as above)
    url: Annotated[str, typer.Option(help="The gateway's address; else WAYPORT_URL, else this machine's.")] = "",
    key: Annotated[str, typer.Option(help="A key that may see it; else WAYPORT_API_KEY.")] = "",
) -> None:
    """What was spent, by team, user, key, model …"""
    from wayport.cli.spend import spend as run_spend  # noqa: PLC0415 (imports an HTTP client: only to ask)

    told = run_spend(by=by, since=since, until=until, zone=zone, daily=daily, as_csv=csv, url=url, key=key)
    raise typer.Exit(told)


@app.command()
def tail(  # noqa: PLR0917 (as above)
    model: Annotated[str, typer.Option(help="Only calls of this model.")] = "",
    provider: Annotated[str, typer.Option(help="Only calls at this provider.")] = "",
    key_alias: Annotated[str, typer.Option(help="Only calls of this key.")] = "",
    user: Annotated[str, typer.Option(help="Only calls of this user.")] = "",
    team: Annotated[str, typer.Option(help="Only calls of this team.")] = "",
    status: Annotated[str, typer.Option(help="success, failure, cancelled, cut; failed: all but the first.")] = "",
    slower_than_ms: Annotated[str, typer.Option(help="Only calls that took longer.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON lines.")] = False,  # noqa: FBT002 (as above)
    url: Annotated[str, typer.Option(help="The gateway's address; else WAYPORT_URL, else this machine's.")] = "",
    key: Annotated[str, typer.Option(help="A key; else WAYPORT_API_KEY. An administrator's sees all calls.")] = "",
) -> None:
    """Watch calls as they end."""
    from wayport.cli.tail import tail as run_tail  # noqa: PLC0415 (as above)

    filters = {"model": model, "provider": provider, "key_alias": key_alias, "user_id": user, "team_id": team}
    filters |= {"status": status, "slower_than_ms": slower_than_ms}
    raise typer.Exit(run_tail(filters=filters, as_json=json, url=url, key=key))


database = typer.Typer(help="The database.", no_args_is_help=True)
app.add_typer(database, name="db")

_CONFIG = Annotated[Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).")]
_DATA_DIR = Annotated[Path | None, typer.Option(help="Directory for keys, database and spool.")]
_ENV_FILE = Annotated[list[Path] | None, typer.Option(help="File of NAME=value lines; may be repeated.")]
_URL = Annotated[str, typer.Option(help="The gateway's address; else WAYPORT_URL, else this machine's.")]
_KEY = Annotated[str, typer.Option(help="An administrator's key; else WAYPORT_API_KEY, else WAYPORT_MASTER_KEY.")]


@database.command("upgrade")
def upgrade_database(config: _CONFIG = None, data_dir: _DATA_DIR = None, env_file: _ENV_FILE = None) -> None:
    """Bring the database to this version's revision, as every start does."""
    from wayport.cli.db import upgrade  # noqa: PLC0415 (imports the database: only to work on it)

    raise typer.Exit(upgrade(config=config, data_dir=data_dir, env_files=tuple(env_file or ())))


@database.command("rotate-salt-key")
def rotate_salt_key(
    old: Annotated[str, typer.Option(envvar="WAYPORT_OLD_SALT_KEY", help="The salt key until now.")],
    config: _CONFIG = None,
    data_dir: _DATA_DIR = None,
    env_file: _ENV_FILE = None,
) -> None:
    """Seal stored models and credentials anew, under the salt key that is configured now."""
    from wayport.cli.db import rotate_salt_key as rotate  # noqa: PLC0415 (as above)

    raise typer.Exit(rotate(old=old, config=config, data_dir=data_dir, env_files=tuple(env_file or ())))


keys = typer.Typer(help="Keys of a running gateway.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("create")
def create_key(  # noqa: PLR0917 (each is an option by name)
    alias: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may use; may be repeated. None: all.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="The user it belongs to.")] = None,
    team: Annotated[str | None, typer.Option(help="The team it belongs to.")] = None,
    duration: Annotated[str | None, typer.Option(help="When it expires: 30d, 12h, 1mo.")] = None,
    max_budget: Annotated[float | None, typer.Option(help="US dollars.")] = None,
    budget_duration: Annotated[str | None, typer.Option(help="After this the budget begins anew: 30d.")] = None,
    rpm: Annotated[int | None, typer.Option(help="Requests per minute.")] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens per minute.")] = None,
    url: _URL = "",
    key: _KEY = "",
) -> None:
    """Make a key and print it: this is the one time that it is shown."""
    from wayport.cli.keys import create  # noqa: PLC0415 (imports an HTTP client: only to ask)

    fields = {
        "key_alias": alias, "models": model, "user_id": user, "team_id": team, "duration": duration,
        "max_budget": max_budget, "budget_duration": budget_duration, "rpm_limit": rpm, "tpm_limit": tpm,
    }  # fmt: skip
    raise typer.Exit(create({name: value for name, value in fields.items() if value is not None}, url=url, key=key))


@keys.command("list")
def list_keys(url: _URL = "", key: _KEY = "") -> None:
    """List keys with owner, spend and expiry."""
    from wayport.cli.keys import listed  # noqa: PLC0415 (as above)

    raise typer.Exit(listed(url=url, key=key))


@keys.command("delete")
def delete_keys(
    names: Annotated[list[str], typer.Argument(help="Keys, their hashes or their aliases.")],
    url: _URL = "",
    key: _KEY = "",
) -> None:
    """Delete keys: all of them or, if one does not exist, none."""
    from wayport.cli.keys import delete  # noqa: PLC0415 (as above)

    raise typer.Exit(delete(names, url=url, key=key))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def arguments(given: Sequence[str]) -> list[str]:
    """`wayport --config F` is `wayport serve --config F`, as those who come from LiteLLM write it."""
    words = list(given)
    if words[:1] == ["--version"]:
        return ["version"]
    if words and words[0].startswith("-") and words[0] not in ("-h", "--help"):
        return ["serve", *words]
    return words


def main() -> None:
    app(args=arguments(sys.argv[1:]))


if __name__ == "__main__":
    main()
