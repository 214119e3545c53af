"""Tags on runs, jobs and ops that carry Planasonix facts through Dagster."""

# On runs and jobs.
PIPELINE_ID = "planasonix/pipeline_id"
PIPELINE_VERSION = "planasonix/pipeline_version"  # content hash of the pipeline document
TRIGGER = "planasonix/trigger"  # one of TRIGGER_KINDS; a run without it was started by hand in the Dagster UI
# The Dagster id of the run that the tags were set for: a re-execution from the Dagster UI takes over its parent's tags.
TAGS_OF = "planasonix/tags_of"
SCHEDULE_ID = "planasonix/schedule_id"
TRIGGER_ID = "planasonix/trigger_id"
USER = "planasonix/user"  # who started the run: a key's or user's name
ENVIRONMENT_ID = "planasonix/environment_id"
CANCEL_REQUESTED_AT = "planasonix/cancel_requested_at"  # RFC 3339 UTC
CANCEL_REQUESTED_BY = "planasonix/cancel_requested_by"  # a key's or user's name
CANCELED_BY = "planasonix/canceled_by"  # one of CANCELED_BY_KINDS
# The Dagster id of the run to be canceled: as with TAGS_OF, the three above count only on the run that this names.
CANCEL_OF = "planasonix/cancel_of"
REQUEST_HASH = "planasonix/request_hash"  # of the body that started the run, where it came with an idempotency key
# The Dagster id of the run whose results stand for the nodes that this one, a retry from failure, does not execute.
REUSED_FROM = "planasonix/reused_from"
# When a scheduled run was due, or the begin of a backfill's slice, and the fires before and after it: RFC 3339 UTC.
SCHEDULED_AT = "planasonix/scheduled_at"
PREVIOUS_SCHEDULED_AT = "planasonix/previous_scheduled_at"
NEXT_SCHEDULED_AT = "planasonix/next_scheduled_at"
# The latest good end of a scheduled run, RFC 3339 UTC: a run that goes on after it is late, and told so.
DEADLINE = "planasonix/deadline"
DS = "planasonix/ds"  # the date of SCHEDULED_AT in the schedule's time zone, 2025-03-30
BACKFILL_ID = "planasonix/backfill_id"
# What the whole backfill is, the same on each of its runs: when it was made, its id, and the request as JSON. In the
# order of these values backfills are in the order of their making.
BACKFILL = "planasonix/backfill"
EVENT_SUMMARY = "planasonix/event_summary"  # what a trigger has seen, in a few words for people
UPSTREAM_RUN = "planasonix/upstream_run"  # the Dagster id of the run that caused this one; of several, the last
WAITED_BY = "planasonix/waited_by"  # the Dagster id of the run one of whose nodes waits for this one
# "<key> <n>": at most n runs with this value work at once; the others wait in the queue, in its order.
LIMITED_BY = "planasonix/limited_by"

# On ops (node definitions and their aliases in a job).
NODE_TYPE = "planasonix/node_type"  # "source.postgres"

TRIGGER_KINDS = ("schedule", "manual", "api", "webhook", "sensor", "schedule_manual", "backfill", "retry")
CANCELED_BY_KINDS = ("user", "system", "superseded")
