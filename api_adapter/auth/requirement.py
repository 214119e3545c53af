"""What a route demands of a request: declared once at the route, and met before anything else happens."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.dependencies.models import Dependant
from fastapi.openapi.models import APIKey, APIKeyIn, HTTPBearer, SecurityBase
from fastapi.security.base import SecurityBase as SecurityDependency

from api_adapter.auth.credentials import KEY_HEADER
from api_adapter.auth.guard import guard_of
from api_adapter.auth.principal import Principal
from api_adapter.dependencies import Dependency
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
class Requirement(Dependency):
    """A scope that the caller's credential must carry; as a dependency it gives the `Principal`."""

    scope: Scope
    every_pipeline: bool = False
    action: str | None = None

    async def __call__(
        self, request: Request, _bearer: Annotated[None, Security(_BEARER)], _key: Annotated[None, Security(_KEY)]
    ) -> Principal:
        """Return who the request comes from, which `GuardedRoute` has found out before."""
        principal: Principal = request.state.principal
        return principal

    def find(self, request: Request) -> Principal:
        """Return who the request comes from, once it has been let in: 401 without a credential, 403 without the scope.

        It looks at the database: not for the event loop.
        """
        admitted = guard_of(request).admit(
            request, scope=self.scope, every_pipeline=self.every_pipeline, action=self.action
        )
        request.state.principal = admitted
        return admitted


@dataclass(frozen=True, slots=True)
class Public(Dependency):
    """Marks a route that anybody may call."""

    def find(self, request: Request) -> None:
        """Let everybody in."""

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


def declared(dependant: Dependant, *, path: str) -> Requirement | Public:
    """Return what a route declares; `UndeclaredRouteError` if that is nothing, or not one thing."""
    found = [dependency.call for dependency in dependant.dependencies]
    declarations = [call for call in found if isinstance(call, Requirement | Public)]
    if len(declarations) != 1:
        raise UndeclaredRouteError(path)
    return declarations[0]
