"""Segments in a notebook, without Dagster, a store or a YAML file.

What the numbers mean does not belong here (`domain/segments.py`), nor how dirty sources are
cleaned (`domain/transactions.py`): this takes clean transactions and says where they are not.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, TypeVar

import duckdb
import narwhals as nw
import pyarrow as pa
from narwhals.dependencies import (
    is_pandas_dataframe,
    is_polars_dataframe,
    is_polars_lazyframe,
)
from pydantic import ValidationError

from rfm_assets.domain.frames import Table
from rfm_assets.domain.segments import SegmentationConfig, segment
from rfm_assets.engines.base import Engine, to_arrow
from rfm_assets.engines.opening import engine_for_native
from rfm_assets.errors import (
    ColumnMissing,
    InvalidAsOf,
    InvalidConfig,
    InvalidSettings,
    UnusableTransactions,
    did_you_mean,
)
from rfm_assets.library import load_scheme

FrameT = TypeVar("FrameT")

TABLE = "transactions"

LARGEST_WHOLE_FLOAT = 2.0**53
"""Beyond it a float does not tell whole numbers apart, and so cannot be an id."""

LARGEST_AMOUNT = 1e12
"""As in `schemas.Transactions`: what is larger is an error of the source."""

FAULTS = {
    "customer_id": "missing or not a whole number",
    "date": "missing",
    "amount": f"missing, infinite or beyond {LARGEST_AMOUNT:,.0f}",
    "refund_amount": f"negative, infinite or beyond {LARGEST_AMOUNT:,.0f}",
}


def segment_customers(transactions: FrameT, *, as_of: date | str, **config: Any) -> FrameT:
    """Recency, frequency, monetary, scores and segment of each customer.

    Args:
        transactions: `customer_id`, `date` and `amount` (negative is a refund), optionally
            `order_id`, which groups lines into one purchase. A pandas or polars DataFrame, a
            polars LazyFrame, a pyarrow Table or a DuckDB relation.
        as_of: The date to describe; rows of that day and later are invisible.
        **config: The keys of `CustomerSegmentationComponent`, such as `analysis_period_days=180`
            or `segment_scheme="rfm_11"`; see `SegmentationConfig`.

    Returns:
        One row per customer, sorted by customer_id, in the kind of frame that was given. The
        columns are those of the stored customer_segments less segmented_at. A DuckDB relation
        comes back on DuckDB's default connection.

    Raises:
        UnsupportedFrame: `transactions` is not a frame.
        ColumnMissing: A column is missing.
        UnusableTransactions: Customers, dates or amounts are missing, infinite, beyond 1e12 or of
            a wrong type.
        AmountsTooLarge: The amounts together cannot be added up exactly.
        InvalidSettings: A key or value of `config` is wrong.
        InvalidAsOf: `as_of` is not a date.
        UnknownScheme, InvalidScheme: The segment scheme cannot be used.
    """
    day = _as_date(as_of)
    settings = _settings(config)
    scheme = load_scheme(settings.segment_scheme) if settings.use_predefined_segments else None
    with engine_for_native(transactions) as engine:
        result = segment(
            _canonical(engine.from_native(transactions), engine),
            as_of=day,
            config=settings,
            scheme=scheme,
            checkpoint=engine.checkpoint,
        )
        return _like(transactions, to_arrow(result.table.sort("customer_id")))


def _as_date(as_of: object) -> date:
    if isinstance(as_of, str):
        try:
            return date.fromisoformat(as_of)
        except ValueError as error:
            raise InvalidAsOf(given=as_of) from error
    if isinstance(as_of, date) and not isinstance(as_of, datetime):
        return as_of
    raise InvalidAsOf(given=as_of)


def _settings(config: Mapping[str, Any]) -> SegmentationConfig:
    try:
        settings = SegmentationConfig(**config)
    except ValidationError as error:
        problems: list[tuple[str, str]] = []
        for detail in error.errors():
            key = ".".join(str(part) for part in detail["loc"])
            message = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
                message = f"is no key. {did_you_mean(key, list(SegmentationConfig.model_fields))}"
            problems.append((key, message))
        raise InvalidSettings(problems=problems) from error
    if settings.cut_points != "each_run":
        raise InvalidConfig(
            key="cut_points",
            value=config["cut_points"],
            reason="needs a stored snapshot, which a notebook's frame has not",
            fix="Give their values as `thresholds` with `scoring_method='custom'`.",
        )
    return settings


def _canonical(table: Table, engine: Engine) -> Table:
    """The table with canonical types and `day`; nothing is guessed, dropped or repaired."""
    schema = table.collect_schema()
    for name in ("customer_id", "date", "amount"):
        if name not in schema:
            raise ColumnMissing(column=name, table=TABLE, available=schema.names())
    _refuse_types(schema)
    no_order = nw.lit(None, dtype=nw.String).alias("order_id")
    typed = table.select(
        _identifier("customer_id", schema),
        _identifier("order_id", schema) if "order_id" in schema else no_order,
        nw.col("date").cast(nw.Datetime("us")),
        nw.col("amount").cast(nw.Float64),
        *([nw.col("refund_amount").cast(nw.Float64)] if "refund_amount" in schema else []),
    )
    _refuse_values(typed)
    return engine.day_number(typed, "date")


def _identifier(column: str, schema: nw.Schema) -> nw.Expr:
    """Text of an id. pandas makes whole numbers with gaps into floats: 17850.0 is 17850 again."""
    value = nw.col(column)
    if not schema[column].is_float():
        return value.cast(nw.String)
    whole = value.is_finite() & (value.floor() == value) & (value.abs() <= LARGEST_WHOLE_FLOAT)
    return nw.when(whole).then(value).cast(nw.Int64).cast(nw.String).alias(column)


def _refuse_types(schema: nw.Schema) -> None:
    found: dict[str, str] = {}
    for name in ("customer_id", "order_id"):
        dtype = schema.get(name, nw.String())
        # A column that is all null has no type yet, and no value to misread.
        texts = {nw.String, nw.Categorical, nw.Enum, nw.Unknown}
        if not (dtype.is_integer() or dtype.is_float() or dtype in texts):
            found[name] = f"{dtype} rather than text or whole numbers"
    if schema["date"] != nw.Date and not isinstance(schema["date"], nw.Datetime):
        found["date"] = f"{schema['date']} rather than dates; parse it first"
    if isinstance(schema["date"], nw.Datetime) and schema["date"].time_zone is not None:
        found["date"] = "with a time zone; convert to the business time zone and drop the zone"
    for name in ("amount", "refund_amount"):
        if name in schema and not schema[name].is_numeric():
            found[name] = f"{schema[name]} rather than numbers"
    if found:
        raise UnusableTransactions(problems=found)


def _refuse_values(table: Table) -> None:
    customer, amount = nw.col("customer_id"), nw.col("amount")
    faults = {
        "customer_id": customer.is_null() | (customer == ""),
        "date": nw.col("date").is_null(),
        "amount": amount.is_null() | ~(amount.abs() <= LARGEST_AMOUNT) | amount.is_nan(),
    }
    if "refund_amount" in table.collect_schema().names():
        refund = nw.col("refund_amount")
        faults["refund_amount"] = ~refund.is_between(0, LARGEST_AMOUNT) | refund.is_nan()
    counted = table.select(
        *[fault.cast(nw.Int64).sum().alias(name) for name, fault in faults.items()]
    ).collect("pyarrow")
    numbers = {name: int(counted.get_column(name).to_list()[0] or 0) for name in faults}
    found = {
        name: f"{FAULTS[name]} in {number:,} rows" for name, number in numbers.items() if number
    }
    if found:
        raise UnusableTransactions(problems=found)


def _like(given: object, result: pa.Table) -> Any:
    if isinstance(given, nw.DataFrame | nw.LazyFrame):
        return nw.from_native(_like(given.to_native(), result))
    if is_pandas_dataframe(given):
        from rfm_assets.loading import to_pandas

        return to_pandas(result)
    if is_polars_dataframe(given) or is_polars_lazyframe(given):
        import polars as pl

        frame = pl.DataFrame(result)
        return frame if is_polars_dataframe(given) else frame.lazy()
    if isinstance(given, duckdb.DuckDBPyRelation):
        return duckdb.from_arrow(result)
    return result
