"""`python -m api_adapter`: our commands where there is no `planasonix`, or where nobody may import its package."""

import click

from api_adapter.commands.audit import audit_command
from api_adapter.commands.cancel import cancel_command
from api_adapter.commands.keys import keys_command
from api_adapter.commands.logs import logs_command
from api_adapter.commands.retry import retry_command
from api_adapter.commands.run import run_command
from api_adapter.commands.runs import runs_command
from api_adapter.commands.serve import serve_command
from api_adapter.commands.show import show_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Serve the Runs API, look after its keys, and use it."""


for command in (
    serve_command,
    keys_command,
    audit_command,
    run_command,
    runs_command,
    show_command,
    logs_command,
    cancel_command,
    retry_command,
):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m api_adapter")
