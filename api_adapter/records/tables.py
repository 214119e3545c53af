"""Our tables, as far as statements need them; `migrations` makes them."""

from sqlalchemy import ARRAY, BigInteger, DateTime, LargeBinary, SmallInteger, Text, column, table
from sqlalchemy.dialects.postgresql import JSONB

from planasonix_orchestrator.contract.database import SCHEMA

API_KEYS = table(
    "api_keys",
    column("id", Text),
    column("name", Text),
    column("prefix", Text),
    column("hash", LargeBinary),
    column("previous_prefix", Text),  # of the secret that the last rotation replaced
    column("previous_hash", LargeBinary),
    column("previous_until", DateTime(timezone=True)),
    column("scopes", ARRAY(Text)),
    column("pipeline_ids", ARRAY(Text)),  # null for all
    column("created_at", DateTime(timezone=True)),
    column("expires_at", DateTime(timezone=True)),
    column("last_used_at", DateTime(timezone=True)),
    column("revoked_at", DateTime(timezone=True)),
    schema=SCHEMA,
)

AUDIT_EVENTS = table(
    "audit_events",
    column("id", BigInteger),
    column("at", DateTime(timezone=True)),
    column("actor_kind", Text),
    column("actor_id", Text),
    column("actor_name", Text),
    column("action", Text),
    column("resource", Text),
    column("client_address", Text),
    column("request_id", Text),
    column("status", SmallInteger),  # null until the action is over
    column("detail", JSONB),
    schema=SCHEMA,
)

WEBHOOK_CALLS = table(
    "webhook_calls",
    column("trigger_id", Text),
    column("digest", Text),  # of what was signed: SHA-256 in hex
    column("event_id", Text),  # empty where the call says none
    column("at", DateTime(timezone=True)),
    schema=SCHEMA,
)
