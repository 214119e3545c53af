"""The versioned base path: below ``/v1/api`` answer the same routes as below ``/api``."""

from starlette.types import ASGIApp, Receive, Scope, Send

_VERSION = "/v1"


class BasePathMiddleware:
    """Tells routing that ``/v1`` is where the application is mounted, so that each route exists only once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            root = scope.get("root_path", "")
            if scope["path"].startswith(f"{root}{_VERSION}/api/"):
                scope["root_path"] = root + _VERSION
        await self._app(scope, receive, send)
