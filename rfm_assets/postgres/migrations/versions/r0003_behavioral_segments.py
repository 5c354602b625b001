"""Clusters of customers, and what they are like."""

import sqlalchemy as sa
from alembic import context, op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables in the schema that is being upgraded."""
    schema = context.config.attributes["schema"]
    op.create_table(
        "behavioral_segments",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("recency_days", sa.Double(), nullable=False),
        sa.Column("frequency_per_day", sa.Double(), nullable=False),
        sa.Column("transaction_count", sa.Double(), nullable=False),
        sa.Column("customer_age_days", sa.Double(), nullable=False),
        sa.Column("spend_total", sa.Double(), nullable=False),
        sa.Column("spend_mean", sa.Double(), nullable=False),
        sa.Column("spend_std", sa.Double(), nullable=False),
        sa.Column("recency_frequency_ratio", sa.Double(), nullable=False),
        sa.Column("value_consistency", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="behavioral_segments_pkey"),
        schema=schema,
    )
    for columns in (["as_of", "segment"], ["customer_id", "as_of"]):
        op.create_index(
            f"behavioral_segments_{'_'.join(columns)}_idx",
            "behavioral_segments",
            columns,
            schema=schema,
        )
    op.create_table(
        "cluster_profiles",
        sa.Column("as_of", sa.Date()),
        sa.Column("cluster", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("feature", sa.Text(), nullable=False),
        sa.Column("centroid", sa.Double(), nullable=False),
        sa.Column("minimum", sa.Double()),
        sa.Column("mean", sa.Double()),
        sa.Column("maximum", sa.Double()),
        sa.Column("customers", sa.BigInteger(), nullable=False),
        sa.Column("customers_pct", sa.Double(), nullable=False),
        sa.Column("spend_total", sa.Double(), nullable=False),
        sa.Column("spend_pct", sa.Double()),
        sa.PrimaryKeyConstraint("as_of", "cluster", "feature", name="cluster_profiles_pkey"),
        schema=schema,
    )
