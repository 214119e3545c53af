"""Who a request comes from, and what that one may do and see."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from api_adapter.records.scopes import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """The owner of a valid credential: an API key, or the user that a JSON Web Token names.

    `id` is the key's id or the token's subject, `name` what people call it. `pipelines` are the ids of the pipelines
    that it is limited to, None for all. After `expires_at` the credential is no longer valid. `key_prefix` are the
    first characters of the key that was shown; None for a token.
    """

    kind: Literal["key", "user"]
    id: str
    name: str
    scopes: frozenset[str]
    pipelines: frozenset[str] | None = None
    expires_at: datetime | None = None
    key_prefix: str | None = None

    @property
    def budget(self) -> str:
        """The name under which requests and streams are counted; a key and a user of one id have two."""
        return f"{self.kind}:{self.id}"

    def has(self, scope: Scope) -> bool:
        """Tell whether the credential carries this scope, or the one that implies all."""
        return scope in self.scopes or Scope.ADMIN_ORGANIZATION in self.scopes

    def may_see(self, pipeline_id: str) -> bool:
        """Tell whether a pipeline, and so its runs, exist for this credential."""
        return self.pipelines is None or pipeline_id in self.pipelines


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Whose secret a request without a credential is signed with: the id of a webhook's trigger."""

    kind: Literal["webhook"] = "webhook"
    id: str

    @property
    def name(self) -> str:
        """What people call it."""
        return self.id

    @property
    def budget(self) -> str:
        """The name under which its requests are counted."""
        return f"signer:{self.id}"
