"""The application: one factory that puts the rooms together."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware import Middleware

from api_adapter.auth import ClosingMiddleware, open_guard
from api_adapter.backfills.endpoints import router as backfills
from api_adapter.caching import Answers
from api_adapter.deliveries.endpoints import router as deliveries
from api_adapter.dependencies import Services
from api_adapter.exception_handlers import add_exception_handlers, answer_failure
from api_adapter.health.endpoints import router as health
from api_adapter.logs.endpoints import open_log_streams
from api_adapter.logs.endpoints import router as logs
from api_adapter.middleware import Telemetry, build_middleware
from api_adapter.pipelines.endpoints import router as pipelines
from api_adapter.reference.document import DESCRIPTION, TAGS
from api_adapter.reference.page import add_reference
from api_adapter.run_actions.endpoints import router as run_actions
from api_adapter.run_actions.outcomes import recorded_outcomes
from api_adapter.run_actions.waiting import open_endings
from api_adapter.runs.endpoints import router as runs
from api_adapter.schedules.endpoints import router as schedules
from api_adapter.settings import ApiSettings
from api_adapter.triggers.endpoints import router as triggers
from api_adapter.triggers.webhooks import LARGER_BODIES
from api_adapter.triggers.webhooks import router as webhooks


def create_app(
    settings: ApiSettings, *, open_services: Callable[[ApiSettings], AbstractContextManager[Services]]
) -> FastAPI:
    """Return the application; it opens its services when it starts and closes them when it stops."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with open_services(settings) as services:
            app.state.services = services
            async with (
                open_guard(services) as app.state.guard,
                open_log_streams(services) as app.state.log_streams,
                open_endings(services) as app.state.endings,
                recorded_outcomes(services),
            ):
                yield

    telemetry = Telemetry()
    app = FastAPI(
        title="Planasonix Runs API",
        version=version("planasonix"),
        summary="Start, watch and cancel pipeline runs that Dagster executes.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        servers=[{"url": "/"}, {"url": "/v1", "description": "Versioned base path; the same routes."}],
        redirect_slashes=False,  # a redirect would name this host as the service sees it, not as a proxy's caller does
        middleware=[
            Middleware(ClosingMiddleware),
            *build_middleware(
                cors_origins=settings.cors_origins,
                telemetry=telemetry,
                answer_failure=answer_failure,
                larger_bodies=LARGER_BODIES,
            ),
        ],
    )
    app.state.telemetry = telemetry
    app.state.answers = Answers()
    add_exception_handlers(app)
    for resource in (runs, run_actions, backfills, logs, pipelines, schedules, triggers, webhooks, deliveries, health):
        app.router.routes.extend(resource.routes)  # included routers would look for each request's route twice
    add_reference(app)
    return app
