"""The first tables: segments, movement, summary, lists, suppression, customers, transactions.

Written out and not made from the contracts, because those go on and a migration stays as it is.
Comments are not in it: they follow the contracts' words, and are set after every upgrade.
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import postgresql

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them in the schema that is being upgraded."""
    schema = context.config.attributes["schema"]
    op.create_table(
        "campaign_exclusions",
        sa.Column("campaign", sa.Text()),
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint(
            "campaign", "as_of", "customer_id", name="campaign_exclusions_pkey"
        ),
        schema=schema,
    )
    op.create_index(
        "campaign_exclusions_customer_id_as_of_idx",
        "campaign_exclusions",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_table(
        "campaign_members",
        sa.Column("campaign", sa.Text()),
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("priority", sa.Double()),
        sa.Column("segment", sa.Text()),
        sa.PrimaryKeyConstraint("campaign", "as_of", "customer_id", name="campaign_members_pkey"),
        schema=schema,
    )
    op.create_index(
        "campaign_members_campaign_as_of_rank_idx",
        "campaign_members",
        ["campaign", "as_of", "rank"],
        schema=schema,
    )
    op.create_index(
        "campaign_members_customer_id_as_of_idx",
        "campaign_members",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_table(
        "customer_data",
        sa.Column("customer_id", sa.Text()),
        sa.PrimaryKeyConstraint("customer_id", name="customer_data_pkey"),
        schema=schema,
    )
    op.create_table(
        "customer_segments",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("recency", sa.Integer(), nullable=False),
        sa.Column("frequency", sa.Integer(), nullable=False),
        sa.Column("monetary", sa.Double(), nullable=False),
        sa.Column("r_score", sa.SmallInteger(), nullable=False),
        sa.Column("f_score", sa.SmallInteger(), nullable=False),
        sa.Column("m_score", sa.SmallInteger(), nullable=False),
        sa.Column("rfm_score", sa.Double(), nullable=False),
        sa.Column("rfm_cell", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text()),
        sa.Column("recommendation", sa.Text()),
        sa.Column("previous_segment", sa.Text()),
        sa.Column("segmented_at", sa.TIMESTAMP(), nullable=False),
        sa.Column("last_purchase_date", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="customer_segments_pkey"),
        schema=schema,
    )
    op.create_index(
        "customer_segments_as_of_segment_idx",
        "customer_segments",
        ["as_of", "segment"],
        schema=schema,
    )
    op.create_index(
        "customer_segments_customer_id_as_of_idx",
        "customer_segments",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_table(
        "customer_segments_excluded",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="customer_segments_excluded_pkey"),
        schema=schema,
    )
    op.create_index(
        "customer_segments_excluded_customer_id_as_of_idx",
        "customer_segments_excluded",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_table(
        "published_snapshots",
        sa.Column("table_name", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("snapshot", sa.Text()),
        sa.Column("as_of", sa.Date()),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("columns", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("row_count", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("published_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "table_name", "source", "snapshot", name="published_snapshots_pkey"
        ),
        schema=schema,
    )
    op.create_table(
        "segment_movement",
        sa.Column("as_of", sa.Date()),
        sa.Column("previous_as_of", sa.Date()),
        sa.Column("from_segment", sa.Text()),
        sa.Column("to_segment", sa.Text()),
        sa.Column("customers", sa.BigInteger(), nullable=False),
        sa.Column("monetary_before", sa.Double(), nullable=False),
        sa.Column("monetary_now", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint(
            "as_of", "from_segment", "to_segment", name="segment_movement_pkey"
        ),
        schema=schema,
    )
    op.create_table(
        "segment_summary",
        sa.Column("as_of", sa.Date()),
        sa.Column("segment", sa.Text()),
        sa.Column("customers", sa.BigInteger(), nullable=False),
        sa.Column("customers_pct", sa.Double(), nullable=False),
        sa.Column("monetary_total", sa.Double(), nullable=False),
        sa.Column("monetary_mean", sa.Double()),
        sa.Column("monetary_pct", sa.Double()),
        sa.Column("recency_mean", sa.Double()),
        sa.Column("frequency_mean", sa.Double()),
        sa.Column("customers_change", sa.BigInteger()),
        sa.Column("benchmark_low_pct", sa.Double()),
        sa.Column("benchmark_high_pct", sa.Double()),
        sa.Column("success_hours", sa.Double()),
        sa.Column("loyalty_tier", sa.Text()),
        sa.PrimaryKeyConstraint("as_of", "segment", name="segment_summary_pkey"),
        schema=schema,
    )
    op.create_table(
        "suppression_list",
        sa.Column("list", sa.Text()),
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("since", sa.Date()),
        sa.PrimaryKeyConstraint("list", "as_of", "customer_id", name="suppression_list_pkey"),
        schema=schema,
    )
    op.create_index(
        "suppression_list_customer_id_as_of_idx",
        "suppression_list",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_table(
        "transaction_data",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text()),
        sa.Column("date", sa.TIMESTAMP(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("amount", sa.Double(), nullable=False),
        schema=schema,
    )
    op.create_index(
        "transaction_data_customer_id_date_idx",
        "transaction_data",
        ["customer_id", "date"],
        schema=schema,
    )
    op.create_table(
        "transaction_data_rejects",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_line", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("order_id", sa.Text()),
        sa.Column("date", sa.Text()),
        sa.Column("amount", sa.Text()),
        schema=schema,
    )
