"""Who may come in: credentials, scopes, budgets and the audit trail.

Every route declares `requires(...)` or `public()`, once. A route that streams asks for `open_stream(...)`.
"""

from api_adapter.auth.principal import Principal
from api_adapter.auth.requirement import public, requires
from api_adapter.auth.streams import StreamLease, open_stream
from api_adapter.records.scopes import Scope

__all__ = ["Principal", "Scope", "StreamLease", "open_stream", "public", "requires"]
