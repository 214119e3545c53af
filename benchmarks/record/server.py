"""The Postgres of the benchmarks and its databases, kept between invocations; seeded when they are first asked for."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import psycopg2
import yaml
from dagster import DagsterInstance

from benchmarks.record.seeding import VERSION, Landmarks, Size, seed
from planasonix_orchestrator.runtime.leftovers import guarded
from planasonix_orchestrator.runtime.postgres import EmbeddedPostgres


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A seeded database: its URL, the folder of a dagster.yaml that names it, and the runs worth looking at."""

    url: str
    home: Path
    runs: int
    landmarks: Landmarks

    @contextmanager
    def instance(self) -> Iterator[DagsterInstance]:
        """Give Dagster's view of the record, with pooled connections as dagster-webserver has them."""
        with open_instance(self.home) as instance:
            yield instance


class RecordServer:
    """A Postgres server whose databases are seeded records of different sizes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run the server for a while; one that runs already is used and left as it is."""
        with ExitStack() as stack:
            if not self.postgres.is_running():
                self._folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(guarded(self._folder))
                self.postgres.start(log=self._folder / "postgres.log")
                stack.callback(self.postgres.stop)
            yield

    def record(self, size: Size) -> Record:
        """Return the record of this size, made now unless an earlier call has finished it."""
        name = f"runs_{size.runs}"
        home = self._folder / name
        marker = home / f"landmarks-{VERSION}.json"
        url = self.postgres.url(name)
        if marker.exists():
            landmarks = Landmarks(**json.loads(marker.read_text(encoding="utf-8")))
            return Record(url=url, home=home, runs=size.runs, landmarks=landmarks)
        with closing(psycopg2.connect(self.postgres.url())) as server:
            server.autocommit = True
            with server.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.postgres.create_database(name)
        record = make_record(url, home=home, size=size, until=datetime.now(UTC) - timedelta(minutes=1))
        part = marker.with_suffix(".part")
        part.write_text(json.dumps(asdict(record.landmarks)), encoding="utf-8")
        part.replace(marker)
        return record


def make_record(url: str, *, home: Path, size: Size, until: datetime) -> Record:
    """Have Dagster make its schema in an empty database, and seed it with runs of the year until a moment."""
    write_home(home, url=url)
    with open_instance(home) as instance:
        landmarks = seed(url, instance=instance, size=size, until=until, folder=home / "pipelines")
    return Record(url=url, home=home, runs=size.runs, landmarks=landmarks)


def write_home(home: Path, *, url: str) -> None:
    """Write the dagster.yaml of a stack, but for the URL, which stands in it."""
    home.mkdir(parents=True, exist_ok=True)
    template = files("planasonix_orchestrator.runtime").joinpath("templates/dagster.yaml").read_text(encoding="utf-8")
    settings = yaml.safe_load(template)
    settings["storage"]["postgres"]["postgres_url"] = url
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")


@contextmanager
def open_instance(home: Path) -> Iterator[DagsterInstance]:
    """Give the instance of a dagster.yaml, with the pools that dagster-webserver gives its own."""
    with DagsterInstance.from_config(str(home)) as instance:
        instance.optimize_for_webserver(statement_timeout=15_000, pool_recycle=3600, max_overflow=20)
        yield instance
