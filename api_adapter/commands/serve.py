"""`planasonix serve`: the Runs API alone, beside a Dagster that runs already."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import click

from api_adapter.commands.errors import CommandError
from api_adapter.commands.options import state_option
from api_adapter.commands.surroundings import find_environment, opened_records
from api_adapter.middleware.log_format import configure_logging
from api_adapter.settings import ApiSettings, InvalidSettingError, MissingSettingError, load_settings

APPLICATION = "api_adapter.asgi:load_app"
_SECONDS_TO_STOP = 5


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="The port; 0 for any.")
@click.option("--workers", type=click.IntRange(1, 128), default=1, show_default=True, help="How many processes.")
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="A proxy whose X-Forwarded-For says where a request comes from; repeat it. Default: nobody is believed.",
)
@state_option
@click.pass_context
def serve_command(
    context: click.Context, *, host: str, port: int, workers: int, proxies: Sequence[str], state: Path | None
) -> None:
    """Serve the Runs API until Ctrl-C.

    Anything but this machine's own address is refused unless there is a key, or tokens are configured.
    """
    environment = find_environment(context, state=state)
    settings = _settings(environment)
    if not is_loopback(host):
        _check_closed(settings, environment=environment, host=host)
    import uvicorn

    configure_logging()  # as each worker does; this is for what their parent says
    os.environ.update(environment)  # which the workers inherit
    uvicorn.run(
        APPLICATION,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        http="api_adapter.middleware.protocol:ApiProtocol",
        ws="none",  # uvicorn would answer them in a shape of its own, and log their queries
        log_config=None,
        access_log=False,  # the application writes its own
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=",".join(proxies),
        timeout_graceful_shutdown=_SECONDS_TO_STOP,
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach the address; a name other than localhost may stand for anything."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _settings(environment: Mapping[str, str]) -> ApiSettings:
    try:
        return load_settings(environment)
    except (MissingSettingError, InvalidSettingError) as error:
        raise CommandError(str(error)) from error


def _check_closed(settings: ApiSettings, *, environment: Mapping[str, str], host: str) -> None:
    if settings.jwt is not None:
        return
    with opened_records(environment) as records:
        if records.keys.has_any(at=datetime.now(UTC)):
            return
    raise CommandError(
        f"Refused to listen on {host}: there is no API key yet, and no issuer of tokens is configured.\n"
        "Make a key with `planasonix keys create NAME --scope pipelines:read`, or set PLANASONIX_JWT_ISSUER and its "
        "companions."
    )
