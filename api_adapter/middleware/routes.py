"""What the routes of an application say about a request: the template of its path, the methods that it may have."""

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope


class RouteTemplates:
    """Knows the template, such as ``/api/runs/{id}``, of each route of one application."""

    def __init__(self) -> None:
        self._templates: dict[int, str | None] = {}  # by the identity of routes, which the application keeps

    def of(self, scope: Scope) -> str | None:
        """Return the template that a request has matched; None if it has matched no route."""
        route = scope.get("route")
        if route is None:
            return None
        if id(route) not in self._templates:
            self._templates = {id(context.original_route): context.path for context in _routes(scope)}
        return self._templates.get(id(route))


def build_routes(app: FastAPI) -> None:
    """Have FastAPI build the routes that it would else build in the first request, which then takes longer.

    While it builds them it silences warnings for the whole process, which is not safe beside other threads.
    """
    for _ in iter_route_contexts(app.routes):
        pass


def methods_at(scope: Scope) -> list[str]:
    """Return the methods that are possible at a request's path, of the routes that have the first one's template."""
    matching = [context for context in _routes(scope) if context.matches(scope)[0] is not Match.NONE]
    if not matching:  # behind a mount, where files are
        return ["GET", "HEAD"]
    found = {method for context in matching if context.path == matching[0].path for method in context.methods or ()}
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _routes(scope: Scope) -> list[RouteContext]:
    return list(iter_route_contexts(scope["app"].routes))
