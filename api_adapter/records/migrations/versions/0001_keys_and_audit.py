"""API keys and the audit trail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "planasonix"


def upgrade() -> None:
    """Make both tables."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False, unique=True),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("previous_prefix", sa.Text, unique=True),
        sa.Column("previous_hash", sa.LargeBinary),
        sa.Column("previous_until", moment),
        sa.Column("scopes", sa.ARRAY(sa.Text), nullable=False),
        sa.Column("pipeline_ids", sa.ARRAY(sa.Text)),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("last_used_at", moment),
        sa.Column("revoked_at", moment),
        schema=SCHEMA,
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("at", moment, nullable=False, index=True),
        sa.Column("actor_kind", sa.Text, nullable=False),
        sa.Column("actor_id", sa.Text, nullable=False),
        sa.Column("actor_name", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("resource", sa.Text),
        sa.Column("client_address", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.Column("status", sa.SmallInteger),
        sa.Column("detail", JSONB, nullable=False, server_default="{}"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Remove both tables, and with them all keys."""
    op.drop_table("audit_events", schema=SCHEMA)
    op.drop_table("api_keys", schema=SCHEMA)
