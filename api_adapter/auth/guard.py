"""The guard: lets requests in, one after the other questions are answered: who, how often, and for what."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime

from starlette.requests import Request

from api_adapter.auth.budgets import Budgets
from api_adapter.auth.credentials import read_credential
from api_adapter.auth.errors import ForbiddenError, MissingCredentialError, UnauthorizedError
from api_adapter.auth.last_use import LastUse
from api_adapter.auth.principal import Principal, Signer
from api_adapter.auth.streams import Streams
from api_adapter.auth.tokens import TokenVerifier
from api_adapter.auth.trail import Auditor, client_address
from api_adapter.dependencies import Services
from api_adapter.records import Keys, Scope
from api_adapter.records.secret import is_secret, prefix_of

AUDIT_ENTRY = "audit_entry"  # where a request's state holds it


class Guard:
    """Admits requests; one for each application."""

    def __init__(
        self,
        *,
        keys: Keys,
        tokens: TokenVerifier | None,
        budgets: Budgets,
        auditor: Auditor,
        streams: Streams,
        last_use: LastUse,
        clock: Callable[[], datetime],
    ) -> None:
        self.streams = streams
        self._keys = keys
        self._tokens = tokens
        self._budgets = budgets
        self._auditor = auditor
        self._last_use = last_use
        self._clock = clock

    def admit(self, request: Request, *, scope: Scope, every_pipeline: bool, action: str | None) -> Principal:
        """Return who the request comes from, if that one may do this.

        401 without a valid credential, 429 beyond its budget, 403 without the scope. An action is in the audit trail
        before it is refused or done.
        """
        principal = self._identify(request)
        self._spend(request, credential_id=principal.id, budget=principal.budget)
        if action is not None:
            self._begin(request, actor=principal, action=action)
        if not principal.has(scope):
            raise ForbiddenError.of_scope(scope)
        if every_pipeline and principal.pipelines is not None:
            raise ForbiddenError.of_limited()
        return principal

    def admit_signed(self, request: Request, *, signer: Signer, action: str) -> None:
        """Let in a request with a right signature instead of a credential; 429 beyond the budget of its signer.

        What it does is in the audit trail before it is done.
        """
        self._spend(request, credential_id=signer.id, budget=signer.budget)
        self._begin(request, actor=signer, action=action)

    def count_forgery(self, request: Request) -> None:
        """Count a wrong signature from this address, as a wrong credential is counted; 429 beyond the limit."""
        self._budgets.count_failure(client_address(request))

    def _begin(self, request: Request, *, actor: Principal | Signer, action: str) -> None:
        request.scope["state"][AUDIT_ENTRY] = self._auditor.begin(request, actor=actor, action=action)

    def _spend(self, request: Request, *, credential_id: str, budget: str) -> None:
        request.state.credential_id = credential_id
        balance = self._budgets.spend(budget)
        _answer_headers(request).update(balance.headers)
        balance.check()

    def _identify(self, request: Request) -> Principal:
        try:
            return self._verify(read_credential(request))
        except MissingCredentialError:
            raise  # nobody guesses by sending nothing
        except UnauthorizedError:
            self._budgets.count_failure(client_address(request))
            raise

    def _verify(self, credential: str) -> Principal:
        if is_secret(credential):
            return self._owner_of_key(credential)
        if self._tokens is not None and credential.count(".") == 2:
            return self._tokens.verify(credential)
        raise UnauthorizedError

    def _owner_of_key(self, secret: str) -> Principal:
        now = self._clock()
        prefix = prefix_of(secret)
        key = self._keys.find(prefix)
        if key is None or not key.accepts(secret, at=now):
            raise UnauthorizedError
        self._last_use.note(key, at=now)
        return Principal(
            kind="key",
            id=key.id,
            name=key.name,
            scopes=frozenset(key.scopes),
            pipelines=None if key.pipeline_ids is None else frozenset(key.pipeline_ids),
            expires_at=key.end_of(prefix),
            key_prefix=prefix,
        )


def guard_of(request: Request) -> Guard:
    """Return the guard of the application that a request is for."""
    guard: Guard = request.app.state.guard
    return guard


def _answer_headers(request: Request) -> dict[str, str]:
    """Return the headers that the middleware adds to the answer of this request, whatever it is."""
    state = request.scope.setdefault("state", {})
    headers: dict[str, str] = state.setdefault("answer_headers", {})
    return headers


@asynccontextmanager
async def open_guard(services: Services) -> AsyncIterator[Guard]:
    """Give the guard of an application, which looks after open streams for as long."""
    keys = services.records.keys
    streams = Streams(keys, most=services.settings.streams_per_key, clock=services.clock)
    last_use = LastUse(keys)
    jwt = services.settings.jwt
    guard = Guard(
        keys=keys,
        tokens=TokenVerifier(jwt) if jwt is not None else None,
        budgets=Budgets(services.settings),
        auditor=Auditor(services.records.audit, clock=services.clock),
        streams=streams,
        last_use=last_use,
        clock=services.clock,
    )
    watch = asyncio.create_task(streams.watch())
    try:
        yield guard
    finally:
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        await asyncio.to_thread(last_use.close)
