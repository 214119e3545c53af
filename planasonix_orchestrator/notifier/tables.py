"""The notifier's tables, made by whichever process comes first."""

from typing import Final

from planasonix_orchestrator.contract.database import SCHEMA, SCHEMA_LOCK
from planasonix_orchestrator.notifier.database import Session

_ARE_THERE: Final = f"SELECT to_regclass('{SCHEMA}.webhook_attempts') IS NOT NULL"
# The last of them is the one that is looked for.
_MAKE: Final = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};

-- Up to which event of Dagster's log all deliveries have been made.
CREATE TABLE IF NOT EXISTS {SCHEMA}.webhook_position (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    event_id bigint NOT NULL,
    moved_at timestamptz NOT NULL
);

-- Endpoints as webhooks.yaml has them (secrets by name), and those that have deliveries but are gone from it.
CREATE TABLE IF NOT EXISTS {SCHEMA}.webhook_endpoints (
    id text PRIMARY KEY,
    definition jsonb NOT NULL,
    present boolean NOT NULL,
    first_event bigint NOT NULL,  -- it is told of later events only,
    since timestamptz NOT NULL,   -- and of runs that became late after this
    problem text,                 -- why nothing can be sent to it at the moment
    disabled_at timestamptz       -- when it answered 410
);

CREATE TABLE IF NOT EXISTS {SCHEMA}.webhook_deliveries (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id text NOT NULL UNIQUE,
    endpoint_id text NOT NULL,
    event_type text NOT NULL,
    run_id text,                  -- Dagster's; null for a test
    pipeline_id text,
    body text NOT NULL,
    state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts integer NOT NULL DEFAULT 0,
    tries integer NOT NULL DEFAULT 0,  -- attempts since somebody last asked for it, by which it is given up
    created_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    reason text                   -- of what is dead
);
CREATE INDEX IF NOT EXISTS webhook_deliveries_due
    ON {SCHEMA}.webhook_deliveries (endpoint_id, due_at, number) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_order
    ON {SCHEMA}.webhook_deliveries (endpoint_id, run_id, number) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS webhook_deliveries_of_run ON {SCHEMA}.webhook_deliveries (run_id, number);
CREATE INDEX IF NOT EXISTS webhook_deliveries_of_endpoint ON {SCHEMA}.webhook_deliveries (endpoint_id, number);
CREATE INDEX IF NOT EXISTS webhook_deliveries_dead ON {SCHEMA}.webhook_deliveries (number) WHERE state = 'dead';
CREATE INDEX IF NOT EXISTS webhook_deliveries_ended
    ON {SCHEMA}.webhook_deliveries (ended_at) WHERE state <> 'pending';

CREATE TABLE IF NOT EXISTS {SCHEMA}.webhook_attempts (
    delivery bigint NOT NULL REFERENCES {SCHEMA}.webhook_deliveries (number) ON DELETE CASCADE,
    number integer NOT NULL,
    started_at timestamptz NOT NULL,
    duration_seconds double precision NOT NULL,
    status_code integer,
    error text,
    answer text,
    PRIMARY KEY (delivery, number)
);
"""


def ensure_tables(session: Session) -> None:
    """Make the tables unless they are there."""
    with session.transaction() as transaction:
        ((there,),) = transaction.rows(_ARE_THERE)
        if not there:
            transaction.do("SELECT pg_advisory_xact_lock(%(lock)s)", {"lock": SCHEMA_LOCK})
            transaction.do(_MAKE)
