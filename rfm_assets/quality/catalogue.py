"""Which rules each kind of table has, and what each of them asks. The rules are beside it."""

from collections.abc import Mapping

TRANSACTION_RULES = ("rows_reconcile", "reject_rate", "volume", "freshness")
SEGMENT_RULES = (
    "transactions_cover_week",
    "customers_reconcile",
    "money_reconciles",
    "largest_segment",
    "drift",
    "reference_drift",
    "later_weeks_current",
)
CUSTOMER_RULES = ("attributes_readable",)
MOVEMENT_RULES = ("customers_reconcile",)
SUMMARY_RULES = ("customers_reconcile",)
CLUSTER_RULES = ("customers_reconcile", "clusters_stable")
LIFETIME_VALUE_RULES = ("customers_reconcile", "holdout_error")
CHURN_SCORE_RULES = (
    "rows_reconcile",
    "scores_set_aside",
    "scores_cover",
    "churn_model_helps",
    "churn_model_calibrated",
)
CHURN_SEGMENT_RULES = ("customers_reconcile", "largest_segment", "scores_current")
EVENT_RULES = ("rows_reconcile", "reject_rate", "volume", "freshness")
BEHAVIOR_RULES = ("customers_reconcile", "inputs_mapped", "behavior_known")
VALIDATION_RULES = ("customers_reconcile", "segments_predict", "candidates_computed")
SUPPRESSION_RULES = ("entries_readable", "entries_dated", "entries_volume", "entries_known")
LIST_RULES = (
    "suppression_current",
    "sends_current",
    "no_suppressed_customer",
    "stages_reconcile",
    "list_large_enough",
)
OUTCOME_RULES = ("customers_reconcile", "claims_follow_intervals", "groups_as_drawn")
SEND_RULES = ("rows_reconcile", "sends_set_aside", "sends_volume")
EXPORT_RULES = (
    "suppression_current",
    "entries_readable",
    "export_reconciles",
    "no_suppressed_customer",
    "identifiers_usable",
)
DATABASE_RULES = ("published_rows_reconcile", "published_money_reconciles")

DESCRIPTIONS: Mapping[str, str] = {
    "rows_reconcile": "Blocks. Rows read = rows kept + rows set aside + rows dropped by policy.",
    "reject_rate": "Blocks past a declared share of rows set aside; warns before.",
    "volume": "Blocks when nothing is left, or far fewer rows than in the last run.",
    "freshness": "Warns when the newest transaction is old.",
    "transactions_cover_week": "Warns when the transactions were read before the week was over.",
    "customers_reconcile": "Blocks. The customers of this table and those left out add up to those "
    "of the tables it is made from.",
    "money_reconciles": "Blocks. The customers' spend adds up to that of the transactions.",
    "largest_segment": "Warns when one segment holds most of the customers.",
    "drift": "Blocks past a declared shift of the distribution since the last snapshot; warns "
    "before.",
    "reference_drift": "Blocks and warns likewise against a declared reference snapshot.",
    "later_weeks_current": "Warns when a later week was compared with a version of this week that "
    "is now replaced.",
    "attributes_readable": "Blocks when values of a boolean attribute, such as consent, cannot be "
    "read; warns for other kinds.",
    "clusters_stable": "Warns when customers would change clusters if these were learned from other "
    "customers of the same kind.",
    "holdout_error": "Warns when the model, fitted on earlier days, expected far more or fewer "
    "purchases of the last days than came.",
    "scores_set_aside": "Blocks when no churn score can be used; warns when some cannot.",
    "scores_cover": "Warns when many customers have no churn score.",
    "churn_model_helps": "Warns when the churn model did not tell more than recency alone.",
    "churn_model_calibrated": "Warns when predicted and observed churn were far apart.",
    "inputs_mapped": "Warns when the profile asks for inputs that are not there, so that signals "
    "stay unknown.",
    "behavior_known": "Warns when nothing is known of most customers.",
    "segments_predict": "Warns when the baseline's score tells nothing of who buys again.",
    "candidates_computed": "Warns when a candidate could not be computed from what there was.",
    "scores_current": "Warns when the churn scores are of an earlier date.",
    "entries_readable": "Blocks. Every line of the suppression entries could be read.",
    "entries_dated": "Warns when a `since` of the suppression entries cannot be read.",
    "entries_volume": "Blocks when far fewer entries are read than in the snapshot before.",
    "entries_known": "Warns when most entries match no customer.",
    "suppression_current": "Blocks. Every suppression list was computed recently, and its file is "
    "not too old.",
    "sends_current": "Blocks. The log of sends was read recently, and its file is not too old.",
    "no_suppressed_customer": "Blocks. Nobody on the list or in its control group is on a "
    "suppression list.",
    "stages_reconcile": "Blocks. Audience = deliverable customers + control group + customers "
    "excluded.",
    "list_large_enough": "Blocks. The list has at least `minimum_size` customers.",
    "claims_follow_intervals": "Blocks. No outcome of a list claims more than its interval allows.",
    "groups_as_drawn": "Warns when a list and its control group are not of the sizes that were "
    "declared.",
    "sends_set_aside": "Blocks past a declared share of sends that cannot be used; warns before.",
    "sends_volume": "Blocks when far fewer sends are read than in the last run.",
    "export_reconciles": "Blocks. Members of the list = sent + set aside + suppressed since.",
    "identifiers_usable": "Warns when many members of a list cannot be reached by a destination.",
    "published_rows_reconcile": "Blocks. Every table in the database has the snapshot's rows.",
    "published_money_reconciles": "Blocks. Money adds up to the same there, to a ten-thousandth.",
}
"""What each rule asks, for the catalogue; those that can keep a table back begin with Blocks."""
