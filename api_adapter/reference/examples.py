"""Examples of bodies and answers, by operation: the run of the product's own reference, and what belongs to it."""

from typing import Any

_RUN = "run_01j8k2m4n5p6q7r8s9t0v1w2x3"
_PIPELINE = "pl_02hqabc"
_QUEUED = "2025-03-27T01:59:58Z"
_STARTED = "2025-03-27T02:00:00Z"
_FINISHED = "2025-03-27T02:18:42Z"

_SUMMARY = {
    "id": _RUN,
    "pipelineId": _PIPELINE,
    "status": "succeeded",
    "trigger": "schedule",
    "startedAt": _STARTED,
    "finishedAt": _FINISHED,
    "durationSeconds": 1122,
}
_RUNS = {
    "data": [
        _SUMMARY,
        {
            "id": "run_01j7j1k2m4n5p6q7r8s9t0v1w2",
            "pipelineId": _PIPELINE,
            "status": "failed",
            "trigger": "manual",
            "startedAt": "2025-03-26T14:12:00Z",
            "finishedAt": "2025-03-26T14:14:05Z",
            "durationSeconds": 125,
        },
    ],
    "meta": {"cursor": "eyJhdCI6MTAyMywib2YiOiI1ZjNhOWM0ZDFlMmIwNzg2In0"},
}
_NODE_TIMES = {"startedAt": "2025-03-27T02:00:05Z", "finishedAt": "2025-03-27T02:04:10Z", "durationSeconds": 245}
_PIPELINE_SUMMARY = {
    "id": _PIPELINE,
    "name": "crm_to_warehouse",
    "projectId": "prj_crm",
    "folderId": None,
    "status": "active",
    "updatedAt": "2025-03-20T09:30:00Z",
}
_COUNTS = {"queued": 0, "running": 1, "succeeded": 57, "failed": 3, "canceled": 1}

_CANCELING = {
    "id": _RUN,
    "status": "cancel_requested",
    "message": "Cancellation accepted; workers stop after their current safe point.",
}

ANSWERS: dict[str, Any] = {
    "getLiveness": {"status": "ok"},
    "getReadiness": {
        "status": "ready",
        "checks": {"postgres": "ok", "schema": "ok", "daemon": "ok", "runHost": "ok", "codeLocation": "ok"},
    },
    "listRuns": _RUNS,
    "listPipelineRuns": _RUNS,
    "getRunStats": {
        "from": "2025-03-26T00:00:00Z",
        "to": None,
        "total": 62,
        "byStatus": _COUNTS,
        "byDay": [
            {
                "day": "2025-03-26",
                "byStatus": {"queued": 0, "running": 0, "succeeded": 40, "failed": 3, "canceled": 1},
            },
            {
                "day": "2025-03-27",
                "byStatus": {"queued": 0, "running": 1, "succeeded": 17, "failed": 0, "canceled": 0},
            },
        ],
        "failureRate": 0.05,
        "durationSeconds": {"p50": 1080.5, "p95": 1311},
    },
    "getRun": {
        **_SUMMARY,
        "pipelineName": "crm_to_warehouse",
        "pipelineVersion": "0f3c9a1d5b7e2468",
        "environmentId": None,
        "trigger": {"type": "schedule", "scheduleId": "sch_01", "scheduledAt": "2025-03-27T02:00:00Z"},
        "queuedAt": _QUEUED,
        "variables": {"day": "2025-03-26", "apiToken": "***"},
        "metrics": {
            "rowsRead": 2450000,
            "rowsWritten": 2450000,
            "bytesRead": 1503238553,
            "bytesWritten": 987654321,
            "bytesShuffled": 1073741824,
            "cpuSeconds": 412.5,
            "peakMemoryBytes": 734003200,
            "costUnits": 7.231,
        },
        "error": None,
        "retryOf": None,
        "cancelRequestedAt": None,
        "cancelRequestedBy": None,
        "canceledBy": None,
        "triggeredRuns": [],
    },
    "listRunNodes": {
        "runId": _RUN,
        "nodes": [
            {
                "nodeId": "n_source",
                "type": "source.postgres",
                "status": "succeeded",
                **_NODE_TIMES,
                "retries": 0,
                "attempts": [{"attempt": 1, "status": "succeeded", **_NODE_TIMES, "error": None}],
                "metrics": {"rowsOut": 2450000, "bytesRead": 1503238553, "cpuSeconds": 96.1},
                "error": None,
                "reusedFrom": None,
            }
        ],
    },
    "getRunStack": "Traceback (most recent call last):\n  ...\nValueError: column 'amount' does not exist\n",
    "listRunLogs": {
        "runId": _RUN,
        "lines": [
            {"ts": "2025-03-27T02:00:06Z", "level": "info", "nodeId": "n_source", "message": "Started JDBC read"},
            {
                "ts": "2025-03-27T02:04:09Z",
                "level": "info",
                "nodeId": "n_source",
                "message": "Read completed: 2450000 rows",
            },
        ],
        "nextCursor": "crs_01j8k2m4n5p6q7r8s9t0v1w2x3_0042",
    },
    "cancelRun": _CANCELING,
    "cancelRunByPost": _CANCELING,
    "listPipelines": {
        "data": [_PIPELINE_SUMMARY],
        "meta": {
            "total": 1,
            "problems": [
                {
                    "code": "unknown_type",
                    "message": "there is no node type 'source.postgre'",
                    "file": "orders.yaml",
                    "line": 4,
                    "column": 11,
                    "path": "$.nodes[0].type",
                    "hint": "did you mean 'source.postgres'?",
                    "pipelineId": "pl_orders",
                }
            ],
        },
    },
    "getPipeline": {
        "id": _PIPELINE,
        "name": "crm_to_warehouse",
        "status": "active",
        "version": "0f3c9a1d5b7e2468",
        "updatedAt": "2025-03-20T09:30:00Z",
        "nodes": [
            {
                "id": "n_source",
                "type": "source.postgres",
                "config": {"connectionId": "conn_pg", "table": "public.contacts"},
            },
            {
                "id": "n_sink",
                "type": "destination.parquet",
                "config": {"path": "contacts.parquet"},
            },
        ],
        "edges": [{"id": "e1", "source": "n_source", "target": "n_sink"}],
    },
    "getExecutionStatus": {
        "pipelineId": _PIPELINE,
        "runId": _RUN,
        "status": "running",
        "progress": {"completedNodes": 1, "totalNodes": 2},
        "startedAt": _STARTED,
    },
    "getExecutionPlan": {
        "pipelineId": _PIPELINE,
        "version": "0f3c9a1d5b7e2468",
        "order": ["n_source", "n_sink"],
        "steps": [
            {
                "nodeId": "n_source",
                "type": "source.postgres",
                "name": None,
                "stage": 0,
                "storage": "view",
                "reason": "read once",
                "inputs": [],
                "retries": 2,
                "timeoutSeconds": None,
            },
            {
                "nodeId": "n_sink",
                "type": "destination.parquet",
                "name": None,
                "stage": 1,
                "storage": "none",
                "reason": "has no rows to keep",
                "inputs": [{"nodeId": "n_source", "port": "rows"}],
                "retries": 0,
                "timeoutSeconds": None,
            },
        ],
        "stages": [{"stage": 0, "nodeIds": ["n_source"]}, {"stage": 1, "nodeIds": ["n_sink"]}],
    },
    "startRun": {"runId": _RUN, "pipelineId": _PIPELINE, "status": "queued", "queuedAt": _QUEUED},
}

ANSWERS["retryRun"] = {**ANSWERS["startRun"], "runId": "run_01j8p7q8r9s0t1v2w3x4y5z6a7"}
ANSWERS["cancelRuns"] = {
    "data": [{"id": _RUN, "status": "cancel_requested"}],
    "meta": {"matched": 1, "requested": 1, "dryRun": False},
}
ANSWERS["cancelRuns 200"] = {
    "data": [{"id": _RUN, "status": "running"}],
    "meta": {"matched": 1, "requested": 0, "dryRun": True},
}
ANSWERS["startRun 200"] = ANSWERS["getRun"]

_SCHEDULE: dict[str, Any] = {
    "id": "sch_01",
    "type": "schedule",
    "attributes": {
        "name": "Every night",
        "pipeline_id": _PIPELINE,
        "cron_expression": "0 2 * * *",
        "timezone": "UTC",
        "enabled": True,
        "overlap": "queue",
        "catch_up": "latest",
        "catch_up_limit": 100,
        "deadline_seconds": 3600,
        "environment_id": None,
        "variables": {"day": "{{ ds }}"},
        "next_run_at": "2025-03-28T02:00:00Z",
        "last_run_at": _STARTED,
        "created_at": None,
        "updated_at": "2025-03-20T09:30:00Z",
    },
}
_PAGE = {"page": {"limit": 50, "cursor": None}}
ANSWERS["listSchedules"] = {"data": [_SCHEDULE], "meta": _PAGE}
ANSWERS["getSchedule"] = {
    "data": {
        **_SCHEDULE,
        "attributes": {
            **_SCHEDULE["attributes"],
            "preview": [{"at": "2025-03-28T02:00:00Z", "local": "2025-03-28T02:00:00+00:00"}],
        },
    }
}
ANSWERS["enableSchedule"] = {"data": {**_SCHEDULE, "attributes": {**_SCHEDULE["attributes"], "preview": None}}}
ANSWERS["disableSchedule"] = {
    "data": {
        **_SCHEDULE,
        "attributes": {**_SCHEDULE["attributes"], "enabled": False, "next_run_at": None, "preview": None},
    }
}
ANSWERS["runSchedule"] = {
    "data": {
        "id": _RUN,
        "type": "pipeline_run",
        "attributes": {
            "pipeline_id": _PIPELINE,
            "schedule_id": "sch_01",
            "status": "queued",
            "trigger": "schedule_manual",
            "created_at": _QUEUED,
        },
    }
}
ANSWERS["listScheduleFires"] = {
    "data": [
        {
            "id": "2025-03-27T02:00:00Z",
            "type": "schedule_fire",
            "attributes": {
                "schedule_id": "sch_01",
                "due_at": "2025-03-27T02:00:00Z",
                "status": "started",
                "reason": None,
                "run_ids": [_RUN],
            },
        }
    ],
    "meta": _PAGE,
}

_BACKFILL = {
    "id": "bkf_01j8k2m4n5p6q7r8s9t0v1w2x3",
    "pipelineId": _PIPELINE,
    "status": "running",
    "progress": {"total": 31, "done": 12, "failed": 1, "canceled": 0, "running": 2, "remaining": 16},
    "from": "2025-03-01T00:00:00Z",
    "to": "2025-04-01T00:00:00Z",
    "step": "day",
    "scheduleId": None,
    "timezone": "UTC",
    "order": "ascending",
    "maxConcurrentRuns": 2,
    "createdAt": "2025-04-02T08:00:00Z",
    "createdBy": "ops",
}
ANSWERS["startBackfill"] = ANSWERS["getBackfill"] = _BACKFILL
ANSWERS["startBackfill 200"] = {
    "pipelineId": _PIPELINE,
    "total": 1,
    "slices": [{"scheduledAt": "2025-03-01T00:00:00Z", "end": "2025-03-02T00:00:00Z", "ds": "2025-03-01"}],
}
ANSWERS["listBackfills"] = {"data": [_BACKFILL], "meta": {"cursor": None}}
ANSWERS["listBackfillSlices"] = {
    "data": [{"scheduledAt": "2025-03-01T00:00:00Z", "runId": _RUN, "status": "succeeded", "attempts": 1}],
    "meta": {"cursor": None},
}
ANSWERS["cancelBackfill"] = {"id": _BACKFILL["id"], "status": "cancel_requested", "runs": [_RUN]}
ANSWERS["retryBackfill"] = {"id": _BACKFILL["id"], "status": "retry_requested", "runs": [_RUN]}

_MESSAGE = "msg_01j8k2m4n5p6q7r8s9t0v1w2x3"
_ENDPOINT = {
    "id": "ops",
    "type": "webhook_endpoint",
    "attributes": {
        "url": "https://hooks.example.com/planasonix",
        "url_variable": None,
        "events": ["run.failed", "run.late"],
        "pipelines": None,
        "enabled": True,
        "headers": ["X-Team"],
        "status": "active",
        "problem": None,
        "pending": 1,
        "dead": 0,
        "last_delivered_at": "2025-03-26T14:14:05Z",
        "created_at": "2025-03-01T08:00:00Z",
    },
}
_DELIVERY: dict[str, Any] = {
    "id": _MESSAGE,
    "type": "webhook_delivery",
    "attributes": {
        "endpoint_id": "ops",
        "event_type": "run.failed",
        "run_id": _RUN,
        "pipeline_id": _PIPELINE,
        "status": "pending",
        "attempt_count": 1,
        "next_attempt_at": "2025-03-27T02:18:48Z",
        "created_at": _FINISHED,
        "finished_at": None,
        "reason": None,
    },
}
_WHOLE_PAGE = {"page": {"limit": 50, "cursor": None}}
ANSWERS["listWebhookEndpoints"] = {"data": [_ENDPOINT], "meta": _WHOLE_PAGE}
ANSWERS["getWebhookEndpoint"] = {"data": _ENDPOINT}
ANSWERS["listWebhookDeliveries"] = {"data": [_DELIVERY], "meta": _WHOLE_PAGE}
ANSWERS["testWebhookEndpoint"] = ANSWERS["redeliverWebhook"] = {"data": _DELIVERY}
ANSWERS["getWebhookDelivery"] = {
    "data": {
        **_DELIVERY,
        "attributes": {
            **_DELIVERY["attributes"],
            "payload": {"type": "run.failed", "timestamp": _FINISHED, "data": {"id": _RUN, "status": "failed"}},
            "attempts": [
                {
                    "number": 1,
                    "started_at": "2025-03-27T02:18:42.310Z",
                    "duration_seconds": 0.084,
                    "status_code": 503,
                    "error": "answered 503",
                    "response": "try again later",
                }
            ],
        },
    }
}

BODIES: dict[str, Any] = {
    "startBackfill": {"from": "2025-03-01", "to": "2025-03-31", "step": "day", "maxConcurrentRuns": 2},
    "startRun": {"variables": {"day": "2025-03-26"}, "environmentId": "env_production", "nodes": ["n_sink"]},
    "retryRun": {"fromFailure": True},
    "runSchedule": {"variables": {"day": "2025-03-26"}},
    "cancelRuns": {"pipelineId": _PIPELINE, "status": ["queued"], "from": "2025-03-27", "limit": 500},
}

_TRIGGER = {
    "id": "trg_orders",
    "type": "trigger",
    "attributes": {
        "name": "Orders of the shop",
        "trigger_type": "webhook",
        "pipeline_id": _PIPELINE,
        "enabled": True,
        "config": {"secret": {"env": "SHOP_SECRET"}, "eventId": "id", "variables": {"order": "order.number"}},
        "created_at": None,
        "updated_at": "2025-03-20T09:30:00Z",
    },
}
ANSWERS |= {
    "listTriggers": {"data": [_TRIGGER], "meta": {"page": {"limit": 50, "cursor": None}}},
    "getTrigger": {"data": _TRIGGER},
    "enableTrigger": {"data": _TRIGGER},
    "disableTrigger": {"data": {**_TRIGGER, "attributes": {**_TRIGGER["attributes"], "enabled": False}}},  # type: ignore[dict-item]
    "testTrigger": {
        "data": {
            "id": "trg_orders",
            "type": "trigger_test",
            "attributes": {
                "trigger_id": "trg_orders",
                "ok": False,
                "checks": [
                    {"name": "sensor", "ok": True, "message": "Dagster has its sensor."},
                    {"name": "switch", "ok": True, "message": "It is enabled."},
                    {
                        "name": "secret",
                        "ok": False,
                        "message": "The variable SHOP_SECRET is not set in the environment of the service.",
                    },
                ],
                "tested_at": _QUEUED,
            },
        }
    },
    "listTriggerExecutions": {
        "data": [
            {
                "id": "tex_01j8k2m4n5p6q7r8s9t0v1w2x3",
                "type": "trigger_execution",
                "attributes": {
                    "trigger_id": "trg_orders",
                    "pipeline_run_id": _RUN,
                    "status": "succeeded",
                    "event_summary": "312 bytes from 10.0.0.7, event evt_81",
                    "started_at": _QUEUED,
                    "finished_at": _FINISHED,
                },
            }
        ],
        "meta": {"page": {"limit": 25, "cursor": None}},
    },
    "receiveWebhook": {"received": True, "pipeline_run_id": _RUN, "status": "accepted"},
}
BODIES |= {
    "testTrigger": {
        "headers": {"X-Planasonix-Timestamp": "1743040800", "X-Planasonix-Signature": f"v1={'0123456789abcdef' * 4}"},
        "body": '{"id": "evt_81", "order": {"number": 4711}}',
    },
    "receiveWebhook": {"id": "evt_81", "order": {"number": 4711}},
}

_ID = "9f0c1d2e3b4a59687786958473625140"


def _error(code: str, message: str, **details: str) -> dict[str, Any]:
    told = [{"field": field, "issue": issue} for field, issue in details.items()]
    return {"error": {"code": code, "message": message, "details": told, "requestId": _ID}}


_BUG = _error("internal_error", "The service failed to answer this request; its log says why, under this request id.")
ERRORS: dict[str, Any] = {
    "400": _error(
        "invalid_request",
        "limit: Input should be less than or equal to 500",
        limit="Input should be less than or equal to 500",
    ),
    "401": _error("unauthorized", "The credential is not valid: it is malformed, unknown, expired or revoked."),
    "403": _error("forbidden", "This credential lacks the scope pipelines:read.", scope="pipelines:read is missing"),
    "404": _error("run_not_found", f"There is no run '{_RUN}'. GET /api/runs lists the runs."),
    "406": _error("not_acceptable", "A log can be sent as application/json, text/plain; none of these is accepted."),
    "409": _error("run_finished", f"Run '{_RUN}' has already succeeded and can't be canceled.", status="succeeded"),
    "413": _error("payload_too_large", "The body is larger than 1048576 bytes."),
    "415": _error("unsupported_media_type", "The body must be JSON, sent with Content-Type: application/json."),
    "429": _error("rate_limited", "The budget of this credential is used up. Try again in 12 s."),
    "503": _error("unavailable", "The database can't be reached at the moment. Try again shortly."),
    "504": _error("timeout", "The database took too long to answer. Ask for less, or try again."),
    "default": _BUG,
}
