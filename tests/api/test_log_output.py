"""The raw output of runs: from files, and from object storage, where it has URLs too."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from moto.server import ThreadedMotoServer

from api_adapter.control.output import expiry_of
from api_adapter.settings import ApiSettings
from planasonix_orchestrator.contract.ids import encode_run_id
from tests.api.conftest import MANY, serving
from tests.api.making import make_run
from tests.api.printing import print_in_runs
from tests.api.test_failures import assert_error_shape

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def printed(home: Path, instance: DagsterInstance) -> dict[str, str]:
    """Runs that have printed: one in one process, one in many, and one whose output is gone."""
    run_ids = print_in_runs(home, "in_one_process", "in_many_processes", "in_one_process")
    instance.compute_log_manager.delete_logs(prefix=[run_ids[-1], "compute_logs"])
    return dict(zip(("one", "many", "gone"), map(encode_run_id, run_ids), strict=True))


@pytest.mark.parametrize(
    ("stream", "text"),
    [
        ("stdout", "first says 0\nfirst says 1\nfirst says 2\nsecond says hello\n"),
        ("stderr", "first complains: ü\n"),
    ],
)
def test_raw_output_is_text(stream: str, text: str, printed: dict[str, str], reader: httpx.Client) -> None:
    """What the run's process wrote, byte by byte, with nothing of it missing."""
    answer = reader.get(f"/api/runs/{printed['one']}/logs/{stream}")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert text in answer.text  # Dagster itself writes to stderr, too
    assert stream == "stderr" or answer.text == text


def test_output_of_many_processes_comes_in_their_order(printed: dict[str, str], reader: httpx.Client) -> None:
    """One after the other, or only that of the processes that ran a node."""
    path = f"/api/runs/{printed['many']}/logs/stdout"
    assert reader.get(path).text == "first says 0\nfirst says 1\nfirst says 2\nsecond says hello\n"
    assert reader.get(path, params={"nodeId": "second"}).text == "second says hello\n"


def test_output_of_a_live_run_is_what_there_is_so_far(instance: DagsterInstance, reader: httpx.Client) -> None:
    """A run that has put out nothing yet has empty output."""
    run = make_run(instance, status=DagsterRunStatus.STARTED)
    answer = reader.get(f"/api/runs/{encode_run_id(run.run_id)}/logs/stdout")
    assert (answer.status_code, answer.text) == (200, "")


def test_output_that_is_gone_is_not_found(printed: dict[str, str], reader: httpx.Client) -> None:
    """An ended run whose files are no longer there does not pretend that it was silent."""
    answer = reader.get(f"/api/runs/{printed['gone']}/logs/stdout")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "output_not_found")
    assert_error_shape(answer)


def test_files_have_no_urls(printed: dict[str, str], reader: httpx.Client) -> None:
    """Where output lies in files, `format=urls` says so, and what to configure."""
    answer = reader.get(f"/api/runs/{printed['one']}/logs", params={"format": "urls"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "urls_not_available")
    assert "S3ComputeLogManager" in answer.json()["error"]["message"]


def test_an_unknown_stream_is_refused(printed: dict[str, str], reader: httpx.Client) -> None:
    """There are stdout and stderr."""
    assert reader.get(f"/api/runs/{printed['one']}/logs/stdlog").status_code == 400


_S3_YAML = """
storage: {{postgres: {{postgres_url: "{url}"}}}}
telemetry: {{enabled: false}}
compute_logs:
  module: dagster_aws.s3.compute_log_manager
  class: S3ComputeLogManager
  config: {{bucket: logs, prefix: of-runs, local_dir: "{local}", endpoint_url: "{endpoint}", skip_empty_files: true}}
"""
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    """The address of an S3 server with a bucket `logs`; this process has credentials for it."""
    before = {name: os.environ.get(name) for name in _CREDENTIALS}
    os.environ.update(_CREDENTIALS)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        httpx.put(f"{endpoint}/logs", trust_env=False).raise_for_status()
        yield endpoint
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def cloud_home(tmp_path_factory: pytest.TempPathFactory, database_url: str, s3_endpoint: str) -> Path:
    """The home of an instance on the tests' database that keeps raw output in object storage."""
    home = tmp_path_factory.mktemp("cloud")
    settings = {"url": database_url, "local": home / "local", "endpoint": s3_endpoint}
    (home / "dagster.yaml").write_text(_S3_YAML.format(**settings))
    return home


@pytest.fixture(scope="module")
def cloud(cloud_home: Path, instance: DagsterInstance, database_url: str) -> Iterator[httpx.Client]:
    settings = ApiSettings(postgres_url=database_url, dagster_home=str(cloud_home), code_server_port=1, rate_limit=MANY)
    with serving(settings) as client:
        yield client


@pytest.fixture(scope="module")
def printed_there(cloud_home: Path, instance: DagsterInstance) -> str:
    return encode_run_id(*print_in_runs(cloud_home, "in_many_processes", lines=20_000))


TEXT = "".join(f"first says {number}\n" for number in range(20_000)) + "second says hello\n"


def test_urls_are_signed_and_expire(printed_there: str, cloud: httpx.Client) -> None:
    """Each process's output has a URL that works without any credential, until it expires."""
    before = datetime.now(UTC)
    body = cloud.get(f"/api/runs/{printed_there}/logs", params={"format": "urls"}).json()
    assert body["runId"] == printed_there
    urls = [one for one in body["urls"] if one["stream"] == "stdout" and one["nodeIds"] in (["first"], ["second"])]
    assert "".join(httpx.get(one["url"], trust_env=False).text for one in urls) == TEXT
    for one in body["urls"]:
        assert list(one) == ["stream", "nodeIds", "url", "expiresAt"]
        assert httpx.get(one["url"], trust_env=False).status_code == 200
        lifetime = datetime.fromisoformat(one["expiresAt"]) - before
        assert timedelta(minutes=59) < lifetime < timedelta(minutes=62)


def test_urls_of_one_node(printed_there: str, cloud: httpx.Client) -> None:
    """`nodeId` leaves the processes that ran the node."""
    params = {"format": "urls", "nodeId": "second"}
    urls = cloud.get(f"/api/runs/{printed_there}/logs", params=params).json()["urls"]
    assert [one["nodeIds"] for one in urls if one["stream"] == "stdout"] == [["second"]]


def test_raw_output_comes_from_object_storage_too(printed_there: str, cloud_home: Path, cloud: httpx.Client) -> None:
    """The service fetches it, streams it, and leaves no copy behind."""
    assert cloud.get(f"/api/runs/{printed_there}/logs/stdout").text == TEXT
    assert [path for path in (cloud_home / "local").rglob("*") if path.is_file() and path.suffix == ".out"] == []


def test_storage_that_is_away(
    printed_there: str, cloud_home: Path, instance: DagsterInstance, database_url: str
) -> None:
    """503 in the error shape while object storage can't be reached; logs are told all the same."""
    with elsewhere(cloud_home) as home:
        settings = ApiSettings(postgres_url=database_url, dagster_home=str(home), code_server_port=1, rate_limit=MANY)
        with serving(settings) as client:
            assert client.get(f"/api/runs/{printed_there}/logs").status_code == 200
            answer = client.get(f"/api/runs/{printed_there}/logs/stdout")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
            assert_error_shape(answer)


@contextmanager
def elsewhere(home: Path) -> Iterator[Path]:
    """The same home, whose object storage is at an address where nobody listens."""
    text = (home / "dagster.yaml").read_text()
    endpoint = text.partition('endpoint_url: "')[2].partition('"')[0]
    other = home / "elsewhere"
    other.mkdir()
    (other / "dagster.yaml").write_text(text.replace(endpoint, "http://127.0.0.1:9"))
    yield other


@pytest.mark.parametrize(
    "url",
    [
        "https://b.s3.amazonaws.com/k?X-Amz-Date=20250327T020000Z&X-Amz-Expires=3600&X-Amz-Signature=x",
        "https://b.s3.amazonaws.com/k?AWSAccessKeyId=a&Signature=b&Expires=1743044400",
        "https://storage.googleapis.com/b/k?X-Goog-Date=20250327T020000Z&X-Goog-Expires=3600",
        "https://a.blob.core.windows.net/b/k?sv=2024&se=2025-03-27T03%3A00%3A00Z&sig=x",
    ],
)
def test_signatures_of_all_clouds_tell_their_end(url: str) -> None:
    """S3 in both of its ways, Google and Azure."""
    assert expiry_of(url) == datetime(2025, 3, 27, 3, tzinfo=UTC)
    assert expiry_of("https://example.com/k") is None
