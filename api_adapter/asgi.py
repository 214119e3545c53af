"""The ASGI application that a server loads: `uvicorn --factory api_adapter.asgi:load_app`."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import FastAPI

from api_adapter.app import create_app
from api_adapter.control import open_control
from api_adapter.dependencies import Services
from api_adapter.middleware.log_format import configure_logging
from api_adapter.records import open_records
from api_adapter.settings import ApiSettings, load_settings
from api_adapter.storage import open_storage


@contextmanager
def open_services(settings: ApiSettings) -> Iterator[Services]:
    """Open what the settings name; nothing needs to be reachable yet."""
    with (
        open_storage(settings.postgres_url) as storage,
        open_records(settings.postgres_url) as records,
        open_control(settings) as control,
    ):
        yield Services(settings=settings, storage=storage, control=control, records=records)


def load_app() -> FastAPI:
    """Return the application with the environment's settings; from now on, the process logs in our format."""
    configure_logging()
    app = create_app(load_settings(), open_services=open_services)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: looking through it again and again would hold up requests
    return app
