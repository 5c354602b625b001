"""What became of campaign lists."""

import sqlalchemy as sa
from alembic import context, op

revision = "r0007"
down_revision = "r0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table in the schema that is being upgraded."""
    op.create_table(
        "campaign_outcome",
        sa.Column("as_of", sa.Date()),
        sa.Column("campaign", sa.Text()),
        sa.Column("list_as_of", sa.Date(), nullable=False),
        sa.Column("horizon_weeks", sa.BigInteger(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text()),
        sa.Column("control_kind", sa.Text()),
        sa.Column("control_share", sa.Double()),
        sa.Column("ratio_p_value", sa.Double()),
        sa.Column("deliverable", sa.BigInteger()),
        sa.Column("buyers_deliverable", sa.BigInteger()),
        sa.Column("buyer_rate_deliverable", sa.Double()),
        sa.Column("spend_deliverable", sa.Double()),
        sa.Column("spend_per_head_deliverable", sa.Double()),
        sa.Column("control", sa.BigInteger()),
        sa.Column("buyers_control", sa.BigInteger()),
        sa.Column("buyer_rate_control", sa.Double()),
        sa.Column("spend_control", sa.Double()),
        sa.Column("spend_per_head_control", sa.Double()),
        sa.Column("buyer_rate_difference", sa.Double()),
        sa.Column("buyer_rate_low", sa.Double()),
        sa.Column("buyer_rate_high", sa.Double()),
        sa.Column("smallest_uplift", sa.Double()),
        sa.Column("spend_difference", sa.Double()),
        sa.Column("spend_low", sa.Double()),
        sa.Column("spend_high", sa.Double()),
        sa.PrimaryKeyConstraint("as_of", "campaign", name="campaign_outcome_pkey"),
        schema=context.config.attributes["schema"],
    )
