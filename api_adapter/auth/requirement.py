"""What a route demands of a request: declared once at the route, and met before anything else happens."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from inspect import iscoroutinefunction
from typing import Annotated, Any

from fastapi import Depends, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer, SecurityBase
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase as SecurityDependency
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from api_adapter.auth.credentials import KEY_HEADER
from api_adapter.auth.guard import guard_of
from api_adapter.auth.principal import Principal
from api_adapter.records.scopes import Scope


class _Documented(SecurityDependency):
    """A way to send a credential, for the OpenAPI document; the guard does the reading."""

    def __init__(self, name: str, *, model: SecurityBase) -> None:
        self.scheme_name = name
        self.model = model

    async def __call__(self) -> None:
        """Do nothing."""


_BEARER = _Documented(
    "bearer", model=HTTPBearer(description="An API key (`plnx_live_...`) or a JSON Web Token of the configured issuer.")
)
_KEY = _Documented("apiKey", model=APIKey(**{"in": APIKeyIn.header}, name=KEY_HEADER, description="An API key."))


@dataclass(frozen=True, slots=True)
class Requirement:
    """A scope that the caller's credential must carry; as a dependency it gives the `Principal`."""

    scope: Scope
    every_pipeline: bool = False
    action: str | None = None

    async def __call__(
        self, request: Request, _bearer: Annotated[None, Security(_BEARER)], _key: Annotated[None, Security(_KEY)]
    ) -> "Principal | Admission":
        """Return who the request comes from: for an endpoint in a thread of its own, by asking there."""
        admitted: Principal | None = getattr(request.state, "principal", None)
        return admitted or Admission(self, request)

    def admit(self, request: Request) -> Principal:
        """Return who the request comes from, once it has been let in: 401 without a credential, 403 without the scope.

        It looks at the database: not for the event loop.
        """
        admitted: Principal | None = getattr(request.state, "principal", None)
        if admitted is None:
            admitted = guard_of(request).admit(
                request, scope=self.scope, every_pipeline=self.every_pipeline, action=self.action
            )
            request.state.principal = admitted
        return admitted


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that has yet to be let in."""

    requirement: Requirement
    request: Request


@dataclass(frozen=True, slots=True)
class Public:
    """Marks a route that anybody may call."""

    async def __call__(self) -> None:
        """Let everybody in."""


def requires(scope: Scope, *, every_pipeline: bool = False, action: str | None = None) -> Any:
    """Return the dependency that every closed route declares exactly once, and that gives it the `Principal`.

    `every_pipeline` refuses credentials that are limited to some pipelines. `action` (as ``run.start``) has the
    request written into the audit trail, with its result. Use::

        def get_run(principal: Annotated[Principal, requires(Scope.PIPELINES_READ)], ...) -> RunDetail: ...
    """
    return Security(Requirement(scope, every_pipeline=every_pipeline, action=action), scopes=[scope.value])


def public() -> Any:
    """Return the dependency that marks a route as open to everybody: ``dependencies=[public()]``."""
    return Depends(Public())


class UndeclaredRouteError(Exception):
    """A route that does not say, once, who may call it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the route {path} must declare `requires(...)` or `public()`, exactly once")


class GuardedRoute(APIRoute):
    """A route that lets nobody in before it has read the body; use it as the `route_class` of every router.

    FastAPI reads the body first, so that a stranger could have it parsed, and be told what is wrong with it. Where no
    body is read, the endpoint's own thread asks who comes: a change of threads costs as much as the asking.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint if iscoroutinefunction(endpoint) else _admitting(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the guard; `UndeclaredRouteError` if the route does not say whom it takes."""
        requirement = declared(self.dependant, path=self.path)
        if isinstance(requirement, Public):
            return super().get_route_handler()
        asks = any(one.call is requirement and one.name for one in self.dependant.dependencies)
        if self.body_field is not None or iscoroutinefunction(self.endpoint) or not asks:
            return _admitting_first(super().get_route_handler(), requirement=requirement)
        return _admitting_failures(super().get_route_handler(), requirement=requirement)


def _admitting(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Return an endpoint that lets the request in before it does its work."""

    @wraps(endpoint)
    def admitted(**values: Any) -> Any:
        principals = {
            name: value.requirement.admit(value.request)
            for name, value in values.items()
            if isinstance(value, Admission)
        }
        return endpoint(**{**values, **principals})

    return admitted


def _admitting_first(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], *, requirement: Requirement
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def guarded(request: Request) -> Response:
        await run_in_threadpool(requirement.admit, request)
        return await handle(request)

    return guarded


def _admitting_failures(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], *, requirement: Requirement
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Let a request in before it is told what is wrong with it."""

    async def guarded(request: Request) -> Response:
        try:
            return await handle(request)
        except (RequestValidationError, HTTPException):
            await run_in_threadpool(requirement.admit, request)
            raise

    return guarded


def declared(dependant: Dependant, *, path: str) -> Requirement | Public:
    """Return what a route declares; `UndeclaredRouteError` if that is nothing, or not one thing."""
    found = [dependency.call for dependency in dependant.dependencies]
    declarations = [call for call in found if isinstance(call, Requirement | Public)]
    if len(declarations) != 1:
        raise UndeclaredRouteError(path)
    return declarations[0]
