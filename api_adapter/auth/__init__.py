"""Who may come in: credentials, scopes, budgets and the audit trail.

Every router has the `route_class` `GuardedRoute`, and every route declares `requires(...)` or `public()`, once. A route
that streams asks for `open_stream(...)`; one that changes something says more of it with `annotate(...)`.
"""

from api_adapter.auth.closing import ClosingMiddleware, annotate, open_stream
from api_adapter.auth.guard import Guard, guard_of, open_guard
from api_adapter.auth.principal import Principal, Signer
from api_adapter.auth.requirement import Public, Requirement, UndeclaredRouteError, public, requires
from api_adapter.auth.routes import GuardedRoute
from api_adapter.auth.streams import StreamLease
from api_adapter.auth.trail import client_address
from api_adapter.records.scopes import Scope

__all__ = [
    "ClosingMiddleware",
    "Guard",
    "GuardedRoute",
    "Principal",
    "Public",
    "Requirement",
    "Scope",
    "Signer",
    "StreamLease",
    "UndeclaredRouteError",
    "annotate",
    "client_address",
    "guard_of",
    "open_guard",
    "open_stream",
    "public",
    "requires",
]
