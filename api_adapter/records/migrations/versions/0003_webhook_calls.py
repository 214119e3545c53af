"""The signed calls of webhooks that have come of late."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "planasonix"
NAME = "webhook_calls"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        NAME,
        sa.Column("trigger_id", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("event_id", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, index=True),
        schema=SCHEMA,
    )


def downgrade() -> None:
    """Remove it."""
    op.drop_table(NAME, schema=SCHEMA)
