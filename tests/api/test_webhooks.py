"""Webhooks: who may call them, what a call starts, and that no event starts anything twice."""

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._core.storage.dagster_run import DagsterRun

from api_adapter.records import AuditFilter, open_records
from api_adapter.settings import ApiSettings
from api_adapter.storage import Storage
from api_adapter.triggers.errors import SignatureRefusedError
from api_adapter.triggers.signatures import read_seal
from planasonix_orchestrator.contract import tags
from planasonix_orchestrator.contract.ids import decode_run_id
from planasonix_orchestrator.contract.resolution import environment_named
from tests.api import served
from tests.api.calling import SECRET, address, call, signature_of, signed
from tests.api.conftest import serving
from tests.api.making import make_run

NOON = 1743076800
SOME_BYTES = bytes(range(256)) + "\r\n\x00é".encode()
# Made by `openssl dgst -sha256 -mac HMAC -macopt hexkey:...`, kept here so that they never change.
VECTORS = [
    ("secret", b'{"id": 1}', "v1=9c9509251b37498809261166d2faa035a490f4ebb8a7b20d7052b2a8ee2cd21a"),
    ("secret", b"", "v1=246a5a067217e578ecc948f28dc507510619c3727de7eb027ad013b4d89251bb"),
    (
        "wörd of honour",
        b'{"name": "J\xc3\xbcrgen"}',
        "v1=4fa65fa0020d837b93d730878e5b984f0b0ab3f3d9507fc7dc37ee67af87f287",
    ),
    ("秘密 🔑", SOME_BYTES, "v1=2dfd72e59aac5082ae6f4a2e80fdaa3e2fa96a6f4bb6defc1f23f16551112fa7"),
    (
        "k" * 100,
        b".",
        "v1=815d2a22a1f229260df2d00f4bac335f2283a5aed0e8bb5506a37ddfdfdd9062",
    ),  # longer than the hash's block
]


@pytest.fixture(autouse=True, scope="module")
def _secret() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(served.WEBHOOK_SECRET, SECRET)
        yield


def order(**values: Any) -> dict[str, Any]:
    """A body that `trg_orders` understands; each of its own event."""
    told = {"number": 4711, "lines": [{"amount": 12.5}], "urgent": "true", "due": "2025-03-31", **values}
    return {"id": f"evt_{uuid4().hex}", "order": told}


def run_of(instance: DagsterInstance, answer: httpx.Response) -> DagsterRun:
    assert answer.status_code == 200, answer.text
    run = instance.get_run_by_id(decode_run_id(answer.json()["pipeline_run_id"]))
    assert run is not None
    return run


def variables_of(run: DagsterRun) -> Any:
    config: Any = run.run_config
    return config["resources"]["variables"]["config"]


def refusal(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert SECRET not in answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


def runs_of(client: httpx.Client, trigger_id: str) -> set[str]:
    found = client.get(f"/api/triggers/{trigger_id}/executions", params={"limit": 500}).raise_for_status().json()
    return {one["attributes"]["pipeline_run_id"] for one in found["data"]}


# The signature


def openssl_signature(body: bytes, *, secret: str, timestamp: int) -> str:
    """What `openssl` says, which knows nothing of our code."""
    message = str(timestamp).encode() + (b"." + body if body else b"")
    key = secret.encode().hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-r"]
    told = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    return f"v1={told.split()[0].decode()}"


@pytest.mark.parametrize(("secret", "body", "signature"), VECTORS)
def test_the_signature_is_what_openssl_makes_of_it(secret: str, body: bytes, signature: str) -> None:
    """The fixed vectors, and those that openssl computes now, are accepted; one byte more or less is not."""
    assert openssl_signature(body, secret=secret, timestamp=NOON) == signature
    now = datetime.fromtimestamp(NOON, UTC)
    seal = read_seal(str(NOON), signature, now=now)
    seal.check(body, secret=secret)
    for other in (body + b"\n", body[:-1] if body else b"{}"):
        with pytest.raises(SignatureRefusedError):
            seal.check(other, secret=secret)
    with pytest.raises(SignatureRefusedError):
        seal.check(body, secret=secret + " ")
    with pytest.raises(SignatureRefusedError):
        read_seal(str(NOON + 1), signature, now=now).check(body, secret=secret)


def test_the_documented_ways_to_sign_work(client: httpx.Client, instance: DagsterInstance) -> None:
    """The commands of the page, with openssl and curl, start a run; so does its Python, of the same event."""
    page = (Path(__file__).parents[2] / "docs" / "webhooks-in.md").read_text(encoding="utf-8")
    shell, python = (re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)[0] for language in ("sh", "python"))
    shell = shell.replace("http://127.0.0.1:8000", str(client.base_url).rstrip("/")).replace("trg_orders", "trg_shop")
    environment = {**os.environ, "SHOP_SECRET": SECRET, "no_proxy": "*"}
    told = subprocess.run(["bash", "-euc", shell], env=environment, capture_output=True, check=True).stdout
    run = instance.get_run_by_id(decode_run_id(json.loads(told)["pipeline_run_id"]))
    assert run is not None
    names: dict[str, Any] = {}
    exec(python, names)  # noqa: S102  (what the page tells people to do)
    body = re.findall(r"^body='(.*)'$", shell, re.MULTILINE)[0].encode()
    answer = client.post(address("trg_shop"), content=body, headers=names["headers"](body, SECRET))
    assert answer.content == told
    assert client.post(address("trg_bare"), headers=names["headers"](b"", SECRET)).status_code == 200


@pytest.mark.parametrize(
    ("age", "told"),
    [
        *[(0, None), (300, None), (-60, None), (301, "signature expired"), (10**6, "signature expired")],
        *[(-61, "clock skew detected"), (-(10**6), "clock skew detected")],
    ],
)
def test_a_signature_counts_for_a_while(age: int, told: str | None) -> None:
    """300 s after it was made and 60 s before, to the second."""
    now = datetime.fromtimestamp(NOON + age + 0.9, UTC)
    signature = signature_of(b"", timestamp=NOON)
    if told is None:
        read_seal(str(NOON), signature, now=now).check(b"", secret=SECRET)
    else:
        with pytest.raises(SignatureRefusedError, match=told):
            read_seal(str(NOON), signature, now=now)


def test_one_of_several_signatures_is_enough() -> None:
    """Whichever place it has, and whatever versions stand beside it: a sender may change its secret."""
    right, wrong = signature_of(b"{}", timestamp=NOON), signature_of(b"{}", timestamp=NOON, secret="old")
    now = datetime.fromtimestamp(NOON, UTC)
    for several in (f"{wrong},{right}", f"{right}, {wrong}", f"v2=x,{right}"):
        read_seal(str(NOON), several, now=now).check(b"{}", secret=SECRET)
    with pytest.raises(SignatureRefusedError):
        read_seal(str(NOON), f"{wrong},{wrong}", now=now).check(b"{}", secret=SECRET)


@pytest.mark.parametrize(
    "timestamp", [None, "", "noon", "-1", "1743076800.0", " 1743076800", "+1743076800", "1_0", "१७"]
)
def test_a_timestamp_is_unix_seconds(timestamp: str | None) -> None:
    """Written in one way only, since it is signed as it is written."""
    with pytest.raises(SignatureRefusedError, match="X-Planasonix-Timestamp"):
        read_seal(timestamp, signature_of(b"", timestamp=NOON), now=datetime.fromtimestamp(NOON, UTC))


@pytest.mark.parametrize("make", [lambda _: None, lambda _: "", lambda one: one[3:], str.upper, lambda one: f"{one}0"])
def test_a_signature_has_one_form(make: Any) -> None:
    """`v1=` and 64 lower-case hexadecimal digits."""
    with pytest.raises(SignatureRefusedError, match="X-Planasonix-Signature"):
        read_seal(str(NOON), make(signature_of(b"", timestamp=NOON)), now=datetime.fromtimestamp(NOON, UTC))


# What a call starts


def test_a_call_starts_a_run(client: httpx.Client, instance: DagsterInstance) -> None:
    """It exists when the call is answered, with what the body says in its variables, and says what started it."""
    body = order()
    answer = call(client, "trg_orders", body)
    assert (answer.status_code, list(answer.json())) == (200, ["received", "pipeline_run_id", "status"])
    assert (answer.json()["received"], answer.json()["status"]) == (True, "accepted")
    run = run_of(instance, answer)
    told = client.get(f"/api/runs/{answer.json()['pipeline_run_id']}").json()
    assert (told["pipelineId"], told["status"]) == ("pl_hooked", "queued")
    assert told["trigger"] == {"type": "webhook", "triggerId": "trg_orders"}
    assert told["variables"] == {
        "order": "4711",
        "amount": 12.5,
        "urgent": True,
        "due": "2025-03-31",
        "body": None,
        "shop": "main",
    }
    size = len(json.dumps(body))
    assert run.tags[tags.EVENT_SUMMARY] == f"{size:,} bytes from 127.0.0.1, event {body['id']}"


def test_each_call_that_is_signed_right_is_in_the_audit_trail(client: httpx.Client, database_url: str) -> None:
    """With the trigger as its actor and the run that it has started; refused, and sent again, too."""
    body = order()
    run_id = call(client, "trg_orders", body).json()["pipeline_run_id"]
    call(client, "trg_orders", body)
    refusal(call(client, "trg_orders", {**body, "id": None}), 400)
    refusal(call(client, "trg_orders", body, **{"X-Planasonix-Signature": f"v1={'0' * 64}"}), 401)
    with open_records(database_url) as records:
        found = records.audit.list_events(AuditFilter(actor="trg_orders"), limit=3)[::-1]
    assert {(each.actor_kind, each.action, each.resource) for each in found} == {
        ("webhook", "trigger.call", "trg_orders")
    }
    assert [(each.status, each.detail) for each in found] == [
        (200, {"runId": run_id}),
        (200, {"runId": run_id, "replayed": True}),
        (400, {}),
    ]


def test_the_versioned_base_path_takes_calls_too(client: httpx.Client, instance: DagsterInstance) -> None:
    """`/v1/api` is `/api`."""
    with httpx.Client(base_url=client.base_url, trust_env=False) as stranger:
        body = uuid4().hex.encode().join([b'"', b'"'])
        run_of(instance, stranger.post(f"/v1{address('trg_raw')}", content=body, headers=signed(body)))


def test_the_whole_body_can_be_a_variable(client: httpx.Client, instance: DagsterInstance) -> None:
    """As the very text that was sent; without a body the variable keeps its default."""
    body = f'{{"a":  1, "id": "é{uuid4().hex}"}}'
    run = run_of(instance, call(client, "trg_raw", body.encode()))
    assert variables_of(run)["body"] == body
    run = run_of(instance, call(client, "trg_raw", event_id=uuid4().hex))
    assert variables_of(run)["body"] is None


def test_a_trigger_names_the_environment(client: httpx.Client, instance: DagsterInstance) -> None:
    """Its runs have the one that the document says."""
    run = run_of(instance, call(client, "trg_test", {"nonce": uuid4().hex}))
    assert environment_named(run.run_config) == "env_test"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"number": None}, ["variables.order: order.number is missing from the body"]),
        ({"number": {"a": 1}}, ["variables.order: order.number in the body must be a text"]),
        ({"lines": []}, ["variables.amount: order.lines[0].amount is missing from the body"]),
        ({"lines": [{"amount": "much"}]}, ["variables.amount: order.lines[0].amount in the body must be a number"]),
        ({"urgent": "maybe", "due": "31.3."}, ["variables.due: ", "variables.urgent: "]),
    ],
)
def test_what_is_missing_or_wrong_is_named(change: dict[str, Any], told: list[str], client: httpx.Client) -> None:
    """All of it at once, by variable and path, without repeating what was sent."""
    error = refusal(call(client, "trg_orders", order(**change)), 400)
    assert error["code"] == "invalid_request"
    found = [f"{detail['field']}: {detail['issue']}" for detail in error["details"]]
    assert len(found) == len(told)
    assert all(one.startswith(words) for one, words in zip(found, told, strict=True)), found
    assert not any(value in json.dumps(error) for value in ("much", "maybe", "31.3."))


@pytest.mark.parametrize("event_id", [None, "", "x" * 256, "a\nb", 1.5, True, ["a"]])
def test_an_event_without_its_id_is_refused(event_id: Any, client: httpx.Client) -> None:
    """Where the trigger says where the id stands, it must stand there: a text or a whole number."""
    error = refusal(call(client, "trg_orders", {**order(), "id": event_id}), 400)
    assert [detail["field"] for detail in error["details"]] == ["eventId"]


@pytest.mark.parametrize(
    "body", [b"{", b"x", b"NaN", b"\xff", b"\xef\xbb\xbf{}", b"{} {}", b"[" * 100_000, b'"\x00"', b"9" * 5000]
)
def test_what_is_no_json_is_refused(body: bytes, client: httpx.Client) -> None:
    """400, though it is signed."""
    error = refusal(call(client, "trg_bare", body), 400)
    assert (error["code"], error["details"]) == ("invalid_request", [{"field": "body", "issue": "is not valid JSON"}])


def test_any_content_type_is_read_as_json(client: httpx.Client, instance: DagsterInstance) -> None:
    """Senders say many things, or none."""
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "application/cloudevents+json"):
        answer = call(client, "trg_bare", {"nonce": uuid4().hex}, **{"Content-Type": content_type})
        run_of(instance, answer)


# Who may call


def test_no_call_comes_in_without_a_right_signature(client: httpx.Client, database_url: str) -> None:
    """401, though the caller has an API key that may do everything; nothing is started."""
    before = runs_of(client, "trg_bare")
    body = b'{"x": 1}'
    good = signed(body)
    for bad in (
        {},
        {**good, "X-Planasonix-Signature": good["X-Planasonix-Signature"][:-1] + "g"},
        signed(b'{"x": 2}'),
        signed(body, secret="guessed"),
        {**good, "X-Planasonix-Timestamp": str(int(good["X-Planasonix-Timestamp"]) - 1)},
    ):
        answer = client.post(address("trg_bare"), content=body, headers=bad)
        assert refusal(answer, 401)["code"] == "invalid_signature"
        assert "www-authenticate" in answer.headers
    expired = client.post(address("trg_bare"), content=body, headers=signed(body, ahead=-400))
    assert refusal(expired, 401)["message"].startswith("signature expired")
    skewed = client.post(address("trg_bare"), content=body, headers=signed(body, ahead=100))
    assert refusal(skewed, 401)["message"].startswith("clock skew detected")
    assert runs_of(client, "trg_bare") == before


def test_the_signature_opens_nothing_else(client: httpx.Client) -> None:
    """It is no credential: every other route still wants one."""
    with httpx.Client(base_url=client.base_url, trust_env=False) as stranger:
        for path in ("/api/triggers", "/api/triggers/trg_bare", "/api/runs", "/api/webhooks", "/api/webhooks/trigger"):
            assert stranger.get(path, headers=signed(b"")).status_code in {401, 404}
        assert stranger.post("/api/triggers/trg_bare/test", headers=signed(b"")).status_code == 401


@pytest.mark.parametrize("trigger_id", ["trg_unknown", "trg_files", "%00", "pl_hooked"])
def test_what_is_no_webhook_is_not_there(trigger_id: str, client: httpx.Client) -> None:
    """404 for unknown triggers and for those of another kind."""
    answer = call(client, trigger_id)
    assert answer.status_code == (400 if trigger_id == "%00" else 404)
    if answer.status_code == 404:
        assert refusal(answer, 404)["code"] == "trigger_not_found"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_calls_are_posts(method: str, client: httpx.Client) -> None:
    """405 for every other method, which names the one."""
    answer = client.request(method, address("trg_bare"))
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_webhook_that_is_off_starts_nothing(client: httpx.Client, instance: DagsterInstance) -> None:
    """409 to who has signed; the switch counts at once."""
    body = order()
    assert refusal(call(client, "trg_dash-ed"), 409)["code"] == "trigger_disabled"
    assert refusal(client.post(address("trg_dash-ed")), 401)
    client.post("/api/triggers/trg_orders/disable").raise_for_status()
    try:
        assert refusal(call(client, "trg_orders", body), 409)["code"] == "trigger_disabled"
    finally:
        client.post("/api/triggers/trg_orders/enable").raise_for_status()
    run_of(instance, call(client, "trg_orders", body))


def test_without_its_secret_a_webhook_is_away(client: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    """503 that does not say which variable is missing; the log does."""
    with caplog.at_level(logging.ERROR, logger="api_adapter"):
        answer = call(client, "trg_keyless")
    assert refusal(answer, 503)["code"] == "webhook_not_configured"
    assert "retry-after" in answer.headers
    variable = "TESTS_WEBHOOK_SECRET_THAT_NOBODY_SETS"
    assert variable not in answer.text
    assert variable in caplog.text


# Sizes and limits


def test_a_body_may_have_five_megabytes(client: httpx.Client, instance: DagsterInstance) -> None:
    """One byte more is a 413, said beforehand or not; other routes keep to their own limit."""
    largest = json.dumps("x" * (5 * 1024 * 1024 - 2)).encode()
    run_of(instance, call(client, "trg_bare", largest))
    assert refusal(call(client, "trg_bare", largest + b" "), 413)["code"] == "payload_too_large"
    with httpx.Client(base_url=client.base_url, trust_env=False) as stranger:
        parts = (largest[:-9], largest[-9:], b" ")
        answer = stranger.post(address("trg_bare"), content=iter(parts), headers=signed(largest + b" "))
        assert refusal(answer, 413)
    too_large = {"headers": {}, "body": "x" * (1024 * 1024)}
    assert client.post("/api/triggers/trg_bare/test", json=too_large).status_code == 413


def test_an_endless_body_is_cut(client: httpx.Client) -> None:
    """The service stops reading soon after the limit."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 500 * 1024 * 1024:
            sent += 64 * 1024
            yield b" " * 64 * 1024

    with httpx.Client(base_url=client.base_url, trust_env=False) as stranger:
        try:
            status = stranger.post(address("trg_bare"), content=endless(), headers=signed(b"")).status_code
        except httpx.TransportError:  # cut while it was still sending
            status = 413
    assert status == 413
    assert sent < 50 * 1024 * 1024


def test_a_full_queue_takes_no_more(settings: ApiSettings, client: httpx.Client) -> None:
    """429 with `Retry-After`; an event that was taken before is still answered, and a refused one is taken later."""
    known, new = order(), order()
    first = call(client, "trg_orders", known).json()  # so that at least one run waits
    with serving(replace(settings, queue_cap=1)) as full:
        answer = call(full, "trg_orders", new)
        assert refusal(answer, 429)["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) > 0
        assert call(full, "trg_orders", known).json() == first
    assert call(client, "trg_orders", new).status_code == 200


def test_what_a_backfill_holds_back_does_not_fill_the_queue(storage: Storage, instance: DagsterInstance) -> None:
    """Slices that wait for each other do not keep webhooks from starting runs."""
    before = storage.count_queued(most=10_000)
    make_run(instance, status=DagsterRunStatus.NOT_STARTED)
    make_run(instance, status=DagsterRunStatus.NOT_STARTED, tags={tags.LIMITED_BY: "bkf_1 2"})
    assert storage.count_queued(most=10_000) == before + 1
    assert storage.count_queued(most=1) == 1


def test_each_webhook_has_a_budget(settings: ApiSettings) -> None:
    """As a key has: counted by trigger, told in the headers, 429 beyond it."""
    with serving(replace(settings, rate_limit="2/minute")) as strict:
        answers = [call(strict, "trg_bare", {"nonce": uuid4().hex}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert refusal(answers[2], 429)["code"] == "rate_limited"
        assert call(strict, "trg_test", {"nonce": uuid4().hex}).status_code == 200


def test_who_guesses_is_slowed_down(settings: ApiSettings) -> None:
    """Wrong signatures count as wrong keys do; a right one is accepted at any time."""
    with serving(replace(settings, failed_login_limit="2/minute")) as strict:
        wrong = {"X-Planasonix-Signature": f"v1={'0' * 64}"}
        assert [call(strict, "trg_bare", **wrong).status_code for _ in range(3)] == [401, 401, 429]
        assert call(strict, "trg_bare", {"nonce": uuid4().hex}).status_code == 200


# Once


def test_one_event_is_one_run(client: httpx.Client) -> None:
    """However often it is sent, signed anew or not; later ones are told that it was there."""
    body = order()
    first = call(client, "trg_orders", body)
    content = json.dumps(body).encode()
    headers = signed(content, ahead=-5)
    answers = [client.post(address("trg_orders"), content=content, headers=headers) for _ in range(2)]
    assert {answer.text for answer in answers} == {first.text}
    assert "idempotent-replayed" not in first.headers
    assert {answer.headers["idempotent-replayed"] for answer in answers} == {"true"}


def test_one_event_is_one_run_however_many_ask_at_once(client: httpx.Client, settings: ApiSettings) -> None:
    """Twenty calls at the same moment, to two processes' worth of services, start one run."""
    body = order()
    before = runs_of(client, "trg_orders")
    with serving(settings) as other, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: call((client, other)[number % 2], "trg_orders", body), range(20)))
    assert {answer.status_code for answer in answers} == {200}
    (run_id,) = {answer.json()["pipeline_run_id"] for answer in answers}
    assert runs_of(client, "trg_orders") - before == {run_id}


def test_an_id_stands_for_one_event(client: httpx.Client) -> None:
    """The same id with other values is a conflict, which is told; what no variable receives may differ."""
    body = order()
    first = call(client, "trg_orders", body)
    assert call(client, "trg_orders", {**body, "attempt": 2}).text == first.text
    assert refusal(call(client, "trg_orders", {**body, "order": order(number=1)["order"]}), 409)["code"] == (
        "idempotency_conflict"
    )


def test_a_call_without_an_id_counts_once(client: httpx.Client, settings: ApiSettings) -> None:
    """The same signature again is refused, by every process of the service; signed anew it is another event."""
    body = json.dumps({"nonce": uuid4().hex}).encode()
    headers = signed(body)
    before = runs_of(client, "trg_raw")
    with serving(settings) as other:
        assert client.post(address("trg_raw"), content=body, headers=headers).status_code == 200
        for each in (client, other):
            answer = each.post(address("trg_raw"), content=body, headers=headers)
            assert refusal(answer, 409)["code"] == "webhook_replayed"
    assert client.post(address("trg_raw"), content=body, headers=signed(body, ahead=-30)).status_code == 200
    assert len(runs_of(client, "trg_raw") - before) == 2


def test_a_call_can_not_be_sent_again_as_another_event(client: httpx.Client) -> None:
    """The header with the event's id is not signed: who has listened may change it, but gains nothing by that."""
    body = json.dumps({"nonce": uuid4().hex}).encode()
    headers = signed(body)

    def send(event_id: str | None) -> httpx.Response:
        named = {"X-Planasonix-Event-Id": event_id} if event_id else {}
        return client.post(address("trg_raw"), content=body, headers={**headers, **named})

    first = send("evt_1" + uuid4().hex)
    assert first.status_code == 200
    for other in ("evt_2" + uuid4().hex, None):
        assert refusal(send(other), 409)["code"] == "webhook_replayed"


def test_a_call_is_taken_up_again_after_a_crash(client: httpx.Client, settings: ApiSettings) -> None:
    """What was written down of a call before its run was started does not keep it from being sent again."""
    body = json.dumps({"nonce": uuid4().hex}).encode()
    headers = signed(body)
    with serving(replace(settings, queue_cap=1)) as full:  # refused behind what is written down first
        assert full.post(address("trg_raw"), content=body, headers=headers).status_code == 429
    assert client.post(address("trg_raw"), content=body, headers=headers).status_code == 200


def test_an_api_key_can_not_take_an_events_place(client: httpx.Client) -> None:
    """No `Idempotency-Key` stands for an event."""
    body = order()
    for key in (body["id"], f"webhook trg_orders event {body['id']}"):
        client.post("/api/pipelines/pl_hooked/run", headers={"Idempotency-Key": key}).raise_for_status()
    assert call(client, "trg_orders", body).status_code == 200
