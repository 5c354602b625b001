"""Lifetime value of customers."""

import sqlalchemy as sa
from alembic import context, op

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table in the schema that is being upgraded."""
    schema = context.config.attributes["schema"]
    op.create_table(
        "customer_lifetime_value",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("repeat_purchases", sa.Integer(), nullable=False),
        sa.Column("first_to_last_days", sa.Integer(), nullable=False),
        sa.Column("age_days", sa.Integer(), nullable=False),
        sa.Column("repeat_spend_mean", sa.Double()),
        sa.Column("probability_alive", sa.Double(), nullable=False),
        sa.Column("expected_purchases", sa.Double(), nullable=False),
        sa.Column("expected_spend_per_purchase", sa.Double(), nullable=False),
        sa.Column("lifetime_value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="customer_lifetime_value_pkey"),
        schema=schema,
    )
    op.create_index(
        "customer_lifetime_value_customer_id_as_of_idx",
        "customer_lifetime_value",
        ["customer_id", "as_of"],
        schema=schema,
    )
