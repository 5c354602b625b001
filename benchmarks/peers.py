"""The question as people write it elsewhere: the peers that `make bench` compares with.

`typical` is what most notebooks and tutorials do: lambdas in the aggregation, `qcut` on ranks,
and a row-wise `apply` for the names. `tuned` is what a careful pandas user would write; then the
same in polars and in SQL for DuckDB.
"""

from datetime import datetime

import pandas as pd
import polars as pl

SEGMENT_NAMES = {
    "champions": "Champions",
    "loyal": "Loyal Customers",
    "potential": "Potential Loyalists",
    "attention": "Need Attention",
    "risk": "At Risk",
    "sleep": "About to Sleep",
    "lost": "Lost",
}


def _name(row: pd.Series) -> str:
    r, f, m = row["R_score"], row["F_score"], row["M_score"]
    if r == 5 and f == 5 and m == 5:
        return SEGMENT_NAMES["champions"]
    if r >= 4 and f >= 3:
        return SEGMENT_NAMES["loyal"]
    if r >= 4:
        return SEGMENT_NAMES["potential"]
    if r == 3:
        return SEGMENT_NAMES["attention"]
    if f >= 4:
        return SEGMENT_NAMES["risk"]
    if f >= 2:
        return SEGMENT_NAMES["sleep"]
    return SEGMENT_NAMES["lost"]


def typical(transactions: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """Score and name customers the way tutorials do; columns customer_id, date, order_id, amount."""
    bought = transactions[transactions["amount"] > 0]
    rfm = bought.groupby("customer_id").agg(
        recency=("date", lambda dates: (as_of - dates.max()).days),
        frequency=("order_id", lambda orders: orders.nunique()),
        monetary=("amount", lambda amounts: amounts.sum()),
    )
    for column, label, order in (
        ("recency", "R_score", [5, 4, 3, 2, 1]),
        ("frequency", "F_score", [1, 2, 3, 4, 5]),
        ("monetary", "M_score", [1, 2, 3, 4, 5]),
    ):
        rfm[label] = pd.qcut(rfm[column].rank(method="first"), 5, labels=order).astype(int)
    rfm["segment"] = rfm.apply(_name, axis=1)
    return rfm.reset_index()


def tuned(transactions: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
    """The same with built-in aggregations and vectorised naming."""
    bought = transactions[transactions["amount"] > 0]
    groups = bought.groupby("customer_id", sort=False)
    rfm = pd.DataFrame(
        {
            "recency": (as_of - groups["date"].max()).dt.days,
            "frequency": groups["order_id"].nunique(),
            "monetary": groups["amount"].sum(),
        }
    )
    for column, label, order in (
        ("recency", "R_score", [5, 4, 3, 2, 1]),
        ("frequency", "F_score", [1, 2, 3, 4, 5]),
        ("monetary", "M_score", [1, 2, 3, 4, 5]),
    ):
        rfm[label] = pd.qcut(rfm[column].rank(method="first"), 5, labels=order).astype(int)
    r, f, m = rfm["R_score"], rfm["F_score"], rfm["M_score"]
    rfm["segment"] = SEGMENT_NAMES["lost"]
    for where, name in (
        (f >= 2, "sleep"),
        (f >= 4, "risk"),
        (r == 3, "attention"),
        (r >= 4, "potential"),
        ((r >= 4) & (f >= 3), "loyal"),
        ((r == 5) & (f == 5) & (m == 5), "champions"),
    ):
        rfm.loc[where, "segment"] = SEGMENT_NAMES[name]
    return rfm.reset_index()


def in_polars(path: str, as_of: datetime) -> pl.LazyFrame:
    """The question in lazy polars, from a Parquet file of canonical columns."""
    bought = pl.col("amount") > 0
    rfm = (
        pl.scan_parquet(path)
        .filter(pl.col("date") < as_of)
        .group_by("customer_id")
        .agg(
            recency=(as_of - pl.col("date").filter(bought).max()).dt.total_days(),
            frequency=pl.col("order_id").filter(bought).n_unique(),
            monetary=pl.col("amount").sum(),
        )
        .filter(pl.col("frequency") > 0)
    )
    scores = [
        (5 * (pl.col(column).rank("ordinal", descending=descending) - 1) // pl.len() + 1)
        .cast(pl.Int8)
        .alias(label)
        for column, label, descending in (
            ("recency", "R_score", True),
            ("frequency", "F_score", False),
            ("monetary", "M_score", False),
        )
    ]
    r, f, m = pl.col("R_score"), pl.col("F_score"), pl.col("M_score")
    named = (
        pl.when((r == 5) & (f == 5) & (m == 5))
        .then(pl.lit(SEGMENT_NAMES["champions"]))
        .when((r >= 4) & (f >= 3))
        .then(pl.lit(SEGMENT_NAMES["loyal"]))
        .when(r >= 4)
        .then(pl.lit(SEGMENT_NAMES["potential"]))
        .when(r == 3)
        .then(pl.lit(SEGMENT_NAMES["attention"]))
        .when(f >= 4)
        .then(pl.lit(SEGMENT_NAMES["risk"]))
        .when(f >= 2)
        .then(pl.lit(SEGMENT_NAMES["sleep"]))
        .otherwise(pl.lit(SEGMENT_NAMES["lost"]))
    )
    return rfm.with_columns(*scores).with_columns(segment=named)


_RFM_IN_DUCKDB = """
    WITH rfm AS (
        SELECT
            customer_id,
            date_diff('day', max(date) FILTER (amount > 0), $as_of) AS recency,
            count(DISTINCT order_id) FILTER (amount > 0) AS frequency,
            sum(amount) AS monetary
        FROM read_parquet($path)
        WHERE date < $as_of
        GROUP BY customer_id
        HAVING frequency > 0
    ),
"""
_RFM_IN_SPARK = """
    WITH rfm AS (
        SELECT
            customer_id,
            datediff(:as_of, max(date) FILTER (WHERE amount > 0)) AS recency,
            count(DISTINCT order_id) FILTER (WHERE amount > 0) AS frequency,
            sum(amount) AS monetary
        FROM transactions
        WHERE date < :as_of
        GROUP BY customer_id
        HAVING frequency > 0
    ),
"""
_SCORES_AND_SEGMENTS = """
    scored AS (
        SELECT
            *,
            ntile(5) OVER (ORDER BY recency DESC) AS R_score,
            ntile(5) OVER (ORDER BY frequency) AS F_score,
            ntile(5) OVER (ORDER BY monetary) AS M_score
        FROM rfm
    )
    SELECT
        *,
        CASE
            WHEN R_score = 5 AND F_score = 5 AND M_score = 5 THEN 'Champions'
            WHEN R_score >= 4 AND F_score >= 3 THEN 'Loyal Customers'
            WHEN R_score >= 4 THEN 'Potential Loyalists'
            WHEN R_score = 3 THEN 'Need Attention'
            WHEN F_score >= 4 THEN 'At Risk'
            WHEN F_score >= 2 THEN 'About to Sleep'
            ELSE 'Lost'
        END AS segment
    FROM scored
"""
SQL = _RFM_IN_DUCKDB + _SCORES_AND_SEGMENTS
"""The question as a careful user writes it for DuckDB."""

SPARK_SQL = _RFM_IN_SPARK + _SCORES_AND_SEGMENTS
"""And for Spark."""

SCAN = """
    SELECT count(*), max(customer_id), max(order_id), max(date), sum(amount)
    FROM read_parquet($path)
"""
"""The floor: nothing that reads these columns can take less."""
