"""The notifier's SQL: on its own tables, which `tables` makes, and reads of Dagster's."""

from typing import Final

from planasonix_orchestrator.notifier.telling import EVENTS

KNOWN_ENDPOINTS: Final = "SELECT id, definition FROM planasonix.webhook_endpoints WHERE present"
# With no endpoint there was nobody to be told of anything.
BEGIN_NOW: Final = """
INSERT INTO planasonix.webhook_position (event_id, moved_at)
VALUES (coalesce((SELECT max(id) FROM event_logs), 0), now())
ON CONFLICT (only_row) DO UPDATE SET event_id = excluded.event_id, moved_at = excluded.moved_at"""
PUT_ENDPOINT: Final = """
INSERT INTO planasonix.webhook_endpoints AS known (id, definition, present, first_event, since, problem)
VALUES (%(id)s, %(definition)s, true, coalesce((SELECT max(id) FROM event_logs), 0), now(), %(problem)s)
ON CONFLICT (id) DO UPDATE SET
    definition = excluded.definition, problem = excluded.problem, present = true,
    first_event = CASE WHEN known.present THEN known.first_event ELSE excluded.first_event END,
    since = CASE WHEN known.present THEN known.since ELSE excluded.since END,
    disabled_at = CASE WHEN known.present AND known.definition = excluded.definition THEN known.disabled_at END"""
REMOVE_ENDPOINT: Final = """
UPDATE planasonix.webhook_endpoints SET present = false, problem = NULL, disabled_at = NULL WHERE id = %(id)s"""
DISABLE_ENDPOINT: Final = """
UPDATE planasonix.webhook_endpoints SET disabled_at = now() WHERE id = %(id)s"""
ENABLE_ENDPOINT: Final = """
UPDATE planasonix.webhook_endpoints SET disabled_at = NULL WHERE id = %(id)s AND disabled_at IS NOT NULL"""
LISTENING_ENDPOINTS: Final = """
SELECT id, first_event, since FROM planasonix.webhook_endpoints WHERE present AND disabled_at IS NULL"""
GIVE_UP_ALL: Final = """
UPDATE planasonix.webhook_deliveries SET state = 'dead', ended_at = now(), reason = %(reason)s
WHERE state = 'pending' AND endpoint_id = %(id)s"""

POSITION: Final = "SELECT event_id FROM planasonix.webhook_position"
MOVE: Final = "UPDATE planasonix.webhook_position SET event_id = %(event_id)s, moved_at = now()"
# By type and id, for which Dagster has an index: most events are of none of these types.
_OF_TYPE: Final = """
(SELECT id, run_id, dagster_event_type, timestamp, {entry} AS entry FROM event_logs
 WHERE dagster_event_type = '{kind}' AND id > %(after)s AND id <> ALL(%(made)s::bigint[]) ORDER BY id LIMIT %(most)s)"""
HAPPENED: Final = "{} ORDER BY id LIMIT %(most)s".format(
    " UNION ALL ".join(
        _OF_TYPE.format(kind=kind, entry="event" if told == "run.failed" else "NULL") for kind, told in EVENTS.items()
    )
)
_RUNS: Final = """
SELECT runs.run_id, pipeline_name, status, create_timestamp::timestamptz, start_time,
       (SELECT jsonb_object_agg(key, value) FROM run_tags WHERE run_tags.run_id = runs.run_id)
FROM runs WHERE """
RUNS: Final = _RUNS + "run_id = ANY(%(run_ids)s)"
RUNS_WITH_DEADLINE: Final = (
    _RUNS
    + """status = ANY(%(statuses)s)
    AND EXISTS (SELECT FROM run_tags WHERE run_tags.run_id = runs.run_id AND key = %(deadline)s)"""
)

# One that waits behind another of the same run is not looked at before that one is due.
ADD_DELIVERIES: Final = """
INSERT INTO planasonix.webhook_deliveries (id, endpoint_id, event_type, run_id, pipeline_id, body, due_at)
SELECT told.*, coalesce((
    SELECT max(due_at) FROM planasonix.webhook_deliveries AS former
    WHERE former.state = 'pending' AND former.endpoint_id = told.endpoint_id AND former.run_id = told.run_id), now())
FROM (VALUES %s) AS told (id, endpoint_id, event_type, run_id, pipeline_id, body)
ON CONFLICT (id) DO NOTHING"""
# An endpoint that has answered 410 gets nothing but tests.
DUE: Final = """
SELECT due.* FROM unnest(%(endpoints)s::text[], %(free)s::integer[]) AS wanted (endpoint_id, free)
JOIN planasonix.webhook_endpoints AS endpoint ON endpoint.id = wanted.endpoint_id
CROSS JOIN LATERAL (
    SELECT number, one.id, endpoint_id, body, tries, one.run_id IS NULL FROM planasonix.webhook_deliveries AS one
    WHERE state = 'pending' AND endpoint_id = wanted.endpoint_id AND due_at <= now()
    AND number <> ALL(%(busy)s::bigint[]) AND (endpoint.disabled_at IS NULL OR one.run_id IS NULL)
    AND NOT EXISTS (
        SELECT FROM planasonix.webhook_deliveries AS former
        WHERE former.state = 'pending' AND former.endpoint_id = one.endpoint_id AND former.run_id = one.run_id
        AND former.number < one.number)
    ORDER BY due_at, number LIMIT wanted.free
) AS due"""

LOCK: Final = """
UPDATE planasonix.webhook_deliveries SET attempts = attempts + 1 WHERE number = %(number)s RETURNING attempts, state"""
ADD_ATTEMPT: Final = """
INSERT INTO planasonix.webhook_attempts
    (delivery, number, started_at, duration_seconds, status_code, error, answer)
VALUES (%(delivery)s, %(number)s, %(started_at)s, %(duration)s, %(status)s, %(error)s, %(answer)s)"""
TRY_LATER: Final = """
UPDATE planasonix.webhook_deliveries SET tries = tries + 1, due_at = now() + %(wait)s WHERE number = %(number)s"""
END: Final = """
UPDATE planasonix.webhook_deliveries
SET tries = tries + 1, state = %(state)s, reason = %(reason)s, ended_at = now() WHERE number = %(number)s"""
LET_FOLLOW: Final = """
UPDATE planasonix.webhook_deliveries AS follower SET due_at = now() + %(wait)s
FROM planasonix.webhook_deliveries AS head
WHERE head.number = %(number)s AND follower.state = 'pending' AND follower.number > head.number
AND follower.endpoint_id = head.endpoint_id AND follower.run_id = head.run_id"""
PRUNE: Final = """
DELETE FROM planasonix.webhook_deliveries WHERE number IN (
    SELECT number FROM planasonix.webhook_deliveries WHERE state <> 'pending' AND ended_at < now() - %(kept)s
    ORDER BY ended_at LIMIT %(most)s)"""
