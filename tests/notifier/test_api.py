"""The API tells whom we tell of runs and what was sent, has it sent again, and tests endpoints."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api_adapter.records import Scope
from api_adapter.settings import ApiSettings
from tests.api.conftest import MANY, serving
from tests.api.credentials import bearer, make_key
from tests.conftest import superuser
from tests.notifier.receiver import Reply
from tests.notifier.world import World, api_id

pytestmark = pytest.mark.stack
DEAD = "SELECT 1 FROM planasonix.webhook_deliveries WHERE state = 'dead'"
PENDING = "SELECT 1 FROM planasonix.webhook_deliveries WHERE state = 'pending'"
ENDPOINTS, DELIVERIES = "/api/webhooks/endpoints", "/api/webhooks/deliveries"


@pytest.fixture(scope="module")
def client(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The API over the database of the world."""
    home = tmp_path_factory.mktemp("home")
    Path(home / "dagster.yaml").write_text("{}")
    settings = ApiSettings(
        postgres_url=world.url, dagster_home=str(home), code_server_port=1, rate_limit=MANY, failed_login_limit=MANY
    )
    with serving(settings) as client:
        yield client


def get(client: httpx.Client, path: str, **query: str) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def attributes(client: httpx.Client, delivery_id: str) -> dict[str, Any]:
    found: dict[str, Any] = get(client, f"{DELIVERIES}/{delivery_id}")["data"]["attributes"]
    return found


def figure(client: httpx.Client, name: str) -> float:
    """A figure of /metrics about webhooks."""
    (line,) = re.findall(rf"^planasonix_webhook_{name} (.*)$", client.get("/metrics").text, flags=re.MULTILINE)
    return float(line)


def test_endpoints_are_told_as_they_are(world: World, client: httpx.Client) -> None:
    """What webhooks.yaml says without a secret of it, and how they are doing."""
    world.configure(
        ops={"events": ["run.failed"], "pipelines": ["pl_a"], "headers": {"Authorization": {"env": "HOOK_TOKEN"}}},
        hidden={"url": {"env": "NOWHERE"}},
        off={"enabled": False, "url": f"{world.receiver.url('off')}?a=b"},
    )
    listed = get(client, ENDPOINTS)
    found = {each["id"]: each["attributes"] for each in listed["data"]}
    assert list(found) == ["hidden", "off", "ops"]
    assert listed["meta"] == {"page": {"limit": 3, "cursor": None}}
    assert {each["type"] for each in listed["data"]} == {"webhook_endpoint"}
    ops = found["ops"]
    assert (ops["url"], ops["status"], ops["events"]) == (world.receiver.url("ops"), "active", ["run.failed"])
    assert (ops["pipelines"], ops["headers"], ops["pending"], ops["dead"]) == (["pl_a"], ["Authorization"], 0, 0)
    assert found["off"]["status"] == "disabled"
    assert found["off"]["url"] == world.receiver.url("off")
    assert (found["hidden"]["url"], found["hidden"]["url_variable"]) == (None, "NOWHERE")
    assert found["hidden"]["status"] == "problem"
    assert "NOWHERE" in found["hidden"]["problem"]
    world.happen(world.create(), "START")
    world.wait(lambda: [state for state, _, _ in world.deliveries("hidden")] == ["pending"])
    world.wait(lambda: figure(client, "oldest_pending_age_seconds") > 0)
    assert get(client, f"{ENDPOINTS}/ops")["data"]["attributes"] == ops
    assert client.get(f"{ENDPOINTS}/nobody").json()["error"]["code"] == "webhook_endpoint_not_found"


def test_deliveries_are_told_with_every_attempt(world: World, client: httpx.Client) -> None:
    """Lists are filtered and paged, newest first; one delivery has its payload and attempts."""
    world.configure(log={})
    world.receiver.answer("log", lambda _: Reply(500, body=b"no") if len(world.receiver.got("log")) == 1 else Reply())
    runs = [world.create() for _ in range(3)]
    for run in runs:
        world.happen(run, "START", "SUCCESS")
    world.wait(lambda: [state for state, _, _ in world.deliveries("log")] == ["delivered"] * 6)
    page = get(client, DELIVERIES, endpoint="log", limit="4")
    rest = get(client, DELIVERIES, endpoint="log", limit="4", cursor=page["meta"]["page"]["cursor"])
    assert (len(page["data"]), len(rest["data"])) == (4, 2)
    assert rest["meta"]["page"] == {"limit": 4, "cursor": None}
    told = [(each["attributes"]["run_id"], each["attributes"]["event_type"]) for each in page["data"] + rest["data"]]
    assert set(told) == {(api_id(run), kind) for run in runs for kind in ("run.started", "run.succeeded")}
    assert told[0] == (api_id(runs[-1]), "run.succeeded")
    of_run = get(client, DELIVERIES, endpoint="log", run_id=api_id(runs[0]), status="delivered")["data"]
    assert len(of_run) == 2
    assert get(client, DELIVERIES, endpoint="log", status="dead")["data"] == []
    refused = world.receiver.got("log")[0]
    found = attributes(client, refused.id)
    assert found["payload"] == refused.message
    assert (found["status"], found["attempt_count"], found["next_attempt_at"]) == ("delivered", 2, None)
    first, second = found["attempts"]
    assert (first["status_code"], first["error"], first["response"]) == (500, "answered 500", "no")
    assert (second["status_code"], second["error"], second["response"]) == (204, None, None)
    assert first["started_at"] < second["started_at"] <= found["finished_at"]
    assert client.get(DELIVERIES, params={"cursor": "x"}).status_code == 400
    assert client.get(DELIVERIES, params={"status": "lost"}).status_code == 400
    assert client.get(f"{DELIVERIES}/msg_x").json()["error"]["code"] == "webhook_delivery_not_found"


def test_what_is_dead_can_be_sent_again(world: World, client: httpx.Client) -> None:
    """With the same id and all of its attempts; it counts as given up until then."""
    world.configure(back={"events": ["run.started"]})
    world.kill()
    world.start(delays=(0.01,))
    world.receiver.answer("back", lambda _: Reply(503))
    world.happen(world.create(), "START")
    world.wait(lambda: [state for state, _, _ in world.deliveries("back")] == ["dead"])
    assert figure(client, "deliveries_dead") == len(world.rows(DEAD))
    assert figure(client, "deliveries_pending") == len(world.rows(PENDING))
    message = world.receiver.got("back")[0]
    assert attributes(client, message.id)["reason"] == "given up after 2 attempts; the last one: answered 503"
    assert get(client, f"{ENDPOINTS}/back")["data"]["attributes"]["dead"] == 1
    world.receiver.answer("back", lambda _: Reply())
    answer = client.post(f"{DELIVERIES}/{message.id}/redeliver")
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"{DELIVERIES}/{message.id}"
    world.wait(lambda: attributes(client, message.id)["status"] == "delivered")
    found = attributes(client, message.id)
    assert [each["number"] for each in found["attempts"]] == [1, 2, 3]
    assert found["reason"] is None
    assert {each.id for each in world.receiver.got("back")} == {message.id}
    world.kill()
    world.start()


def test_an_endpoint_can_be_tested(world: World, client: httpx.Client) -> None:
    """It gets one signed message of no run; what comes of it is in the log. One that answered 410 comes back so."""
    world.configure(tried={"events": ["run.failed"]}, off={"enabled": False}, hidden={"url": {"env": "NOWHERE"}})
    for status in (500, 410, 200):
        world.receiver.answer("tried", lambda _, status=status: Reply(status))  # type: ignore[misc]
        answer = client.post(f"{ENDPOINTS}/tried/test")
        assert answer.status_code == 202
        id_ = answer.json()["data"]["id"]
        world.wait(lambda id_=id_: attributes(client, id_)["status"] != "pending")
        found = attributes(client, id_)
        assert [each["status_code"] for each in found["attempts"]] == [status]
        assert (found["event_type"], found["run_id"], found["pipeline_id"]) == ("ping", None, None)
        expected = "gone" if status == 410 else "active"
        assert get(client, f"{ENDPOINTS}/tried")["data"]["attributes"]["status"] == expected
    assert [each.verified for each in world.receiver.got("tried")] == [True] * 3
    assert world.receiver.got("tried")[0].message["data"] == {"endpointId": "tried"}
    for id_ in ("off", "hidden"):
        answer = client.post(f"{ENDPOINTS}/{id_}/test")
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "webhook_endpoint_unusable")
    assert client.post(f"{ENDPOINTS}/nobody/test").status_code == 404
    trail = world.rows("SELECT action, resource, status FROM planasonix.audit_events ORDER BY id DESC LIMIT 1")
    assert trail == [("webhook.test", "nobody", 404)]


def test_a_limited_key_sees_what_is_of_its_pipelines(world: World, client: httpx.Client) -> None:
    """No endpoint, no delivery of another pipeline's run; and reading does not allow to send."""
    world.configure(shared={"events": ["run.started"]})
    seen, other = world.create(), world.create(planasonix__pipeline_id="pl_b")
    world.happen(seen, "START")
    world.happen(other, "START")
    world.wait(lambda: [state for state, _, _ in world.deliveries("shared")] == ["delivered"] * 2)
    of_other = next(each.id for each in world.receiver.got("shared") if each.run_id == api_id(other))
    of_seen = next(each.id for each in world.receiver.got("shared") if each.run_id == api_id(seen))
    _, limited = make_key(world.url, Scope.PIPELINES_READ, Scope.PIPELINES_WRITE, pipelines=("pl_a",))
    _, reading = make_key(world.url, Scope.PIPELINES_READ)
    headers = bearer(limited)
    listed = client.get(DELIVERIES, params={"endpoint": "shared"}, headers=headers).json()["data"]
    assert [each["id"] for each in listed] == [of_seen]
    assert client.get(f"{DELIVERIES}/{of_other}", headers=headers).status_code == 404
    assert client.post(f"{DELIVERIES}/{of_other}/redeliver", headers=headers).status_code == 404
    assert client.post(f"{DELIVERIES}/{of_seen}/redeliver", headers=headers).status_code == 202
    assert client.get(ENDPOINTS, headers=headers).status_code == 403
    assert client.post(f"{ENDPOINTS}/shared/test", headers=headers).status_code == 403
    assert client.get(ENDPOINTS, headers=bearer(reading)).status_code == 200
    assert client.post(f"{DELIVERIES}/{of_seen}/redeliver", headers=bearer(reading)).status_code == 403


def test_what_can_not_be_sent_is_not_promised(world: World, client: httpx.Client) -> None:
    """Redelivery to an endpoint that is not enabled, or has left the file, is refused."""
    world.configure(leaver={"events": ["run.started"]})
    world.happen(world.create(), "START")
    world.wait(lambda: [state for state, _, _ in world.deliveries("leaver")] == ["delivered"])
    (message,) = world.receiver.got("leaver")
    world.configure(leaver={"enabled": False})
    off = "SELECT definition -> 'enabled' FROM planasonix.webhook_endpoints WHERE id = 'leaver'"
    world.wait(lambda: world.rows(off) == [(False,)])
    assert client.post(f"{DELIVERIES}/{message.id}/redeliver").status_code == 409
    (world.pipelines / "webhooks.yaml").unlink()
    world.wait(lambda: get(client, ENDPOINTS)["data"] == [])
    refused = client.post(f"{DELIVERIES}/{message.id}/redeliver")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "webhook_endpoint_unusable")


def test_before_a_notifier_has_worked_there_is_nothing(client: httpx.Client, world: World) -> None:
    """Lists are empty and the figures are zero; nothing fails for want of tables."""
    world.kill()
    with superuser(world.url) as cursor:
        cursor.execute("DROP TABLE planasonix.webhook_attempts, planasonix.webhook_deliveries")
    assert get(client, ENDPOINTS)["data"] == []
    assert get(client, DELIVERIES)["data"] == []
    assert client.get(f"{DELIVERIES}/msg_x").status_code == 404
    assert client.post(f"{ENDPOINTS}/ops/test").status_code == 404
    assert figure(client, "deliveries_pending") == figure(client, "oldest_pending_age_seconds") == 0
