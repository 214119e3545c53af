"""Credentials for the API's tests: keys of every kind, tokens that an issuer has signed, and its JWKS server."""

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api_adapter.records import Scope, open_records

ISSUER, AUDIENCE = "https://issuer.example", "planasonix"


def make_key(
    database_url: str,
    *scopes: Scope,
    name: str = "a key",
    pipelines: tuple[str, ...] | None = None,
    expires_at: datetime | None = None,
) -> tuple[str, str]:
    """The id and the secret of a new key."""
    with open_records(database_url) as records:
        key, secret = records.keys.create(
            name, scopes=scopes, pipeline_ids=pipelines, expires_at=expires_at, at=datetime.now(UTC)
        )
        return key.id, secret


def bearer(credential: str) -> dict[str, str]:
    """The header that carries a credential."""
    return {"Authorization": f"Bearer {credential}"}


_MAKERS: Mapping[str, Callable[[], Any]] = {
    "RS256": lambda: generate_rsa_key(public_exponent=65537, key_size=2048),
    "ES256": lambda: generate_private_key(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate,
}


@dataclass
class Issuer:
    """Somebody who signs tokens: one key for each algorithm, each with an id of its own."""

    name: str = "first"
    keys: dict[str, Any] = field(default_factory=lambda: {algorithm: make() for algorithm, make in _MAKERS.items()})

    def token(self, algorithm: str = "ES256", *, headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """A token with these claims over those that a good one has; None leaves a claim out."""
        now = datetime.now(UTC)
        good = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ada",
            "iat": now,
            "exp": now + timedelta(minutes=5),
            "scope": "pipelines:read",
        }
        wanted = {name: value for name, value in {**good, **claims}.items() if value is not None}
        return jwt.encode(
            wanted,
            self.keys[algorithm],
            algorithm=algorithm,
            headers={"kid": f"{self.name}-{algorithm}", **(headers or {})},
        )

    def pem(self, algorithm: str) -> str:
        """The public key in PEM."""
        public = self.keys[algorithm].public_key()
        return str(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

    def jwks(self) -> dict[str, Any]:
        """The set of all public keys."""
        return {"keys": [self._jwk(algorithm) for algorithm in self.keys]}

    def _jwk(self, algorithm: str) -> dict[str, Any]:
        public = self.keys[algorithm].public_key()
        kind = jwt.get_algorithm_by_name(algorithm)
        return {**json.loads(kind.to_jwk(public)), "kid": f"{self.name}-{algorithm}", "use": "sig"}


@dataclass
class KeyServer:
    """A JWKS endpoint over real HTTP: what it answers, and how often it was asked."""

    port: int
    document: dict[str, Any]
    status: int = 200
    asked: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"


@contextmanager
def serving_keys(document: dict[str, Any]) -> Iterator[KeyServer]:
    """A JWKS endpoint that serves this document."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked += 1
            body = json.dumps(told.document).encode()
            self.send_response(told.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        told = KeyServer(server.server_port, document)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield told
        finally:
            server.shutdown()
            thread.join()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
