"""The cancellations whose end the audit trail does not know yet, found without looking at all events."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "planasonix"
NAME = "ix_audit_events_open_cancellations"


def upgrade() -> None:
    """Make the index."""
    condition = sa.text("action = 'run.cancel' AND status = 202 AND NOT jsonb_exists(detail, 'outcome')")
    op.create_index(NAME, "audit_events", ["id"], schema=SCHEMA, postgresql_where=condition)


def downgrade() -> None:
    """Remove it."""
    op.drop_index(NAME, "audit_events", schema=SCHEMA)
