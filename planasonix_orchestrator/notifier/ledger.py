"""What is to be sent, and what came of it: the notifier's tables, and what it reads in Dagster's."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from planasonix_orchestrator.contract import tags as tag_names
from planasonix_orchestrator.contract.cancellation import UNFINISHED
from planasonix_orchestrator.contract.webhooks import message_id, write_body
from planasonix_orchestrator.graph.webhooks import EndpointDocument
from planasonix_orchestrator.notifier import statements
from planasonix_orchestrator.notifier.database import Rows, Session, Transaction
from planasonix_orchestrator.notifier.endpoints import Endpoint, Endpoints, read_definition, write_definition
from planasonix_orchestrator.notifier.horizon import Horizon
from planasonix_orchestrator.notifier.retries import RetryPolicy
from planasonix_orchestrator.notifier.sending import Attempt
from planasonix_orchestrator.notifier.telling import EVENTS, Happening, RunFacts, tell

KEPT: Final = timedelta(days=30)  # after its end
_EVENTS_AT_ONCE: Final = 500
_PRUNED_AT_ONCE: Final = 5000
_GONE: Final = "the endpoint answered 410: it wants no messages any more"
_REMOVED: Final = "the endpoint is no longer in webhooks.yaml"
_UNFINISHED: Final = {"statuses": list(UNFINISHED), "deadline": tag_names.DEADLINE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message that is due at an endpoint; `tries` have failed since somebody last asked for it.

    A test, of no run, is sent once.
    """

    number: int
    id: str
    endpoint_id: str
    body: str
    tries: int
    is_test: bool


class Ledger:
    """Makes deliveries of what happens to runs, and keeps what becomes of them.

    Every method is one transaction, and raises `psycopg2.Error` if the database is away.
    """

    def __init__(self, session: Session, *, policy: RetryPolicy) -> None:
        self._session = session
        self._policy = policy
        self._horizon = Horizon()
        self._made: set[int] = set()  # events behind the position of which deliveries are made
        self._late: set[str] = set()  # runs that were told to be late

    def publish(self, endpoints: Endpoints) -> Mapping[str, Mapping[str, Any]]:
        """Write down which endpoints there are; return the former definitions of those that are not known now.

        An endpoint that is new is told of what happens from now on. One that is gone loses what was not sent. One that
        answered 410 gets another chance when its definition is changed.
        """
        with self._session.transaction() as transaction:
            known: dict[str, Mapping[str, Any]] = dict(transaction.rows(statements.KNOWN_ENDPOINTS))
            if endpoints.by_id and not known:
                transaction.do(statements.BEGIN_NOW)
            for endpoint in endpoints.by_id.values():
                definition = json.dumps(write_definition(endpoint.definition))
                values = {"id": endpoint.id, "definition": definition, "problem": endpoint.problem}
                transaction.do(statements.PUT_ENDPOINT, values)
            unknown = known.keys() - endpoints.by_id.keys()
            kept = {id_ for id_ in unknown if not endpoints.readable or id_ in endpoints.faulty}
            for id_ in unknown - kept:
                transaction.do(statements.REMOVE_ENDPOINT, {"id": id_})
                transaction.do(statements.GIVE_UP_ALL, {"id": id_, "reason": _REMOVED})
            return {id_: known[id_] for id_ in kept}

    def collect(self, endpoints: Iterable[Endpoint]) -> bool:
        """Make deliveries of what has happened since the position, and move it on; tell whether there may be more."""
        with self._session.transaction() as transaction:
            newest, settled = self._horizon.look(transaction)
            ((position,),) = transaction.rows(statements.POSITION)
            found: Rows = ()
            if newest > position:
                parameters = {"after": position, "made": list(self._made), "most": _EVENTS_AT_ONCE}
                found = transaction.rows(statements.HAPPENED, parameters)
                self._deliver(transaction, _happenings(transaction, found), endpoints=endpoints)
            full = len(found) == _EVENTS_AT_ONCE
            # Back, too, where the newest events were deleted with their runs: none of them can be among what comes.
            moved = position if settled is None else min(settled, found[-1][0]) if full else settled
            if moved != position:
                transaction.do(statements.MOVE, {"event_id": moved})
        self._made = {id_ for id_ in (*self._made, *(row[0] for row in found)) if id_ > moved}
        return full

    def collect_late(self, endpoints: Iterable[Endpoint], *, now: datetime) -> None:
        """Make deliveries of runs that have not ended although their deadline is over, once for each."""
        with self._session.transaction() as transaction:
            runs = [_run(row) for row in transaction.rows(statements.RUNS_WITH_DEADLINE, _UNFINISHED)]
            late = [run for run in runs if run.deadline is not None and run.deadline <= now]
            news = [run for run in late if run.run_id not in self._late]
            told = [Happening(type="run.late", key="late", at=now, run=run) for run in news]
            self._deliver(transaction, told, endpoints=endpoints)
        self._late = {run.run_id for run in late}

    def due(self, free: Mapping[str, int], *, busy: Collection[int]) -> Sequence[Delivery]:
        """Return what is to be sent now: of each endpoint at most so many as it is free for, none that are `busy`.

        Of one run's messages to an endpoint only the first that has not come to its end is ever due.
        """
        parameters = {"endpoints": list(free), "free": list(free.values()), "busy": list(busy)}
        with self._session.transaction() as transaction:
            return [
                Delivery(number=number, id=id_, endpoint_id=endpoint_id, body=body, tries=tries, is_test=is_test)
                for number, id_, endpoint_id, body, tries, is_test in transaction.rows(statements.DUE, parameters)
            ]

    def record(self, delivery: Delivery, attempt: Attempt) -> None:
        """Write down an attempt, and what it means for the delivery and for those of the run that wait behind it."""
        number = {"number": delivery.number}
        with self._session.transaction() as transaction:
            row = transaction.rows(statements.LOCK, number)
            if not row:
                return  # it was removed meanwhile
            ((attempts, state),) = row
            transaction.do(
                statements.ADD_ATTEMPT, {"delivery": delivery.number, "number": attempts, **_columns(attempt)}
            )
            wait = self._wait(delivery, attempt)
            if attempt.succeeded:
                transaction.do(statements.END, {**number, "state": "delivered", "reason": None})
                transaction.do(statements.ENABLE_ENDPOINT, {"id": delivery.endpoint_id})
            elif state != "pending":
                return  # it was given up meanwhile
            elif attempt.gone:
                transaction.do(statements.DISABLE_ENDPOINT, {"id": delivery.endpoint_id})
                transaction.do(statements.GIVE_UP_ALL, {"id": delivery.endpoint_id, "reason": _GONE})
            elif wait is None:
                reason = _given_up(delivery, attempt)
                transaction.do(statements.END, {**number, "state": "dead", "reason": reason})
            else:
                transaction.do(statements.TRY_LATER, {**number, "wait": wait})
            pause = timedelta() if attempt.succeeded or wait is None else wait
            transaction.do(statements.LET_FOLLOW, {**number, "wait": pause})

    def prune(self) -> bool:
        """Remove deliveries that have ended long ago; tell whether there may be more of them."""
        with self._session.transaction() as transaction:
            return transaction.do(statements.PRUNE, {"kept": KEPT, "most": _PRUNED_AT_ONCE}) == _PRUNED_AT_ONCE

    def _wait(self, delivery: Delivery, attempt: Attempt) -> timedelta | None:
        return None if delivery.is_test else self._policy.next_wait(delivery.tries + 1, asked=attempt.retry_after)

    def _deliver(
        self, transaction: Transaction, happenings: Sequence[Happening], *, endpoints: Iterable[Endpoint]
    ) -> None:
        if not happenings:
            return
        begins = {row[0]: (row[1], row[2]) for row in transaction.rows(statements.LISTENING_ENDPOINTS)}
        rows = []
        for happening in happenings:
            run = happening.run
            takers = [
                endpoint.id
                for endpoint in endpoints
                if endpoint.takes(happening.type, pipeline_id=run.pipeline_id)
                and endpoint.id in begins
                and _is_news(happening, *begins[endpoint.id])
            ]
            body = write_body(happening.type, at=happening.at, data=tell(happening)) if takers else ""
            rows += [
                (
                    message_id(id_, happening.type, run.run_id, happening.key),
                    id_,
                    happening.type,
                    run.run_id,
                    run.pipeline_id,
                    body,
                )
                for id_ in takers
            ]
        if rows:
            transaction.insert(statements.ADD_DELIVERIES, rows, template="(%s, %s, %s, %s, %s, %s)")


def restore(former: Mapping[str, Mapping[str, Any]]) -> dict[str, EndpointDocument]:
    """Return the definitions that can still be read of endpoints whose place in webhooks.yaml has problems."""
    found = {id_: read_definition(data) for id_, data in former.items()}
    return {id_: definition for id_, definition in found.items() if definition is not None}


def _is_news(happening: Happening, first_event: int, since: datetime) -> bool:
    if happening.event_id is not None:
        return happening.event_id > first_event
    return max(happening.run.deadline or happening.run.created_at, happening.run.created_at) > since


def _given_up(delivery: Delivery, attempt: Attempt) -> str:
    if delivery.is_test:
        return f"the test failed: {attempt.failure}"
    return f"given up after {delivery.tries + 1} attempts; the last one: {attempt.failure}"


def _happenings(transaction: Transaction, found: Rows) -> list[Happening]:
    """Return what events say, without those of runs that were deleted meanwhile."""
    if not found:
        return []
    rows = transaction.rows(statements.RUNS, {"run_ids": list({row[1] for row in found})})
    runs = {run.run_id: run for run in map(_run, rows)}
    return [
        Happening(
            type=EVENTS[kind], key=str(id_), at=at.replace(tzinfo=UTC), run=runs[run_id], event_id=id_, entry=body
        )
        for id_, run_id, kind, at, body in found
        if run_id in runs
    ]


def _run(row: tuple[Any, ...]) -> RunFacts:
    run_id, job_name, status, created_at, start_time, tags = row
    return RunFacts(
        run_id=run_id,
        job_name=job_name,
        status=status,
        created_at=created_at,
        started_at=None if start_time is None else datetime.fromtimestamp(start_time, UTC),
        tags=tags or {},
    )


def _columns(attempt: Attempt) -> dict[str, object]:
    return {
        "started_at": attempt.started_at,
        "duration": attempt.duration_seconds,
        "status": attempt.status,
        "error": attempt.failure,
        "answer": attempt.answer,
    }
