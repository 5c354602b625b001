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


def column(check: str, description: str, **constraints: Any) -> Any:
    """A Pandera field that belongs to the named check and explains itself in the catalogue."""
    return pa.Field(metadata={"check": check}, description=description, **constraints)


class TransactionData(pa.DataFrameModel):
    """Canonical transactions: one row per order line, order, payment or charge."""

    customer_id: Series[str] = column(
        "customer_ids", "Customer, in one canonical spelling", str_length={"min_value": 1}
    )
    order_id: Series[str] = column(
        "customer_ids",
        "Purchase the row belongs to; empty means the row is a purchase of its own",
        nullable=True,
    )
    date: Series[datetime] = column("dates", "When it happened, in the business time zone")
    day: Series[pa.Int32] = column(
        "dates",
        "The same day, in days since 1970-01-01 in the business time zone",
        in_range={"min_value": -25567, "max_value": 95026},
    )
    amount: Series[float] = column(
        "value_ranges",
        "Signed amount in one currency; negative is a refund",
        in_range={"min_value": -1e12, "max_value": 1e12},
    )


class TransactionDataRejects(pa.DataFrameModel):
    """Rows that could not be used, as they stood in the source, each with its reason."""

    source: Series[str] = column("column_types", "File, table or query the row came from")
    source_line: Series[pa.Int64] = column(
        "value_ranges", "Line in a file or row in a table, counted from 1", ge=1
    )
    reason: Series[str] = column(
        "known_reasons", "Why the row was set aside", str_length={"min_value": 1}
    )
    detail: Series[str] = column("column_types", "The value at fault, as it stood", nullable=True)
    customer_id: Series[str] = column("column_types", "Customer id as it stood", nullable=True)
    order_id: Series[str] = column("column_types", "Order id as it stood", nullable=True)
    date: Series[str] = column("column_types", "Date as it stood", nullable=True)
    amount: Series[str] = column(
        "column_types", "Amount, or what it is made from, as it stood", nullable=True
    )


class CustomerData(pa.DataFrameModel):
    """Attributes of customers, one row each: consent, country and whatever else is mapped."""

    customer_id: Series[str] = column(
        "unique_customers", "Customer", unique=True, str_length={"min_value": 1}
    )


class CustomerSegments(pa.DataFrameModel):
    """One row per customer and date: recency, frequency, monetary, scores and segment."""

    customer_id: Series[str] = column(
        "unique_customers", "Customer", unique=True, str_length={"min_value": 1}
    )
    recency: Series[pa.Int32] = column(
        "value_ranges", "Whole days from the last purchase to as_of", ge=1
    )
    frequency: Series[pa.Int32] = column(
        "value_ranges", "Distinct purchases in the observation window", ge=0
    )
    monetary: Series[float] = column("value_ranges", "Net spend in the observation window")
    R_score: Series[pa.Int8] = column(
        "scores_in_range", "Recency score, 1..n, high is recent", ge=1
    )
    F_score: Series[pa.Int8] = column(
        "scores_in_range", "Frequency score, 1..n, high is frequent", ge=1
    )
    M_score: Series[pa.Int8] = column("scores_in_range", "Monetary score, 1..n, high is much", ge=1)
    RFM_score: Series[float] = column("scores_in_range", "Weighted mean of the three scores", ge=1)
    rfm_cell: Series[str] = column("scores_in_range", "The three scores side by side, such as 545")
    segment: Series[str] = column("known_segments", "Segment by the scheme's rules", nullable=True)
    recommendation: Series[str] = column(
        "column_types", "What the scheme recommends", nullable=True
    )
    previous_segment: Series[str] = column(
        "column_types", "Segment in the snapshot before", nullable=True
    )
    segmented_at: Series[datetime] = column("column_types", "UTC time of the computation")
    as_of: Series[date] = column(
        "single_as_of", "The date the row describes; later data is invisible"
    )
    last_purchase_date: Series[date] = column(
        "value_ranges", "Day of the last purchase in the window"
    )


class Excluded(pa.DataFrameModel):
    """Customers who are left out of a table, each with one reason."""

    customer_id: Series[str] = column("unique_customers", "Customer", unique=True)
    stage: Series[str] = column("column_types", "Stage that removed the customer")
    reason: Series[str] = column("column_types", "Why the customer was removed")


class SegmentMovement(pa.DataFrameModel):
    """One row per pair of segments: who moved from the snapshot before to this one."""

    as_of: Series[date] = column("single_as_of", "This snapshot")
    previous_as_of: Series[date] = column("column_types", "The snapshot before", nullable=True)
    from_segment: Series[str] = column("known_segments", "Segment before, or (new)")
    to_segment: Series[str] = column("known_segments", "Segment now, or (left)")
    customers: Series[pa.Int64] = column("value_ranges", "Customers who made this move", ge=1)
    monetary_before: Series[float] = column("value_ranges", "Their monetary in the snapshot before")
    monetary_now: Series[float] = column("value_ranges", "Their monetary in this snapshot")


class SegmentSummary(pa.DataFrameModel):
    """One row per segment of the scheme, also the empty ones."""

    as_of: Series[date] = column("single_as_of", "The snapshot")
    segment: Series[str] = column("known_segments", "Segment", unique=True)
    customers: Series[pa.Int64] = column("value_ranges", "Customers in the segment", ge=0)
    customers_pct: Series[float] = column(
        "value_ranges",
        "Share of all customers, 0..100",
        in_range={"min_value": 0, "max_value": 100},
    )
    monetary_total: Series[float] = column("value_ranges", "Net spend of the segment")
    monetary_mean: Series[float] = column("value_ranges", "Net spend per customer", nullable=True)
    monetary_pct: Series[float] = column(
        "value_ranges", "Share of all net spend, in per cent", nullable=True
    )
    recency_mean: Series[float] = column(
        "value_ranges", "Mean recency in days", nullable=True, ge=1
    )
    frequency_mean: Series[float] = column("value_ranges", "Mean purchases", nullable=True, ge=0)
    customers_change: Series[pa.Int64] = column(
        "value_ranges", "Customers now less those in the snapshot before", nullable=True
    )
    benchmark_low_pct: Series[float] = column(
        "value_ranges", "Typical share, lower end", nullable=True
    )
    benchmark_high_pct: Series[float] = column(
        "value_ranges", "Typical share, upper end", nullable=True
    )
    success_hours: Series[float] = column(
        "value_ranges", "Share of the weekly customer-success hours, by value", nullable=True, ge=0
    )
    loyalty_tier: Series[str] = column(
        "column_types", "Loyalty tier the segment maps to", nullable=True
    )


class SuppressionList(pa.DataFrameModel):
    """Customers who must not be contacted, each once, with the strongest reason."""

    customer_id: Series[str] = column(
        "unique_customers", "Customer", unique=True, str_length={"min_value": 1}
    )
    reason: Series[str] = column("known_reasons", "Why the customer is suppressed")
    source: Series[str] = column("column_types", "Where the entry comes from: a file or a segment")
    since: Series[date] = column(
        "column_types", "Day the entry took effect, where it is known", nullable=True
    )
    as_of: Series[date] = column("single_as_of", "The snapshot")


class CampaignList(pa.DataFrameModel):
    """Deliverable customers of one campaign, best first."""

    customer_id: Series[str] = column(
        "unique_customers", "Customer", unique=True, str_length={"min_value": 1}
    )
    rank: Series[pa.Int64] = column(
        "ranks_complete", "Position by priority, from 1", ge=1, unique=True
    )
    priority: Series[float] = column(
        "value_ranges", "Value of the priority expression", nullable=True
    )
    segment: Series[str] = column("known_segments", "Segment", nullable=True)
    as_of: Series[date] = column("single_as_of", "The snapshot")


NEXT_STEPS: Mapping[str, str] = {
    "column_types": "Compare the columns handed over with the reference page of this table",
    "customer_ids": "Look at the mapping of customer_id and order_id and at the rejected rows",
    "dates": "Look at the mapping and format of the date column and at the declared time zone",
    "value_ranges": "Look at the rows named here, then at the amount expression and its currency",
    "known_reasons": "Give every row of this table one of the documented reasons",
    "unique_customers": "Look for a join or an input that repeats customers",
    "scores_in_range": "Look at the cut points of this snapshot and at the number of bins",
    "known_segments": "Look at the segment scheme: each row needs one of its segments",
    "single_as_of": "Publish the rows of each date as a snapshot of their own",
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

    @property
    def check_names(self) -> tuple[str, ...]:
        """The checks that validation reports for this table, parts included, in order."""
        own = dict.fromkeys(
            ["column_types", *(column.metadata["check"] for column in self.schema.columns.values())]
        )
        of_parts = (
            part_check(part, check)
            for part, contract in self.parts.items()
            for check in contract.check_names
        )
        return (*own, *of_parts)

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
    return f"{part}_{check}"


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
    parts={"excluded": EXCLUDED},
)
