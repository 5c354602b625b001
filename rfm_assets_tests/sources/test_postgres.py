"""Transactions from a real Postgres server: its types, what it filters, and what goes wrong."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rfm_assets.domain.expressions import parse
from rfm_assets.engines.base import collect_rows
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.engines.opening import open_engine
from rfm_assets.errors import (
    ColumnMissing,
    DatabaseUnreachable,
    DatabaseUrlInvalid,
    InvalidConfig,
    InvalidExpression,
    RfmError,
    SourceUnreadable,
)
from rfm_assets.sources.config import ColumnMapping, PostgresSource
from rfm_assets.sources.reading import Reading, read
from rfm_assets_tests.postgres import GUARDED, PASSWORD, EmbeddedPostgres, running_postgres
from rfm_assets_tests.tables import LOCAL_SPARK, SPARK

VARIABLE = "SHOP_DATABASE_URL"
COLUMNS = {"customer_id": "customer", "order_id": "id", "date": "at", "amount": "amount"}
ORDERS = """
create table orders (
    id int8, customer text, at timestamp, amount numeric(12, 2), "unit price" float8, n int4,
    paid bool, day date, zoned timestamptz, kind text, uid uuid,
    cost money, details jsonb, tags text[]
);
insert into orders values
    (1, ' a ', '2025-01-01 10:00', 10.10, 1.5, 1, true, '2025-01-01', '2025-01-01 23:30+00',
     'it''s 50%', '11111111-1111-1111-1111-111111111111', 1, '{}', '{}'),
    (2, 'b', '2025-01-02 00:00', -3.00, 'NaN', null, false, '2025-01-02', '2025-01-02 00:30+02',
     'back\\slash', null, 1, '{}', '{}'),
    (3, '17850.0', '2025-01-03 08:00', 0.07, 'Infinity', 3, null, null, null,
     'Zoë:x', null, 1, '{}', '{}'),
    (4, null, 'infinity', null, null, 4, true, 'infinity', 'infinity', null, null, 1, '{}', '{}');
"""


@pytest.fixture
def shop(postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> EmbeddedPostgres:
    monkeypatch.setenv(VARIABLE, postgres.url)
    for statement in ORDERS.split(";\n"):
        if statement.strip():
            with postgres.connect() as connection:
                connection.exec_driver_sql(statement.replace("%", "%%"))
    return postgres


@pytest.fixture
def engine() -> Iterator[DuckDBEngine]:
    with DuckDBEngine(threads=2) as opened:
        yield opened


def reading(engine: Any, columns: dict[str, Any] | None = None, **source: Any) -> Reading:
    given = {"table": "orders"} if "query" not in source else {}
    return read(
        PostgresSource(
            type="postgres", url_env=VARIABLE, **{**given, "order_by": ["id"], **source}
        ),
        ColumnMapping(**(columns or COLUMNS)),
        engine=engine,
        root=Path(),
    )


def ids(engine: Any, **source: Any) -> list[int]:
    found = collect_rows(reading(engine, {**COLUMNS, "amount": "n"}, **source).table)
    return sorted(int(row["order_id"]) for row in found)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("name", ["duckdb", "polars", SPARK])
def test_rows_come_as_they_are_there(name: str) -> None:
    attributes = {
        "price": {"column": "unit price", "kind": "number"},
        "paid": {"column": "paid", "kind": "boolean"},
        "first": {"column": "day", "kind": "date"},
        "uid": "uid",
        "kind": "kind",
    }
    with open_engine(name, **(LOCAL_SPARK if name == "spark" else {})) as engine:
        found = reading(engine, {**COLUMNS, "attributes": attributes})
        rows = sorted(collect_rows(found.table), key=lambda row: row["source_line"])
    assert found.rows == 4
    assert [row["customer_id"] for row in rows] == ["a", "b", "17850", None]
    assert [row["order_id"] for row in rows] == ["1", "2", "3", "4"]
    assert [row["amount"] for row in rows] == [10.1, -3.0, 0.07, None]
    assert [row["date"] for row in rows] == [
        datetime(2025, 1, 1, 10),
        datetime(2025, 1, 2),
        datetime(2025, 1, 3, 8),
        None,
    ]
    assert [row["paid"] for row in rows] == [True, False, None, True]
    assert [row["first"] for row in rows][:2] == [datetime(2025, 1, 1), datetime(2025, 1, 2)]
    assert rows[0]["uid"] == "11111111-1111-1111-1111-111111111111"
    assert [row["kind"] for row in rows] == ["it's 50%", "back\\slash", "Zoë:x", None]
    assert {row["source"] for row in rows} == {"postgres:orders"}
    assert [row["source_line"] for row in rows] == [1, 2, 3, 4]


def test_the_fingerprint_follows_the_rows_and_not_their_order(
    shop: EmbeddedPostgres, engine: DuckDBEngine
) -> None:
    first = reading(engine).source_fingerprint
    assert reading(engine, order_by=["amount"]).source_fingerprint == first
    shop.rows("update orders set amount = 10.11 where id = 1")
    assert reading(engine).source_fingerprint != first


def test_tables_views_and_queries(shop: EmbeddedPostgres, engine: DuckDBEngine) -> None:
    shop.rows('create schema "Sales Dept"')
    shop.rows('create view "Sales Dept"."Order;s" as select * from orders where id < 3')
    assert ids(engine, table="Sales Dept.Order;s") == [1, 2]
    query = "select id, customer, at, amount, n from orders where at::date = '2025-01-01' -- x\n;"
    assert ids(engine, query=query) == [1]
    assert ids(engine, query="select * from orders where kind like '%50%'") == [1]
    assert ids(engine, query="select * from orders where kind = 'Zoë:x'") == [3]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("amount > 0", [1, 3]),
        ("paid", [1, 4]),
        ("not paid", [2, 3]),
        ("kind = 'it''s 50%'", [1]),
        ("kind in ['back\\slash', 'Zoë:x']", [2, 3]),
        ("`unit price` > 1", [1]),
        ("`unit price` is null", [2, 3, 4]),
        ("n != 3", [1, 4]),
        ("day >= date('2025-01-02')", [2]),  # of 4 it is `infinity`, which is none
        ("upper(kind) = 'ZOË:X'", [3]),
        ("if(paid, n, 9) > 3", [2, 3, 4]),
        ("10 / (n - 1) > 4", [3]),
    ],
)
def test_the_server_filters(engine: DuckDBEngine, where: str, expected: list[int]) -> None:
    assert ids(engine, where=where) == expected


def conditions() -> st.SearchStrategy[str]:
    number = st.sampled_from(["n", "`unit price`", "amount", "0", "1.5", "3", "-3"])
    numbers = st.recursive(
        number,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda p: f"({' '.join(p)})"),
            inner.map("abs({})".format),
            inner.map("round({}, 1)".format),
            st.tuples(st.sampled_from(["min", "max", "coalesce"]), inner, inner).map(
                lambda p: f"{p[0]}({p[1]}, {p[2]})"
            ),
        ),
        max_leaves=4,
    )
    compare = st.tuples(numbers, st.sampled_from(["<", "<=", "=", "!=", ">", ">="]), numbers)
    text = st.tuples(
        st.just("kind"),
        st.sampled_from(["=", "!=", "<", ">="]),
        st.sampled_from(
            ["'it''s 50%'", "'back\\slash'", "'Zoë:x'", "'a'", "'; drop table orders'"]
        ),
    )
    days = st.sampled_from(["date('2025-01-01')", "date('2025-01-02')", "day", "at"])
    dated = st.tuples(days, st.sampled_from(["<", "<=", "=", "!=", ">"]), days)
    simple = st.one_of(
        compare.map(" ".join),
        text.map(" ".join),
        dated.filter(lambda p: not {p[0], p[2]} <= {"day", "at"}).map(" ".join),
        st.sampled_from(
            [
                "paid",
                "kind is null",
                "n is not null",
                "paid = false",
                "n in [1, 3]",
                "amount not in [10.1, -3]",
                "kind not in ['Zoë:x', 'b']",
                "if(paid, n, `unit price`) > 1",
                "if(n is null, kind, 'a') = 'a'",
                "if(paid, day, at) > date('2025-01-01')",
                "coalesce(day, date('2025-01-03')) > date('2025-01-01')",
            ]
        ),
    )
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            inner.map("not ({})".format),
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
                lambda p: f"({' '.join(p)})"
            ),
        ),
        max_leaves=4,
    )


@pytest.mark.usefixtures("shop")
@settings(
    max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@example("not (`unit price` > 1)")
@example("0 < 0")
@example("date('2025-01-01') < day")
@example("not (at > date('2025-01-01'))")
@example("day is null")
@example("max(n, `unit price`) = 4 or kind < 'a'")
@given(conditions())
def test_what_the_server_picks_the_domain_picks(engine: DuckDBEngine, where: str) -> None:
    kinds = {"n": "number", "unit price": "number", "amount": "number"}
    kinds |= {"kind": "text", "paid": "boolean", "day": "date", "at": "date"}
    attributes = {
        "n": {"column": "n", "kind": "number"},
        "unit_price": {"column": "unit price", "kind": "number"},
        "paid": {"column": "paid", "kind": "boolean"},
        "on_day": {"column": "day", "kind": "date"},
        "at": {"column": "at", "kind": "date"},
        "kind": "kind",
    }
    expression = parse(where)
    expression.type_check(kinds, expected="boolean")  # type: ignore[arg-type]
    rows = reading(engine, {**COLUMNS, "attributes": attributes}).table
    rows = rows.drop("day").rename({"unit_price": "unit price", "on_day": "day"})
    # A condition without a column is one value for all rows.
    judged = rows.with_columns(chosen=expression.to_narwhals(kinds))  # type: ignore[arg-type]
    chosen = collect_rows(judged.filter("chosen"))
    assert ids(engine, where=where) == sorted(int(row["order_id"]) for row in chosen)


@pytest.mark.usefixtures("shop")
def test_the_first_day_is_that_of_the_business(engine: DuckDBEngine) -> None:
    assert ids(engine, since=date(2025, 1, 2)) == [2, 3, 4]

    def zoned(zone: str) -> list[int]:
        columns = {**COLUMNS, "date": "zoned", "amount": "n"}
        source = PostgresSource(
            type="postgres", url_env=VARIABLE, table="orders", since=date(2025, 1, 2)
        )
        found = read(source, ColumnMapping(**columns), engine=engine, root=Path(), time_zone=zone)
        return sorted(int(row["order_id"]) for row in collect_rows(found.table))

    # 23:30 and 22:30 on New Year's Day in London are half past midnight and 23:30 in Berlin.
    assert zoned("UTC") == [4]
    assert zoned("Europe/Berlin") == [1, 4]


def test_an_index_serves_the_first_day(shop: EmbeddedPostgres, engine: DuckDBEngine) -> None:
    shop.rows(
        "create table many as select i as id, 'c' as customer, 1.0 as amount, "
        "timestamp '2000-01-01' + i * interval '1 hour' as at from generate_series(1, 50000) i"
    )
    shop.rows("create index on many (at)")
    shop.rows("analyze many")
    found = reading(engine, {**COLUMNS}, table="many", since=date(2005, 9, 1))
    assert 0 < found.rows < 500
    shop.rows("select pg_stat_force_next_flush()")
    assert shop.rows("select sum(idx_scan) > 0 from pg_stat_user_indexes") == [(True,)]


READ_WIDE = f"""
import sys
from pathlib import Path
from rfm_assets.engines.duckdb_engine import DuckDBEngine
from rfm_assets.sources.config import ColumnMapping, PostgresSource
from rfm_assets.sources.reading import read

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

def reading(table):
    with DuckDBEngine("60MB", threads=1, spill_dir=Path(sys.argv[1])) as engine:
        source = PostgresSource(type="postgres", url_env="{VARIABLE}", table=table)
        columns = ColumnMapping(**{COLUMNS}, attributes={{"note": "note"}})
        return read(source, columns, engine=engine, root=Path()).rows

few = reading("few")
before = peak()
print(few, reading("wide"), peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak from Linux")
def test_a_table_of_any_size_passes_in_little_memory(
    shop: EmbeddedPostgres, tmp_path: Path
) -> None:
    shop.rows(
        "create table wide as select i as id, md5((i % 1000)::text) as customer, "
        "timestamp '2025-01-01' as at, 1.0::float8 as amount, repeat(md5(i::text), 8) as note "
        "from generate_series(1, 1000000) i"
    )
    shop.rows("create table few as select * from wide where id <= 10")
    done = subprocess.run(
        [sys.executable, "-c", READ_WIDE, str(tmp_path / "spill")],
        capture_output=True,
        text=True,
        check=True,
    )
    few, many, megabytes = map(int, done.stdout.split())
    assert (few, many) == (10, 1_000_000)
    # A quarter of a gigabyte of notes through sixty megabytes of DuckDB's, and batches on their way.
    assert megabytes < 160


def test_the_transaction_cannot_write(shop: EmbeddedPostgres, engine: DuckDBEngine) -> None:
    shop.rows("create function wipe() returns int language sql as 'delete from orders returning 1'")
    with pytest.raises(SourceUnreadable, match="read-only transaction"):
        reading(engine, query="select *, wipe() as w from orders")
    assert shop.rows("select count(*) from orders") == [(4,)]


@pytest.mark.parametrize(
    "text", ["orders; drop table orders", 'orders" --', "orders'", "x.y.orders"]
)
def test_a_name_is_only_a_name(shop: EmbeddedPostgres, engine: DuckDBEngine, text: str) -> None:
    with pytest.raises(SourceUnreadable, match="has no table"):
        reading(engine, table=text)
    with pytest.raises(ColumnMissing):
        reading(engine, {**COLUMNS, "customer_id": text})
    with pytest.raises(ColumnMissing):
        reading(engine, order_by=[text])
    assert shop.rows("select count(*) from orders") == [(4,)]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("cost", "is of type money on the server.*amount::numeric AS amount"),
        ("details", "is of type jsonb on the server"),
        ("tags", "is of type array of text on the server"),
    ],
)
def test_types_that_do_not_fit(engine: DuckDBEngine, column: str, said: str) -> None:
    with pytest.raises(InvalidConfig, match=said) as caught:
        reading(engine, {**COLUMNS, "amount": column})
    assert caught.value.key == "columns.amount"


@pytest.mark.usefixtures("shop")
def test_what_is_not_there(engine: DuckDBEngine) -> None:
    with pytest.raises(SourceUnreadable, match=r"no table 'ordres'.*orders"):
        reading(engine, table="ordres")
    with pytest.raises(ColumnMissing, match=r"'amuont'.*amount"):
        reading(engine, {**COLUMNS, "amount": "amuont"})
    with pytest.raises(InvalidExpression, match="amuont"):
        reading(engine, where="amuont > 1")
    with pytest.raises(InvalidConfig, match="needs dates"):
        reading(engine, {**COLUMNS, "date": "kind"}, since=date(2025, 1, 1))
    with pytest.raises(SourceUnreadable, match="syntax error"):
        reading(engine, query="selct 1")


def refused(url: str | None, monkeypatch: pytest.MonkeyPatch, engine: DuckDBEngine) -> RfmError:
    if url is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(RfmError) as caught:
        reading(engine)
    for one in (caught.value, caught.value.__cause__, caught.value.__context__):
        assert PASSWORD not in str(one), "the password is shown"
    return caught.value


def test_no_connection(
    shop: EmbeddedPostgres, engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(url: str | None) -> RfmError:
        return refused(url, monkeypatch, engine)

    assert isinstance(told(None), DatabaseUrlInvalid)
    assert isinstance(told(f"mysql://u:{PASSWORD.replace('/', '%2F')}@h/x"), DatabaseUrlInvalid)
    assert isinstance(told(PASSWORD), DatabaseUrlInvalid)
    wrong = told(shop.url_of(GUARDED, PASSWORD + "x"))
    assert isinstance(wrong, DatabaseUnreachable)
    assert "Correct the user or password in that variable" in str(wrong)
    assert "does not exist" in str(told(shop.url.replace(shop.database, "nowhere")))
    nobody = told(f"postgresql://u:{PASSWORD.replace('/', '%2F')}@127.0.0.1:1/shop")
    assert "127.0.0.1:1/shop" in str(nobody)
    assert "cannot be reached" in str(nobody)
    may_not = told(shop.url_of(GUARDED, PASSWORD))
    assert isinstance(may_not, SourceUnreadable)


def test_a_server_that_goes_in_the_middle(
    engine: DuckDBEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_postgres() as server:
        monkeypatch.setenv(VARIABLE, server.url)
        slow = (
            "select i as id, 'c' as customer, timestamp '2025-01-01' as at, 1.0 as amount, "
            "case when i % 10000 = 0 then pg_sleep(0.05)::text end as wait "
            "from generate_series(1, 3000000) i"
        )
        stop: Callable[[], None] = server.stop
        timer = threading.Timer(1.0, stop)
        timer.start()
        with pytest.raises(DatabaseUnreachable, match=r"was lost.*run it again"):
            reading(engine, {**COLUMNS, "attributes": {"w": "wait"}}, query=slow, order_by=[])
        timer.join()
        server.start()
    assert os.environ[VARIABLE] == server.url
