"""How many pages of runs a service gives in a second to 32 clients, on the cores that Postgres works on too."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.frame import Case, Goal, Sides, Site
from benchmarks.readers import LARGE, readers_of
from benchmarks.reading import PageQuery, check_equal
from benchmarks.reading.graphql import runs_question
from benchmarks.reading.ours import page_path
from benchmarks.services import Service

CLIENTS = 32
_SECONDS = 3.0


@contextmanager
def build(site: Site) -> Iterator[Sides]:
    """Ask both services for the newest 50 runs."""
    readers = readers_of(site, runs=LARGE)
    check_equal({"ours": readers.ours.page(PageQuery()), "GraphQL": readers.graphql.page(PageQuery())}, least=50)
    ours = readers.our_service.request("GET", page_path(PageQuery()))
    stock = readers.webserver.request("POST", "/graphql", body=runs_question({}))
    yield Sides(
        ours=lambda: load(readers.our_service, ours),
        stock=lambda: load(readers.webserver, stock),
    )


def load(service: Service, request: bytes) -> float:
    """Return the answers in a second that a service gives to all clients together."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", str(service.port), str(CLIENTS), str(_SECONDS)],
        input=request,
        stdout=subprocess.PIPE,
        check=True,
    )
    answers: int = json.loads(done.stdout)["answers"]
    return answers / _SECONDS


REQUESTS_PER_SECOND = Case(
    name="requests_per_second",
    title=f"pages of 50 runs for {CLIENTS} clients",
    goal=Goal(times_better_than_stock=10),
    build=build,
    unit="1/s",
    better="higher",
)
