"""Rules about a whole table rather than one column: rates, volumes, shares, totals.

Each is a pure function from numbers that its caller has computed to a worded outcome. How those
numbers are computed is the domain's business; constraints of single columns are in `schemas.py`.
"""

from rfm_assets.quality.behavior import behavior_known, inputs_mapped
from rfm_assets.quality.catalogue import (
    BEHAVIOR_RULES,
    CHURN_SCORE_RULES,
    CHURN_SEGMENT_RULES,
    CLUSTER_RULES,
    CUSTOMER_RULES,
    DATABASE_RULES,
    DESCRIPTIONS,
    EVENT_RULES,
    EXPORT_RULES,
    LIFETIME_VALUE_RULES,
    LIST_RULES,
    MOVEMENT_RULES,
    OUTCOME_RULES,
    SEGMENT_RULES,
    SEND_RULES,
    SUMMARY_RULES,
    SUPPRESSION_RULES,
    TRANSACTION_RULES,
    VALIDATION_RULES,
)
from rfm_assets.quality.churn import (
    churn_model_calibrated,
    churn_model_helps,
    scores_cover,
    scores_current,
    scores_set_aside,
)
from rfm_assets.quality.contacts import (
    attributes_readable,
    entries_dated,
    entries_known,
    entries_readable,
    entries_volume,
    identifiers_usable,
    no_suppressed_customer,
    suppression_current,
)
from rfm_assets.quality.learned import (
    candidates_computed,
    clusters_stable,
    holdout_error,
    segments_predict,
)
from rfm_assets.quality.limits import (
    ChurnChecks,
    LifetimeValueChecks,
    SegmentChecks,
    SendChecks,
    TransactionChecks,
)
from rfm_assets.quality.outcomes import claims_follow_intervals, groups_as_drawn
from rfm_assets.quality.segments import (
    Shift,
    drift,
    largest_segment,
    later_weeks_current,
    reference_drift,
    transactions_cover_week,
)
from rfm_assets.quality.sends import (
    list_large_enough,
    sends_current,
    sends_set_aside,
    sends_volume,
)
from rfm_assets.quality.totals import reconciles, same_in_database
from rfm_assets.quality.transactions import freshness, reject_rate, volume

__all__ = [
    "BEHAVIOR_RULES",
    "CHURN_SCORE_RULES",
    "CHURN_SEGMENT_RULES",
    "CLUSTER_RULES",
    "CUSTOMER_RULES",
    "DATABASE_RULES",
    "DESCRIPTIONS",
    "EVENT_RULES",
    "EXPORT_RULES",
    "LIFETIME_VALUE_RULES",
    "LIST_RULES",
    "MOVEMENT_RULES",
    "OUTCOME_RULES",
    "SEGMENT_RULES",
    "SEND_RULES",
    "SUMMARY_RULES",
    "SUPPRESSION_RULES",
    "TRANSACTION_RULES",
    "VALIDATION_RULES",
    "ChurnChecks",
    "LifetimeValueChecks",
    "SegmentChecks",
    "SendChecks",
    "Shift",
    "TransactionChecks",
    "attributes_readable",
    "behavior_known",
    "candidates_computed",
    "churn_model_calibrated",
    "churn_model_helps",
    "claims_follow_intervals",
    "clusters_stable",
    "drift",
    "entries_dated",
    "entries_known",
    "entries_readable",
    "entries_volume",
    "freshness",
    "groups_as_drawn",
    "holdout_error",
    "identifiers_usable",
    "inputs_mapped",
    "largest_segment",
    "later_weeks_current",
    "list_large_enough",
    "no_suppressed_customer",
    "reconciles",
    "reference_drift",
    "reject_rate",
    "same_in_database",
    "scores_cover",
    "scores_current",
    "scores_set_aside",
    "segments_predict",
    "sends_current",
    "sends_set_aside",
    "sends_volume",
    "suppression_current",
    "transactions_cover_week",
    "volume",
]
