"""Churn, behaviour, validation and events; views in the shapes of the systems before."""

import sqlalchemy as sa
from alembic import context, op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables in the schema that is being upgraded."""
    schema = context.config.attributes["schema"]
    _churn(schema)
    _behavior(schema)
    _validation(schema)
    _events(schema)
    _views(schema)


def _churn(schema: str) -> None:
    op.create_table(
        "churn_scores",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("churn_probability", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="churn_scores_pkey"),
        schema=schema,
    )
    op.create_index(
        "churn_scores_customer_id_as_of_idx",
        "churn_scores",
        ["customer_id", "as_of"],
        schema=schema,
    )

    op.create_table(
        "churn_score_rejects",
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("source_line", sa.BigInteger(), nullable=False),
        sa.Column("customer_id", sa.Text()),
        sa.Column("churn_score", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text()),
        schema=schema,
    )

    op.create_table(
        "churn_aware_segments",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("segment", sa.Text(), nullable=False),
        sa.Column("segment_score", sa.Double(), nullable=False),
        sa.Column("r_category", sa.Text(), nullable=False),
        sa.Column("f_category", sa.Text(), nullable=False),
        sa.Column("m_category", sa.Text(), nullable=False),
        sa.Column("e_category", sa.Text(), nullable=False),
        sa.Column("engagement", sa.Double(), nullable=False),
        sa.Column("churn_probability", sa.Double(), nullable=False),
        sa.Column("churn_risk_level", sa.Text(), nullable=False),
        sa.Column("recommendation", sa.Text()),
        sa.Column("previous_segment", sa.Text()),
        sa.Column("segmented_at", sa.TIMESTAMP(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="churn_aware_segments_pkey"),
        schema=schema,
    )
    op.create_index(
        "churn_aware_segments_as_of_segment_idx",
        "churn_aware_segments",
        ["as_of", "segment"],
        schema=schema,
    )
    op.create_index(
        "churn_aware_segments_customer_id_as_of_idx",
        "churn_aware_segments",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_index(
        "churn_aware_segments_organization_id_as_of_idx",
        "churn_aware_segments",
        ["organization_id", "as_of"],
        schema=schema,
    )

    op.create_table(
        "churn_aware_segments_excluded",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="churn_aware_segments_excluded_pkey"),
        schema=schema,
    )
    op.create_index(
        "churn_aware_segments_excluded_customer_id_as_of_idx",
        "churn_aware_segments_excluded",
        ["customer_id", "as_of"],
        schema=schema,
    )


def _behavior(schema: str) -> None:
    op.create_table(
        "customer_behavior",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("org_type", sa.Text(), nullable=False),
        sa.Column("behavior_score", sa.Double()),
        sa.Column("activity_trend", sa.Text(), nullable=False),
        sa.Column("value_trend", sa.Text(), nullable=False),
        sa.Column("engagement_trend", sa.Text(), nullable=False),
        sa.Column("risk_signals", sa.Text(), nullable=False),
        sa.Column("signals_fired", sa.Integer(), nullable=False),
        sa.Column("signals_unknown", sa.Integer(), nullable=False),
        sa.Column("analyzed_at", sa.TIMESTAMP(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="customer_behavior_pkey"),
        schema=schema,
    )
    op.create_index(
        "customer_behavior_customer_id_as_of_idx",
        "customer_behavior",
        ["customer_id", "as_of"],
        schema=schema,
    )
    op.create_index(
        "customer_behavior_organization_id_as_of_idx",
        "customer_behavior",
        ["organization_id", "as_of"],
        schema=schema,
    )

    op.create_table(
        "behavior_signals",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("signal", sa.Text()),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("recommendation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", "signal", name="behavior_signals_pkey"),
        schema=schema,
    )
    op.create_index(
        "behavior_signals_as_of_signal_idx", "behavior_signals", ["as_of", "signal"], schema=schema
    )

    op.create_table(
        "behavior_insights",
        sa.Column("as_of", sa.Date()),
        sa.Column("organization_id", sa.Text(), nullable=False),
        sa.Column("org_type", sa.Text(), nullable=False),
        sa.Column("signal", sa.Text()),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("affected_customers", sa.BigInteger(), nullable=False),
        sa.Column("percentage", sa.Double(), nullable=False),
        sa.Column("known_customers", sa.BigInteger(), nullable=False),
        sa.Column("unknown_customers", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "signal", name="behavior_insights_pkey"),
        schema=schema,
    )

    op.create_table(
        "customer_behavior_excluded",
        sa.Column("as_of", sa.Date()),
        sa.Column("customer_id", sa.Text()),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "customer_id", name="customer_behavior_excluded_pkey"),
        schema=schema,
    )
    op.create_index(
        "customer_behavior_excluded_customer_id_as_of_idx",
        "customer_behavior_excluded",
        ["customer_id", "as_of"],
        schema=schema,
    )


def _validation(schema: str) -> None:
    op.create_table(
        "segment_validation",
        sa.Column("as_of", sa.Date()),
        sa.Column("candidate", sa.Text()),
        sa.Column("segment", sa.Text()),
        sa.Column("cut", sa.Date(), nullable=False),
        sa.Column("customers", sa.BigInteger(), nullable=False),
        sa.Column("customers_pct", sa.Double(), nullable=False),
        sa.Column("buyers", sa.BigInteger(), nullable=False),
        sa.Column("repurchase_rate", sa.Double(), nullable=False),
        sa.Column("rate_low", sa.Double(), nullable=False),
        sa.Column("rate_high", sa.Double(), nullable=False),
        sa.Column("lift", sa.Double()),
        sa.Column("revenue", sa.Double(), nullable=False),
        sa.Column("revenue_mean", sa.Double(), nullable=False),
        sa.Column("revenue_pct", sa.Double()),
        sa.PrimaryKeyConstraint("as_of", "candidate", "segment", name="segment_validation_pkey"),
        schema=schema,
    )

    op.create_table(
        "validation_scores",
        sa.Column("as_of", sa.Date()),
        sa.Column("candidate", sa.Text()),
        sa.Column("of", sa.Text()),
        sa.Column("auc", sa.Double(), nullable=False),
        sa.Column("auc_low", sa.Double(), nullable=False),
        sa.Column("auc_high", sa.Double(), nullable=False),
        sa.Column("gain", sa.Double()),
        sa.Column("gain_low", sa.Double()),
        sa.Column("gain_high", sa.Double()),
        sa.Column("lift_top_10_pct", sa.Double(), nullable=False),
        sa.Column("revenue_top_10_pct", sa.Double()),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("as_of", "candidate", "of", name="validation_scores_pkey"),
        schema=schema,
    )


def _events(schema: str) -> None:
    op.create_table(
        "event_data",
        sa.Column("customer_id", sa.Text(), nullable=False),
        sa.Column("timestamp", sa.TIMESTAMP(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        schema=schema,
    )
    op.create_index(
        "event_data_customer_id_timestamp_idx",
        "event_data",
        ["customer_id", "timestamp"],
        schema=schema,
    )

    op.create_table(
        "event_data_rejects",
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


def _views(schema: str) -> None:
    """The newest rows as the systems before had them, with the same names and types."""
    # For this transaction alone, so that the statements name no schema.
    op.execute(sa.select(sa.func.set_config("search_path", schema, sa.true())))
    op.execute(_SEGMENTS)
    op.execute(_BEHAVIOR)


_SEGMENTS = """
create view customer_segment_assignments as
select
    md5(organization_id || chr(31) || customer_id)::uuid as id,
    customer_id,
    organization_id,
    segment,
    segment_score::numeric(5, 2) as segment_score,
    jsonb_build_object(
        'R', r_category, 'F', f_category, 'M', m_category, 'E', e_category
    ) as rfm_category,
    churn_risk_level,
    segmented_at as assigned_at,
    jsonb_build_object(
        'as_of', as_of, 'churn_probability', churn_probability, 'engagement', engagement,
        'previous_segment', previous_segment, 'action', recommendation
    ) as metadata
from churn_aware_segments
where as_of = (select max(as_of) from churn_aware_segments)
"""

_BEHAVIOR = """
create view customer_behaviors as
select
    md5(organization_id || chr(31) || customer_id)::uuid as id,
    customer_id,
    organization_id,
    org_type,
    behavior_score::numeric(5, 2) as behavior_score,
    activity_trend,
    value_trend,
    engagement_trend,
    to_jsonb(
        case when risk_signals = '' then array[]::text[] else string_to_array(risk_signals, ',') end
    ) as risk_signals,
    coalesce(
        (
            select jsonb_agg(recommendation order by signal)
            from behavior_signals as fired
            where fired.as_of = behavior.as_of and fired.customer_id = behavior.customer_id
        ),
        '[]'::jsonb
    ) as recommendations,
    analyzed_at,
    jsonb_build_object(
        'as_of', as_of, 'signals_unknown', signals_unknown
    ) as metadata
from customer_behavior as behavior
where as_of = (select max(as_of) from customer_behavior)
"""
