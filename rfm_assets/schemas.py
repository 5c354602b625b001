"""The contract of every stored table: its columns, their types and their constraints.

This is the only place where stored columns are named and constrained. `validation.py` compiles
a contract to one aggregate query for the engine, the publisher refuses what breaks it, and the
Dagster checks are made from the same fields, so that they cannot disagree. What a number means
is in docs/reference; how it is computed is in `domain/`.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import Any

import pandera.pandas as pa
from pandera.typing import Series

from rfm_assets.errors import ColumnMissing

SCHEMA_CHECK = "schema"
"""The check of whatever has no check of its own: columns, their types, their constraints."""


def column(description: str, *, check: str = SCHEMA_CHECK, **constraints: Any) -> Any:
    """A Pandera field that explains itself in the catalogue and belongs to the named check."""
    return pa.Field(metadata={"check": check}, description=description, **constraints)


class TransactionData(pa.DataFrameModel):
    """Canonical transactions: one row per order line, order, payment or charge."""

    customer_id: Series[str] = column(
        "Customer, in one canonical spelling", check="customer_ids", str_length={"min_value": 1}
    )
    order_id: Series[str] = column(
        "Purchase the row belongs to; empty means the row is a purchase of its own",
        check="customer_ids",
        nullable=True,
    )
    date: Series[datetime] = column("When it happened, in the business time zone", check="dates")
    day: Series[pa.Int32] = column(
        "The same day, in days since 1970-01-01 in the business time zone",
        check="dates",
        in_range={"min_value": -25567, "max_value": 95026},
    )
    amount: Series[float] = column(
        "Signed amount in one currency; negative is a refund",
        check="value_ranges",
        in_range={"min_value": -1e12, "max_value": 1e12},
    )


class TransactionDataRejects(pa.DataFrameModel):
    """Rows that could not be used, as they stood in the source, each with its reason."""

    source: Series[str] = column("File, table or query the row came from")
    source_line: Series[pa.Int64] = column("Line in a file or row in a table, counted from 1", ge=1)
    reason: Series[str] = column("Why the row was set aside", str_length={"min_value": 1})
    detail: Series[str] = column("The value at fault, as it stood", nullable=True)
    customer_id: Series[str] = column("Customer id as it stood", nullable=True)
    order_id: Series[str] = column("Order id as it stood", nullable=True)
    date: Series[str] = column("Date as it stood", nullable=True)
    amount: Series[str] = column("Amount, or what it is made from, as it stood", nullable=True)


class CustomerData(pa.DataFrameModel):
    """Attributes of customers, one row each: consent, country and whatever else is mapped."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )


class CustomerSegments(pa.DataFrameModel):
    """One row per customer and date: recency, frequency, monetary, scores and segment."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    recency: Series[pa.Int32] = column(
        "Whole days from the last purchase to as_of", check="value_ranges", ge=1
    )
    frequency: Series[pa.Int32] = column(
        "Distinct purchases in the observation window", check="value_ranges", ge=0
    )
    monetary: Series[float] = column("Net spend in the observation window", check="value_ranges")
    R_score: Series[pa.Int8] = column(
        "Recency score, 1..n, high is recent", check="scores_in_range", ge=1
    )
    F_score: Series[pa.Int8] = column(
        "Frequency score, 1..n, high is frequent", check="scores_in_range", ge=1
    )
    M_score: Series[pa.Int8] = column(
        "Monetary score, 1..n, high is much", check="scores_in_range", ge=1
    )
    RFM_score: Series[float] = column(
        "Weighted mean of the three scores", check="scores_in_range", ge=1
    )
    rfm_cell: Series[str] = column(
        "The three scores side by side, such as 545", check="scores_in_range"
    )
    segment: Series[str] = column(
        "Segment by the scheme's rules", check="known_segments", nullable=True
    )
    recommendation: Series[str] = column("What the scheme recommends", nullable=True)
    previous_segment: Series[str] = column("Segment in the snapshot before", nullable=True)
    segmented_at: Series[datetime] = column("UTC time of the computation")
    as_of: Series[date] = column("The date the row describes; later data is invisible")
    last_purchase_date: Series[date] = column(
        "Day of the last purchase in the window", check="value_ranges"
    )


class Excluded(pa.DataFrameModel):
    """Customers who are left out of a table, each with one reason."""

    customer_id: Series[str] = column("Customer", unique=True)
    stage: Series[str] = column("Stage that removed the customer")
    reason: Series[str] = column("Why the customer was removed")


class SegmentMovement(pa.DataFrameModel):
    """One row per pair of segments: who moved from the snapshot before to this one."""

    as_of: Series[date] = column("This snapshot")
    previous_as_of: Series[date] = column("The snapshot before", nullable=True)
    from_segment: Series[str] = column("Segment before, or (new)")
    to_segment: Series[str] = column("Segment now, or (left)")
    customers: Series[pa.Int64] = column("Customers who made this move", ge=1)
    monetary_before: Series[float] = column("Their monetary in the snapshot before")
    monetary_now: Series[float] = column("Their monetary in this snapshot")


class SegmentSummary(pa.DataFrameModel):
    """One row per segment of the scheme, also the empty ones."""

    as_of: Series[date] = column("The snapshot")
    segment: Series[str] = column("Segment", unique=True)
    customers: Series[pa.Int64] = column("Customers in the segment", ge=0)
    customers_pct: Series[float] = column(
        "Share of all customers, 0..100",
        in_range={"min_value": 0, "max_value": 100},
    )
    monetary_total: Series[float] = column("Net spend of the segment")
    monetary_mean: Series[float] = column("Net spend per customer", nullable=True)
    monetary_pct: Series[float] = column("Share of all net spend, in per cent", nullable=True)
    recency_mean: Series[float] = column("Mean recency in days", nullable=True, ge=1)
    frequency_mean: Series[float] = column("Mean purchases", nullable=True, ge=0)
    customers_change: Series[pa.Int64] = column(
        "Customers now less those in the snapshot before", nullable=True
    )
    benchmark_low_pct: Series[float] = column("Typical share, lower end", nullable=True)
    benchmark_high_pct: Series[float] = column("Typical share, upper end", nullable=True)
    success_hours: Series[float] = column(
        "Share of the weekly customer-success hours, by value", nullable=True, ge=0
    )
    loyalty_tier: Series[str] = column("Loyalty tier the segment maps to", nullable=True)


class SuppressionList(pa.DataFrameModel):
    """Customers who must not be contacted, each once, with the strongest reason."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    reason: Series[str] = column("Why the customer is suppressed", check="known_reasons")
    source: Series[str] = column("Where the entry comes from: a file or a segment")
    since: Series[date] = column("Day the entry took effect, where it is known", nullable=True)
    as_of: Series[date] = column("The snapshot")


class CampaignList(pa.DataFrameModel):
    """Deliverable customers of one campaign, best first."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    rank: Series[pa.Int64] = column(
        "Position by priority, from 1", check="ranks_complete", ge=1, unique=True
    )
    priority: Series[float] = column("Value of the priority expression", nullable=True)
    segment: Series[str] = column("Segment", nullable=True)
    as_of: Series[date] = column("The snapshot")


class ControlGroup(pa.DataFrameModel):
    """Eligible customers of a campaign who are not contacted, so that its effect can be measured."""

    customer_id: Series[str] = column("Customer", unique=True, str_length={"min_value": 1})
    experiment: Series[str] = column("Experiment whose draw left the customer out")
    kind: Series[str] = column(
        "global: left out of every campaign; campaign: of this one", isin=["global", "campaign"]
    )
    comparable: Series[bool] = column(
        "Whether the customer ranks among those on the list; others are below the size limit"
    )
    priority: Series[float] = column("Value of the priority expression", nullable=True)
    segment: Series[str] = column("Segment", nullable=True)
    as_of: Series[date] = column("The snapshot")


class CampaignOutcome(pa.DataFrameModel):
    """One row per campaign: what became of its list in the weeks that followed."""

    campaign: Series[str] = column(
        "The campaign list, by its asset", unique=True, str_length={"min_value": 1}
    )
    list_as_of: Series[date] = column("The date of the list, the first day of its weeks")
    horizon_weeks: Series[pa.Int64] = column("Weeks after it that are judged", ge=1)
    confidence: Series[float] = column(
        "Confidence of the intervals, 0..1", in_range={"min_value": 0, "max_value": 1}
    )
    verdict: Series[str] = column(
        "What is claimed, by the share of buyers alone",
        isin=["uplift", "harm", "no difference seen", "not measurable"],
    )
    reason: Series[str] = column("Why it is not measurable", nullable=True)
    told: Series[str] = column("The outcome in words")
    experiment: Series[str] = column("Experiment that drew the control group", nullable=True)
    control_kind: Series[str] = column(
        "campaign: its own control group; global: of all campaigns",
        nullable=True,
        isin=["global", "campaign"],
    )
    control_share: Series[float] = column(
        "Share that was to be in control, 0..1",
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
    )
    ratio_p_value: Series[float] = column(
        "How likely groups of these sizes are by that share; below 0.001, nothing is claimed",
        nullable=True,
        in_range={"min_value": 0, "max_value": 1},
    )
    deliverable: Series[pa.Int64] = column(
        "Customers on the list, whatever reached them", nullable=True, ge=0
    )
    buyers_deliverable: Series[pa.Int64] = column(
        "Of them, who bought in the weeks", nullable=True, ge=0
    )
    buyer_rate_deliverable: Series[float] = column(
        "Their share, 0..1", nullable=True, in_range={"min_value": 0, "max_value": 1}
    )
    spend_deliverable: Series[float] = column(
        "Net spend of those on the list in the weeks", nullable=True
    )
    spend_per_head_deliverable: Series[float] = column("The same per customer", nullable=True)
    control: Series[pa.Int64] = column(
        "Customers in control whom they are compared with", nullable=True, ge=0
    )
    buyers_control: Series[pa.Int64] = column(
        "Of them, who bought in the weeks", nullable=True, ge=0
    )
    buyer_rate_control: Series[float] = column(
        "Their share, 0..1", nullable=True, in_range={"min_value": 0, "max_value": 1}
    )
    spend_control: Series[float] = column("Net spend of control in the weeks", nullable=True)
    spend_per_head_control: Series[float] = column("The same per customer", nullable=True)
    buyer_rate_difference: Series[float] = column(
        "Share of buyers on the list less that in control; the measure that claims are made on",
        nullable=True,
    )
    buyer_rate_low: Series[float] = column("Lower end of its interval", nullable=True)
    buyer_rate_high: Series[float] = column("Upper end of its interval", nullable=True)
    smallest_uplift: Series[float] = column(
        "Rise of the share that groups of these sizes would probably show, 0..1", nullable=True
    )
    spend_difference: Series[float] = column(
        "Spend per customer on the list less that in control; nothing is claimed of it",
        nullable=True,
    )
    spend_low: Series[float] = column("Lower end of its interval", nullable=True)
    spend_high: Series[float] = column("Upper end of its interval", nullable=True)
    as_of: Series[date] = column("The date that is looked back from, the end of the weeks")


class CampaignSends(pa.DataFrameModel):
    """One row per send: who was sent which campaign when."""

    customer_id: Series[str] = column("Customer", str_length={"min_value": 1})
    campaign: Series[str] = column("Campaign, as the log names it", str_length={"min_value": 1})
    sent_at: Series[datetime] = column("When it was sent, in the business time zone")
    day: Series[pa.Int32] = column(
        "The same day, in days since 1970-01-01", in_range={"min_value": -25567, "max_value": 95026}
    )


class CampaignSendRejects(pa.DataFrameModel):
    """Rows of a log of sends that could not be used, each with its reason."""

    source: Series[str] = column("File, table or query the row came from")
    source_line: Series[pa.Int64] = column("Line in a file or row in a table, counted from 1", ge=1)
    customer_id: Series[str] = column("Customer id as it stood", nullable=True)
    campaign: Series[str] = column("Campaign as it stood", nullable=True)
    sent_at: Series[str] = column("Time of the send as it stood", nullable=True)
    reason: Series[str] = column("Why the row was set aside", str_length={"min_value": 1})
    detail: Series[str] = column("What is wrong, for a line that cannot be read", nullable=True)


class CustomerLifetimeValue(pa.DataFrameModel):
    """One row per customer who has bought: what she is expected to buy and to be worth."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    repeat_purchases: Series[pa.Int32] = column(
        "Days with a purchase after the first such day", check="value_ranges", ge=0
    )
    first_to_last_days: Series[pa.Int32] = column(
        "Days from the first purchase to the last", check="value_ranges", ge=0
    )
    age_days: Series[pa.Int32] = column(
        "Days from the first purchase to the day before as_of", check="value_ranges", ge=0
    )
    repeat_spend_mean: Series[float] = column(
        "Mean spend on a repeat purchase, refunds not taken off",
        check="value_ranges",
        nullable=True,
        gt=0,
    )
    probability_alive: Series[float] = column(
        "Probability that the customer has not left for good",
        check="value_ranges",
        in_range={"min_value": 0, "max_value": 1},
    )
    expected_purchases: Series[float] = column(
        "Purchases expected over the horizon", check="value_ranges", ge=0
    )
    expected_spend_per_purchase: Series[float] = column(
        "Spend expected on one purchase", check="value_ranges", gt=0
    )
    lifetime_value: Series[float] = column(
        "Spend expected over the horizon, discounted to as_of", check="value_ranges", ge=0
    )
    as_of: Series[date] = column("The date the row looks ahead from")


class BehavioralSegments(pa.DataFrameModel):
    """One row per customer who has bought: the cluster, its name, and the features."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    cluster: Series[pa.Int32] = column("Number of the cluster, from 0", check="clusters", ge=0)
    segment: Series[str] = column("Name of the cluster, by the rules", check="clusters")
    recency_days: Series[float] = column("Days since the last purchase", check="features", ge=1)
    frequency_per_day: Series[float] = column(
        "Purchases a day since the first one", check="features", gt=0
    )
    transaction_count: Series[float] = column("Purchases", check="features", ge=1)
    customer_age_days: Series[float] = column(
        "Days since the first purchase", check="features", ge=1
    )
    spend_total: Series[float] = column("Net spend", check="features")
    spend_mean: Series[float] = column("Net spend per purchase", check="features")
    spend_std: Series[float] = column(
        "Standard deviation of what the purchases cost", check="features", ge=0
    )
    recency_frequency_ratio: Series[float] = column(
        "Days since the last purchase per purchase", check="features", gt=0
    )
    value_consistency: Series[float] = column(
        "Mean / (mean + standard deviation) of what the purchases cost",
        check="features",
        in_range={"min_value": 0, "max_value": 1},
    )
    as_of: Series[date] = column("The date the row describes")


class ClusterProfiles(pa.DataFrameModel):
    """One row per cluster and feature: what the cluster is like in these data."""

    cluster: Series[pa.Int32] = column("Number of the cluster, from 0", ge=0)
    segment: Series[str] = column("Name of the cluster")
    feature: Series[str] = column("Feature that was clustered by")
    centroid: Series[float] = column("The cluster's centre, in the feature's unit")
    minimum: Series[float] = column("Least value of a customer in it", nullable=True)
    mean: Series[float] = column("Mean of the customers in it", nullable=True)
    maximum: Series[float] = column("Largest value of a customer in it", nullable=True)
    customers: Series[pa.Int64] = column("Customers in the cluster", ge=0)
    customers_pct: Series[float] = column(
        "Share of all customers, 0..100", in_range={"min_value": 0, "max_value": 100}
    )
    spend_total: Series[float] = column("Net spend of the cluster")
    spend_pct: Series[float] = column("Share of all net spend, in per cent", nullable=True)


class ChurnScores(pa.DataFrameModel):
    """One row per customer: the probability of not buying again."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    churn_probability: Series[float] = column(
        "Probability that the customer will not buy again",
        check="value_ranges",
        in_range={"min_value": 0, "max_value": 1},
    )
    as_of: Series[date] = column("The date from which the row looks ahead")


class ChurnScoreRejects(pa.DataFrameModel):
    """Rows of a file of churn scores that could not be used, each with its reason."""

    source: Series[str] = column("File, table or query the row came from")
    source_line: Series[pa.Int64] = column("Line in a file or row in a table, counted from 1", ge=1)
    customer_id: Series[str] = column("Customer id as it stood", nullable=True)
    churn_score: Series[str] = column("Score as it stood", nullable=True)
    reason: Series[str] = column("Why the row was set aside", str_length={"min_value": 1})
    detail: Series[str] = column("What is wrong, for a line that cannot be read", nullable=True)


class ChurnAwareSegments(pa.DataFrameModel):
    """One row per customer with a churn score: categories, risk, segment."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    organization_id: Series[str] = column("Organisation whose customer this is")
    segment: Series[str] = column("Segment by the decision table", check="known_segments")
    segment_score: Series[float] = column(
        "0 to 100: RFM_score and the probability of staying, weighted",
        check="value_ranges",
        in_range={"min_value": 0, "max_value": 100},
    )
    R_category: Series[str] = column(
        "Recency: Low, Medium or High", check="categories", isin=["Low", "Medium", "High"]
    )
    F_category: Series[str] = column(
        "Frequency: Low, Medium or High", check="categories", isin=["Low", "Medium", "High"]
    )
    M_category: Series[str] = column(
        "Monetary: Low, Medium or High", check="categories", isin=["Low", "Medium", "High"]
    )
    E_category: Series[str] = column(
        "Engagement: Low, Medium or High", check="categories", isin=["Low", "Medium", "High"]
    )
    engagement: Series[float] = column("What engagement is measured by, high is much")
    churn_probability: Series[float] = column(
        "Probability that the customer will not buy again",
        check="value_ranges",
        in_range={"min_value": 0, "max_value": 1},
    )
    churn_risk_level: Series[str] = column(
        "Level of that probability: Low, Medium, High or Critical",
        check="categories",
        isin=["Low", "Medium", "High", "Critical"],
    )
    recommendation: Series[str] = column("What the table recommends", nullable=True)
    previous_segment: Series[str] = column("Segment in the snapshot before", nullable=True)
    segmented_at: Series[datetime] = column("UTC time of the computation")
    as_of: Series[date] = column("The date the row describes")


class EventData(pa.DataFrameModel):
    """Canonical events: one row per thing that a customer did."""

    customer_id: Series[str] = column(
        "Customer, in one canonical spelling", check="customer_ids", str_length={"min_value": 1}
    )
    timestamp: Series[datetime] = column(
        "When it happened, in the business time zone", check="dates"
    )
    day: Series[pa.Int32] = column(
        "The same day, in days since 1970-01-01 in the business time zone",
        check="dates",
        in_range={"min_value": -25567, "max_value": 95026},
    )
    event: Series[str] = column(
        "What happened, such as login", check="customer_ids", str_length={"min_value": 1}
    )


class CustomerBehavior(pa.DataFrameModel):
    """One row per customer who was seen lately: score, trends, signals, metrics."""

    customer_id: Series[str] = column(
        "Customer", check="unique_customers", unique=True, str_length={"min_value": 1}
    )
    organization_id: Series[str] = column("Organisation whose customer this is")
    org_type: Series[str] = column("Industry profile, such as banking")
    behavior_score: Series[float] = column(
        "0 to 100, 50 where the last window is like the one before; empty where unknown",
        check="value_ranges",
        nullable=True,
        in_range={"min_value": 0, "max_value": 100},
    )
    activity_trend: Series[str] = column(
        "increasing, stable, declining or unknown",
        check="known_trends",
        isin=["increasing", "stable", "declining", "unknown"],
    )
    value_trend: Series[str] = column(
        "The same of what is spent",
        check="known_trends",
        isin=["increasing", "stable", "declining", "unknown"],
    )
    engagement_trend: Series[str] = column(
        "The same of engagement",
        check="known_trends",
        isin=["increasing", "stable", "declining", "unknown"],
    )
    risk_signals: Series[str] = column("Signals that fired, most urgent first, joined by commas")
    signals_fired: Series[pa.Int32] = column("How many fired", check="value_ranges", ge=0)
    signals_unknown: Series[pa.Int32] = column("How many are unknown", check="value_ranges", ge=0)
    analyzed_at: Series[datetime] = column("UTC time of the computation")
    as_of: Series[date] = column("The date the row describes")


class RiskSignals(pa.DataFrameModel):
    """One row per customer and signal that fired, with what to do."""

    customer_id: Series[str] = column("Customer")
    signal: Series[str] = column("Name of the signal")
    urgency: Series[str] = column(
        "How much a week's delay costs", isin=["low", "medium", "high", "critical"]
    )
    recommendation: Series[str] = column("What to do, with the customer's figures")


class BehaviorInsights(pa.DataFrameModel):
    """One row per signal: how many customers it affects, most costly first."""

    organization_id: Series[str] = column("Organisation")
    org_type: Series[str] = column("Industry profile")
    signal: Series[str] = column("Name of the signal", unique=True)
    urgency: Series[str] = column("How much a week's delay costs")
    affected_customers: Series[pa.Int64] = column("Customers for whom it fired", ge=0)
    percentage: Series[float] = column(
        "Their share of all customers, 0..100", in_range={"min_value": 0, "max_value": 100}
    )
    known_customers: Series[pa.Int64] = column("Customers of whom it is known", ge=0)
    unknown_customers: Series[pa.Int64] = column("Customers of whom it is not", ge=0)
    rank: Series[pa.Int64] = column("By affected customers times urgency, from 1", ge=1)


class SegmentValidation(pa.DataFrameModel):
    """One row per candidate and segment: who bought again after the cut, and for how much."""

    candidate: Series[str] = column("The way of telling customers apart")
    segment: Series[str] = column("Segment as of the cut")
    cut: Series[date] = column("The date that the segments describe")
    customers: Series[pa.Int64] = column("Customers in the segment", ge=1)
    customers_pct: Series[float] = column(
        "Share of the judged customers, 0..100", in_range={"min_value": 0, "max_value": 100}
    )
    buyers: Series[pa.Int64] = column("Of them, who bought after the cut", ge=0)
    repurchase_rate: Series[float] = column(
        "Their share, 0..1", in_range={"min_value": 0, "max_value": 1}
    )
    rate_low: Series[float] = column(
        "Lower end of its 95 % interval", in_range={"min_value": 0, "max_value": 1}
    )
    rate_high: Series[float] = column(
        "Upper end of its 95 % interval", in_range={"min_value": 0, "max_value": 1}
    )
    lift: Series[float] = column("The rate over that of all customers", nullable=True, ge=0)
    revenue: Series[float] = column("Net spend after the cut")
    revenue_mean: Series[float] = column("Net spend after the cut per customer")
    revenue_pct: Series[float] = column("Share of all net spend, in per cent", nullable=True)
    as_of: Series[date] = column("The end of the outcome")


class ValidationScores(pa.DataFrameModel):
    """One row per candidate and kind of score: how well it told who would buy again."""

    candidate: Series[str] = column("The way of telling customers apart")
    of: Series[str] = column(
        "Its own score, or its segments by the rate of the others in them",
        isin=["score", "segment"],
    )
    auc: Series[float] = column(
        "Probability that a buyer scores higher than another customer",
        in_range={"min_value": 0, "max_value": 1},
    )
    auc_low: Series[float] = column("Lower end of its 95 % interval")
    auc_high: Series[float] = column("Upper end of its 95 % interval")
    gain: Series[float] = column("AUC less that of the baseline", nullable=True)
    gain_low: Series[float] = column("Lower end of its 95 % interval", nullable=True)
    gain_high: Series[float] = column("Upper end of its 95 % interval", nullable=True)
    lift_top_10_pct: Series[float] = column("Rate of the best tenth over that of all", ge=0)
    revenue_top_10_pct: Series[float] = column(
        "Share of all net spend from the best tenth, in per cent", nullable=True
    )
    verdict: Series[str] = column(
        "Against the baseline, by the interval of the gain",
        isin=["baseline", "better", "worse", "no difference"],
    )


NEXT_STEPS: Mapping[str, str] = {
    SCHEMA_CHECK: "Compare the rows handed over with the reference page of this table",
    "customer_ids": "Look at the mapping of customer_id and order_id and at the rejected rows",
    "dates": "Look at the mapping and format of the date column and at the declared time zone",
    "value_ranges": "Look at the rows named here, then at the amount expression and its currency",
    "known_reasons": "Give every row of this table one of the documented reasons",
    "unique_customers": "Look for a join or an input that repeats customers",
    "scores_in_range": "Look at the cut points of this snapshot and at the number of bins",
    "known_trends": "Run again; if it happens again, report it: trends are made by the package",
    "categories": "Look at the percentiles and thresholds of the component",
    "known_segments": "Look at the segment scheme: each row needs one of its segments",
    "clusters": "Run again; if it happens again, report it: clusters are assigned by the package",
    "features": "Look at the rows named here, then at the mapping of the columns they come from",
    "ranks_complete": "Look at the priority expression and at how the list is ordered",
}
"""What to do when a check of a contract fails, by the name of the check."""


@dataclass(frozen=True)
class Narrowing:
    """What is asked of a column beyond its contract, known only at run time."""

    column: str
    checks: tuple[pa.Check, ...]
    nullable: bool | None


@dataclass(frozen=True)
class TableContract:
    """What a stored table must satisfy, and how its rows are ordered on disk.

    `key` is unique and never null; `sort_by` decides the row order, so that the same input
    gives the same file. Columns beyond the model's are allowed where `open_ended`.
    """

    kind: str
    model: type[pa.DataFrameModel]
    key: tuple[str, ...]
    sort_by: tuple[str, ...]
    open_ended: bool = False
    parts: Mapping[str, "TableContract"] = field(default_factory=dict)
    narrowings: tuple[Narrowing, ...] = ()

    @cached_property
    def schema(self) -> pa.DataFrameSchema:
        """The contract as one Pandera schema: the model's columns, narrowed, with the key."""
        declared = self.model.to_schema()
        columns = {name: copy(column) for name, column in declared.columns.items()}
        for narrowing in self.narrowings:
            column = columns[narrowing.column]
            column.checks = [*column.checks, *narrowing.checks]
            if narrowing.nullable is not None:
                column.nullable = narrowing.nullable
        return pa.DataFrameSchema(
            columns,
            checks=declared.checks,
            strict=not self.open_ended,
            unique=list(self.key) or None,
            name=self.kind,
        )

    def narrowed(
        self, column: str, *checks: pa.Check, nullable: bool | None = None
    ) -> "TableContract":
        """The contract with more asked of one column, such as the scores' upper end.

        Raises:
            ColumnMissing: The contract has no such column.
        """
        known = list(self.model.to_schema().columns)
        if column not in known:
            raise ColumnMissing(column=column, table=self.kind, available=known)
        return replace(self, narrowings=(*self.narrowings, Narrowing(column, checks, nullable)))

    def next_step(self, check: str) -> str:
        """What to do when `check` fails on this table."""
        return f"{NEXT_STEPS.get(check, 'Look at the rows named here')}, and run again."


def part_check(part: str, check: str) -> str:
    """The name under which a check of a part is reported beside those of the main rows."""
    return part if check == SCHEMA_CHECK else f"{part}_{check}"


EXCLUDED = TableContract("excluded", Excluded, ("customer_id",), ("customer_id",))
TRANSACTION_DATA = TableContract(
    "transaction_data",
    TransactionData,
    (),
    ("customer_id", "date", "order_id", "amount"),
    open_ended=True,
)
TRANSACTION_DATA_REJECTS = TableContract(
    "transaction_data_rejects", TransactionDataRejects, (), ("source", "source_line", "reason")
)
CUSTOMER_DATA = TableContract(
    "customer_data", CustomerData, ("customer_id",), ("customer_id",), open_ended=True
)
CUSTOMER_SEGMENTS = TableContract(
    "customer_segments",
    CustomerSegments,
    ("customer_id",),
    ("customer_id",),
    open_ended=True,
    parts={"excluded": EXCLUDED},
)
SEGMENT_MOVEMENT = TableContract(
    "segment_movement",
    SegmentMovement,
    ("from_segment", "to_segment"),
    ("from_segment", "to_segment"),
)
CUSTOMER_LIFETIME_VALUE = TableContract(
    "customer_lifetime_value", CustomerLifetimeValue, ("customer_id",), ("customer_id",)
)
BEHAVIORAL_SEGMENTS = TableContract(
    "behavioral_segments",
    BehavioralSegments,
    ("customer_id",),
    ("customer_id",),
    open_ended=True,
    parts={
        "profiles": TableContract(
            "profiles", ClusterProfiles, ("cluster", "feature"), ("cluster", "feature")
        )
    },
)
SEGMENT_VALIDATION = TableContract(
    "segment_validation",
    SegmentValidation,
    ("candidate", "segment"),
    ("candidate", "segment"),
    parts={
        "scores": TableContract(
            "scores", ValidationScores, ("candidate", "of"), ("candidate", "of")
        )
    },
)
EVENT_DATA = TableContract(
    "event_data",
    EventData,
    (),
    ("customer_id", "timestamp", "event"),
    open_ended=True,
)
EVENT_DATA_REJECTS = TableContract(
    "event_data_rejects", TransactionDataRejects, (), ("source", "source_line", "reason")
)
CUSTOMER_BEHAVIOR = TableContract(
    "customer_behavior",
    CustomerBehavior,
    ("customer_id",),
    ("customer_id",),
    open_ended=True,
    parts={
        "signals": TableContract(
            "signals", RiskSignals, ("customer_id", "signal"), ("customer_id", "signal")
        ),
        "insights": TableContract("insights", BehaviorInsights, ("signal",), ("rank",)),
        "excluded": EXCLUDED,
    },
)
CHURN_SCORES = TableContract(
    "churn_scores",
    ChurnScores,
    ("customer_id",),
    ("customer_id",),
    parts={
        "rejects": TableContract(
            "rejects", ChurnScoreRejects, (), ("source", "source_line", "reason")
        )
    },
)
CHURN_AWARE_SEGMENTS = TableContract(
    "churn_aware_segments",
    ChurnAwareSegments,
    ("customer_id",),
    ("customer_id",),
    parts={"excluded": EXCLUDED},
)
SEGMENT_SUMMARY = TableContract("segment_summary", SegmentSummary, ("segment",), ("segment",))
SUPPRESSION_LIST = TableContract(
    "suppression_list", SuppressionList, ("customer_id",), ("customer_id",)
)
CAMPAIGN_LIST = TableContract(
    "campaign_list",
    CampaignList,
    ("customer_id",),
    ("rank",),
    open_ended=True,
    parts={
        "excluded": EXCLUDED,
        "control": TableContract(
            "control", ControlGroup, ("customer_id",), ("customer_id",), open_ended=True
        ),
    },
)
CAMPAIGN_OUTCOME = TableContract("campaign_outcome", CampaignOutcome, ("campaign",), ("campaign",))
CAMPAIGN_SENDS = TableContract(
    "campaign_sends",
    CampaignSends,
    (),
    ("sent_at", "customer_id", "campaign"),
    parts={
        "rejects": TableContract(
            "rejects", CampaignSendRejects, (), ("source", "source_line", "reason")
        )
    },
)

CONTRACTS: Mapping[str, TableContract] = {
    contract.kind: contract
    for contract in (
        TRANSACTION_DATA,
        TRANSACTION_DATA_REJECTS,
        CUSTOMER_DATA,
        CUSTOMER_SEGMENTS,
        SEGMENT_MOVEMENT,
        SEGMENT_SUMMARY,
        SUPPRESSION_LIST,
        CAMPAIGN_LIST,
        CAMPAIGN_OUTCOME,
        CAMPAIGN_SENDS,
        CUSTOMER_LIFETIME_VALUE,
        BEHAVIORAL_SEGMENTS,
        CHURN_SCORES,
        CHURN_AWARE_SEGMENTS,
        EVENT_DATA,
        EVENT_DATA_REJECTS,
        CUSTOMER_BEHAVIOR,
        SEGMENT_VALIDATION,
    )
}
"""Every contract by the kind of table it describes."""
