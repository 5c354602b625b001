"""The limits of the rules that a project can set: when a table is suspicious, when unusable."""

from datetime import date

from pydantic import Field, model_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.errors import InvalidConfig


class TransactionChecks(ConfigModel):
    """When transactions are suspicious, and when they are too bad to use."""

    warn_reject_rate: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of rows set aside (0..1) above which a run warns.",
    )
    block_reject_rate: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of rows set aside (0..1) above which nothing is published.",
    )
    max_volume_fall: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Share (0..1) by which the number of kept rows may fall since the last run before "
            "nothing is published; 1 allows any fall but that to no rows."
        ),
    )
    max_age_days: int | None = Field(
        default=14,
        ge=1,
        le=36_500,
        description="Age of the newest row in days above which a run warns; null never warns.",
    )

    @model_validator(mode="after")
    def _warn_before_blocking(self) -> "TransactionChecks":
        _ordered("warn_reject_rate", self.warn_reject_rate, self.block_reject_rate)
        return self


class SendChecks(ConfigModel):
    """When a log of sends is too bad to decide by it whom to leave alone."""

    block_reject_rate: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of rows set aside (0..1) above which nothing is published.",
    )
    max_volume_fall: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share (0..1) by which the number of sends may fall since the last run before "
        "nothing is published.",
    )


class LifetimeValueChecks(ConfigModel):
    """When the estimates were so wrong on the last days that a run warns."""

    warn_holdout_error: float = Field(
        default=0.3,
        gt=0,
        le=10,
        description="Share (0..) by which the purchases expected of the holdout may be off.",
    )


class ChurnChecks(ConfigModel):
    """When churn scores are suspicious."""

    warn_uncovered_share: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the customers (0..1) without a churn score above which a run warns.",
    )
    warn_calibration_error: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="Mean distance of predicted and observed churn (0..1) above which a run warns.",
    )


class SegmentChecks(ConfigModel):
    """When a distribution of segments is suspicious, and when it must not be used."""

    warn_largest_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="Share of customers (0..1) in the largest segment above which a run warns.",
    )
    warn_drift: float = Field(
        default=0.1,
        ge=0,
        le=100,
        description="Population stability index against the last snapshot above which a run warns.",
    )
    block_drift: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description=(
            "Population stability index against the last snapshot above which nothing is published."
        ),
    )

    drift_min_customers: int = Field(
        default=100,
        ge=0,
        description="Customers below which drift is told but never fails: of a few customers, "
        "one who moves is a large share.",
    )
    reference: date | None = Field(
        default=None,
        description="Date of a snapshot that every later one is compared with as well; the same "
        "limits hold.",
    )

    @model_validator(mode="after")
    def _warn_before_blocking(self) -> "SegmentChecks":
        _ordered("warn_drift", self.warn_drift, self.block_drift)
        return self


def _ordered(key: str, warn: float, block: float) -> None:
    if warn > block:
        raise InvalidConfig(
            key=key,
            value=warn,
            reason=f"is above the limit {block:g} at which nothing is published",
            fix="Warn at or below the limit that blocks.",
        )
