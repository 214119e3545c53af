"""The four ways to read a seeded record, opened once for all cases of an invocation."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import psycopg2

from benchmarks.frame import Site
from benchmarks.reading import GraphQlReader, InstanceReader, OurReader, SqlReader
from benchmarks.record.seeding import Size
from benchmarks.record.server import Record, RecordServer
from benchmarks.services import Service, dagster_webserver, our_service

SMALL = 100_000
LARGE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """The four ways to read a record, and the services behind the first two."""

    record: Record
    ours: OurReader
    graphql: GraphQlReader
    instance: InstanceReader
    sql: SqlReader
    our_service: Service
    webserver: Service


def record_of(site: Site, *, runs: int) -> Record:
    """Return the record of so many runs; the first one that asks waits for minutes until it is seeded."""
    return site.share("server", lambda: _server(site)).record(Size(runs=runs))


def readers_of(site: Site, *, runs: int) -> Readers:
    """Return the readers of the record of so many runs, with their services running."""
    record = record_of(site, runs=runs)
    return site.share(f"readers of {runs}", lambda: open_readers(record))


@contextmanager
def _server(site: Site) -> Iterator[RecordServer]:
    server = RecordServer(site.folder("record"))
    with server.running():
        yield server


@contextmanager
def open_readers(record: Record) -> Iterator[Readers]:
    """Start both services over a record, and connect to all that can be asked."""
    with ExitStack() as opened:
        ours = opened.enter_context(our_service(record))
        webserver = opened.enter_context(dagster_webserver(record))
        connection = opened.enter_context(closing(psycopg2.connect(record.url)))
        connection.autocommit = True
        yield Readers(
            record=record,
            ours=OurReader(opened.enter_context(ours.client())),
            graphql=GraphQlReader(opened.enter_context(webserver.client())),
            instance=InstanceReader(opened.enter_context(record.instance())),
            sql=SqlReader(connection),
            our_service=ours,
            webserver=webserver,
        )
