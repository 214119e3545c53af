"""The page ``/docs``: Swagger UI from a package, with a policy that lets it load nothing from elsewhere."""

import re
from base64 import b64encode
from hashlib import sha256

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from api_adapter.auth import GuardedRoute, public
from api_adapter.reference.document import describe

_ASSETS = "/docs/assets"
# Seen from /docs, wherever a proxy puts that.
_BUNDLE, _STYLES, _ICON = (f"docs/assets/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"))
_SETTINGS = {
    "validatorUrl": None,  # which would send the document to somebody else's service
    "displayRequestDuration": True,
    "docExpansion": "list",
    "filter": True,
}
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.get("/docs", dependencies=[public()])
async def get_reference_page() -> HTMLResponse:
    """Show the OpenAPI document, and let people try it."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Planasonix Runs API",
        swagger_js_url=_BUNDLE,
        swagger_css_url=_STYLES,
        swagger_favicon_url=_ICON,
        swagger_ui_parameters=_SETTINGS,
    )
    page.headers["Content-Security-Policy"] = _policy(bytes(page.body).decode())
    return page


def add_reference(app: FastAPI) -> None:
    """Give the application its completed document, the page, and what the page loads."""
    describe(app)
    app.router.routes.extend(router.routes)
    app.mount(_ASSETS, StaticFiles(packages=[("fastapi_offline", "static")]), name="reference-assets")


def _policy(page: str) -> str:
    """Allow the page its own assets and the one script that stands in it, by its hash."""
    (script,) = _INLINE.findall(page)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
