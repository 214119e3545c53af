"""The ASGI application that a server loads: `uvicorn api_adapter.asgi:app`."""

from collections.abc import Iterator
from contextlib import contextmanager

from api_adapter.app import create_app
from api_adapter.control import open_control
from api_adapter.dependencies import Services
from api_adapter.settings import load_settings
from api_adapter.storage import open_storage


@contextmanager
def open_services() -> Iterator[Services]:
    """Open what the environment's settings name; nothing needs to be reachable yet."""
    settings = load_settings()
    with open_storage(settings.postgres_url) as storage, open_control(settings) as control:
        yield Services(storage=storage, control=control)


app = create_app(open_services)
