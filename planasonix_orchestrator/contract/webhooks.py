"""Outbound webhooks: what both packages say of them. The notifier sends, the API shows and asks to send again."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args
from uuid import UUID, uuid5

from planasonix_orchestrator.contract.ids import encode_message_id

RunEvent = Literal["run.started", "run.succeeded", "run.failed", "run.canceled", "run.late"]
RUN_EVENTS: Final[tuple[RunEvent, ...]] = get_args(RunEvent)
PING: Final = "ping"  # the type of test deliveries, which every endpoint gets that is asked for one

# `pending`: to be sent, or to be sent again; `delivered`: accepted; `dead`: given up, until somebody asks for it again.
DeliveryState = Literal["pending", "delivered", "dead"]

NOTIFIER_CONNECTION: Final = "planasonix-notifier"  # application_name of the connection on which the notifier works

_NAMESPACE: Final = UUID("0c1f0d5e-2a7b-4a0a-9f3d-6f6b1c7d9e52")


def message_id(endpoint_id: str, *event: str) -> str:
    """Return the `webhook-id` with which an endpoint is told of an event: ``msg_06a3...``, the same each time."""
    return encode_message_id(str(uuid5(_NAMESPACE, json.dumps([endpoint_id, *event]))))


def write_body(event_type: str, *, at: datetime, data: Mapping[str, Any]) -> str:
    """Return the body of a message, in ASCII, so that each who stores and signs it means the same bytes."""
    return json.dumps({"type": event_type, "timestamp": write_moment(at), "data": data}, separators=(",", ":"))


def write_moment(moment: datetime) -> str:
    """Return a timestamp as the API writes it: RFC 3339 in UTC with ``Z``, with milliseconds where there are any."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return f"{text[:19]}Z" if text[20:23] == "000" else f"{text[:23]}Z"
