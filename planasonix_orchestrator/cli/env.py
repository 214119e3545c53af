"""`planasonix env`: what plain `dagster` commands need to work beside a running stack."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from planasonix_orchestrator.contract.commands import API_URL_VARIABLE, LocalApi
from planasonix_orchestrator.errors import PlanasonixError
from planasonix_orchestrator.settings import POSTGRES_URL_VARIABLE, load_settings


class MissingPostgresUrlError(PlanasonixError):
    """The stack uses a Postgres of somebody else's, whose URL is not written down anywhere."""

    def __init__(self) -> None:
        super().__init__(
            f"The stack was started with {POSTGRES_URL_VARIABLE} and does not keep it, since it may hold a password.\n"
            "Set it here to the same URL."
        )


@click.command("env")
@click.option(
    "--state",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The state directory of the stack. Default: PLANASONIX_STATE, else ./.planasonix.",
)
def env_command(*, state: Path | None) -> None:
    """Print the exports by which `dagster` commands find the running stack: eval "$(planasonix env)"."""
    for name, value in find_stack(state).items():
        click.echo(f"export {name}={shlex.quote(value)}")


def find_stack(state: Path | None) -> Mapping[str, str]:
    """Return the variables by which the parts of a running stack find each other.

    `NotRunningError` if none runs on the state directory, `MissingPostgresUrlError` if its Postgres is not known.
    """
    from planasonix_orchestrator.runtime.parts import stack_environment
    from planasonix_orchestrator.runtime.state import read_record

    settings = load_settings()
    settings = replace(settings, state=(state or settings.state).absolute())
    record = read_record(settings.state)
    if not record.embedded and settings.postgres_url is None:
        raise MissingPostgresUrlError
    settings = replace(
        settings,
        pipelines=Path(record.pipelines),
        postgres_url=None if record.embedded else settings.postgres_url,
    )
    return {
        **stack_environment(settings, code_server_port=record.code_server_port),
        API_URL_VARIABLE: record.api_url,
    }


def find_api(state: Path | None) -> LocalApi:
    """Return where the Runs API of the stack on a state directory is; without an address if none runs there."""
    from planasonix_orchestrator.runtime.errors import NotRunningError
    from planasonix_orchestrator.runtime.state import KEY_FILE, read_record

    folder = (state or load_settings().state).absolute()
    try:
        url = read_record(folder).api_url
    except NotRunningError:
        url = None
    return LocalApi(state=folder, url=url, key_file=folder / KEY_FILE)
