"""Triggers on object stores: S3 as moto's server speaks it, and what is told when a store can't be had."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from planasonix_orchestrator.dagster_defs.sensors.arrivals.object_store import ObjectStore, read_s3_options
from planasonix_orchestrator.dagster_defs.sensors.arrivals.place import Place, PlaceError
from planasonix_orchestrator.dagster_defs.sensors.arrivals.record import Connect
from planasonix_orchestrator.dagster_defs.sensors.arrivals.waiting import Patience
from planasonix_orchestrator.dagster_defs.sensors.arrivals.watch import Watch
from planasonix_orchestrator.graph.globs import Selection
from planasonix_orchestrator.graph.triggers import S3Config
from tests.dagster_defs.pipelines import document, node
from tests.dagster_defs.test_repository import repository_of

pytestmark = pytest.mark.stack

SECRET = "not-for-anybody's-eyes"


@pytest.fixture(scope="module")
def s3() -> Iterator[httpx.Client]:
    """A client of an S3 server that lets everybody do everything."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    try:
        # The server checks no signature, but lets nobody without one change an object.
        signed = {"Authorization": "AWS4-HMAC-SHA256 Credential=lake/20260101/us-east-1/s3/aws4_request"}
        with httpx.Client(base_url=f"http://{host}:{port}", headers=signed, trust_env=False) as client:
            yield client
    finally:
        server.stop()


StoreOf = Callable[..., ObjectStore]


@pytest.fixture
def store_of(s3: httpx.Client, trigger_id: str, monkeypatch: pytest.MonkeyPatch) -> StoreOf:
    """Makes places in the test's own bucket; the keys stand in the environment."""
    monkeypatch.setenv("LAKE_ID", "lake")
    monkeypatch.setenv("LAKE_SECRET", SECRET)
    bucket = bucket_of(trigger_id)
    s3.put(f"/{bucket}").raise_for_status()

    def make(
        *include: str,
        prefix: str = "",
        bucket: str = bucket,
        endpoint: str = str(s3.base_url),
        variables: Sequence[str] = ("LAKE_ID", "LAKE_SECRET"),
    ) -> ObjectStore:
        identifier, secret = variables
        config = S3Config.model_validate(
            {
                "bucket": bucket,
                "endpointUrl": endpoint,
                "region": "us-east-1",
                "accessKeyId": {"env": identifier},
                "secretAccessKey": {"env": secret},
            }
        )
        return ObjectStore(
            "s3",
            bucket=bucket,
            prefix=prefix,
            selection=Selection(include=include or ["**"], exclude=["**/*.tmp"]),
            read_options=lambda: read_s3_options(config),
        )

    return make


def bucket_of(trigger_id: str) -> str:
    return trigger_id.replace("_", "-")


def put(s3: httpx.Client, trigger_id: str, **objects: str) -> None:
    """Store objects; the keywords' names have two underscores where their keys have a slash."""
    for name, content in objects.items():
        key = name.replace("__", "/")
        s3.put(f"/{bucket_of(trigger_id)}/{key}", content=content).raise_for_status()


def watch_of(place: Place, trigger_id: str) -> Watch:
    return Watch(trigger_id, place=place, patience=Patience())


def wanted(watch: Watch, connect: Connect, trigger_id: str) -> list[list[str]]:
    """The keys of each batch that has no run: none has one in these tests."""
    begin = f"s3://{bucket_of(trigger_id)}/"
    batches = watch.poll(connect, at=0).batches
    assert all(path.startswith(begin) for batch in batches for path in batch.paths)
    return [[path.removeprefix(begin) for path in batch.paths] for batch in batches]


def test_objects_arrive_once_in_each_version(
    s3: httpx.Client, store_of: StoreOf, connect: Connect, trigger_id: str
) -> None:
    """The version is the ETag: other content is new, the same content stored again is not."""
    put(s3, trigger_id, a="1", in__b="2", **{"in/c.tmp": "3"})
    watch = watch_of(store_of(), trigger_id)
    assert wanted(watch, connect, trigger_id) == [["a", "in/b"]]
    put(s3, trigger_id, a="1", in__b="other")
    assert wanted(watch, connect, trigger_id) == [["a", "in/b"], ["in/b"]]
    assert wanted(watch_of(store_of(), trigger_id), connect, trigger_id) == [["a", "in/b"], ["in/b"]]


def test_a_prefix_is_where_globs_start(s3: httpx.Client, store_of: StoreOf, trigger_id: str) -> None:
    """At its last slash. Keys that end in a slash are the folders of some programs."""
    put(
        s3,
        trigger_id,
        in__2026_a="1",
        in__2026_b__c="2",
        in__2025_a="3",
        other="4",
        in__2026_="",
        **{"in/2026_x.tmp": "5"},
    )
    s3.put(f"/{bucket_of(trigger_id)}/in/2026_d/").raise_for_status()
    assert keys_of(store_of(prefix="in/2026_")) == ["in/2026_", "in/2026_a", "in/2026_b/c"]
    assert keys_of(store_of("*a", prefix="in/2026_")) == ["in/2026_a"]
    assert keys_of(store_of("*/*", prefix="in/")) == ["in/2026_b/c"]
    assert keys_of(store_of("*", prefix="")) == ["other"]
    assert keys_of(store_of(prefix="nothing/")) == []


def keys_of(store: ObjectStore) -> list[str]:
    return sorted(path.split("/", 3)[3] for path in store.look({}).versions)


def test_more_objects_than_a_page_has(
    s3: httpx.Client, store_of: StoreOf, trigger_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 tells at most a thousand at once; this server, ten."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    put(s3, trigger_id, **{f"n{number:04}": "" for number in range(31)})
    assert len(store_of().look({}).arrivals) == 31


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bucket": "missing"}, "s3://missing/: the objects can't be listed: "),
        ({"endpoint": "http://127.0.0.1:1"}, "the objects can't be listed: "),
        ({"variables": ("LAKE_ID", "NOT_SET")}, "secretAccessKey is read from the environment variable NOT_SET, which"),
    ],
)
def test_a_store_that_cannot_be_had(store_of: StoreOf, change: dict[str, str], message: str) -> None:
    """The error says which and why, and holds no secret, nor do those that caused it."""
    with pytest.raises(PlaceError) as raised:
        store_of(**change).look({})
    assert message in str(raised.value)
    error: BaseException | None = raised.value
    while error is not None:
        assert SECRET not in f"{error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_store_that_comes_back(s3: httpx.Client, store_of: StoreOf, trigger_id: str) -> None:
    """The poll after a bad one goes on as if nothing had been."""
    store = store_of(bucket=f"{bucket_of(trigger_id)}-later")
    with pytest.raises(PlaceError):
        store.look({})
    s3.put(f"/{bucket_of(trigger_id)}-later").raise_for_status()
    assert store.look({}).versions == {}


@pytest.mark.parametrize(("scheme", "package", "extra"), [("gs", "gcsfs", "gcs"), ("az", "adlfs", "azure")])
def test_a_package_that_is_missing(scheme: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named, with the command that installs it."""
    monkeypatch.setitem(sys.modules, package, None)  # Python's own way to say that it can't be imported
    store = ObjectStore(scheme, bucket="b", prefix="", selection=Selection(include=["**"], exclude=[]))
    with pytest.raises(PlaceError, match=rf"{package} is not installed \(pip install 'planasonix\[{extra}\]'"):
        store.look({})


def test_each_store_has_its_sensor(tmp_path: Path) -> None:
    """Built without a look at the store or at the environment."""
    triggers = [
        {
            "id": "trg_a",
            "triggerType": "s3",
            "config": {"bucket": "b", "accessKeyId": {"env": "X"}, "secretAccessKey": {"env": "Y"}},
        },
        {"id": "trg_b", "triggerType": "gcs", "config": {"bucket": "b", "prefix": "in/"}},
        {"id": "trg_c", "triggerType": "azure", "config": {"container": "c"}},
    ]
    assert not {"X", "Y"} & os.environ.keys()
    (tmp_path / "a.json").write_text(json.dumps(document([node("a", "source.numbers")], triggers=triggers)))
    told = [str(sensor.description).partition("arrive in ")[2] for sensor in repository_of(tmp_path).sensor_defs]
    assert told == ["s3://b/.", "gs://b/in/.", "az://c/."]
