"""The component types, each imported when it is asked for. Their code is in the modules."""

from importlib import import_module
from typing import Any

_MODULES = {
    "AlertsComponent": "alerts",
    "BehaviorAnalysisComponent": "behavior_analysis",
    "BehavioralSegmentsComponent": "behavioral_segments",
    "ChurnAwareSegmentationComponent": "churn_aware_segments",
    "ChurnScoresComponent": "churn_scores",
    "CampaignExportComponent": "campaign_export",
    "CampaignListComponent": "campaign_list",
    "CampaignOutcomeComponent": "campaign_outcome",
    "CampaignSendsComponent": "campaign_sends",
    "CustomerDataComponent": "customer_data",
    "CustomerSegmentationComponent": "customer_segments",
    "DeploymentComponent": "deployment",
    "EventDataComponent": "event_data",
    "LifetimeValueComponent": "lifetime_value",
    "PublishToPostgresComponent": "publish_to_postgres",
    "ReportComponent": "report",
    "SegmentMovementComponent": "segment_movement",
    "SegmentSummaryComponent": "segment_summary",
    "SegmentValidationComponent": "segment_validation",
    "SuppressionListComponent": "suppression_list",
    "TransactionDataComponent": "transaction_data",
    "WeeklyRefreshComponent": "weekly_refresh",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*_MODULES]
