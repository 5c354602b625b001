"""Transactions of any size in seconds: few customers buy most, and some orders are returned.

The shop of `component_defs/` is more lifelike and a hundred times as slow. Here a row is a function
of its number, so that DuckDB makes as many as are asked for, the same on every machine.
"""

from pathlib import Path

import duckdb

START = "2022-01-01"
DAYS = 1_095
AS_OF = "2025-01-01"
"""The day after the last row."""

ROWS = """
    WITH numbered AS (
        SELECT
            i,
            -- Three lines an order. Hashes of different numbers are spread evenly over 0..1 and have
            -- nothing in common; those of two arguments do, where one of the two is the same.
            hash(8 * (i // 3) + 1) / 18446744073709551616.0 AS who,
            hash(8 * (i // 3) + 2) / 18446744073709551616.0 AS moment,
            hash(8 * (i // 3) + 3) / 18446744073709551616.0 AS returned,
            hash(8 * i + 4) / 18446744073709551616.0 AS u,
            hash(8 * i + 5) / 18446744073709551616.0 AS v
        FROM range($rows) AS made(i)
    )
    SELECT
        -- The power makes a tenth of the customers place more than a quarter of the orders.
        'C' || lpad(floor($customers * pow(who, 1.8))::BIGINT::VARCHAR, 9, '0') AS customer_id,
        'O' || lpad((i // 3)::VARCHAR, 10, '0') AS order_id,
        $start::TIMESTAMP + to_seconds(floor(moment * $days * 86400)) AS date,
        -- Log-normal by Box and Muller, to the cent; three orders in a hundred are refunded.
        round(
            CASE WHEN returned < 0.03 THEN -1 ELSE 1 END
            * exp(3 + sqrt(-2 * ln(greatest(u, 1e-12))) * cos(2 * pi() * v)),
            2
        ) AS amount
    FROM numbered
"""


def write(target: Path, *, rows: int, customers: int) -> None:
    """`rows` order lines of about `customers` customers, as one Parquet file of canonical columns."""
    with duckdb.connect() as connection:
        given = {"rows": rows, "customers": customers, "start": START, "days": DAYS}
        made = connection.sql(ROWS, params=given)
        made.write_parquet(str(target), compression="zstd", overwrite=True)


ATTRIBUTES = """
    SELECT
        *,
        (date::DATE - DATE '1970-01-01')::INTEGER AS day,
        (hash(order_id || 'l' || amount) % 400) / 10.0 AS litres,
        CASE WHEN hash(order_id || 'c') % 3 = 0 THEN 'app' ELSE 'till' END AS channel,
        's' || (hash(order_id || 's') % 200)::VARCHAR AS station,
        CASE WHEN hash(order_id || 'p') % 40 = 0 THEN 'failed' ELSE 'paid' END AS status
    FROM made
"""


def write_with_attributes(target: Path, *, rows: int, customers: int) -> None:
    """The same with the day and what the fourteen features read: litres, channel, station, status."""
    with duckdb.connect() as connection:
        given = {"rows": rows, "customers": customers, "start": START, "days": DAYS}
        connection.sql(ROWS, params=given).create_view("made")
        whole = connection.sql(ATTRIBUTES)
        whole.write_parquet(str(target), compression="zstd", overwrite=True)
