"""JSON Web Tokens: real ones, signed here, against a real JWKS endpoint or a key file; and how they are forged."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from api_adapter.auth.errors import UnauthorizedError
from api_adapter.auth.key_sets import Freshness, KeySet, KeySetError, VerificationKey, open_key_set, parse_key_set
from api_adapter.auth.tokens import LEEWAY_SECONDS, TokenVerifier
from api_adapter.errors import UnavailableError
from api_adapter.settings import ApiSettings, InvalidSettingError, JwtSettings
from tests.api.conftest import serving
from tests.api.credentials import AUDIENCE, ISSUER, Issuer, KeyServer, bearer, closed_port, serving_keys
from tests.api.waiting import wait_until

ALGORITHMS = ["RS256", "ES256", "EdDSA"]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def key_server(issuer: Issuer) -> Iterator[KeyServer]:
    with serving_keys(issuer.jwks()) as server:
        yield server


@pytest.fixture(scope="module")
def api(reader_settings: ApiSettings, key_server: KeyServer) -> Iterator[httpx.Client]:
    """An API that accepts tokens of the issuer."""
    settings = replace(reader_settings, jwt=JwtSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=key_server.url))
    with serving(settings) as client:
        yield client


def status(api: httpx.Client, token: str) -> int:
    """What the API answers to a token; a refusal has the documented shape and repeats nothing of it."""
    answer = api.get("/api/runs", headers=bearer(token))
    if answer.status_code == 401:
        assert answer.json()["error"]["code"] == "unauthorized"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert not token or token not in answer.text
    return answer.status_code


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_good_tokens_are_accepted(algorithm: str, api: httpx.Client, issuer: Issuer) -> None:
    """A token of the issuer, signed with any of the three algorithms, opens what its scopes say."""
    assert status(api, issuer.token(algorithm)) == 200
    assert status(api, issuer.token(algorithm, aud=[AUDIENCE, "another"])) == 200
    assert api.delete("/api/runs/x", headers=bearer(issuer.token(algorithm))).status_code == 403


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"scope": "pipelines:run pipelines:read other:thing"}, 200),
        ({"scope": None, "scopes": ["pipelines:read"]}, 200),
        ({"scope": "admin:organization"}, 200),
        ({"scope": None}, 403),
        ({"scope": ""}, 403),
        ({"scope": "pipelines:readable"}, 403),
        ({"scope": ["pipelines:read"]}, 401),
        ({"scopes": "pipelines:read"}, 401),
        ({"scopes": [1]}, 401),
        ({"pipelines": ["pl_crm"]}, 200),
        ({"pipelines": "pl_crm"}, 401),
        ({"pipelines": {"pl_crm": True}}, 401),
        ({"pipelines": ["pl\0"]}, 401),
        ({"pipelines": ["\ud800"]}, 401),
        ({"sub": ""}, 401),
        ({"sub": "a\nb"}, 401),
        ({"sub": "a" * 256}, 401),
        ({"sub": 7}, 401),
        ({"sub": None}, 401),
        ({"iss": "https://another.example"}, 401),
        ({"iss": None}, 401),
        ({"aud": "another"}, 401),
        ({"aud": ["another"]}, 401),
        ({"aud": None}, 401),
        ({"exp": None}, 401),
        ({"exp": NOW - timedelta(seconds=LEEWAY_SECONDS + 5)}, 401),
        ({"exp": "soon"}, 401),
        ({"exp": 10**30}, 200),
        ({"exp": float("inf")}, 401),
        ({"nbf": NOW + timedelta(hours=1)}, 401),
        ({"nbf": NOW - timedelta(hours=1)}, 200),
        ({"nbf": "x"}, 401),
        ({"iat": NOW + timedelta(hours=1)}, 401),
    ],
)
def test_claims_decide(claims: dict[str, Any], expected: int, api: httpx.Client, issuer: Issuer) -> None:
    """Issuer, audience, times, subject and scopes must all be right; a claim of the wrong type opens nothing."""
    token = _signed_anyhow(issuer, claims)
    assert status(api, token) == expected


def _signed_anyhow(issuer: Issuer, claims: dict[str, Any]) -> str:
    """A token with a right signature, also over claims that PyJWT would not sign."""
    good = jwt.decode(issuer.token(), options={"verify_signature": False})
    wanted = {name: _seconds(value) for name, value in {**good, **claims}.items() if value is not None}
    header = {"alg": "ES256", "typ": "JWT", "kid": "first-ES256"}
    return jwt.PyJWS().encode(
        json.dumps(wanted).encode(), issuer.keys["ES256"], algorithm="ES256", headers={"kid": header["kid"]}
    )


def _seconds(value: Any) -> Any:
    return int(value.timestamp()) if isinstance(value, datetime) else value


def test_a_null_limit_is_no_limit_at_all_but_a_mistake(api: httpx.Client, issuer: Issuer) -> None:
    """A claim `pipelines` that an issuer has filled with null does not open all pipelines."""
    payload = jwt.decode(issuer.token(), options={"verify_signature": False})
    token = jwt.encode(
        {**payload, "pipelines": None}, issuer.keys["ES256"], algorithm="ES256", headers={"kid": "first-ES256"}
    )
    assert status(api, token) == 401


def test_a_token_for_some_pipelines_sees_no_others(api: httpx.Client, issuer: Issuer) -> None:
    """The claim `pipelines` limits as the list of a key does."""
    token = issuer.token(pipelines=["pl_nothing_of_it"])
    assert api.get("/api/runs", headers=bearer(token)).json()["data"] == []
    answer = api.get("/api/pipelines/pl_crm", headers=bearer(token))
    assert answer.json()["error"]["code"] == "pipeline_not_found"


def test_small_differences_of_clocks_are_borne(api: httpx.Client, issuer: Issuer) -> None:
    """A token that has expired, or becomes valid, within seconds of now is accepted."""
    near = timedelta(seconds=LEEWAY_SECONDS / 2)
    now = datetime.now(UTC)
    assert status(api, issuer.token(exp=now - near)) == 200
    assert status(api, issuer.token(nbf=now + near)) == 200


def part(value: Any) -> str:
    return urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")


def forged(header: dict[str, Any], claims: dict[str, Any], *, secret: bytes | None = None) -> str:
    """A token as somebody makes it who does not have the issuer's keys."""
    body = f"{part(header)}.{part(claims)}"
    return f"{body}.{part(hmac.digest(secret, body.encode(), 'sha256')) if secret is not None else ''}"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None])
def test_tokens_without_a_signature_are_refused(algorithm: str | None, api: httpx.Client, issuer: Issuer) -> None:
    """`alg: none`, in any case, is no algorithm."""
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    for header in ({"alg": algorithm, "typ": "JWT"}, {"alg": algorithm, "kid": "first-RS256"}):
        assert status(api, forged(header, claims)) == 401


@pytest.mark.parametrize("key_id", ["first-RS256", "first-ES256", "first-EdDSA", None])
def test_a_public_key_is_no_shared_secret(key_id: str | None, api: httpx.Client, issuer: Issuer) -> None:
    """A token signed with HS256 and the text of a public key, in every form that it has, is refused."""
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    texts = [issuer.pem("RS256"), issuer.pem("RS256").strip(), issuer.pem("ES256"), json.dumps(issuer.jwks())]
    for algorithm in ("HS256", "HS384", "HS512"):
        for text in (*texts, ""):
            header = {"alg": algorithm, **({"kid": key_id} if key_id else {})}
            assert status(api, forged(header, claims, secret=text.encode())) == 401


@pytest.mark.parametrize("algorithm", ["RS384", "RS512", "PS256", "ES384", "HS256"])
def test_other_algorithms_are_refused(algorithm: str, api: httpx.Client, issuer: Issuer) -> None:
    """A token is refused for its algorithm even where the issuer's own key has signed it."""
    key = issuer.keys["RS256"] if algorithm[:2] in {"RS", "PS"} else None
    if key is None:
        assert status(api, forged({"alg": algorithm}, {"sub": "ada"}, secret=b"x" * 32)) == 401
        return
    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    assert status(api, jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "first-RS256"})) == 401


def test_a_key_is_used_with_its_own_algorithm_only(api: httpx.Client, issuer: Issuer) -> None:
    """A token can't have its signature checked by another algorithm than the key's."""
    token = issuer.token("ES256", headers={"kid": "first-RS256"})
    assert status(api, token) == 401


def test_tokens_of_strangers_are_refused(api: httpx.Client, issuer: Issuer) -> None:
    """Keys that the token brings along, points to, or names itself are not believed."""
    stranger = Issuer(name="first")  # with the issuer's own key ids
    jwk = stranger.jwks()["keys"][1]
    for headers in (
        {},
        {"kid": "unknown"},
        {"jwk": jwk},
        {"jku": "https://stranger.example/jwks.json"},
        {"x5u": "https://stranger.example/cert.pem"},
        {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"},
    ):
        assert status(api, stranger.token(headers=headers)) == 401


def test_what_is_critical_and_unknown_is_refused(api: httpx.Client, issuer: Issuer) -> None:
    """A token whose header demands that something be understood, which is not, is refused (RFC 7515, 4.1.11)."""
    assert status(api, issuer.token(headers={"crit": ["exp"], "exp": 1})) == 401


@pytest.mark.parametrize("algorithm", [[], {}, ["ES256"], {"ES256": 1}, 7, True])
def test_an_algorithm_of_another_type_is_refused(algorithm: object, api: httpx.Client, issuer: Issuer) -> None:
    """What stands in a header that anybody can write breaks nothing."""
    _, payload, signature = issuer.token().split(".")
    assert status(api, f"{part({'alg': algorithm})}.{payload}.{signature}") == 401


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_changed_token_is_refused(algorithm: str, api: httpx.Client, issuer: Issuer) -> None:
    """No other claims under the same signature, no other signature, none at all."""
    header, payload, signature = issuer.token(algorithm).split(".")
    claims = jwt.decode(issuer.token(algorithm), options={"verify_signature": False})
    more = part({**claims, "scope": "admin:organization"})
    for token in (
        f"{header}.{more}.{signature}",
        f"{header}.{payload}.",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        f"{header}.{payload}.{part(bytes(64))}",
        f"{part({'alg': algorithm})}.{payload}.{signature}",
        f"{header}.{payload}",
        f"{header}..{signature}",
        "..",
        f".{payload}.{signature}",
    ):
        assert status(api, token) == 401


def test_without_the_setting_no_token_is_accepted(reader: httpx.Client, issuer: Issuer) -> None:
    """An API that knows no issuer refuses its tokens."""
    assert status(reader, issuer.token()) == 401


def verifier(server: KeyServer, *, freshness: Freshness | None = None) -> TokenVerifier:
    """A verifier over a JWKS endpoint."""
    settings = JwtSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url)
    keys = KeySet(lambda: parse_key_set(httpx.get(server.url).raise_for_status().text), freshness=freshness)
    return TokenVerifier(settings, keys=keys)


def test_an_unknown_key_has_the_set_fetched_again_but_not_for_everybody(issuer: Issuer) -> None:
    """A key that was added is found; made-up key ids don't make calls, but one in each pause."""
    with serving_keys(issuer.jwks()) as server:
        tokens = verifier(server, freshness=Freshness(pause=3600))
        for _ in range(3):
            tokens.verify(issuer.token())
        assert server.asked == 1
        for number in range(20):
            with pytest.raises(UnauthorizedError):
                tokens.verify(issuer.token(headers={"kid": f"made-up-{number}"}))
        assert server.asked == 1
        tokens = verifier(server, freshness=Freshness(pause=0))
        tokens.verify(issuer.token())
        second = Issuer(name="second")
        server.document = {"keys": [*issuer.jwks()["keys"], *second.jwks()["keys"]]}
        assert tokens.verify(second.token(sub="grace")).id == "grace"
        assert tokens.verify(issuer.token()).id == "ada"
        assert server.asked == 3


def test_a_key_that_was_withdrawn_is_not_used_for_long(issuer: Issuer) -> None:
    """Keys are fetched anew now and then, also without a reason; those that are gone sign nothing any more."""
    with serving_keys(issuer.jwks()) as server:
        tokens = verifier(server, freshness=Freshness(refresh=0.05, pause=0))
        tokens.verify(issuer.token())
        server.document = Issuer(name="second").jwks()

        def withdrawn() -> bool:
            try:
                tokens.verify(issuer.token())
            except UnauthorizedError:
                return True
            return False

        wait_until(withdrawn, seconds=10)


def test_a_key_server_that_is_away_refuses_nobody_whose_key_is_known(issuer: Issuer) -> None:
    """Known keys serve on for a while; for others it is 503, since nobody can tell, until it is back."""
    with serving_keys(issuer.jwks()) as server:
        tokens = verifier(server, freshness=Freshness(refresh=0, pause=0, recovery=0))
        tokens.verify(issuer.token())
        server.status = 500
        tokens.verify(issuer.token())
        second = Issuer(name="second")
        with pytest.raises(UnavailableError):
            tokens.verify(second.token())
        server.status, server.document = 200, second.jwks()
        tokens.verify(second.token())


def test_a_key_server_that_sends_without_end_is_given_up() -> None:
    """A set of keys has bounds, so that its server can fill no memory and hold no thread."""
    with serving_keys({"keys": [], "more": "x" * 2_000_000}) as server:
        keys = open_key_set(JwtSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=server.url))
        with pytest.raises(UnavailableError):
            keys.find("any", algorithm="ES256")


@pytest.mark.stack
def test_those_who_wait_for_a_key_server_that_dawdles_wait_only_so_long(issuer: Issuer) -> None:
    """While one request fetches the keys, others with unknown ids are told to come back."""
    begun, over = Event(), Event()

    def fetch() -> Sequence[VerificationKey]:
        begun.set()
        over.wait(60)
        return parse_key_set(json.dumps(issuer.jwks()))

    keys = KeySet(fetch)
    with ThreadPoolExecutor(1) as fetching:
        fetched = fetching.submit(keys.find, None, algorithm="ES256")
        begun.wait(10)
        with pytest.raises(UnavailableError):
            keys.find("made up", algorithm="ES256")
        over.set()
        assert len(fetched.result()) == 1


def test_keys_that_could_not_be_fetched_for_long_are_not_used(issuer: Issuer) -> None:
    """In the end, keys that may have been withdrawn long ago are 503, too."""
    with serving_keys(issuer.jwks()) as server:
        tokens = verifier(server, freshness=Freshness(refresh=0, oldest=0.05, pause=0, recovery=0))
        server.status = 500

        def unavailable() -> bool:
            try:
                tokens.verify(issuer.token())
            except UnavailableError:
                return True
            return False

        wait_until(unavailable, seconds=10)


def test_a_key_server_that_is_away_does_not_concern_keys(reader_settings: ApiSettings, issuer: Issuer) -> None:
    """Tokens are 503 with Retry-After, API keys work."""
    url = f"http://127.0.0.1:{closed_port()}/jwks.json"
    settings = replace(reader_settings, jwt=JwtSettings(issuer=ISSUER, audience=AUDIENCE, jwks_url=url))
    with serving(settings) as client:
        answer = client.get("/api/runs", headers=bearer(issuer.token()))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert client.get("/api/runs").status_code == 200


@pytest.mark.parametrize("form", ["pem", "jwks"])
def test_keys_may_come_from_a_file(form: str, tmp_path: Path, reader_settings: ApiSettings, issuer: Issuer) -> None:
    """A file of PEM blocks or a JWKS document verifies tokens, whatever key id they name if it has none."""
    file = tmp_path / "keys"
    text = issuer.pem("RS256") + issuer.pem("EdDSA") if form == "pem" else json.dumps(issuer.jwks())
    file.write_text(text, encoding="utf-8")
    settings = replace(reader_settings, jwt=JwtSettings(issuer=ISSUER, audience=AUDIENCE, key_file=file))
    with serving(settings) as client:
        assert status(client, issuer.token("RS256")) == 200
        assert status(client, issuer.token("EdDSA")) == 200
        assert status(client, issuer.token("ES256")) == (401 if form == "pem" else 200)
        assert status(client, Issuer().token("RS256")) == 401


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "neither PEM nor JSON"),
        ("{}", "no list"),
        ('{"keys": []}', "no public key"),
        ('{"keys": [1, {"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}, {"kty": "RSA"}]}', "no public key"),
        ("-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n", "PEM block"),
    ],
)
def test_a_file_without_keys_is_refused_at_the_start(text: str, reason: str, tmp_path: Path) -> None:
    """The error names the variable, the file and what is wrong with it."""
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettingError, match=f"PLANASONIX_JWT_KEY_FILE.*{reason}"):
        open_key_set(JwtSettings(issuer=ISSUER, audience=AUDIENCE, key_file=file))


def test_private_and_weak_keys_are_refused(issuer: Issuer) -> None:
    """A private key does not belong here, and a short one protects nothing."""
    private = issuer.keys["RS256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(KeySetError, match="private key"):
        parse_key_set(private)
    weak = Issuer(keys={"RS256": generate_private_key(public_exponent=65537, key_size=1024)})  # noqa: S505  (it is to be refused)
    with pytest.raises(KeySetError, match="2048"):
        parse_key_set(weak.pem("RS256"))


def test_keys_for_other_purposes_verify_nothing(issuer: Issuer) -> None:
    """A key of the set that is for encryption, or for another algorithm, is left out."""
    signing, *others = issuer.jwks()["keys"]
    others[0]["use"], others[1]["alg"] = "enc", "RS256"
    assert [key.key_id for key in parse_key_set(json.dumps({"keys": [signing, *others]}))] == [signing["kid"]]
