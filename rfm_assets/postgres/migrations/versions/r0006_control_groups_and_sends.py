"""Control groups of campaigns, and the log of what was sent."""

import sqlalchemy as sa
from alembic import context, op

revision = "r0006"
down_revision = "r0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables in the schema that is being upgraded."""
    schema = context.config.attributes["schema"]
    op.create_table(
        "campaign_control",
        sa.Column("campaign", sa.Text()),
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("comparable", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Double()),
        sa.Column("segment", sa.Text()),
        sa.PrimaryKeyConstraint("campaign", "as_of", "customer_id", name="campaign_control_pkey"),
        schema=schema,
    )
    op.create_index(
        "campaign_control_customer_id_as_of_idx",
        "campaign_control",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_table(
        "campaign_sends",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("campaign", sa.Text(), nullable=False),
        sa.Column("sent_at", sa.TIMESTAMP(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        schema=schema,
    )
    op.create_index(
        "campaign_sends_customer_id_sent_at_idx",
        "campaign_sends",
        ["customer_id", "sent_at"],
        schema=schema,
    )
    op.create_table(
        "campaign_send_rejects",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_line", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.Text()),
        sa.Column("campaign", sa.Text()),
        sa.Column("sent_at", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        schema=schema,
    )
