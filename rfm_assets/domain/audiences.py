"""Who a campaign is for, and which of them consent: its settings, held to the columns there are.

What removes customers after that is in `campaigns.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import narwhals as nw
from pydantic import Field, field_validator

from rfm_assets.domain.config import ConfigModel
from rfm_assets.domain.contact_rules import CoolOff, ExclusiveGroup, FrequencyCap
from rfm_assets.domain.controls import ControlConfig
from rfm_assets.domain.expressions import Expression, parse
from rfm_assets.domain.frames import Table, kinds_of
from rfm_assets.domain.kinds import Kind
from rfm_assets.domain.waterfall import Stage
from rfm_assets.errors import ColumnMissing, InvalidConfig, InvalidExpression

LIST_COLUMNS: tuple[str, ...] = ("customer_id", "rank", "priority", "segment", "as_of")
CONTROL_COLUMNS: tuple[str, ...] = (
    "customer_id", "experiment", "kind", "comparable", "priority", "segment", "as_of",
)  # fmt: skip
"""Columns of the control group; `comparable` customers rank among those who are on the list."""


class ConsentRule(ConfigModel):
    """Which column says that a customer may be contacted."""

    column: str = Field(
        description="Boolean column of the segments table that records consent.",
        examples=["marketing_consent"],
    )
    unknown: Literal["exclude", "include"] = Field(
        default="exclude", description="What to do with customers whose consent is not recorded."
    )


class CampaignConfig(ConfigModel):
    """Who is on a campaign list, in which order, and with which columns."""

    segments: tuple[str, ...] = Field(
        default=(),
        description="Segments in the audience, by name, id or alias; empty means every segment.",
    )
    where: str | None = Field(
        default=None,
        description="Condition on the columns of the segments table, such as `monetary >= 100`.",
    )
    consent: ConsentRule | None = Field(
        default=None, description="Consent that a customer must have given to be on the list."
    )
    cool_off: CoolOff | None = Field(
        default=None, description="How long a customer is left alone after a send."
    )
    frequency_cap: FrequencyCap | None = Field(
        default=None, description="How many sends a customer may get within some days."
    )
    exclusive_group: ExclusiveGroup | None = Field(
        default=None,
        description="Campaigns that share their customers; whoever is on the list of one of higher "
        "priority, or in its control group, is not on this one.",
    )
    control: ControlConfig | None = Field(
        default=None, description="A share of the eligible customers who are left alone."
    )
    baseline_rate: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share (0..1) that buys without the campaign, for the smallest uplift that "
        "could be shown.",
    )
    priority: str = Field(
        default="monetary",
        description="Number that orders the list, highest first; ties go by customer id.",
    )
    size_limit: int | None = Field(
        default=None,
        ge=1,
        description="Most customers on the list; those of lowest priority are left out.",
    )
    minimum_size: int | None = Field(
        default=None,
        ge=1,
        description="Fewest customers on the list; below it nothing is published.",
    )
    columns: tuple[str, ...] = Field(
        default=("recency", "frequency", "monetary", "recommendation"),
        description="Columns of the segments table to carry along beside id, rank and segment.",
    )

    @field_validator("where", "priority")
    @classmethod
    def _is_an_expression(cls, text: str | None) -> str | None:
        try:
            if text is not None:
                parse(text)
        except InvalidExpression as error:
            raise ValueError(str(error)) from error
        return text


def audience_of(customers: Table, config: CampaignConfig, segments: Sequence[str]) -> Table:
    """Ids of the customers whom a campaign is for, before any stage removes one."""
    marks = marks_of(config, segments, kinds_of(customers))
    return customers.select("customer_id", **marks).filter(eligible()).select("customer_id")


def marks_of(
    config: CampaignConfig, segments: Sequence[str], kinds: Mapping[str, Kind]
) -> dict[str, nw.Expr]:
    """Whether a customer is in the segments, and whether she matches the condition."""
    where = typed(config.where, kinds, "boolean", key="where") if config.where else None
    inside = nw.col("segment").is_in(list(segments)).fill_null(value=False)
    return {
        "_in_segments": inside if segments else nw.lit(value=True),
        "_matches": where.to_narwhals(kinds).fill_null(value=False)
        if where
        else nw.lit(value=True),
    }


def eligible() -> nw.Expr:
    """Whether a marked customer is in the audience."""
    return nw.col("_in_segments") & nw.col("_matches")


def typed(text: str, kinds: Mapping[str, Kind], wanted: Kind, *, key: str) -> Expression:
    """An expression of the YAML, held to the columns and the kind of value that is wanted."""
    try:
        expression = parse(text)
        expression.type_check(kinds, expected=wanted)
    except InvalidExpression as error:
        raise error.named(key) from error
    return expression


def requirements(
    config: CampaignConfig, kinds: Mapping[str, Kind]
) -> Iterator[Callable[[], object]]:
    """What must hold of the columns that there are, each raising what is wrong if it does not.

    Args:
        config: The campaign.
        kinds: What each column of the customers holds.
    """
    if config.where is not None:
        yield partial(typed, config.where, kinds, "boolean", key="where")
    yield partial(typed, config.priority, kinds, "number", key="priority")
    if config.consent is not None:
        yield partial(consent_stage, config.consent, kinds)
    for number, name in enumerate(config.columns):
        yield partial(_require_column, name, kinds, key=f"columns[{number}]")


def _require_column(name: str, kinds: Mapping[str, Kind], *, key: str) -> None:
    """Raise if a column that is to be carried along is not there, or has a name that is taken."""
    if name not in kinds:
        raise ColumnMissing(column=name, table="customer_segments", available=list(kinds), key=key)
    if name in CONTROL_COLUMNS and name not in LIST_COLUMNS:
        raise InvalidConfig(
            key=key,
            value=name,
            reason="is a column of the control group",
            fix="Give the customers' column another name where it is mapped.",
        )


def consent_stage(consent: ConsentRule, kinds: Mapping[str, Kind]) -> Stage:
    """Remove who did not consent, and who is not known to."""
    if consent.column not in kinds:
        raise ColumnMissing(
            column=consent.column,
            table="customer_segments",
            available=list(kinds),
            key="consent.column",
        )
    if kinds[consent.column] != "boolean":
        raise InvalidConfig(
            key="consent.column",
            value=consent.column,
            reason=f"holds {kinds[consent.column]}s, not true and false",
            fix="Name a boolean column, or write the rule as `where`.",
        )
    given = nw.col(consent.column)
    removed = ~given.fill_null(value=consent.unknown == "include")
    reason = (
        nw.when(given.is_null())
        .then(nw.lit("consent not recorded"))
        .otherwise(nw.lit("consent not given"))
    )
    return Stage("consent", removed, reason)
