"""What supervisors and monitoring are told: alive, ready or why not, and figures."""

import re
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg2
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from dagster._daemon.types import DaemonHeartbeat
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import make_url

from api_adapter.app import create_app
from api_adapter.asgi import open_services
from api_adapter.middleware import Telemetry
from api_adapter.settings import ApiSettings
from api_adapter.storage import open_storage
from planasonix_orchestrator.contract.cancellation import RUN_HOST_CONNECTION
from tests.api.conftest import dagster_home, serving
from tests.api.layered import layered
from tests.api.making import make_run
from tests.api.serving import serve
from tests.api.waiting import wait_until
from tests.conftest import superuser


@pytest.fixture
def own_instance(tmp_path: Path, dagster_url: str) -> Iterator[DagsterInstance]:
    """A Dagster of the test's own, in which nothing has happened yet."""
    with dagster_home(tmp_path, url=dagster_url) as instance:
        instance.get_runs_count()
        yield instance


@pytest.fixture
def own_client(own_instance: DagsterInstance, tmp_path: Path, dagster_url: str) -> Iterator[httpx.Client]:
    """The API over it, without a code server."""
    with serving(ApiSettings(postgres_url=dagster_url, dagster_home=str(tmp_path), code_server_port=1)) as client:
        yield client


def beat(instance: DagsterInstance, *, at: datetime) -> None:
    """A sign of life of the daemon ."""
    instance.add_daemon_heartbeat(DaemonHeartbeat(at.timestamp(), "SCHEDULER", "test", []))


def reasons(client: httpx.Client) -> dict[str, str]:
    """What is not ready, and why."""
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    return {detail["field"]: detail["issue"] for detail in answer.json()["error"]["details"]}


def test_the_process_lives_whatever_else_does() -> None:
    """`/livez` answers without any part of the stack, and without a credential."""
    nowhere = ApiSettings(postgres_url="postgresql:///none?host=/nonexistent", dagster_home="/nonexistent")
    with serve(create_app(nowhere, open_services=open_services)) as client:
        assert client.get("/livez").json() == {"status": "ok"}
        assert reasons(client).keys() == {"postgres", "codeLocation"}


@pytest.mark.stack
def test_ready_when_all_parts_are_there(client: httpx.Client, instance: DagsterInstance) -> None:
    """200 with every part as ok, to anybody, once the daemon gives signs of life."""
    beat(instance, at=datetime.now(UTC))
    answer = client.get("/readyz", headers={"Authorization": ""})
    assert answer.status_code == 200
    parts = ("postgres", "schema", "daemon", "runHost", "codeLocation")
    assert answer.json() == {"status": "ready", "checks": dict.fromkeys(parts, "ok")}


def test_readiness_tells_a_daemon_that_never_was_from_one_that_is_gone(
    own_client: httpx.Client, own_instance: DagsterInstance
) -> None:
    """No heartbeat, an old one and a fresh one are three things; the age is told."""
    assert "never run" in reasons(own_client)["daemon"]
    beat(own_instance, at=datetime.now(UTC) - timedelta(seconds=100))
    assert re.search(r"last sign of life 10\d s ago", reasons(own_client)["daemon"])
    beat(own_instance, at=datetime.now(UTC))
    assert reasons(own_client).keys() == {"codeLocation"}


def test_readiness_misses_a_run_host_that_runs_wait_for(
    own_client: httpx.Client, own_instance: DagsterInstance, dagster_url: str, tmp_path: Path
) -> None:
    """Where a run host is to take runs from the queue, one must be at work: it listens."""
    launcher = "run_launcher: {module: planasonix_orchestrator.run_host.launcher, class: RunHostLauncher}\n"
    with (tmp_path / "dagster.yaml").open("a") as file:
        file.write(launcher)
    beat(own_instance, at=datetime.now(UTC))
    assert "runs would stay queued" in reasons(own_client)["runHost"]
    with closing(psycopg2.connect(dagster_url, application_name=RUN_HOST_CONNECTION)):
        assert reasons(own_client).keys() == {"codeLocation"}


def test_readiness_names_an_unknown_schema(
    own_client: httpx.Client, own_instance: DagsterInstance, dagster_url: str
) -> None:
    """Tables of another Dagster are named with their revision, not taken for a database that is away."""
    beat(own_instance, at=datetime.now(UTC))
    with superuser(dagster_url) as cursor:
        cursor.execute("UPDATE alembic_version SET version_num = 'of the future'")
    told = reasons(own_client)
    assert told.keys() == {"schema", "codeLocation"}
    assert "of the future" in told["schema"]


def figures(client: httpx.Client) -> dict[tuple[str, str], float]:
    """Every sample of /metrics, by name and by its status or route (else nothing)."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, sample.labels.get("route") or sample.labels.get("status") or ""): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_runs_are_counted_by_status(own_instance: DagsterInstance, dagster_url: str) -> None:
    """What waits, goes on or is being canceled now, and what has ended within a day; and since when the oldest wait."""
    statuses = (
        DagsterRunStatus.NOT_STARTED,
        DagsterRunStatus.STARTING,
        DagsterRunStatus.STARTED,
        DagsterRunStatus.CANCELING,
        DagsterRunStatus.SUCCESS,
        DagsterRunStatus.FAILURE,
        DagsterRunStatus.FAILURE,
    )
    runs = [make_run(own_instance, status=status) for status in statuses]
    with superuser(dagster_url) as cursor:
        ago = "UPDATE runs SET {column} = {column} - interval '{hours} hours' WHERE run_id = %s"
        cursor.execute(ago.format(column="create_timestamp", hours=1), (runs[0].run_id,))
        cursor.execute(ago.format(column="update_timestamp", hours=2), (runs[3].run_id,))
        cursor.execute(ago.format(column="update_timestamp", hours=25), (runs[6].run_id,))
    now = datetime.now(UTC)
    with open_storage(dagster_url) as storage:
        gauges = storage.gauges(now=now)
    assert gauges.runs == {"queued": 2, "running": 1, "canceling": 1, "succeeded": 1, "failed": 1, "canceled": 0}
    assert gauges.oldest_queued_at is not None
    assert gauges.oldest_canceling_at is not None
    assert (now - gauges.oldest_queued_at).total_seconds() == pytest.approx(3600, abs=60)
    assert (now - gauges.oldest_canceling_at).total_seconds() == pytest.approx(7200, abs=60)


def test_metrics_tell_of_runs_and_the_daemon(
    own_client: httpx.Client, own_instance: DagsterInstance, dagster_url: str
) -> None:
    """Counts by status, and ages in seconds."""
    waiting = make_run(own_instance, status=DagsterRunStatus.NOT_STARTED)
    make_run(own_instance, status=DagsterRunStatus.SUCCESS)
    with superuser(dagster_url) as cursor:
        ago = "UPDATE runs SET create_timestamp = create_timestamp - interval '1 hour' WHERE run_id = %s"
        cursor.execute(ago, (waiting.run_id,))
    beat(own_instance, at=datetime.now(UTC) - timedelta(seconds=50))
    found = figures(own_client)
    counts = {status: number for (name, status), number in found.items() if name == "planasonix_runs"}
    assert counts == {"queued": 1, "running": 0, "canceling": 0, "succeeded": 1, "failed": 0, "canceled": 0}
    assert found["planasonix_oldest_queued_run_age_seconds", ""] == pytest.approx(3600, abs=60)
    assert found["planasonix_oldest_canceling_run_age_seconds", ""] == 0
    assert found["planasonix_daemon_heartbeat_age_seconds", ""] == pytest.approx(50, abs=30)
    assert found["planasonix_database_up", ""] == 1


def test_metrics_of_a_record_without_runs(own_client: httpx.Client) -> None:
    """Nothing waits: every status is 0, so are the ages; a daemon that never was has none."""
    found = figures(own_client)
    assert {value for (name, _), value in found.items() if name == "planasonix_runs"} == {0}
    assert found["planasonix_oldest_queued_run_age_seconds", ""] == 0
    assert ("planasonix_daemon_heartbeat_age_seconds", "") not in found


def test_metrics_while_the_database_is_away(own_client: httpx.Client, dagster_url: str, postgres_server: str) -> None:
    """No key can be checked then, so that nobody comes in; back in full when Postgres is."""
    own_client.get("/api/runs")
    name = str(make_url(dagster_url).database)
    with superuser(postgres_server) as cursor:
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        assert own_client.get("/metrics").status_code == 503
        cursor.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    found = figures(own_client)
    assert found["planasonix_database_up", ""] == 1
    assert found["planasonix_http_request_duration_seconds_count", "/api/runs"] == 1


def test_metrics_are_closed_to_strangers(reader: httpx.Client) -> None:
    """Without a credential, 401."""
    assert reader.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_latencies_are_counted_by_route(reader_settings: ApiSettings) -> None:
    """By the template of the path, with what matches none as one, and methods that a caller invents as one too."""
    with serving(reader_settings) as client:
        for path in ("/api/runs/a", "/v1/api/runs/b", "/nowhere", "/elsewhere"):
            client.get(path)
        client.request("PROPFIND", "/api/runs")
        client.request("LOCK", "/api/runs")
        text = client.get("/metrics").text
        found = figures(client)
    count = "planasonix_http_request_duration_seconds_count"
    assert found[count, "/api/runs/{id}"] == 2
    assert found[count, "unmatched"] == 2
    assert re.search(rf'{count}{{method="other",route="/api/runs",status="405",worker="\d+"}} 2.0', text)


def test_open_streams_are_counted_while_they_are_open() -> None:
    """Up when one begins, down when it ends or its caller leaves; each application has its own count."""
    app = layered()
    telemetry: Telemetry = app.state.telemetry

    def number(of: Telemetry = telemetry) -> float | None:
        return of.registry.get_sample_value("planasonix_open_streams", {"worker": telemetry.worker})

    with serve(app) as client:
        with client.stream("GET", "/api/stream") as stream:
            next(stream.iter_raw())
            assert number() == 1
            assert number(Telemetry()) == 0
        client.get("/api/large")
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/api/broken-stream")
        wait_until(lambda: number() == 0, seconds=10)
