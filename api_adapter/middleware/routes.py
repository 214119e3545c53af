"""What the routes of an application say about a request: the template of its path, the methods that it may have."""

from starlette.routing import Match, Route
from starlette.types import Scope


def template_of(scope: Scope) -> str | None:
    """Return the template, such as ``/api/runs/{id}``, that a request has matched; None if it has matched no route."""
    route = scope.get("route")
    return route.path if isinstance(route, Route) else None


def methods_at(scope: Scope) -> list[str]:
    """Return the methods that are possible at a request's path: of the template that says the most of it."""
    matching = [
        route for route in scope["app"].routes if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE
    ]
    if not matching:  # behind a mount, where files are
        return ["GET", "HEAD"]
    template = min(matching, key=lambda route: len(route.param_convertors)).path
    found = {method for route in matching if route.path == template for method in route.methods or ()}
    return sorted(found | {"HEAD"} if "GET" in found else found)
