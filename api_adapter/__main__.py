"""`python -m api_adapter`: our commands where there is no `planasonix`, or where nobody may import its package."""

import click

from api_adapter.commands.audit import audit_command
from api_adapter.commands.keys import keys_command
from api_adapter.commands.serve import serve_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Serve the Runs API, and look after its keys."""


for command in (serve_command, keys_command, audit_command):
    main.add_command(command)

if __name__ == "__main__":
    main(prog_name="python -m api_adapter")
